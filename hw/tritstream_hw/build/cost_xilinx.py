"""What every block costs on 7-series and UltraScale+, by synthesis alone.

Run it as ``python -m tritstream_hw.build.cost_xilinx``.
The results are kept in ``bitstreams/cost-xilinx.json`` and ``bitstreams/cost-xilinx.md``; what is
not run again stays as it is. No open tool places and routes these parts here, so nothing is said of
their speed, and how full a part would be is an estimate.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

from amaranth import Const, Value
from amaranth.back import rtlil
from amaranth.lib import wiring

from tritstream.build import BuildConfig
from tritstream.errors import BadInput, ToolFailed, TritstreamError
from tritstream.formats import FORMATS
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.build.cost import BLOCKS as ALONE
from tritstream_hw.build.cost import CONFIG
from tritstream_hw.build.parts import PARTS, Part
from tritstream_hw.build.synthesis import PREPARE, synthesise
from tritstream_hw.build.toolchain import version
from tritstream_hw.soc import Soc

__all__ = ["BLOCKS", "FAMILIES", "Cost", "count_cells", "main", "measure", "page"]

FAMILIES = {"xc7": ("7-series", ""), "xcup": ("UltraScale+", "-uram")}
"""What Yosys calls a family, its name, and what else is asked of Yosys there."""

# As `synth_xilinx` is, but for ABC in place of ABC9, which ends without a word on some blocks with
# many multipliers when it is compiled to WebAssembly. Where both end well, ABC, which looks at the
# delay less, takes up to 7 % fewer LUTs.
SYNTHESIS = """
read_rtlil top.il
{prepare}
synth_xilinx -family {family} -flatten -noiopad -noclkbuf {options} -top top -run begin:map_luts
opt_expr -mux_undef -noclkinv
abc -luts 2:2,3,6:5
clean
xilinx_srl -fixed -minlen 3
techmap -map +/xilinx/lut_map.v -map +/xilinx/cells_map.v -D LUT_WIDTH=6
xilinx_dffopt
opt_lut_ins -tech xilinx
synth_xilinx -family {family} -noiopad -noclkbuf -top top -run finalize:
tee -o cells.json stat -json
"""

WIDTHS = (4, 16, 64)        # bytes per beat of the whole accelerators
WIDEST = f"Accelerator P={WIDTHS[-1]}"
WHOLE = f"Soc P={WIDTHS[-1]}"
PREFETCH_BEATS = 512        # between a memory and the accelerator, as simulated boards have it
MEMORY_BYTES = 1 << 30

# LUTs that a memory or shift register of this kind is made of (UG474, UG574).
MEMORY_LUTS = {
    "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1,
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
}
# An inverter is a LUT, unless place and route puts it into what is behind it.
LOGIC_LUTS = ("INV", *(f"LUT{inputs}" for inputs in range(1, 7)))
KINDS = {
    **dict.fromkeys(LOGIC_LUTS, "luts"),
    **dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), "flip_flops"),
    **dict.fromkeys(("CARRY4", "CARRY8"), "carries"),
    **dict.fromkeys(("DSP48E1", "DSP48E2"), "dsps"),
    **dict.fromkeys(("RAMB18E1", "RAMB18E2"), "ramb18"),
    **dict.fromkeys(("RAMB36E1", "RAMB36E2"), "ramb36"),
    "URAM288": "urams",
}
# They lie beside LUTs that are counted, or are no cells at all.
UNCOUNTED = ("MUXF7", "MUXF8", "MUXF9", "$scopeinfo")


def _accelerator(width: int) -> wiring.Component:
    return Accelerator(BuildConfig.parse(f"p={width}"))


def _soc(width: int) -> wiring.Component:
    config = dataclasses.replace(BuildConfig.parse(f"p={width}"), memory_bytes=MEMORY_BYTES,
                                 prefetch_beats=PREFETCH_BEATS)
    return Soc(config, bytes(8), Accelerator(config))


BLOCKS: dict[str, Callable[[], wiring.Component]] = {
    **{name: block for name, block in ALONE.items() if " of ulx3s" not in name},
    **{f"Accelerator P={width}": lambda width=width: _accelerator(width) for width in WIDTHS},
    WHOLE: lambda: _soc(WIDTHS[-1]),
}
"""Blocks by name; where no parameter is named, it is that of `BuildConfig`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """Cells of a block.

    Parameters
    ----------
    luts, lut6 : int
        LUTs of one to six inputs, inverters among them; those that have six.
    memory_luts : int
        LUTs that are memories or shift registers.
    flip_flops, carries, dsps : int
        CARRY4 are of four bits.
    ramb18, ramb36, urams : int
        Block RAMs of 18 and 36 Kbit, and UltraRAMs of 288 Kbit.
    """

    luts: int = 0
    lut6: int = 0
    memory_luts: int = 0
    flip_flops: int = 0
    carries: int = 0
    dsps: int = 0
    ramb18: int = 0
    ramb36: int = 0
    urams: int = 0

    @property
    def all_luts(self) -> int:
        """LUTs of either use."""
        return self.luts + self.memory_luts

    @property
    def tiles(self) -> float:
        """Block RAMs of 36 Kbit, of which each may be two of 18 Kbit."""
        return self.ramb36 + self.ramb18 / 2


