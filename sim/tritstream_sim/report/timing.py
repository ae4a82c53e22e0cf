"""What overlaps what: the blocks of the accelerator at work, cycle by cycle, drawn from a pass.

``python -m tritstream_sim.report.timing [-o FILE]`` simulates the first layer of `tiny` at 16
bytes per beat in Amaranth's simulator, where every stream can be seen, and draws its last two
stages. Takes seconds. ``--write docs/architecture.md`` simulates `demo` as well, and writes how
long the core waits from stage to stage. Takes three minutes.
"""

import argparse
import itertools
import pathlib
import sys
from collections.abc import Mapping

from amaranth.sim import Simulator

from tritstream.build import BuildConfig
from tritstream.catalog import resolve
from tritstream.errors import TritstreamError
from tritstream.image.image import Image
from tritstream.image.needs import Needs
from tritstream.support.picture import write_picture
from tritstream_hw.accelerator import Accelerator
from tritstream_sim.observe import SIGNALS
from tritstream_sim.report.marked import write_between
from tritstream_sim.verilate.passes import pass_bytes

__all__ = ["activity", "draw", "main", "turnarounds"]

BEAT_BYTES = 16
TOKEN = 5
STAGES = 5                  # the embedding and the first layer
MARKS = ("<!-- turnaround: written by `python -m tritstream_sim.report.timing` -->",
         "<!-- end of turnaround -->")
TURNED = ("tiny", 16), ("demo", 16), ("demo", 64)   # models and beats of the table
SHOWN = 2                   # of them
PATIENCE = 20_000           # cycles of a pass
SIZE = (11, 4.6)            # inches
HEIGHT = 0.62               # of a bar, of its row
TRITS, OTHERS, SCALARS = "#0072b2", "#56b4e9", "#e69f00"

BLOCKS = {
    "tape: header": OTHERS,
    "tape: gains": OTHERS,
    "scalars: reciprocals": SCALARS,
    "scalars: scales": SCALARS,
    "quantiser": OTHERS,
    "core: trits": TRITS,
    "rows: sums": TRITS,
    "elements, statistics": OTHERS,
}
"""Which of `observe.SIGNALS` are drawn, and in which colour."""


def activity(config: BuildConfig, image: Image, token: int, stages: int,
             ) -> tuple[dict[str, list[bool]], list[int]]:
    """Simulate a pass, its memory as fast as the core.

    Parameters
    ----------
    config : BuildConfig
        What is simulated.
    image : Image
        A model that it holds.
    token : int
        Which row comes first.
    stages : int
        How many stages the pass has.

    Returns
    -------
    dict
        For each of `BLOCKS` whether it worked, cycle by cycle.
    list of int
        In which cycle each stage ended.

    Raises
    ------
    TimeoutError
        The pass does not end.
    """
    dut = Accelerator(config)
    data, width = pass_bytes(image, [token], stages), config.beat_bytes
    working = {name: [] for name in BLOCKS}
    ends = []

    async def play(ctx):
        for port in ("vectors_read", "state_read", "records_read"):
            ctx.set(getattr(dut.debug, port).en, 0)
        ctx.set(dut.start.p.stages, stages)
        ctx.set(dut.start.p.lanes.table[0].fresh, 1)
        ctx.set(dut.start.valid, 1)
        while not (await ctx.tick().sample(dut.start.ready))[2]:
            pass
        ctx.set(dut.start.valid, 0)
        for end in range(width, len(data) + 1, width):
            ctx.set(dut.beats.p.data, list(data[end - width:end]))
            ctx.set(dut.beats.p.last, end == len(data))
            ctx.set(dut.beats.valid, 1)
            while not (await ctx.tick().sample(dut.beats.ready))[2]:
                pass
        ctx.set(dut.beats.valid, 0)

    async def watch(ctx):
        ctx.set(dut.done.ready, 1)
        seen = [SIGNALS[name](dut) for name in BLOCKS]
        for cycle in range(PATIENCE):
            _, _, done, ended, *values = await ctx.tick().sample(
                dut.done.valid, dut.sequencer.ended, *seen)
            for worked, value in zip(working.values(), values, strict=True):
                worked.append(bool(value))
            if ended:
                ends.append(cycle)
            if done:
                return
        raise TimeoutError(f"the pass has not ended after {PATIENCE} cycles")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(play)
    simulator.add_testbench(watch)
    simulator.run()
    return working, ends


