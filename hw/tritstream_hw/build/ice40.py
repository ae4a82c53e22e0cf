"""How far the smallest build is from an iCE40UP5K, block by block.

Run it as ``python -m tritstream_hw.build.ice40``. No board is built for that part: what is written
to ``bitstreams/ice40.json`` and ``bitstreams/ice40.md`` says why.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import re
import sys
import tempfile
import time

from amaranth.back import rtlil
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream.errors import BadInput, ToolFailed, TritstreamError
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.arithmetic.crc import Crc32
from tritstream_hw.build.toolchain import WITHOUT_ASSERTIONS, ToolRun, version
from tritstream_hw.gemv.core import TernaryLane, groups_layout
from tritstream_hw.gemv.trit import TritDecoder
from tritstream_hw.head.topk import entry_layout
from tritstream_hw.phy.uart import UartReceiver, UartTransmitter
from tritstream_hw.soc import Soc
from tritstream_hw.stage import stage_layout
from tritstream_hw.tape.layouts import HEADER_LAYOUT

__all__ = ["AVAILABLE", "BLOCKS", "SMALLEST", "Taken", "main", "measure"]

PART = "iCE40UP5K-SG48"
NEXTPNR = ["--up5k", "--package", "sg48", "--pack-only"]
TOOLS = "yosys", "nextpnr-ice40"
# ABC, compiled to WebAssembly, ends without a word on some blocks with one of these; of all blocks
# together, the first takes it many minutes.
SYNTHESES = "synth_ice40 -dsp -dff -device u", "synth_ice40 -dsp -device u"

BAUD = 3_000_000
QUEUE = 8                   # places of the core's queue
SMALLEST = BuildConfig(
    beat_bytes=1, vector_width=1, max_hidden=60, max_intermediate=192, max_vocab=512,
    max_state=300, max_stages=22, memory_bytes=128 << 10, clock_hz=24_000_000)
"""A byte per cycle, and no more of anything than `tiny` needs; its image would be in the SPRAM."""

SOC = "Soc"
BLOCKS = {
    "Link": "link",
    "- Deframer": "link.deframer",
    "- Receiver": "link.receiver",
    "- Acknowledger": "link.acknowledger",
    "- Transmitter": "link.transmitter",
    "Player": "player",
    "Control": "control",
    "- Parser": "control.parser",
    "- Identify": "control.identify",
    "- Configure": "control.configure",
    "- Run": "control.run",
    "- Access": "control.access",
    "- Spaces": "control.spaces",
    "TapeReader": "accelerator.reader",
    "- HeaderJudge": "accelerator.reader.judge",
    "RowReader": "accelerator.row",
    "Sequencer": "accelerator.sequencer",
    "GainPorts": "accelerator.gains",
    "Quantiser": "accelerator.quantiser",
    "ActivationMemory": "accelerator.activations",
    "Gemv": "accelerator.gemv",
    "- TernaryCore": "accelerator.gemv.core",
    "- Feeder": "accelerator.gemv.feeder",
    "- Serialiser": "accelerator.gemv.serialiser",
    "ElementPath": "accelerator.elements",
    "- Dequantise": "accelerator.elements.lane0.dequantise0",
    "- Mixer": "accelerator.elements.lane0.mixer",
    "VectorPorts": "accelerator.vectors",
    "StatePorts": "accelerator.state",
    "Statistics": "accelerator.statistics",
    "Scalars": "accelerator.scalars",
    "- NormRoot": "accelerator.scalars.norm",
    "- ScalarUnit": "accelerator.scalars.unit0",
    "Head": "accelerator.head",
    "- TopK": "accelerator.head.topk",
    "VectorDigest": "accelerator.vector_digest",
    SOC: "",
}
"""Where each block is in the `Soc`; a dash is before a part of the block above."""

PARTS = {
    "UartReceiver": lambda: UartReceiver(SMALLEST.clock_hz, BAUD),
    "UartTransmitter": lambda: UartTransmitter(SMALLEST.clock_hz, BAUD),
    "CRC-32 of bytes": lambda: Crc32(data_bits=8),
    "TritDecoder": TritDecoder,
    "Accumulators of five rows": lambda: TernaryLane(beat_bytes=1, acc_bits=SMALLEST.acc_bits),
}
"""What has to be there, however the rest is made."""

LEAST = {
    "UART": (90, "as measured"),
    "CRC-32": (150, "two remainders, of the link and of vectors, each with the matrix of a byte; "
                    "that of vectors makes DIGEST's, too"),
    "Link": (300, "a byte comes or goes in 80 cycles, so that numbers, credit, timers and headers "
                  "lie in block RAM, behind one adder of 8 bits"),
    "Memory": (110, "an address of 17 bits and a count of beats, each a carry chain; the halves of "
                    "the SPRAM's words"),
    "Control": (250, "arguments and configuration in block RAM, checked byte by byte; some 40 "
                     "states and the choice of a reply's byte"),
    "Tape": (150, "fields stay in block RAM; counters of rows, columns and blocks, 56 bits, and "
                  "the operation"),
    "Gemv": (260, "a decoder, five times 8 gates of an activation and 16 bits of adder with their "
                  "flip-flops, none between these, the way out of five sums, addresses"),
    "Elements": (640, "dequantiser, mixer, statistics, scalars and quantiser as a microprogram: an "
                      "adder of 32 bits with two selected operands (100), operands and result "
                      "(100), 4 multipliers as one of 32 x 16 bits that shifts, too (80), a "
                      "digit of quotient or root (60), registers, x, h, gains and sigmoid by one "
                      "address each in block RAM (120), the program's counter, branches and loops "
                      "(80), first row sum to last (100)"),
    "Measures": (80, "cycles and stalls of a pass, of which only the low bits are counters, and "
                     "the list of candidates in block RAM"),
    "Ways between": (250, "block RAM has 16 bits and a port to read: who has it when"),
}
"""Logic cells that a build made for this part could need, unit by unit, and why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taken:
    """What a design takes of the part.

    Parameters
    ----------
    cells : int
        Logic cells: of a LUT, a carry and a flip-flop each, where these can be joined.
    luts, carries, flip_flops : int
        What they are made of.
    block_rams : int
        Of 4 Kbit.
    multipliers : int
        Of 16 bits.
    """

    cells: int
    luts: int
    carries: int
    flip_flops: int
    block_rams: int
    multipliers: int


