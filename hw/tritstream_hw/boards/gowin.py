"""What boards with a GW2AR have in common: toolchain, SDRAM in the package, tops and targets."""

import types
from collections.abc import Callable, Iterator

from amaranth import *
from amaranth.hdl import IOPort
from amaranth.lib import io, wiring
from amaranth.vendor import GowinPlatform

from tritstream.build import BuildConfig
from tritstream_hw.boards.gowin_clocks import GowinClocks, GowinDividers
from tritstream_hw.boards.target import Target, clocked
from tritstream_hw.boards.toolchains import APICULA
from tritstream_hw.boards.uart_top import UartTop
from tritstream_hw.memory.sdr.chip import SDR_8MB
from tritstream_hw.memory.sdr.memory import SdrMemory
from tritstream_hw.phy.sdr_cells import CELL_CYCLES, SdrCellPhy

__all__ = ["PACKAGE_PINS", "ApiculaPlatform", "PackagedSdramTop", "packaged_sdram_target"]

BAUD = 2_000_000
QUEUE_BEATS = 512
MEMORY_HZ = 117_000_000     # 27 MHz / 3 x 13
# The chip's clock is 5.9 ns behind the FPGA's, and 2.7 ns ahead of its next edge, from which on the
# cells at the pads change what is there. The chip's words are there from 5.8 ns before the edge at
# which they are taken, to 0.2 ns before it, less what the pads take both ways: that may be 0.2 to
# 5.8 ns.
CHIP_PHASE = 11

# P = 8 takes 528 MB/s at the usual clock, the memory brings 464. With V = 1 what is beside the core
# shares its units, and 83 % of the sites of LUTs and carries are taken in place of 95 %.
CONFIG = BuildConfig(beat_bytes=8, vector_width=1, max_hidden=512, max_intermediate=1408,
                     max_vocab=4096, max_state=4096, max_stages=64, memory_bytes=SDR_8MB.bytes)
CLOCK_HZ = 66_000_000       # the UART's, times 33

PACKAGE_PINS = {
    "clk": "O_sdram_clk", "clk_en": "O_sdram_cke", "cs": "O_sdram_cs_n", "ras": "O_sdram_ras_n",
    "cas": "O_sdram_cas_n", "we": "O_sdram_wen_n", "dqm": "O_sdram_dqm", "ba": "O_sdram_ba",
    "a": "O_sdram_addr", "dq": "IO_sdram_dq"}
"""Ports of the SDRAM in the package: place and route knows their pads by these names."""

_OPERAND_BITS = 18
INVERTED = ("cs", "ras", "cas", "we")


# Two flip-flops that share a clock enable and a reset fit side by side, and no others. What few
# flip-flops have in common is in LUTs therefore: with 322 such sets instead of 74 the placer's
# time went into cells that took each other's places. `flow3` saves a hundredth of the LUTs.
FEWEST = 32
FLIP_FLOPS = "-cell $_DFF_?_ 0 -cell $_DFFE_?P_ 0 -cell $_SDFF_?P?_ r -cell $_SDFFE_?P?P_ r"
_SYNTH = 'synth_gowin {{get_override("synth_opts")|options}} -top {{name}}'
_SYNTH_IN_PARTS = "\n            ".join([
    "scratchpad -copy abc9.script.flow3 abc9.script",
    _SYNTH.replace("synth_gowin", "synth_gowin -run begin:map_ffs"),
    "opt_clean",
    f"dfflegalize {FLIP_FLOPS} -mince {FEWEST} -minsrst {FEWEST}",
    _SYNTH.replace("synth_gowin", "synth_gowin -run map_ffs:")])


class ApiculaPlatform(GowinPlatform):
    """A GW2A whose bitstream nextpnr-himbaechel and Apicula make.

    Amaranth's own commands are those of nextpnr-gowin, which came before and is not packaged any
    more; they hand on neither the frequencies of clocks, nor the name of the die.
    """

    die = "GW2A-18C"
    required_tools = APICULA.tools
    command_templates = [
        GowinPlatform._apicula_command_templates[0],
        r"""
        {{invoke_tool("nextpnr-himbaechel-gowin")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family={{platform.die}}
            --vopt cst={{name}}.cst
            --sdc {{name}}.sdc
            --json {{name}}.syn.json
        """,
        r"""
        {{invoke_tool("gowin_pack")}}
            -d {{platform.die}}
            -o {{name}}.fs
            {{get_override("gowin_pack_opts")|options}}
            {{name}}.json
        """,
    ]
    file_templates = GowinPlatform._apicula_file_templates | {
        "{{name}}.ys": GowinPlatform._apicula_file_templates["{{name}}.ys"].replace(
            _SYNTH, _SYNTH_IN_PARTS),
        "{{name}}.sdc": r"""
            {% for signal, frequency in platform.iter_signal_clock_constraints() -%}
                create_clock -period {{1000000000/frequency}} [get_nets {{signal|hierarchy(".")}}]
            {% endfor %}
        """,
    }

    def iter_port_constraints_bits(self) -> Iterator[tuple]:
        """Yield the places of pins; those inside the package have none that can be chosen."""
        for name, port, _ in self._design.ports:
            for bit, pin in enumerate(port.metadata):
                if pin is not None:
                    yield f"{name}[{bit}]" if len(port) > 1 else name, pin.name, pin.attrs

    def get_product(self, a: Value, b: Value, o: Signal) -> Elaboratable:
        """Return what drives `o` with the product of signed numbers of 18 bits, two cycles later.

        Yosys leaves the registers of a DSP slice unused. In their place stood flip-flops, each of
        which keeps a LUT from being used: of this design, a sixteenth of the part.
        """
        m = Module()
        product = Signal(signed(2 * _OPERAND_BITS))
        m.submodules.slice = Instance(
            "MULT18X18",
            p_AREG=C(1, 1), p_BREG=C(1, 1), p_OUT_REG=C(1, 1), p_PIPE_REG=C(0, 1),
            p_ASIGN_REG=C(0, 1), p_BSIGN_REG=C(0, 1), p_SOA_REG=C(0, 1), p_MULT_RESET_MODE="SYNC",
            i_CLK=ClockSignal(), i_CE=C(1), i_RESET=C(0),
            i_A=_operand(a), i_ASIGN=C(1), i_ASEL=C(0), i_SIA=C(0, _OPERAND_BITS),
            i_B=_operand(b), i_BSIGN=C(1), i_BSEL=C(0), i_SIB=C(0, _OPERAND_BITS),
            o_DOUT=product)
        m.d.comb += o.eq(product)
        return m


