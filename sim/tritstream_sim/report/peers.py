"""Builds for the boards of those who have published figures, held beside these; a table.

The published models are too large to be simulated whole on such builds, so their tokens are
estimated. Where a build is compiled in reasonable time, a layer and the head are simulated at their
full width, held to golden, beside what is estimated of the same.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Iterable

from tritstream.analysis.estimate import Estimate, estimate
from tritstream.build import BuildConfig
from tritstream.cli.console import speed
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS, DummyCheckpoint
from tritstream_hw.accelerator import Accelerator
from tritstream_sim.verilate.lockstep import Lockstep
from tritstream_sim.verilate.passes import Passes

__all__ = ["BOARDS", "Board", "Row", "measure_layer", "one_layer", "peer_rows",
           "peer_table"]

COST = pathlib.Path("bitstreams", "cost.json")
TOKEN = 5

SIMULATED = ("p=16,g=4", "p=64,g=4")
"""Builds of which a layer and the head are simulated; wider ones take long to compile."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """A board that a peer uses, and what would be built for it.

    Parameters
    ----------
    name : str
        What it is called.
    clock_hz : int
        Clock of its users' designs.
    memory : float
        Bytes per second of its memory.
    build : str
        As `BuildConfig.parse` takes it.
    luts : int
        Of its devices, by their data sheets; of a D5005 its ALMs, which do more.
    published : dict of str
        Tokens per second that its users publish, by the model that they are held beside.
    """

    name: str
    clock_hz: int
    memory: float
    build: str
    luts: int
    published: dict[str, str]

    @property
    def memory_rate(self) -> float:
        """Bytes of the memory per cycle."""
        return self.memory / self.clock_hz


KV260 = Board(name="KV260", clock_hz=250_000_000, memory=12.7e9, build="p=16,g=4", luts=117_120,
              published={"370M": "30.6 (matmulfree_KRIA)", "1.3B": "",
                         "2.7B": "16.8 to 18.6 (bitnet-kv260, BitNet 2B4T)"})
U250 = Board(name="U250", clock_hz=300_000_000, memory=76.8e9, build="p=64,g=4", luts=1_728_000,
             published={"370M": "77 (Ternip)", "1.3B": "", "2.7B": ""})
D5005 = Board(name="D5005", clock_hz=60_000_000, memory=76.8e9, build="p=64,g=4", luts=933_120,
              published={"370M": "", "1.3B": "23.8 (the paper, projected)", "2.7B": ""})
U280 = Board(name="U280, HBM", clock_hz=300_000_000, memory=460e9, build="p=64,g=24",
             luts=1_304_000, published={"370M": "", "1.3B": "", "2.7B": "727 (TerEffic)"})
TWO_U280 = Board(name="two U280, on chip", clock_hz=300_000_000, memory=8192 * 300e6,
                 build="p=256,g=32", luts=2 * 1_304_000,
                 published={"370M": "16,300 (TerEffic)"})
BOARDS = KV260, D5005, U250, U280, TWO_U280


@dataclasses.dataclass(frozen=True)
class Row:
    """A token of a model on a board's build."""

    board: Board
    model: str
    estimated: Estimate     # at the board's clock, with its memory
    layer: int | None       # cycles of a model of one layer, simulated


def one_layer(model: str) -> ModelConfig:
    """Return a published shape with one layer."""
    return dataclasses.replace(PRESETS[model], layers=1)


def measure_layer(passes: Passes, model: str) -> int:
    """Simulate the embedding row, a layer and the head of a published shape, held to golden.

    Raises
    ------
    AssertionError
        A stage is not golden's.
    """
    with tempfile.TemporaryDirectory() as directory:
        image = pack(DummyCheckpoint(one_layer(model), seed=1),
                     pathlib.Path(directory) / "layer.trit")
        return sum(record.cycles for record in Lockstep(passes, image).step(TOKEN))


def _build(text: str) -> BuildConfig:
    """Return the build that holds a layer of each published shape."""
    shapes = PRESETS.values()
    return dataclasses.replace(
        BuildConfig.parse(text), max_hidden=max(shape.hidden for shape in shapes),
        max_intermediate=max(shape.intermediate for shape in shapes),
        max_vocab=max(shape.vocab for shape in shapes),
        max_state=max(shape.hidden for shape in shapes))


def peer_rows(cache: pathlib.Path) -> list[Row]:
    """Simulate what is simulated, and estimate.

    Parameters
    ----------
    cache : path
        Where builds are kept.
    """
    layers = {}
    for text in SIMULATED:
        with Passes(Accelerator(_build(text)), cache) as passes:
            for model in dict.fromkeys(model for board in BOARDS if board.build == text
                                       for model in board.published):
                layers[text, model] = measure_layer(passes, model)
                print(f"{model}, {text}: {layers[text, model]:,} cycles of a layer and the head",
                      file=sys.stderr, flush=True)
    return [Row(board, model, dataclasses.replace(
                estimate(PRESETS[model], BuildConfig.parse(board.build)),
                clock_hz=board.clock_hz, memory_rate=board.memory_rate),
                layers.get((board.build, model)))
            for board in BOARDS for model in board.published]


def build_luts(build: BuildConfig, cost: pathlib.Path = COST) -> int:
    """Return about how many LUT4 a build takes, by what its blocks do when routed for ECP5.

    Cores, quantisers and rows of the element path, and beside them a whole small build, in place of
    what does not grow.
    """
    luts = {name: block["luts"] for name, block in json.loads(cost.read_text())["blocks"].items()}
    width = max(width for width in (4, 16, 64) if width <= max(4, build.beat_bytes))
    row = 3 * luts["Dequantise"] + luts["Mixer"] + luts["Residual"] + luts["Statistics"]
    return round(luts[f"TernaryCore P={width}"] / width * build.stripe_bytes
                 + luts["Quantiser V=8"] / 8 * build.vector_width + row * build.element_width
                 + luts["Soc P=4 V=2"])


def peer_table(rows: Iterable[Row]) -> str:
    """Markdown table of boards and models, with what peers publish."""
    lines = ["| board | build: P x G, V, E | model | cycles of a token (estimated) | a layer and "
             "the head: simulated (estimated) | tok/s (estimated) | of the roof | LUT4 (estimated),"
             " of the device's LUTs | published there, tok/s |",
             "|---|---|---|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        board, build, found = row.board, BuildConfig.parse(row.board.build), row.estimated
        luts = build_luts(build)
        layer = "" if row.layer is None else (
            f"{row.layer:,} ({estimate(one_layer(row.model), build).core_cycles:,})")
        lines.append(
            f"| {board.name}, {board.clock_hz / 1e6:.0f} MHz | {build.beat_bytes} x "
            f"{build.groups}, {build.vector_width}, {build.element_width} | {row.model} | "
            f"{round(found.cycles):,} | {layer} | {speed(found.tokens_per_second)} | "
            f"{found.tokens_per_second / found.roof:.1%} | "
            f"{luts / 1000:,.0f} k, {luts / board.luts:.0%} | {row.board.published[row.model]} |")
    return "\n".join(lines)