AVAILABLE = Taken(cells=5280, luts=5280, carries=5280, flip_flops=5280, block_rams=30,
                  multipliers=8)
"""What there is of each."""


def measure(text: str, top: str, directory: pathlib.Path, *, syntheses=SYNTHESES) -> Taken:
    """Synthesise and pack one module of a design, which is given as RTLIL.

    It is synthesised in the first of several ways that does not fail.
    """
    (directory / "top.il").write_text(text)
    _synthesise(top, directory, syntheses)
    of_type = json.loads((directory / "stat.json").read_text())["design"]["num_cells_by_type"]
    packed = dict(re.findall(r"(\w+): +(\d+)/", _run(
        directory, "nextpnr-ice40", *NEXTPNR, "--json", "top.json")))
    return Taken(
        cells=int(packed["ICESTORM_LC"]), luts=of_type.get("SB_LUT4", 0),
        carries=of_type.get("SB_CARRY", 0),
        flip_flops=sum(n for name, n in of_type.items() if name.startswith("SB_DFF")),
        block_rams=int(packed["ICESTORM_RAM"]), multipliers=int(packed["ICESTORM_DSP"]))


def _synthesise(top: str, directory: pathlib.Path, syntheses) -> None:
    for synthesis in syntheses:
        try:
            _run(directory, "yosys", "-q", "-p",
                 f"read_rtlil top.il; hierarchy -top {top}; {WITHOUT_ASSERTIONS}; {synthesis} "
                 f"-top {top} -json top.json; tee -q -o stat.json stat -json")
            return
        except ToolFailed:
            if synthesis is syntheses[-1]:
                raise


def _run(directory: pathlib.Path, *command: str) -> str:
    run = ToolRun(command, directory, f"{command[0]}.out")
    try:
        if not run.succeeded:
            raise run.failure()
        return run.output
    finally:
        run.stop()


@functools.cache
def _soc() -> str:
    return _convert(Soc(SMALLEST, bytes(8), Accelerator(SMALLEST)))


def _convert(component: wiring.Component) -> str:
    return rtlil.convert(component, name="top", emit_src=False)


def load(path: pathlib.Path) -> dict[str, Taken]:
    """Read results that were kept; none if there is no file."""
    if not path.exists():
        return {}
    return {name: Taken(**entry) for name, entry in json.loads(path.read_text())["blocks"].items()}


def save(directory: pathlib.Path, results: dict[str, Taken]) -> None:
    """Write all results, in the order of `BLOCKS` and `PARTS`."""
    results = {name: results[name] for name in [*BLOCKS, *PARTS] if name in results}
    table = {"part": PART, "evidence": "estimated", "available": dataclasses.asdict(AVAILABLE),
             "tools": {name: version(name) for name in TOOLS},
             "blocks": {name: dataclasses.asdict(taken) for name, taken in results.items()}}
    (directory / "ice40.json").write_text(json.dumps(table, indent=2) + "\n")
    (directory / "ice40.md").write_text(_page(results))