def _operand(value: Value) -> Value:
    """Return a signed number as wide as a DSP slice takes it."""
    sign = value[-1].replicate(_OPERAND_BITS - len(value))
    return Cat(value, sign)


def _package_ports() -> types.SimpleNamespace:
    """Return the ports of the SDRAM in the package, as a board's resource ``sdram`` has them."""
    widths = {"dqm": SDR_8MB.word_bytes, "ba": SDR_8MB.bank_bits, "a": SDR_8MB.row_bits,
              "dq": SDR_8MB.word_bits}
    return types.SimpleNamespace(**{
        resource: io.SingleEndedPort(IOPort(widths.get(resource, 1), name=name),
                                     invert=resource in INVERTED,
                                     direction="io" if resource == "dq" else "o")
        for resource, name in PACKAGE_PINS.items()})


class PackagedSdramTop(UartTop):
    """The image lies in the SDRAM in the package, which has a clock of its own."""

    def elaborate(self, platform):
        m = Module()
        chip, hz = SDR_8MB, self._config.clock_hz
        for name, its_hz in {"sync": hz, "memory": MEMORY_HZ, "chip": MEMORY_HZ}.items():
            domain = ClockDomain(name, reset_less=True)
            m.domains += domain
            platform.add_clock_constraint(domain.clk, its_hz)
        m.submodules.oscillator = oscillator = io.Buffer(
            "i", platform.request(platform.default_clk, dir="-"))
        source = oscillator.i, int(platform.default_clk_frequency)
        m.submodules.clocks = GowinClocks(*source, hz, domain="sync")
        m.submodules.memory_clocks = GowinClocks(*source, MEMORY_HZ, domain="memory", behind="chip",
                                                 phase=CHIP_PHASE)
        memory = SdrMemory(chip=chip, clock_hz=MEMORY_HZ, beat_bytes=self._config.beat_bytes,
                           beats=QUEUE_BEATS, read_cycles=chip.cas_latency + CELL_CYCLES)
        self._connect(m, platform, memory)
        m.submodules.phy = phy = SdrCellPhy(chip, _package_ports())
        wiring.connect(m, memory.pads, phy.pads)
        return m


def packaged_sdram_target(platform: Callable[[], ApiculaPlatform], *, clock_hz: int = CLOCK_HZ,
                          **board) -> Target:
    """Return the target of a board whose FPGA is a GW2AR-18, with an SDRAM of 8 MiB in its package.

    Parameters
    ----------
    platform : callable
        Makes the platform, which has an oscillator and the resource ``uart``.
    clock_hz : int
        Of everything but the memory.
    board
        What else `Target` wants to know: ``name``, ``link``, ``loader``, ``evidence``.
    """
    pins = platform()
    source_hz = int(pins.default_clk_frequency)

    def check_clock(clock_hz: int) -> None:
        GowinDividers.of(source_hz, clock_hz)

    return Target(
        fpga=pins.part, luts=20_736, block_rams=46, toolchain=APICULA, platform=platform,
        top=PackagedSdramTop, check_clock=check_clock, baud=BAUD,
        config=clocked(CONFIG, clock_hz, BAUD),
        memory=f"8 MiB SDRAM at {MEMORY_HZ / 1e6:.4g} MHz", chip=SDR_8MB,
        memory_rate=round(0.991 * SDR_8MB.word_bytes * MEMORY_HZ),      # simulated
        synth_options=("-nowidelut", "-family", "gw2a"),
        # The placer spreads LUTs, carries and flip-flops each for themselves, though they take each
        # other's sites. With its own density of 0.9 most cells found none near where they belong.
        nextpnr_options=("--placer-heap-beta", "0.6", "--placer-heap-alpha", "0.2"), **board)
