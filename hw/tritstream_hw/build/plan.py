"""From a target to a bitstream that meets timing, with a report and a manifest beside it."""

import contextlib
import dataclasses
import gc
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from amaranth.build.run import BuildPlan
from amaranth.hdl import UnusedElaboratable

from tritstream.errors import BadInput, ToolFailed, TritstreamError
from tritstream.support.tools import run_bounded
from tritstream_hw.boards import Target
from tritstream_hw.build.floorplan import draw, read_places
from tritstream_hw.build.placement import place
from tritstream_hw.build.report import Report, check_timing
from tritstream_hw.build.synthesis import PREPARE, synthesise
from tritstream_hw.build.toolchain import find_tool, run_tool, version

__all__ = ["JOBS", "SEEDS", "bitstream", "build", "build_id", "plan", "revision", "sha256"]

NAME = "top"
SEEDS = range(1, 5)
JOBS = 2                    # placements at a time
GIT_SECONDS = 60.0          # what it says is not worth more
SOURCES = ":/hw", ":/sw"    # of bitstreams, from the root of a checkout
SILENCE_SECONDS = 8.0       # between two words of progress
LOGS = ("rpt", "tim")        # of synthesis, and of place and route
REPORTS = ("report.json", "manifest.json", "summary.md", "floorplan.svg")

Progress = Callable[[str], None]


def plan(target: Target, identity: bytes) -> BuildPlan:
    """Return all files that make a bitstream of `target` with a build id, as text.

    They depend on nothing but the sources and their versions: not on the place, time or machine.
    """
    find_tool("yosys")                  # Amaranth looks for it here already
    try:
        return target.platform().prepare(
            target.top(target.config, identity, target.baud), NAME, emit_src=False,
            script_after_read=PREPARE, script_after_synth=target.after_synth,
            synth_opts=list(target.synth_options), nextpnr_opts=list(target.nextpnr_options))
    except TritstreamError as error:
        _drop(error)
        raise