def _page(results: dict[str, Taken]) -> str:
    lines = [
        f"# How far the smallest build is from an {PART}",
        "",
        "Written by `make ice40`: each block alone, synthesised and packed into the cells of the "
        "part, neither placed nor routed; evidence: estimated.",
        f"P = {SMALLEST.beat_bytes}, V = {SMALLEST.vector_width}, T = {SMALLEST.lanes}, hidden "
        f"{SMALLEST.max_hidden}, intermediate {SMALLEST.max_intermediate}, vocabulary "
        f"{SMALLEST.max_vocab}, state {SMALLEST.max_state}, {SMALLEST.candidates} candidates: what "
        "`tiny` needs. Its image would be in the SPRAM, which is not counted.",
        "",
        "| block | logic cells | of all | LUT4 | carries | flip-flops | block RAM | multipliers |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(name, results[name]) for name in BLOCKS if name in results]
    lines += [_row("the part has", AVAILABLE), "", *_reasons(results)]
    return "\n".join(lines) + "\n"


def _row(name: str, taken: Taken) -> str:
    cells = [taken.luts, taken.carries, taken.flip_flops, taken.block_rams, taken.multipliers]
    return (f"| {name} | {taken.cells:,} | {100 * taken.cells / AVAILABLE.cells:.0f} % | "
            + " | ".join(f"{cell:,}" for cell in cells) + " |")


def _reasons(results: dict[str, Taken]) -> list[str]:
    """Return why it does not fit, and what could."""
    total, soc = sum(cells for cells, _ in LEAST.values()), results.get(SOC)
    header, kept = HEADER_LAYOUT.size, stage_layout(SMALLEST).size
    queued = QUEUE * groups_layout(SMALLEST.acc_bits).size
    ranked = SMALLEST.candidates * entry_layout(SMALLEST.acc_bits).size
    lines = ["## Why", ""]
    if soc is not None:
        lines += [
            f"It is {soc.cells / AVAILABLE.cells:.1f} times as large as the part, and what it is "
            "made of is not what this part has:",
            f"* {soc.flip_flops:,} flip-flops. A header is there twice, {header} and {kept} bits, "
            "for the next one is collected and judged while a stage runs; pipelines of the "
            "element path keep what they need of the rows of some 40 cycles.",
            f"* Small memories that are read in the cycle of their address are RAM of LUTs on "
            f"other parts. Here they are flip-flops and multiplexers: {queued:,} bits of the "
            f"core's queue, {ranked:,} of the list of candidates. What is delayed in such a "
            "memory takes a block RAM of 4 Kbit for a few hundred bits.",
            f"* {soc.multipliers} multipliers of 16 bits. Dequantiser, mixer, statistics, "
            "quantiser and scalars each have their own, for they work at the same time.",
            f"* {soc.block_rams} block RAMs, 12 of them for the link's rings.",
        ]
    lines += [
        "",
        "## What a build for this part could need",
        "",
        "One datapath of 32 bits, a microprogram in block RAM, and nothing in flip-flops that "
        "waits. A row of `tiny` takes some 80 of its cycles, so a token some 154,000 for 1,920 "
        "rows, 30,000 to quantise, and 58,432 for the trits: 100 tokens a second at 24 MHz. "
        "Evidence: estimated; nothing of it has been built, but for the parts measured below.",
        "",
        "| unit | logic cells | why |",
        "|---|---:|---|",
        *(f"| {name} | {cells} | {why} |" for name, (cells, why) in LEAST.items()),
        f"| all | {total:,} | {100 * total / AVAILABLE.cells:.0f} % of the part |",
        "",
        "So state and multipliers do not rule such a build out: with half as much again for what "
        f"an estimate forgets it would have {1.5 * total:,.0f} cells. But it shares no more than "
        "the decoder, the formats and the link's protocol with the gateware that there is: every "
        "other block would be there a second time, as a program, to be verified like the first.",
        "",
        "| measured alone | logic cells | of all | LUT4 | carries | flip-flops | block RAM | "
        "multipliers |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        *(_row(name, results[name]) for name in PARTS if name in results),
    ]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_hw.build.ice40",
                                     description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="measure only what has TEXT in its name; '' is all")
    parser.add_argument("--output", metavar="DIRECTORY", type=pathlib.Path,
                        default=pathlib.Path("bitstreams"))
    options = parser.parse_args(arguments)
    try:
        _measure_all(options.only, options.output)
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _measure_all(only: str, output: pathlib.Path) -> None:
    names = [name for name in [*BLOCKS, *PARTS] if only in name]
    if not names:
        raise BadInput(f"Nothing has {only!r} in its name; there are: "
                       f"{', '.join([*BLOCKS, *PARTS])}.")
    output.mkdir(parents=True, exist_ok=True)
    results = load(output / "ice40.json")
    for name in names:
        began = time.monotonic()
        text = _soc() if name in BLOCKS else _convert(PARTS[name]())
        with tempfile.TemporaryDirectory() as directory:
            results[name] = measure(text, f"top.{BLOCKS.get(name, '')}".rstrip("."),
                                    pathlib.Path(directory),
                                    syntheses=SYNTHESES[::-1] if name == SOC else SYNTHESES)
        print(f"{name:28} {results[name].cells:7,} logic cells   "
              f"({time.monotonic() - began:.0f} s)", flush=True)
        save(output, results)


if __name__ == "__main__":
    sys.exit(main())