def count_cells(cells: Mapping[str, int]) -> Cost:
    """Add up what Yosys' `stat` counts.

    Raises
    ------
    ToolFailed
        There is a cell of a kind that is not known.
    """
    found = collections.Counter()
    for kind, count in cells.items():
        if kind in MEMORY_LUTS:
            found["memory_luts"] += MEMORY_LUTS[kind] * count
        elif kind in KINDS:
            found[KINDS[kind]] += count
        elif kind not in UNCOUNTED:
            raise ToolFailed(f"yosys has made {count} cells {kind}, of which nobody has said what "
                             "they cost: add them to tritstream_hw.build.cost_xilinx.")
    return Cost(**found, lut6=cells.get("LUT6", 0))


def measure(name: str, family: str, directory: pathlib.Path) -> Cost:
    """Synthesise one of `BLOCKS` for a family in a directory.

    Its ports are those of the block: without place and route nothing has to be around it.
    """
    block = BLOCKS[name]()
    ports = [Value.cast(signal) for _, _, signal in block.signature.flatten(block)]
    (directory / "top.il").write_text(rtlil.convert(
        block, name="top", emit_src=False,
        ports=[port for port in ports if not isinstance(port, Const)]))    # `ready` that always is
    (directory / "top.ys").write_text(SYNTHESIS.format(
        family=family, options=FAMILIES[family][1], prepare=PREPARE))
    synthesise(["yosys", "-q", "top.ys"], directory)
    (module,) = json.loads((directory / "cells.json").read_text())["modules"].values()
    return count_cells(module["num_cells_by_type"])


Costs = dict[str, dict[str, Cost]]
"""Of each family, of each block."""


def load(path: pathlib.Path) -> Costs:
    """Read results that were kept; none if there is no file."""
    if not path.exists():
        return {family: {} for family in FAMILIES}
    kept = json.loads(path.read_text())["families"]
    return {family: {name: Cost(**entry) for name, entry in kept[family].items()}
            for family in FAMILIES}


def save(directory: pathlib.Path, costs: Costs) -> None:
    """Write all results, in the order of `BLOCKS`."""
    costs = {family: {name: found[name] for name in BLOCKS if name in found}
             for family, found in costs.items()}
    table = {"evidence": "estimated", "tools": {"yosys": version("yosys")},
             "families": {family: {name: dataclasses.asdict(cost) for name, cost in found.items()}
                          for family, found in costs.items()}}
    (directory / "cost-xilinx.json").write_text(json.dumps(table, indent=2) + "\n")
    (directory / "cost-xilinx.md").write_text(page(costs))


def page(costs: Costs) -> str:
    """Return the results as a document."""
    widest = BuildConfig.parse(f"p={WIDTHS[-1]}")
    lines = [
        "# What every block costs on 7-series and UltraScale+",
        "",
        "Written by `make cost-xilinx`; evidence: estimated. Each block is alone, by Yosys' "
        "`synth_xilinx -flatten -noiopad -noclkbuf` (UltraScale+: `-uram`) with ABC; nothing is "
        "placed or routed, and no speed is known.",
        "",
        f"P = {CONFIG.beat_bytes}, V = {CONFIG.vector_width}, hidden {CONFIG.max_hidden}, "
        f"intermediate {CONFIG.max_intermediate}, vocabulary {CONFIG.max_vocab}, unless named; "
        f"whole accelerators have the usual V and E of their width (V = {widest.vector_width}, "
        f"E = {widest.element_width} at P = {widest.beat_bytes}). {WHOLE} has link, control and "
        f"player, too, and {PREFETCH_BEATS} beats of prefetch; a memory's controller is not in "
        "it.",
        "",
        "* LUT: LUT1 to LUT6 and inverters, each counted as one. Two small ones can share a LUT6, "
        "which place and route does and nothing here.",
        "* LUT as memory: LUTs that distributed RAM and shift registers are made of.",
        "* CARRY4: on UltraScale+ place and route makes one CARRY8 of two.",
        "* Flip-flops: Yosys puts the registers around a multiplier into a DSP48E1 (7-series), not "
        "into a DSP48E2 (UltraScale+), which has as many.",
        "",
    ]
    for family, found in costs.items():
        lines += [f"## {FAMILIES[family][0]}", "", *_table(found, urams=family == "xcup"), ""]
    lines += _fits(costs) + _per_trit(costs)
    return "\n".join(lines).rstrip() + "\n"


