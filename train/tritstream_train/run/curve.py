"""The loss curve of a run: a CSV to which lines are added, and a picture of it."""

import csv
import dataclasses
import io
import math
from pathlib import Path

from tritstream.errors import BadInput
from tritstream.support.files import write_whole
from tritstream.support.picture import write_picture

__all__ = ["Curve", "Record", "draw", "joined", "late_limits"]


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
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                return [_parse(row) for row in csv.DictReader(file)]
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{self.path} is not the curve of a run: {error!r}; move it away, and a "
                           "new one begins.") from error

    def cut(self, step: int):
        """Drop what a run wrote after the checkpoint that it resumes from."""
        if self.path.exists() and not (content := self.path.read_bytes()).endswith(b"\n"):
            write_whole(self.path, content[:content.rfind(b"\n") + 1])      # a torn last line
        kept = [record for record in self.read() if record.step <= step]
        write_whole(self.path, "".join([_header(), *map(_line, kept)]).encode())

    def add(self, record: Record):
        """Add a record."""
        new = not self.path.exists()
        with open(self.path, "a", encoding="utf-8") as file:
            file.write((_header() if new else "") + _line(record))


def joined(curves: list[list[Record]]) -> list[Record]:
    """Return the curves of runs, each of which went on from the one before, as one curve."""
    records, step, tokens, seconds = [], 0, 0, 0.0
    for curve in curves:
        records += [dataclasses.replace(
            record, step=step + record.step, tokens=tokens + record.tokens,
            seconds=seconds + record.seconds) for record in curve]
        step, tokens, seconds = records[-1].step, records[-1].tokens, records[-1].seconds
    return records


def draw(records: list[Record], path: Path, title: str):
    """Draw loss, learning rate and bits per byte over the tokens, as PNG; nothing without records.

    The first twentieth, in which everything falls steeply, may leave the picture at its top.
    """
    if not records:
        return
    from matplotlib.figure import Figure

    valid = [record for record in records if record.valid is not None]
    lines = [("loss, nats/token", records, [record.loss for record in records], "-"),
             ("learning rate", records, [record.rate for record in records], ":")]
    if valid:
        lines.append(("bits/byte", valid, [record.valid for record in valid], "o-"))
    figure = Figure(figsize=(7, 2 + 1.5 * len(lines)), layout="constrained")
    rows = figure.subplots(len(lines), sharex=True, squeeze=False,
                           height_ratios=[2, 1, 1.5][:len(lines)])[:, 0]
    for axes, (label, where, values, style) in zip(rows, lines, strict=True):
        axes.plot([record.tokens / 1e6 for record in where], values, style, linewidth=1)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if style != ":":
            axes.annotate(f"{values[-1]:.4f}", (1, values[-1]), (5, 0), va="center",
                          xycoords=("axes fraction", "data"), textcoords="offset points")
    rows[0].set_ylim(late_limits(records))
    rows[0].set_title(title, parse_math=False)
    rows[-1].set_xlabel("million tokens")
    write_picture(figure, path)


def late_limits(records: list[Record]) -> tuple[float, float]:
    """Limits of an axis for all losses but those of the first twentieth, which fall steeply."""
    late = [record.loss for record in records if record.step > 0.05 * records[-1].step]
    room = 0.05 * (max(late) - min(late)) or 1e-3
    return min(late) - room, max(late) + room


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
