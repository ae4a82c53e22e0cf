"""What the command line writes: results to the output, everything about them beside it.

Colours and progress appear only at a terminal, and colours not where NO_COLOR is set.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["looking", "notes", "output", "print_json", "progress", "quantity", "speed", "write"]

PREFIXES = "kMGT"
FILE_COLUMNS = 200          # where there is no terminal to fit


class _Console(Console):
    """A console that leaves it to the command line what a reader who has gone means."""

    def on_broken_pipe(self):
        raise BrokenPipeError


def output() -> Console:
    """Where results go."""
    columns = None if sys.stdout.isatty() else FILE_COLUMNS
    return _Console(markup=False, highlight=False, soft_wrap=True, width=columns)


def notes() -> Console:
    """Where timings, progress and errors go."""
    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def write(text: str, *, dim: bool = False) -> None:
    """Write text to the output as it is: rich would drop its control characters and expand tabs."""
    style = dim and output().color_system is not None
    sys.stdout.write(f"\x1b[2m{text}\x1b[22m" if style else text)
    sys.stdout.flush()


def print_json(table) -> None:
    """Write one JSON value to the output, on one line."""
    print(json.dumps(table, ensure_ascii=False), flush=True)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that is told how much is done, and how much there is."""
    console = notes()
    columns = (TextColumn("{task.description}"), BarColumn(),
               TextColumn("{task.percentage:3.0f} %"), TimeElapsedColumn(), TextColumn("left"),
               TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, refresh_per_second=4,
                   disable=not console.is_terminal)
    task = bar.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        bar.start()                     # not before: until then others may want the terminal
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bar.stop()


@contextlib.contextmanager
def looking() -> Iterator[Callable[[str], None]]:
    """Yield a function that is told what is looked for at the moment."""
    with notes().status("looking") as status:
        yield lambda what: status.update(f"looking for {what}")


def quantity(value: float, unit: str = "") -> str:
    """Write a number with three digits and a decimal prefix."""
    prefix = ""
    for prefix in ("", *PREFIXES):
        if abs(value) < 999.5 or prefix == PREFIXES[-1]:
            break
        value /= 1000
    return f"{value:.3g} {prefix}{unit}".rstrip()


def speed(rate: float) -> str:
    """Write tokens per second: whole ones from a thousand on, else four digits."""
    return f"{rate:{',.0f' if rate >= 1000 else '.4g'}}"