def _table(found: Mapping[str, Cost], *, urams: bool) -> list[str]:
    columns = {"LUT": "luts", "of these LUT6": "lut6", "LUT as memory": "memory_luts",
               "flip-flops": "flip_flops", "CARRY4": "carries", "DSP48": "dsps",
               "RAMB18": "ramb18", "RAMB36": "ramb36", **({"URAM": "urams"} if urams else {})}
    lines = [f"| block | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, cost in found.items():
        cells = [f"{getattr(cost, field):,}" for field in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _fits(costs: Costs) -> list[str]:
    """How full each part would be of the widest accelerator, alone and with all around it."""
    lines = []
    for name in (WIDEST, WHOLE):
        rows = [_fit(part, costs[part.family][name]) for part in PARTS
                if name in costs[part.family]]
        if rows:
            lines += [f"| {name} on | LUT | flip-flops | DSP48 | RAMB36 | URAM |",
                      "|---|---:|---:|---:|---:|---:|", *rows, ""]
    if not lines:
        return []
    return ["## Where it fits", "",
            "Share of the part (estimated); LUTs of both uses, and two RAMB18 as one RAMB36. "
            "Above some 80 % of its LUTs a part is hard to route.", "", *lines]


def _fit(part: Part, cost: Cost) -> str:
    def share(used: float, available: int) -> str:
        if not available:
            return "none, and none needed" if not used else f"{used:,} of 0"
        return f"{used / available:.1%} of {available:,}"

    cells = [share(cost.all_luts, part.luts), share(cost.flip_flops, part.flip_flops),
             share(cost.dsps, part.dsps), share(cost.tiles, part.tiles),
             share(cost.urams, part.urams)]
    return f"| {part.board} ({part.name}) | {' | '.join(cells)} |"


def _per_trit(costs: Costs) -> list[str]:
    """LUTs per trit and cycle, beside what others publish."""
    lines = []
    for family, found in costs.items():
        shares = []
        for name, cost in found.items():
            block, _, width = name.partition(" P=")
            if block in ("TernaryCore", "Accelerator") and width.isdigit():
                trits = FORMATS.trits_per_byte * int(width)
                shares.append((block, f"{cost.all_luts / trits:.1f} at P={width}"))
        for block, what in (("TernaryCore", "core, decoders included"),
                            ("Accelerator", "whole accelerator")):
            of_block = [share for other, share in shares if other == block]
            if of_block:
                lines.append(f"* {FAMILIES[family][0]}, {what}: {', '.join(of_block)}.")
    if not lines:
        return []
    return ["## LUTs per trit and cycle", "", *lines, "",
            "What others publish, counted by Vivado, which lets small LUTs share one: ternfpga "
            "18.6 (7-series; the dot product of eight lanes alone, 149 LUTs, of trits that are "
            "unpacked already), bitnet-kv260 21 to 26 (UltraScale+, XCK26; its engines with all "
            "that is in them). Both are LUTs per product and cycle, as here."]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_hw.build.cost_xilinx",
                                     description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="measure only blocks whose name has TEXT in it; '' is all")
    parser.add_argument("--family", choices=FAMILIES, action="append",
                        help="measure only for this family; may be repeated")
    parser.add_argument("--output", metavar="DIRECTORY", type=pathlib.Path,
                        default=pathlib.Path("bitstreams"))
    options = parser.parse_args(arguments)
    try:
        _measure_all(options.only, options.family or list(FAMILIES), options.output)
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _measure_all(only: str, families: list[str], output: pathlib.Path) -> None:
    names = [name for name in BLOCKS if only in name]
    if not names:
        raise BadInput(f"No block has {only!r} in its name; there are: {', '.join(BLOCKS)}.")
    output.mkdir(parents=True, exist_ok=True)
    costs = load(output / "cost-xilinx.json")
    for name in names:
        for family in families:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as directory:
                cost = costs[family][name] = measure(name, family, pathlib.Path(directory))
            print(f"{name:24} {family:4} {cost.luts:7,} LUT {cost.memory_luts:6,} as memory "
                  f"{cost.flip_flops:7,} flip-flops {cost.dsps:4} DSP48 {cost.tiles:6} RAMB36 "
                  f"{cost.urams:3} URAM   ({time.monotonic() - began:.0f} s)", flush=True)
            save(output, costs)


if __name__ == "__main__":
    sys.exit(main())
