"""Whole tokens of the published models, simulated; writes ``docs/performance.md``.

``python -m tritstream_sim.report.performance [--write FILE] [MODEL …]`` runs a token of each model
through the Verilated accelerator, every stage held to golden, at the speed of C++; published shapes
have random weights, which cost the same cycles. All take a quarter of an hour, and 2.7B 6 GB. Of
passes of several tokens a layer of 370M and its head are simulated. ``--only`` writes one table:
those of wide builds and of several tokens take long to compile, some ten minutes each.
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
from tritstream_sim.report.peers import measure_layer, one_layer, peer_rows, peer_table
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
TABLES = {name: (f"<!-- {name}: written by `make bench-full` -->", f"<!-- end of {name} -->")
          for name in ("tokens", "lanes", "wide", "peers")}
"""Marks between which each lies in the document."""

WITH_LANES, LANES = "370M", (2, 4, 8, 16)
SIMULATED = {(16, 16), (64, 16)}      # P, T; of each a layer and the head
PROMPT = 512            # tokens
WIDE = {"370M": ("p=128", "p=256", "p=64,g=4", "p=64,g=16", "p=256,g=32"),
        "1.3B": ("p=64,g=4", "p=64,g=24"), "2.7B": ("p=64,g=4", "p=64,g=24")}
"""Builds of more than one beat of 64 bytes per cycle, by model; too large to be simulated whole."""
HELD = "p=256,g=4", "p=128,g=8", "p=64,g=16", "p=32,g=32", "p=16,g=64", "p=64,g=24"
"""Builds that are simulated: of 1,024 bytes per cycle with each width of a beat, and one wider."""
HELD_TITLE = "Cycles of a token on the widest builds, every stage held to golden:"
HELD_SHAPE = ModelConfig(hidden=640, intermediate=1728, layers=2, vocab=4000)

# A memory as a peer has measured it on a board: bytes per second of its four ports together, and
# the clock at which peers run them; see docs/performance.md.
KV260_CLOCK, KV260_MEMORY = 250_000_000, 12.7e9


@dataclasses.dataclass(frozen=True)
class Row:
    """A token of a model on a build."""

    model: str
    build: BuildConfig
    cycles: int             # simulated
    estimated: Estimate     # its memory as fast as the core

    @property
    def share(self) -> float:
        """Of the cycles those in which a beat of the tape is taken."""
        return self.estimated.tape_bytes / self.build.beat_bytes / self.cycles


@dataclasses.dataclass(frozen=True)
class LaneRow:
    """Passes of several tokens on a build."""

    build: BuildConfig
    alone: Estimate         # a token on the build without lanes
    together: Estimate      # one of each of as many conversations
    prompt: Estimate        # as many of a prompt
    layer: str              # what of the two was simulated; nothing: neither

    @property
    def times(self) -> float:
        """Tokens per second of all conversations together, over those of one."""
        return self.build.lanes * self.alone.cycles / self.together.cycles

    @property
    def prompt_times(self) -> float:
        """How many times faster a prompt is, of which the last pass only has a head."""
        def cycles(passes, found):
            *body, head = _each(found.stages)
            return passes * sum(body) + head

        return cycles(PROMPT, self.alone) / cycles(PROMPT // self.build.lanes, self.prompt)


def _build(image: Image, beat_bytes: int) -> BuildConfig:
    return dataclasses.replace(Needs.of(image).least_build(beat_bytes), memory_bytes=MEMORY)


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
    return Row(model, build, sum(_each(records)), image_estimate(image, build))


def _each(stages) -> list[int]:
    """Cycles of each stage, from their records or their estimates."""
    return [stage.cycles for stage in stages]


def measure_lanes(build: BuildConfig, cache: pathlib.Path) -> str:
    """Simulate passes of a layer and the head, held to golden, and return them as a cell.

    A pass of several conversations and one of a prompt, as many tokens as the build has lanes.

    Raises
    ------
    AssertionError
        A stage is not golden's.
    """
    shape, cells = one_layer(WITH_LANES), []
    tokens = range(TOKEN, TOKEN + build.lanes)
    with tempfile.TemporaryDirectory() as directory, Passes(Accelerator(build), cache) as passes:
        image = pack(DummyCheckpoint(shape, seed=1), pathlib.Path(directory) / "layer.trit")
        for consecutive in (False, True):
            played = [(0 if consecutive else lane, token) for lane, token in enumerate(tokens)]
            cycles = sum(_each(Lockstep(passes, image, build.lanes).together(played)))
            found = estimate(shape, build, tokens=build.lanes, consecutive=consecutive)
            cells.append(f"{cycles:,} ({found.core_cycles:,})")
    return "; ".join(cells)


def lane_rows(cache: pathlib.Path) -> list[LaneRow]:
    """Estimate passes of several tokens, and simulate what is simulated of them."""
    rows, shape = [], PRESETS[WITH_LANES]
    for width in WIDTHS:
        alone = estimate(shape, BuildConfig.parse(f"p={width}"))
        for lanes in LANES:
            build = BuildConfig.parse(f"p={width},t={lanes}")
            together, prompt = (estimate(shape, build, tokens=lanes, consecutive=consecutive)
                                for consecutive in (False, True))
            layer = measure_lanes(build, cache) if (width, lanes) in SIMULATED else ""
            rows.append(LaneRow(build, alone, together, prompt, layer))
            print(f"{WITH_LANES}, P = {width}, T = {lanes}: {layer or 'estimated'}",
                  file=sys.stderr, flush=True)
    return rows


def lane_table(rows: Iterable[LaneRow]) -> str:
    """Markdown table of passes of several tokens."""
    lines = ["| P, V, E | T | cycles of a pass of T conversations (estimated) | in all, times one "
             f"conversation | a prompt of {PROMPT} tokens, times faster than a token in a pass | "
             "a layer and the head, of conversations; of a prompt: simulated (estimated) |",
             "|---|---:|---:|---:|---:|---|"]
    for row in rows:
        build = row.build
        lines.append(
            f"| {build.beat_bytes}, {build.vector_width}, {build.element_width} | {build.lanes} | "
            f"{row.together.core_cycles:,} | {row.times:.2f} ({row.times / build.lanes:.1%} of T) "
            f"| {row.prompt_times:.2f} | {row.layer} |")
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
    """Markdown table of what is simulated on wide builds, held to golden."""
    lines = ["| P x G | V, E | bytes per cycle | a small model: simulated (estimated) | a layer "
             f"and the head of {WITH_LANES}: simulated (estimated) |", "|---:|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory() as directory:
        image = pack(DummyCheckpoint(HELD_SHAPE, seed=1), pathlib.Path(directory) / "small.trit")
        for build in map(BuildConfig.parse, HELD):
            with Passes(Accelerator(build), cache) as passes:
                cycles = sum(_each(Lockstep(passes, image).step(TOKEN)))
                layer = measure_layer(passes, WITH_LANES)
            lines.append(
                f"| {build.beat_bytes} x {build.groups} | {build.vector_width}, "
                f"{build.element_width} | {build.stripe_bytes:,} | "
                f"{cycles:,} ({estimate(HELD_SHAPE, build).core_cycles:,}) | "
                f"{layer:,} ({estimate(one_layer(WITH_LANES), build).core_cycles:,}) |")
            print(lines[-1], file=sys.stderr, flush=True)
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
    parser.add_argument("--only", choices=TABLES, metavar="TABLE",
                        help=f"write this one alone: {', '.join(TABLES)}")
    options = parser.parse_args(argv)
    if unknown := set(options.models) - {*BUNDLED, *PRESETS}:
        parser.error(f"{unknown.pop()} is no model: name {', '.join([*BUNDLED, *PRESETS])}")
    cache = cache_directory("passes")
    wanted = TABLES if options.only is None else [options.only]
    tables, rows = {}, []
    if "tokens" in wanted:
        rows = _simulate(options.models, cache)
        tables[TABLES["tokens"]] = table(rows)
    if "lanes" in wanted:
        tables[TABLES["lanes"]] = lane_table(lane_rows(cache))
    if "wide" in wanted:
        tables[TABLES["wide"]] = f"{wide_table()}\n\n{HELD_TITLE}\n\n{held_table(cache)}"
    if "peers" in wanted:
        tables[TABLES["peers"]] = peer_table(peer_rows(cache))
    if options.write is None:
        print(*tables.values(), sep="\n\n")
        return
    for marks, text in tables.items():
        write_between(options.write, marks, text)
    if rows:
        draw_roofline(on_kv260(rows), "64 bytes per beat at 250 MHz, memory of 12.7 GB/s "
                      "(estimated)", options.write.parent / "images" / PICTURE)


def _simulate(models: Iterable[str], cache: pathlib.Path) -> list[Row]:
    """Simulate tokens of models."""
    rows = []
    for model in models:
        with tempfile.TemporaryDirectory() as directory:
            image = _image(model, pathlib.Path(directory))
            for width in WIDTHS:
                builds = [_build(image, width)]
                if more := MORE_ROWS.get(model, {}).get(width):
                    builds.append(dataclasses.replace(builds[0], element_width=more))
                for build in builds:
                    rows.append(measure(model, image, build, cache))
                    print(f"{model}, P = {width}, E = {build.element_width}: "
                          f"{rows[-1].cycles:,} cycles", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    try:
        main()
    except TritstreamError as error:
        sys.exit(f"error: {error}")
