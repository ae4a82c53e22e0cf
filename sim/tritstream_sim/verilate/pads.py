"""A board as the bitstream has it, from pad to pad, as an executable that the driver talks to."""

import pathlib
import re

from tritstream_hw.boards import Target
from tritstream_hw.boards.ecp5 import FLASH
from tritstream_hw.boards.gowin import PACKAGE_PINS
from tritstream_hw.flash.chip import FlashChip
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_sim.verilate.compile import compile_model
from tritstream_sim.verilate.export import export, ports
from tritstream_sim.verilate.stepped import SOURCE

__all__ = ["MODELS", "build_board", "settings"]

_HERE = pathlib.Path(__file__).parent
MODELS = sorted([*_HERE.glob("primitives/*.v"), *_HERE.glob("chips/*.v")])
"""Sources of all models."""

_ARGUMENTS = ["--timing", "--no-sched-zero-delay", "--timescale", "1ns/1fs",
              "-Wno-PINMISSING",            # a PLL need not have all its outputs
              "-CFLAGS", "-std=c++20"]      # which the wheel's makefile does not ask for

# Some platforms have all their pads in both directions: what stands at one is a wire.
_LINES = {"uart_0__rx__io": "rx_line", "uart_0__tx__io": "tx"}
_WRAPPER = """
module {name}(input rx, output tx);
    wire rx_line = rx;
    {parts}
    {design} pads({connections});
endmodule
"""
_OSCILLATOR = ("reg {pad}_level = 0; always #({half_period}) {pad}_level = ~{pad}_level; "
               "wire {pad} = {pad}_level;")

# Pins of the chip, by the names that boards give them.
_SDR = {"clk": "clk", "clk_en": "cke", "cs": "cs_n", "ras": "ras_n", "cas": "cas_n", "we": "we_n",
        "dqm": "dqm", "ba": "ba", "a": "a", "dq": "dq"}
_SDR_PADS = {f"sdram_0__{resource}__io": pin for resource, pin in _SDR.items()}
_SDR_PADS |= {PACKAGE_PINS[resource]: pin for resource, pin in _SDR.items()}

_FLASH = {"cs": "cs_n", "copi": "copi", "cipo": "cipo", "wp": "wp_n", "hold": "hold_n"}
_FLASH_PADS = {f"{name}_0__{resource}__io": pin
               for name in FLASH for resource, pin in _FLASH.items()}


def build_board(target: Target, build_id: bytes, cache: pathlib.Path) -> pathlib.Path:
    """Compile the top of a board, made for its platform, for a `SteppedTransport`.

    Its pads are those of the platform's file. An oscillator stands at each that has a clock there,
    the host's UART at the resource ``uart``, the target's chip at ``sdram``, or where it is in the
    FPGA's package, and its flash memory at one of `FLASH`. A DDR3 chip is modelled together with
    what is at its pads, so nothing stands there. What Amaranth or the board's own file takes from
    the vendor is modelled in ``primitives``, the chips in ``chips``; both say what of them a run
    can set.

    Parameters
    ----------
    target : Target
        The board, and what is built for it.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    cache : path
        Where builds are kept, see `compile_model`.

    Raises
    ------
    ValueError
        The top has a pad at which nothing stands.
    """
    platform, name = target.platform(), f"board_{target.name}"
    platform.simulated = True
    text = export(target.top(target.config, build_id, target.baud), target.name, platform)
    clocks = {port.name: hz for port, hz in platform.iter_port_clock_constraints()}
    parts = [_OSCILLATOR.format(pad=pad, half_period=1e9 / hz / 2) for pad, hz in clocks.items()]
    pads, stands = ports(text, target.name), _LINES | {pad: pad for pad in clocks}
    if isinstance(target.chip, Ddr3Chip):
        stands |= {pad: "" for pad in pads if pad.startswith("ddr3_0__")}
    elif target.chip is not None:
        pins = {pad: _SDR_PADS[pad] for pad in pads if pad in _SDR_PADS}
        parts.append(_chip(target.chip, pins))
        stands |= {pad: pad for pad in pins}
    if target.flash is not None:
        pins = {pad: _FLASH_PADS[pad] for pad in pads if pad in _FLASH_PADS}
        parts.append(_flash(target.flash, pins))
        stands |= {pad: pad for pad in pins}
    if unknown := sorted(set(pads) - set(stands)):
        raise ValueError(f"nothing stands at {target.name}'s pads {', '.join(unknown)}")
    wrapper = _WRAPPER.format(
        name=name, design=target.name, parts="\n    ".join(parts),
        connections=", ".join(f".{pad}({stands[pad]})" for pad in pads))
    models = [path.read_text() for path in MODELS]
    files = map(str, platform.extra_files.values())         # a DDR3 memory's controller
    return compile_model("\n".join([*models, *files, text, wrapper]), name, cache,
                         arguments=_ARGUMENTS, sources=[SOURCE])


def settings() -> set[str]:
    """Return the names of what a run of the models can set."""
    return {name for path in MODELS
            for name in re.findall(r'plusargs\("(\w+)=', path.read_text())}


def _chip(chip: SdrChip, pins: dict[str, str]) -> str:
    """Return the chip and its wires, each called as the pad where it ends."""
    widths = {"dqm": chip.word_bytes, "ba": chip.bank_bits, "a": chip.row_bits,
              "dq": chip.word_bits}
    wires = [f"wire [{widths.get(pin, 1) - 1}:0] {pad};" for pad, pin in pins.items()]
    numbers = {name.upper(): getattr(chip, name) for name in (
        "word_bits", "column_bits", "row_bits", "cas_latency", "mrd_cycles", "rcd", "rp", "ras",
        "rfc", "wr", "refi", "power_up")}
    values = ", ".join(f".{name}({value})" for name, value in numbers.items())
    connections = ", ".join(f".{pin}_pin({pad})" for pad, pin in pins.items())
    return "\n    ".join([*wires, f"sdr #({values}) chip({connections});"])


def _flash(flash: FlashChip, pins: dict[str, str]) -> str:
    """Return the flash memory and its wires; its clock leaves the FPGA by no pad of the design."""
    wires = [f"wire {pad};" for pad in pins]
    connections = ", ".join(f".{pin}_pin({pad})" for pad, pin in pins.items())
    return "\n    ".join([*wires, f"flash #(.BYTES({flash.bytes}), .IMAGE_AT({flash.offset})) "
                          f"flash_chip(.clk_pin(ecp5::mclk), {connections});"])
