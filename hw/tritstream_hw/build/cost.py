"""What every block costs alone, synthesised as boards are and routed for one part.

Run it as ``python -m tritstream_hw.build.cost``.
The results are kept in ``bitstreams/cost.json`` and ``bitstreams/cost.md``; what is not run again
stays as it is.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

from amaranth.back import rtlil
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream.errors import BadInput, FitError, TritstreamError
from tritstream.formats import FORMATS, UNIT
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.toolchains import TRELLIS
from tritstream_hw.build.cost_harness import Harness
from tritstream_hw.build.report import parse_cells
from tritstream_hw.build.synthesis import PREPARE, synthesise
from tritstream_hw.build.toolchain import run_tool, version
from tritstream_hw.construct import construct
from tritstream_hw.control import Control
from tritstream_hw.elements.dequantise import Dequantise
from tritstream_hw.elements.mixer import Mixer
from tritstream_hw.elements.residual import Residual
from tritstream_hw.elements.state import StatePorts
from tritstream_hw.elements.vectors import VectorMemory
from tritstream_hw.flash.chip import SPI_16MB
from tritstream_hw.flash.reader import FlashReader
from tritstream_hw.flash.starter import FlashStarter
from tritstream_hw.gemv.activations import ActivationMemory
from tritstream_hw.gemv.core import TernaryCore
from tritstream_hw.gemv.gemv import Gemv
from tritstream_hw.gemv.trit import TritDecoder
from tritstream_hw.head.chain import TopKChain
from tritstream_hw.head.digest import VectorDigest
from tritstream_hw.head.topk import TopK
from tritstream_hw.link import Link
from tritstream_hw.memory.player import Player
from tritstream_hw.norm.quantiser import Quantiser
from tritstream_hw.norm.scalars import Scalars
from tritstream_hw.norm.statistics import Statistics
from tritstream_hw.phy.uart import UartReceiver, UartTransmitter
from tritstream_hw.sequencer import Sequencer
from tritstream_hw.soc import Soc
from tritstream_hw.tape.gains import GainBanks
from tritstream_hw.tape.reader import TapeReader
from tritstream_hw.tape.row import RowReader

__all__ = ["BLOCKS", "Cost", "check", "main", "measure"]

PART = "LFE5U-85F-6BG381C"
NEXTPNR = ["--85k", "--package", "CABGA381", "--speed", "6", "--freq", "200", "--seed", "1",
           "--timing-allow-fail", "--lpf-allow-unconstrained"]

MOST_PER_TRIT = 26          # TRELLIS_COMB of the core per trit and cycle, at P = 16
LEAST_MHZ = 200             # of the core, at P = 16
CORE = "TernaryCore P=16"

CONFIG = BuildConfig()
MEMORY_BYTES = 32 << 20    # of the player, which counts its beats
BOARD = TARGETS["ulx3s_85f_bram"]
SYNTHESIS = f"""
read_rtlil top.il
{PREPARE}
synth_ecp5 {" ".join(BOARD.synth_options)} -top top
{BOARD.after_synth}
write_json top.json
"""
NARROW = dataclasses.replace(BOARD.config, beat_bytes=4, vector_width=2, memory_bytes=32 << 10)


def _wide(beat_bytes: int) -> BuildConfig:
    return dataclasses.replace(CONFIG, beat_bytes=beat_bytes, vector_width=min(8, beat_bytes))


def _vectors(vector_width: int) -> BuildConfig:
    return dataclasses.replace(CONFIG, vector_width=vector_width)


BLOCKS: dict[str, Callable[[], wiring.Component]] = {
    "TritDecoder": TritDecoder,
    **{f"TernaryCore P={width}": lambda width=width: construct(TernaryCore, _wide(width))
       for width in (4, 16, 64)},
    "TernaryCore P=16 T=4": lambda: construct(
        TernaryCore, dataclasses.replace(_wide(16), lanes=4)),
    **{f"Gemv P={width}": lambda width=width: construct(Gemv, _wide(width))
       for width in (4, 16)},
    "ActivationMemory": lambda: construct(ActivationMemory, CONFIG),
    "Dequantise": lambda: construct(Dequantise, CONFIG),
    "Mixer": Mixer,
    "Mixer, shared": lambda: Mixer(element_cycles=4),
    "Residual": Residual,
    "Statistics": lambda: construct(Statistics, CONFIG),
    "Statistics, shared": lambda: Statistics(element_width=1, element_cycles=4),
    **{f"Scalars, {units} of {bits} bits": lambda units=units, bits=bits: Scalars(
        scalar_units=units, digit_bits=bits, lead=6) for units, bits in ((1, 1), (3, 2))},
    **{f"Quantiser V={width}": lambda width=width: construct(Quantiser, _vectors(width))
       for width in (1, 8)},
    "GainBanks": lambda: construct(GainBanks, CONFIG),
    "VectorMemory": lambda: construct(VectorMemory, CONFIG),
    "StatePorts": lambda: construct(StatePorts, CONFIG),
    "TopK": lambda: construct(TopK, CONFIG),
    "TopKChain": lambda: construct(TopKChain, CONFIG),
    "VectorDigest": lambda: construct(VectorDigest, CONFIG),
    "TapeReader": lambda: TapeReader(CONFIG),
    "RowReader": lambda: construct(RowReader, CONFIG),
    "Sequencer": lambda: Sequencer(CONFIG),
    "Player": lambda: Player(beat_bytes=CONFIG.beat_bytes, memory_units=MEMORY_BYTES // UNIT),
    "Link": lambda: construct(Link, CONFIG),
    "Control": lambda: Control(CONFIG, bytes(8)),
    "FlashReader": lambda: FlashReader(address=SPI_16MB.offset),
    "FlashStarter": lambda: FlashStarter(unit_bytes=UNIT, memory_units=MEMORY_BYTES // UNIT),
    "UartReceiver": lambda: UartReceiver(BOARD.config.clock_hz, BOARD.baud),
    "UartTransmitter": lambda: UartTransmitter(BOARD.config.clock_hz, BOARD.baud),
    "Accelerator P=4 V=2": lambda: Accelerator(NARROW),
    "Accelerator P=16 V=8": lambda: Accelerator(CONFIG),
    "Soc P=4 V=2": lambda: Soc(NARROW, bytes(8), Accelerator(NARROW)),
}
"""Blocks by name; where no parameter is named, it is that of `BuildConfig`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a block needs, without what its harness does."""

    luts: int
    flip_flops: int
    distributed_rams: int
    block_rams: int
    multipliers: int
    mhz: float


def measure(name: str, directory: pathlib.Path) -> Cost:
    """Synthesise, place and route one of `BLOCKS` in a directory."""
    harness = Harness(BLOCKS[name]())
    (directory / "top.il").write_text(rtlil.convert(
        harness, name="top", platform=BOARD.platform(), emit_src=False))
    (directory / "top.ys").write_text(SYNTHESIS)
    synthesise(["yosys", "-q", "top.ys"], directory)
    run_tool(["nextpnr-ecp5", *NEXTPNR, "--json", "top.json", "--report", "top.report"], directory)
    used, mhz = parse_cells((directory / "top.report").read_text())
    return Cost(luts=used["TRELLIS_COMB"] - harness.luts,
                flip_flops=used["TRELLIS_FF"] - harness.flip_flops,
                distributed_rams=used["TRELLIS_RAMW"], block_rams=used["DP16KD"],
                multipliers=used["MULT18X18D"], mhz=mhz)


def check(costs: dict[str, Cost]) -> None:
    """Raise `FitError` if the core is larger or slower than it may be."""
    core = costs.get(CORE)
    if core is None:
        raise BadInput(f"{CORE} has not been measured: run make cost.")
    trits = FORMATS.trits_per_byte * CONFIG.beat_bytes
    if core.luts > MOST_PER_TRIT * trits:
        raise FitError(f"{CORE} takes {core.luts / trits:.1f} TRELLIS_COMB per trit and cycle, "
                       f"more than {MOST_PER_TRIT}: make its trees smaller.")
    if core.mhz < LEAST_MHZ:
        raise FitError(f"{CORE} reaches {core.mhz:.1f} MHz, less than {LEAST_MHZ}: shorten its "
                       "longest path.")


def load(path: pathlib.Path) -> dict[str, Cost]:
    """Read results that were kept; none if there is no file."""
    if not path.exists():
        return {}
    return {name: Cost(**entry) for name, entry in json.loads(path.read_text())["blocks"].items()}


def save(directory: pathlib.Path, costs: dict[str, Cost]) -> None:
    """Write all results, in the order of `BLOCKS`."""
    costs = {name: costs[name] for name in BLOCKS if name in costs}
    table = {"part": PART, "evidence": "routed",
             "tools": {name: version(name) for name in TRELLIS.tools},
             "blocks": {name: dataclasses.asdict(cost) for name, cost in costs.items()}}
    (directory / "cost.json").write_text(json.dumps(table, indent=2) + "\n")
    (directory / "cost.md").write_text(_page(costs))


def _page(costs: dict[str, Cost]) -> str:
    lines = [
        "# What every block costs",
        "",
        f"Written by `make cost`: each block alone between registers, synthesised and routed for "
        f"{PART}; evidence: routed, one seed.",
        f"P = {CONFIG.beat_bytes}, V = {CONFIG.vector_width}, hidden {CONFIG.max_hidden}, "
        f"intermediate {CONFIG.max_intermediate}, vocabulary {CONFIG.max_vocab}, unless named. "
        "Registers of the harness are not counted.",
        "",
        "| block | LUT4 (TRELLIS_COMB) | flip-flops | TRELLIS_RAMW | block RAM | multipliers "
        "| Fmax, MHz |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, cost in costs.items():
        cells = [cost.luts, cost.flip_flops, cost.distributed_rams, cost.block_rams,
                 cost.multipliers]
        lines.append(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells)
                     + f" | {cost.mhz:.0f} |")
    lines += ["", "LUT4 of the core per trit, cycle and token, decoders included: " + ", ".join(
        f"{cost.luts / _trits(name):.1f} at {name.partition(' ')[2]}"
        for name, cost in costs.items() if "TernaryCore" in name) + "."]
    return "\n".join(lines) + "\n"


def _trits(name: str) -> int:
    """Return how many trits a core of this name takes in a cycle, for each of its tokens."""
    sizes = dict(size.split("=") for size in name.split(" ")[1:])
    return FORMATS.trits_per_byte * int(sizes["P"]) * int(sizes.get("T", 1))


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit code is 5 if ``--check`` fails."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_hw.build.cost", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="measure only blocks whose name has TEXT in it; '' is all")
    parser.add_argument("--check", action="store_true",
                        help="fail if the core is too large or too slow")
    parser.add_argument("--output", metavar="DIRECTORY", type=pathlib.Path,
                        default=pathlib.Path("bitstreams"))
    options = parser.parse_args(arguments)
    try:
        _measure_all(options.only, options.output)
        if options.check:
            check(load(options.output / "cost.json"))
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _measure_all(only: str, output: pathlib.Path) -> None:
    names = [name for name in BLOCKS if only in name]
    if not names:
        raise BadInput(f"No block has {only!r} in its name; there are: {', '.join(BLOCKS)}.")
    output.mkdir(parents=True, exist_ok=True)
    costs = load(output / "cost.json")
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            costs[name] = measure(name, pathlib.Path(directory))
        cost = costs[name]
        print(f"{name:24} {cost.luts:7,} LUT4 {cost.flip_flops:7,} flip-flops "
              f"{cost.block_rams:4} block RAMs {cost.multipliers:4} multipliers "
              f"{cost.mhz:6.1f} MHz   ({time.monotonic() - began:.0f} s)", flush=True)
        save(output, costs)


if __name__ == "__main__":
    sys.exit(main())
