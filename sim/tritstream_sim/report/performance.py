"""Whole tokens of the published models, simulated; writes ``docs/performance.md``.

``python -m tritstream_sim.report.performance [--write FILE] [MODEL …]`` runs a token of each model
through the Verilated accelerator, every stage held to golden, at the speed of C++; published shapes
have random weights, which cost the same cycles. 370M takes minutes, 2.7B half an hour and 6 GB. Of
370M passes of several tokens are simulated, too. With ``--wide`` it writes the tables of builds of
more than 64 bytes per cycle alone, which takes a quarter of an hour.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Iterable

from tritstream.analysis.estimate import Estimate, estimate
from tritstream.analysis.roofline import draw_roofline
from tritstream.build import BuildConfig
from tritstream.catalog import resolve
from tritstream.cli.console import speed
from tritstream.cli.estimate import image_estimate
from tritstream.errors import TritstreamError
from tritstream.image.image import Image
from tritstream.image.needs import Needs
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS, DummyCheckpoint
from tritstream.support.cache import cache_directory
from tritstream_hw.accelerator import Accelerator
from tritstream_sim.report.marked import write_between
from tritstream_sim.report.peers import peer_rows, peer_table
from tritstream_sim.verilate.lockstep import Lockstep
from tritstream_sim.verilate.passes import Passes

__all__ = ["main", "measure"]

WIDTHS = (16, 64)
MORE_ROWS = {"tiny": {16: 2}}
"""Rows per cycle of builds beside the usual ones: of a model whose row groups are over sooner than
the rows of a block have left one by one."""
BUNDLED = ("tiny", "demo")
WIDEST = 64
TOKEN = 5
MEMORY = 1 << 30            # bytes; larger than every model
PICTURE = "performance.svg"
MARKS = "<!-- tokens: written by `make bench-full` -->", "<!-- end of tokens -->"

WITH_LANES, LANES = "370M", (2, 4, 8, 16)
SIMULATED = {(16, 8)}   # P, T; of the widest builds the simulation would take hours to compile
PROMPT = 512            # tokens
WIDE = {"370M": ("p=128", "p=256", "p=64,g=4", "p=64,g=16", "p=256,g=32"),
        "1.3B": ("p=64,g=4", "p=64,g=24"), "2.7B": ("p=64,g=4", "p=64,g=24")}
"""Builds of more than one beat of 64 bytes per cycle, by model; too large to be simulated whole."""
HELD = "p=128", "p=128,g=8"
"""Builds of which a small model is simulated: one memory of the widest sort, and a thousand bytes
per cycle."""
HELD_TITLE = "A small model on the widest of them, every stage held to golden:"
HELD_SHAPE = ModelConfig(hidden=640, intermediate=1728, layers=2, vocab=4000)
WIDE_MARKS = "<!-- wide: written by `make bench-full` -->", "<!-- end of wide -->"
PEER_MARKS = "<!-- peers: written by `make bench-full` -->", "<!-- end of peers -->"
LANE_MARKS = "<!-- lanes: written by `make bench-full` -->", "<!-- end of lanes -->"

# A memory as a peer has measured it on a board: bytes per second of its four ports together, and
# the clock at which peers run them; see docs/performance.md.
KV260_CLOCK, KV260_MEMORY = 250_000_000, 12.7e9


@dataclasses.dataclass(frozen=True)
class Row:
    """A token of a model on a build."""

    model: str
    build: BuildConfig
    cycles: int             # simulated
    head: int               # of these
    estimated: Estimate     # its memory as fast as the core

    @property
    def share(self) -> float:
        """Of the cycles those in which a beat of the tape is taken."""
        return self.estimated.tape_bytes / self.build.beat_bytes / self.cycles


@dataclasses.dataclass(frozen=True)
class LaneRow:
    """Passes of several tokens on a build."""

    build: BuildConfig
    alone: tuple[int, int]  # cycles of a token on the build without lanes, and of its head
    together: int           # cycles of a token of each of as many conversations
    prompt: tuple[int, int]     # and of as many tokens of a prompt, and of their head
    evidence: str

    @property
    def times(self) -> float:
        """Tokens per second of all conversations together, over those of one."""
        return self.build.lanes * self.alone[0] / self.together

    @property
    def prompt_times(self) -> float:
        """How many times faster a prompt is, of which the last pass only has a head."""
        def cycles(passes, whole, head):
            return passes * (whole - head) + head

        return cycles(PROMPT, *self.alone) / cycles(PROMPT // self.build.lanes, *self.prompt)


def _build(image: Image, beat_bytes: int, lanes: int = 1) -> BuildConfig:
    return dataclasses.replace(Needs.of(image).least_build(beat_bytes, lanes), memory_bytes=MEMORY)


def _image(model: str, directory: pathlib.Path) -> Image:
    if model in BUNDLED:
        return resolve(model).image
    return pack(DummyCheckpoint(PRESETS[model], seed=1), directory / f"{model}.trit")


def measure(model: str, image: Image, build: BuildConfig, cache: pathlib.Path) -> Row:
    """Simulate a token, held to golden.

    Parameters
    ----------
    model : str
        What it is called.
    image : Image
        It.
    build : BuildConfig
        That holds it.
    cache : path
        Where builds are kept.

    Raises
    ------
    AssertionError
        A stage is not golden's.
    """
    with Passes(Accelerator(build), cache, optimise="-O2") as passes:
        records = Lockstep(passes, image).step(TOKEN)
    return Row(model, build, *_cycles(records), image_estimate(image, build))


def _cycles(stages) -> tuple[int, int]:
    """Cycles of a pass, and of its head, from the records of its stages or their estimates."""
    return sum(stage.cycles for stage in stages), stages[-1].cycles


def measure_lanes(image: Image, alone: Row, lanes: int, cache: pathlib.Path) -> LaneRow:
    """Simulate a pass of several conversations and one of a prompt, held to golden.

    Parameters
    ----------
    image : Image
        The model.
    alone : Row
        A token of it, on the build without lanes.
    lanes : int
        `T`.
    cache : path
        Where builds are kept.

    Raises
    ------
    AssertionError
        A stage is not golden's.
    """
    build = _build(image, alone.build.beat_bytes, lanes)
    tokens = range(TOKEN, TOKEN + lanes)
    with Passes(Accelerator(build), cache, optimise="-O2") as passes:
        together = Lockstep(passes, image, lanes).together(list(enumerate(tokens)))
        prompt = Lockstep(passes, image).together([(0, token) for token in tokens])
    return LaneRow(build, (alone.cycles, alone.head), _cycles(together)[0], _cycles(prompt),
                   "simulated")


def estimate_lanes(image: Image, beat_bytes: int, lanes: int) -> LaneRow:
    """Estimate the same."""
    build = _build(image, beat_bytes, lanes)
    return LaneRow(build, _cycles(image_estimate(image, _build(image, beat_bytes)).stages),
                   round(image_estimate(image, build, tokens=lanes).cycles),
                   _cycles(image_estimate(image, build, tokens=lanes, consecutive=True).stages),
                   "estimated")


def lane_table(rows: Iterable[LaneRow]) -> str:
    """Markdown table of passes of several tokens."""
    lines = ["| P, V, E | T | cycles of a pass of T conversations | in all, times one conversation "
             f"| a prompt of {PROMPT} tokens, times faster than a token in a pass | evidence |",
             "|---|---:|---:|---:|---:|---|"]
    for row in rows:
        build = row.build
        lines.append(
            f"| {build.beat_bytes}, {build.vector_width}, {build.element_width} | {build.lanes} | "
            f"{row.together:,} | {row.times:.2f} ({row.times / build.lanes:.1%} of T) | "
            f"{row.prompt_times:.2f} | {row.evidence} |")
    return "\n".join(lines)


def table(rows: Iterable[Row]) -> str:
    """Markdown table of simulated tokens, and of what the same builds would do on a KV260."""
    lines = ["| model | ternary weights | P, V, E | cycles of a token (simulated) | (estimated) | "
             "of the tape's roof | tok/s for each 100 MHz |",
             "|---|---:|---|---:|---:|---:|---:|"]
    for row in rows:
        build, weights = row.build, sum(stage.weights for stage in row.estimated.stages)
        lines.append(
            f"| {row.model} | {weights:,} | {build.beat_bytes}, {build.vector_width}, "
            f"{build.element_width} | {row.cycles:,} | {round(row.estimated.cycles):,} | "
            f"{row.share:.1%} | {speed(1e8 / row.cycles)} |")
    lines += ["", f"With {WIDEST} bytes per beat, {KV260_CLOCK / 1e6:.0f} MHz and a memory of "
              f"{KV260_MEMORY / 1e9:.1f} GB/s (estimated; no such build has been routed):", "",
              "| model | tok/s | of the memory's roof |", "|---|---:|---:|"]
    for name, found in on_kv260(rows).items():
        lines.append(f"| {name} | {speed(found.tokens_per_second)} | "
                     f"{found.tokens_per_second / found.roof:.1%} |")
    return "\n".join(lines)


def wide_table() -> str:
    """Markdown table of tokens on wide builds."""
    lines = ["| model | P x G | V, E | bytes per cycle | cycles of a token (estimated) | of the "
             "tape's roof | tok/s for each 100 MHz |", "|---|---:|---|---:|---:|---:|---:|"]
    for model, builds in WIDE.items():
        for build in map(BuildConfig.parse, builds):
            found = estimate(PRESETS[model], build)
            lines.append(
                f"| {model} | {build.beat_bytes} x {build.groups} | {build.vector_width}, "
                f"{build.element_width} | {build.stripe_bytes:,} | {found.cycles:,} | "
                f"{found.tape_bytes / build.stripe_bytes / found.cycles:.1%} | "
                f"{speed(1e8 / found.cycles)} |")
    return "\n".join(lines)


def held_table(cache: pathlib.Path) -> str:
    """Markdown table of a small model on wide builds, simulated and held to golden."""
    lines = ["| P x G | V, E | bytes per cycle | cycles of a token (simulated) | (estimated) |",
             "|---:|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as directory:
        image = pack(DummyCheckpoint(HELD_SHAPE, seed=1), pathlib.Path(directory) / "small.trit")
        for build in map(BuildConfig.parse, HELD):
            with Passes(Accelerator(build), cache) as passes:
                cycles, _ = _cycles(Lockstep(passes, image).step(TOKEN))
            print(f"P x G = {build.beat_bytes} x {build.groups}: {cycles:,} cycles",
                  file=sys.stderr, flush=True)
            lines.append(
                f"| {build.beat_bytes} x {build.groups} | {build.vector_width}, "
                f"{build.element_width} | {build.stripe_bytes:,} | {cycles:,} | "
                f"{round(estimate(HELD_SHAPE, build).cycles):,} |")
    return "\n".join(lines)


def on_kv260(rows: Iterable[Row]) -> dict[str, Estimate]:
    """What the widest builds would do at the clock and with the memory of a KV260, by model."""
    return {row.model: dataclasses.replace(row.estimated, clock_hz=KV260_CLOCK,
                                           memory_rate=KV260_MEMORY / KV260_CLOCK)
            for row in rows if row.build.beat_bytes == WIDEST}


def main(argv=None) -> None:
    """Simulate, and print or write the tables."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.performance")
    parser.add_argument("models", nargs="*", metavar="MODEL", default=[*BUNDLED, *PRESETS])
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE",
                        help="document whose tables are replaced; the picture goes beside it")
    parser.add_argument("--wide", action="store_true",
                        help="only the tables of builds of more than 64 bytes per cycle")
    options = parser.parse_args(argv)
    if unknown := set(options.models) - {*BUNDLED, *PRESETS}:
        parser.error(f"{unknown.pop()} is no model: name {', '.join([*BUNDLED, *PRESETS])}")
    cache = cache_directory("passes")
    tables, rows = {}, []
    if not options.wide:
        rows, lane_rows = _simulate(options.models, cache)
        tables[MARKS] = table(rows)
        if lane_rows:
            tables[LANE_MARKS] = lane_table(lane_rows)
    tables[PEER_MARKS] = peer_table(peer_rows(cache))
    tables[WIDE_MARKS] = f"{wide_table()}\n\n{HELD_TITLE}\n\n{held_table(cache)}"
    if options.write is None:
        print(*tables.values(), sep="\n\n")
        return
    for marks, text in tables.items():
        write_between(options.write, marks, text)
    if rows:
        draw_roofline(on_kv260(rows), "64 bytes per beat at 250 MHz, memory of 12.7 GB/s "
                      "(estimated)", options.write.parent / "images" / PICTURE)


def _simulate(models: Iterable[str], cache: pathlib.Path) -> tuple[list[Row], list[LaneRow]]:
    """Simulate tokens of models, and passes of several."""
    rows, lane_rows = [], []
    for model in models:
        with tempfile.TemporaryDirectory() as directory:
            image = _image(model, pathlib.Path(directory))
            for width in WIDTHS:
                build = _build(image, width)
                alone = _told(measure(model, image, build, cache))
                rows.append(alone)
                if more := MORE_ROWS.get(model, {}).get(width):
                    rows.append(_told(measure(
                        model, image, dataclasses.replace(build, element_width=more), cache)))
                for lanes in LANES if model == WITH_LANES else ():
                    lane_rows.append(measure_lanes(image, alone, lanes, cache)
                                     if (width, lanes) in SIMULATED else
                                     estimate_lanes(image, width, lanes))
    return rows, lane_rows


def _told(row: Row) -> Row:
    print(f"{row.model}, P = {row.build.beat_bytes}, E = {row.build.element_width}: "
          f"{row.cycles:,} cycles", file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    try:
        main()
    except TritstreamError as error:
        sys.exit(f"error: {error}")