def _drop(error: TritstreamError) -> None:
    """Drop a design that was not finished, without a word on each part that is in no use."""
    traceback.clear_frames(error.__traceback__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        gc.collect()


def build_id(prepared: BuildPlan, versions: dict[str, str]) -> bytes:
    """Return the identity of a build: of its plan, prepared with an id of zeros, and its tools."""
    text = prepared.digest().hex() + json.dumps(versions, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:8]


def build(target: Target, directory: pathlib.Path | None = None, *,
          seeds: Sequence[int] = SEEDS, jobs: int = JOBS,
          progress: Progress = lambda text: None) -> Report:
    """Build the bitstream of a board, unless the same is there already.

    Parameters
    ----------
    target : Target
        Board and configuration.
    directory : path or None
        What comes out, the bitstream and the rest; None: ``build/<board>``. It is replaced as a
        whole, and only by a build that met timing. Work goes on beside it in ``<board>.part``,
        which stays there when a step fails.
    seeds : sequence of int
        Of placements that are tried until one meets timing.
    jobs : int
        Placements at a time.
    progress : callable
        Called with a few words after each step, and during one that takes long, then from a thread.

    Raises
    ------
    BadInput
        The directory cannot be written, or holds what is no build.
    FitError
        The part is too small or the design too slow; a bitstream is not left.
    MissingTool
        A program of the toolchain is not installed.
    ToolFailed
        A program failed; its complaint is in the message.
    """
    if not seeds:
        raise BadInput("There are no seeds to try: give at least one, as in --seeds 4.")
    directory = directory or pathlib.Path("build") / target.name
    try:
        directory = directory.resolve()
        _check_place(target, directory)
        return _build(target, directory, seeds, jobs, progress)
    except BrokenPipeError:             # of `progress`
        raise
    except OSError as error:
        raise BadInput(f"The build cannot be written to {directory} ({error.strerror}): name "
                       "another directory with -o.") from error


def _build(target: Target, directory: pathlib.Path, seeds: Sequence[int], jobs: int,
           progress: Progress) -> Report:
    clock = _Stopwatch(progress)
    with clock.step("versions"):
        versions = {name: version(name) for name in target.toolchain.tools}
    with clock.step("elaborate"):
        identity = build_id(plan(target, bytes(8)), versions)
    if report := _cached(directory, identity):
        return report
    with clock.step("elaborate with its build id"):
        prepared = plan(target, identity)

    scratch = directory.with_name(f"{directory.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    prepared.extract(scratch)
    synthesis, routing, packing = json.loads(prepared.files[f"build_{NAME}.json"])["commands"]
    with clock.step("synthesise"):
        synthesise(synthesis, scratch)
    with clock.step("place and route"):
        best, *others = place(target.name, routing, scratch, NAME, seeds, jobs, progress)
    report = Report(
        board=target.name, build_id=identity.hex(), resources=best.resources, clocks=best.clocks,
        seed=best.seed, seconds=clock.seconds,
        seeds_mhz={str(entry.seed): entry.slowest.reached_mhz for entry in [best, *others]})
    with clock.step("draw"), open(scratch / f"{NAME}_{best.seed}.json") as placed:
        (scratch / "floorplan.svg").write_text(draw(read_places(placed)))
    for end in ("tim", target.toolchain.routed):
        (scratch / f"{NAME}_{best.seed}.{end}").rename(scratch / f"{NAME}.{end}")
    if not report.passed:
        (scratch / "report.json").write_text(report.to_json())
        check_timing(report)
    with clock.step("pack"):
        run_tool(packing, scratch)
    _finish(target, report, versions, scratch, directory)
    return report


def bitstream(target: Target) -> str:
    """Return the name of the bitstream's file."""
    return f"{NAME}.{target.toolchain.bitstream}"


def _kept(target: Target) -> list[str]:
    """Return the names of the files of a build, besides what tells of it."""
    return [f"{NAME}.{end}" for end in (*target.toolchain.products, *LOGS)]


def _check_place(target: Target, directory: pathlib.Path) -> None:
    """Refuse what cannot become the place of a build, before that has cost minutes."""
    if directory.exists():
        mine = {*REPORTS, *_kept(target)}
        for path in directory.iterdir():
            if path.name not in mine:
                raise BadInput(f"{directory} would be replaced, and holds {path.name}, which is "
                               "not of a build: name another directory with -o.")
    parent = next(parent for parent in directory.parents if parent.exists())
    with tempfile.TemporaryDirectory(dir=parent):       # only the attempt shows whether it can be
        pass


class _Stopwatch:
    """Times steps, and tells of each that has ended, and while it has not."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        with self._telling(name, began):
            yield
        self.seconds[name] = round(time.perf_counter() - began, 1)
        self._progress(f"{name}: {self.seconds[name]:.1f} s")

    @contextlib.contextmanager
    def _telling(self, name: str, began: float) -> Iterator[None]:
        """Say from time to time that a step goes on, from a thread: some steps are Python."""
        ended = threading.Event()

        def tell():
            # Who reads this may be gone; whoever tells of the step's end finds out.
            with contextlib.suppress(OSError, ValueError):
                while not ended.wait(SILENCE_SECONDS):
                    self._progress(f"{name}: {time.perf_counter() - began:.0f} s, goes on")

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _cached(directory: pathlib.Path, identity: bytes) -> Report | None:
    """Return the report of what `directory` holds, if it is this build, and whole."""
    try:
        manifest = json.loads((directory / "manifest.json").read_text())
        if manifest["build_id"] != identity.hex():
            return None
        for name, digest in manifest["artefacts"].items():
            if sha256(directory / name) != digest:
                return None
        return Report.from_json((directory / "report.json").read_text(), cached=True)
    except (OSError, ValueError, KeyError):
        return None


def _finish(target: Target, report: Report, versions: dict[str, str], scratch: pathlib.Path,
            directory: pathlib.Path) -> None:
    """Write what tells of the build, and put the whole where it belongs."""
    (scratch / "report.json").write_text(report.to_json())
    (scratch / "summary.md").write_text(report.to_markdown())
    kept = _kept(target)
    manifest = {
        "board": target.name,
        "build_id": report.build_id,
        "revision": revision(pathlib.Path(__file__).parent),
        "config": dataclasses.asdict(target.config),
        "baud": target.baud,
        "tools": versions,
        "artefacts": {name: sha256(scratch / name) for name in [*kept, "report.json"]},
    }
    (scratch / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for path in scratch.iterdir():
        if path.name not in (*kept, *REPORTS):
            path.unlink()
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(scratch, directory)


def sha256(path: pathlib.Path) -> str:
    """Return the digest by which a manifest knows a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def revision(directory: pathlib.Path) -> str | None:
    """Return the commit of a checkout, marked if what bitstreams are made of was changed since.

    None without git. Reports, which a build of several boards writes on its way, are no change.
    """
    def ask(*arguments: str) -> str:
        done = run_bounded(["git", *arguments], GIT_SECONDS, cwd=directory,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.strip()

    try:
        commit = ask("describe", "--always", "--abbrev=40")
        changes = ask("status", "--porcelain", "--untracked-files=no", "--", *SOURCES)
    except (FileNotFoundError, ToolFailed):
        return None
    return f"{commit}-dirty" if changes else commit or None
