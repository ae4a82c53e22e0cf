"""What a run says while it goes on: a bar at a terminal, plain lines elsewhere, or JSON lines."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tritstream.cli.console import notes, print_json, quantity
from tritstream_train.run.curve import Record

__all__ = ["Report", "Silent", "reporting"]


class Report(Protocol):
    """Who is told."""

    def say(self, text: str):
        """Take one line about what happens now."""

    def show(self, record: Record, total: int):
        """Take a record of the curve; `total` is the number of steps."""


class Silent:
    """Says nothing."""

    def say(self, text: str):
        """Drop the line."""

    def show(self, record: Record, total: int):
        """Drop the record."""


class _Lines(Silent):
    def __init__(self):
        self._console = notes()

    def say(self, text: str):
        self._console.print(text)

    def show(self, record: Record, total: int):
        self._console.print(f"step {record.step}/{total}  {_describe(record)}")


class _Bar(_Lines):
    def __init__(self, bar: Progress):
        self._console = bar.console
        self._bar = bar
        self._task = bar.add_task("training", total=None, state="")

    def show(self, record: Record, total: int):
        self._bar.update(self._task, completed=record.step, total=total, state=_describe(record))
        if record.valid is not None:
            super().show(record, total)


class _Json(_Lines):
    def show(self, record: Record, total: int):
        print_json(vars(record) | {"steps": total})


@contextlib.contextmanager
def reporting(json: bool) -> Iterator[Report]:
    """Yield what suits the place that the output goes to."""
    console = notes()
    if json or not console.is_terminal:
        yield _Json() if json else _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20),
               TextColumn("{task.completed}/{task.total}"), TextColumn("{task.fields[state]}"),
               TimeRemainingColumn())
    with Progress(*columns, console=console, refresh_per_second=2) as bar:
        yield _Bar(bar)


def _describe(record: Record) -> str:
    valid = "" if record.valid is None else f"  valid {record.valid:.4f} bits/byte"
    return (f"loss {record.loss:.4f}  {quantity(record.speed, 'tok/s')}  "
            f"{quantity(record.memory, 'B')}{valid}")
