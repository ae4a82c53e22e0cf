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
from tritstream_hw.phy.sdr import PAD_CYCLES, SdrPhy

__all__ = ["PACKAGE_PINS", "ApiculaPlatform", "PackagedSdramTop", "packaged_sdram_target"]

BAUD = 2_000_000
QUEUE_BEATS = 512
# The chip's clock is 2 ns ahead of the FPGA's, at 60 MHz. What leaves a flip-flop is at the chip
# until then, however short its way is; and the chip's words are there from 7.4 ns before the edge
# at which they are taken, to 0.4 ns behind it, less and more what the ways of the pads take: from
# nothing to 6 ns is allowed.
CHIP_PHASE = 14

CONFIG = BuildConfig(beat_bytes=4, vector_width=2, max_hidden=512, max_intermediate=1408,
                     max_vocab=4096, max_state=4096, max_stages=64, memory_bytes=SDR_8MB.bytes)
CLOCK_HZ = 60_000_000

PACKAGE_PINS = {
    "clk": "O_sdram_clk", "clk_en": "O_sdram_cke", "cs": "O_sdram_cs_n", "ras": "O_sdram_ras_n",
    "cas": "O_sdram_cas_n", "we": "O_sdram_wen_n", "dqm": "O_sdram_dqm", "ba": "O_sdram_ba",
    "a": "O_sdram_addr", "dq": "IO_sdram_dq"}
"""Ports of the SDRAM in the package: place and route knows their pads by these names."""

INVERTED = ("cs", "ras", "cas", "we")


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
    """The image lies in the SDRAM in the package, whose clock is the system's."""

    def elaborate(self, platform):
        m = Module()
        chip, hz = SDR_8MB, self._config.clock_hz
        for name in ("sync", "memory", "chip"):
            domain = ClockDomain(name, reset_less=True)
            m.domains += domain
            platform.add_clock_constraint(domain.clk, hz)
        m.submodules.oscillator = oscillator = io.Buffer(
            "i", platform.request(platform.default_clk, dir="-"))
        m.submodules.clocks = GowinClocks(
            oscillator.i, int(platform.default_clk_frequency), hz, domains=("sync", "memory"),
            behind="chip", phase=CHIP_PHASE)
        memory = SdrMemory(chip=chip, clock_hz=hz, beat_bytes=self._config.beat_bytes,
                           beats=QUEUE_BEATS, read_cycles=chip.cas_latency + PAD_CYCLES)
        self._connect(m, platform, memory)
        m.submodules.phy = phy = SdrPhy(chip, _package_ports())
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
        Of everything.
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
        memory=f"8 MiB SDRAM at {clock_hz / 1e6:.4g} MHz", chip=SDR_8MB,
        memory_rate=round(0.986 * SDR_8MB.word_bytes * clock_hz),       # simulated
        synth_options=("-nowidelut", "-family", "gw2a"), **board)
