"""The loss curve of a run: a CSV to which lines are added, and a picture of it."""

import csv
import dataclasses
import io
import math
from pathlib import Path

from tritstream.errors import BadInput
from tritstream.files import replacing, write_whole

__all__ = ["Curve", "Record", "draw"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A line of the curve.

    Parameters
    ----------
    step, tokens : int
        Steps and tokens done.
    loss : float
        Mean over the steps since the line before, nats per token.
    rate : float
        Learning rate of AdamW in the last of them.
    gradient : float
        Norm of the gradient in the last of them, before it was clipped.
    seconds : float
        Time spent in training so far.
    speed : float
        Tokens per second since the line before.
    memory : int
        Most bytes that were allocated: on the GPU, or by the process without one.
    valid : float or None
        Bits per byte of the validation text, where it was read.
    """

    step: int
    tokens: int
    loss: float
    rate: float
    gradient: float
    seconds: float
    speed: float
    memory: int
    valid: float | None = None


FIELDS = {field.name: field.type for field in dataclasses.fields(Record)}


class Curve:
    """The CSV of a run.

    Parameters
    ----------
    path : Path
        The file; made with the first record.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[Record]:
        """Return all records.

        Raises
        ------
        BadInput
            The file is not a curve.
        """
        if not self.path.exists():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        try:
            return [_parse(row) for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{self.path} is not the curve of a run: {error!r}; move it away, and a "
                           "new one begins.") from error

    def cut(self, step: int):
        """Drop what a run wrote after the checkpoint that it resumes from."""
        kept = [record for record in self.read() if record.step <= step]
        write_whole(self.path, "".join([_header(), *map(_line, kept)]).encode())

    def add(self, record: Record):
        """Add a record."""
        new = not self.path.exists()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write((_header() if new else "") + _line(record))


def draw(records: list[Record], path: Path, title: str):
    """Draw loss, bits per byte and learning rate over the tokens, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    tokens = [record.tokens / 1e6 for record in records]
    axes.plot(tokens, [record.loss for record in records], linewidth=1, color="tab:blue",
              label="training loss, nats/token")
    valid = [(record.tokens / 1e6, record.valid) for record in records if record.valid is not None]
    if valid:
        axes.plot(*zip(*valid, strict=True), marker="o", color="tab:orange",
                  label=f"validation, bits/byte (last {valid[-1][1]:.4f})")
    axes.set(xlabel="million tokens", title=title)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    rates = axes.twinx()
    rates.plot(tokens, [record.rate for record in records], linewidth=1, color="tab:gray",
               linestyle=":")
    rates.set_ylabel("learning rate (dotted)")
    with replacing(path) as aside:
        figure.savefig(aside, format="png", dpi=120)


def _header() -> str:
    return ",".join(FIELDS) + "\n"


def _line(record: Record) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        ["" if value is None else value for value in vars(record).values()])
    return text.getvalue()


def _parse(row: dict) -> Record:
    values = {name: int(row[name]) if kind is int else float(row[name] or math.nan)
              for name, kind in FIELDS.items()}
    return Record(**values | {"valid": float(row["valid"]) if row["valid"] else None})