def turnarounds(working: Mapping[str, list[bool]], ends: list[int]) -> list[int]:
    """Return how long the core waits from stage to stage.

    Parameters
    ----------
    working, ends
        As `activity` returns them.

    Returns
    -------
    list of int
        For each stage but the first two the cycles between the last beat of trits of the stage
        before and its own first, less those in which a beat of a header or of gains was taken.
    """
    trits = working["core: trits"]
    beats = [any(parts) for parts in zip(working["tape: header"], working["tape: gains"],
                                         strict=True)]
    found = []
    for end in ends[1:-1]:
        last = end - trits[end::-1].index(True)
        first = trits.index(True, end)
        found.append(beats[last + 1:first].count(False))
    return found


def _runs(worked: list[bool]) -> list[tuple[int, int]]:
    """First cycle and number of cycles of each time in which a block worked."""
    runs, cycle = [], 0
    for works, group in itertools.groupby(worked):
        length = len(list(group))
        if works:
            runs.append((cycle, length))
        cycle += length
    return runs


def draw(working: Mapping[str, list[bool]], ends: Mapping[str, int], title: str,
         path: pathlib.Path):
    """Draw one row for each block, from `ends`' first cycle to its last.

    Parameters
    ----------
    working : mapping
        As `activity` returns it.
    ends : mapping of int
        The cycle in which each stage ended, by its name; the first is the one before those shown.
    title : str
        What was simulated.
    path : path
        PNG or SVG to write.
    """
    import matplotlib
    from matplotlib.figure import Figure

    (_, first), *shown = ends.items()
    with matplotlib.rc_context({"svg.hashsalt": "timing"}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        for row, (name, worked) in enumerate(working.items()):
            runs = [(cycle - first, length) for cycle, length in _runs(worked)]
            axes.broken_barh(runs, (row - HEIGHT / 2, HEIGHT), color=BLOCKS[name], linewidth=0.4)
        begin = 0
        for name, end in shown:
            axes.axvline(end - first, color="#222222", linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(f"{name}: {end - first - begin} cycles", ((begin + end - first) / 2, 1),
                          (0, 4), xycoords=("data", "axes fraction"), textcoords="offset points",
                          ha="center", va="bottom", fontweight="bold")
            begin = end - first
        axes.set(xlim=(0, begin + 1), ylim=(len(working) - 0.4, -0.6),
                 xlabel="cycles since the stage before has ended")
        axes.set_yticks(range(len(working)), working)
        axes.set_title(title, loc="left", pad=22, fontsize=10)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        write_picture(figure, path)


def table(models) -> str:
    """Simulate the first layer of models, and the stage behind it; a table of their turnarounds.

    Parameters
    ----------
    models : iterable of (str, int)
        Names, and bytes per beat.
    """
    lines = ["| model | P, V, E | MLGRU to o | o to GLU | GLU to down | down to MLGRU |",
             "|---|---|---:|---:|---:|---:|"]
    for name, beat_bytes in models:
        image = resolve(name).image
        config = Needs.of(image).least_build(beat_bytes)
        found = turnarounds(*activity(config, image, token=TOKEN, stages=STAGES + 1))
        build = f"{beat_bytes}, {config.vector_width}, {config.element_width}"
        lines.append(f"| {name} | {build} | {' | '.join(map(str, found))} |")
    return "\n".join(lines)


def main(argv=None) -> None:
    """Simulate, draw, and write."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.timing")
    parser.add_argument("-o", "--output", type=pathlib.Path, metavar="FILE",
                        default=pathlib.Path("docs/images/timing.svg"), help="PNG or SVG")
    parser.add_argument("--write", type=pathlib.Path, metavar="DOCUMENT",
                        help="write the table of turnarounds there, too")
    options = parser.parse_args(argv)
    image = resolve("tiny").image
    config = Needs.of(image).least_build(BEAT_BYTES)
    working, ends = activity(config, image, token=TOKEN, stages=STAGES)
    names = [section.name for section in image.sections[:STAGES]]
    last = dict(list(zip(names, ends, strict=True))[-SHOWN - 1:])
    draw(working, last, f"tiny, P = {BEAT_BYTES}, V = {config.vector_width}, "
         f"E = {config.element_width} (simulated)", options.output)
    if options.write:
        write_between(options.write, MARKS, table(TURNED))


if __name__ == "__main__":
    try:
        main()
    except TritstreamError as error:
        sys.exit(f"error: {error}")
