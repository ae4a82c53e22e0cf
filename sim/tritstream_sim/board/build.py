"""Builds of simulated boards, kept in a cache."""

import contextlib
import hashlib
import importlib.metadata
import pathlib
import shutil
from collections.abc import Iterable, Iterator

from rich.progress import Progress, TextColumn, TimeElapsedColumn

import tritstream
import tritstream_hw
from tritstream.build import BuildConfig
from tritstream.cli.console import notes
from tritstream.errors import MissingTool
from tritstream.support.cache import get_or_make

__all__ = ["build", "digest", "elapsed"]

_HERE = pathlib.Path(__file__).parent
_SOURCES = [_HERE / name for name in ("main.cpp", "activity.h", "host.h", "memory.h", "note.h")]

# Measured with the default board on one core: -O2 builds in 25 s of processor time, 4 s of them
# Amaranth's and 3 s Verilator's, and runs 700 k cycles/s. -O1 builds in 23 s and is a fifth slower;
# -O3 -march=native builds in 28 s and is no faster.
_OPTIMISE = "-O2"
_ARGUMENTS = ["-O3", "--x-assign", "fast", "--noassert"]


def build(config: BuildConfig, cache: pathlib.Path | None = None, *,
          trace: bool = False) -> pathlib.Path:
    """Return the program of the simulated board `config`, made now if it is not in the cache.

    The elapsed time is shown at a terminal. Two processes may want the same board at once.

    Parameters
    ----------
    config : BuildConfig
        What to build.
    cache : path or None
        Where builds are kept; None: the user's cache.
    trace : bool
        Whether it can record its signals; while it does, it runs about 2 k cycles/s.

    Raises
    ------
    BadInput
        The cache cannot be written.
    MissingTool
        No Yosys, Verilator, make or g++.
    ToolFailed
        With the end of the compiler's log.
    """
    def make(path: pathlib.Path) -> None:
        with elapsed(f"building the simulated board, P = {config.beat_bytes}"):
            shutil.copy2(_compile(config, path.parent, trace), path)

    sources = [*_SOURCES, _HERE / "top.py", _HERE.parent / "observe.py"]
    told = config.to_json() + repr((trace, _ARGUMENTS, _OPTIMISE))
    return get_or_make("boards", f"board-{digest(told, sources)}", make, directory=cache)


def _compile(config: BuildConfig, cache: pathlib.Path, trace: bool) -> pathlib.Path:
    # Amaranth takes half a second to import, and is not needed for a board in the cache.
    from tritstream_sim.board.top import BoardTop
    from tritstream_sim.verilate.compile import FST, compile_model
    from tritstream_sim.verilate.export import export

    return compile_model(export(BoardTop(config), "board"), "board", cache,
                         arguments=[*_ARGUMENTS, *(FST if trace else [])], sources=_SOURCES,
                         optimise=_OPTIMISE)


def digest(told: str, sources: Iterable[pathlib.Path]) -> str:
    """Digest of all that a build is made from: to export the Verilog first would take seconds.

    Parameters
    ----------
    told : str
        What is built, and how.
    sources : iterable of path
        Of what it is built, besides the packages of host and gateware and what compiles them.
    """
    found = hashlib.sha256(told.encode())
    found.update(_amaranth_version().encode())
    for package in (tritstream, tritstream_hw):
        for path in sorted(pathlib.Path(package.__file__).parent.rglob("*.py")):
            found.update(path.read_bytes())
    compilation = [_HERE.parent / "verilate" / name for name in ("export.py", "compile.py")]
    for path in [*sources, *compilation]:
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _amaranth_version() -> str:
    try:
        return importlib.metadata.version("amaranth")
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool("The simulated board needs amaranth, which is not installed: run `pip "
                          "install 'tritstream[sim]'`.") from None


@contextlib.contextmanager
def elapsed(what: str) -> Iterator[None]:
    """Show at a terminal how long something takes."""
    console = notes()
    columns = TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, refresh_per_second=2,
                  disable=not console.is_terminal) as progress:
        progress.add_task(what, total=None)
        yield
