"""What boards with an iCE40UP5K have in common: toolchain, clock, top and targets."""

import dataclasses
from collections.abc import Callable

from amaranth import *
from amaranth.lib import io
from amaranth.vendor import SiliconBluePlatform

from tritstream.analysis.micro import estimate_micro_stage
from tritstream.errors import BadInput
from tritstream_hw.boards.clocks import mhz
from tritstream_hw.boards.target import Target, clocked
from tritstream_hw.boards.toolchains import ICESTORM
from tritstream_hw.boards.uart_top import UartTop
from tritstream_hw.micro.device import LIMITS, MicroDevice

__all__ = ["Ice40Clock", "Ice40Dividers", "MicroTop", "micro_target"]

BAUD = 1_000_000
CLOCK_HZ = 24_000_000

# iCE40 UltraPlus Family Data Sheet (FPGA-DS-02008), sysCLOCK PLL Timing.
OUTPUT_HZ = range(16_000_000, 275_000_001)
VCO_HZ = range(533_000_000, 1_066_000_001)
DETECTOR_HZ = range(10_000_000, 133_000_001)
FEEDBACKS = range(1, 129)
OUTPUTS = range(1, 7)       # powers of two

FILTERS = (17, 26, 44, 66, 101)
"""Frequencies of the phase detector, in MHz, from which on the next filter is chosen."""

BLOCK_RAM_SECONDS = 15e-6
"""Until block RAM can be read: some 3 us behind the configuration it still gives zeros."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ice40Dividers:
    """Dividers of an SB_PLL40 with a simple feedback and no division of its source.

    The oscillator runs at `feedback` times the source, and at two to the power of `output` times
    what is made.
    """

    feedback: int
    output: int

    @classmethod
    def of(cls, source_hz: int, wanted_hz: int) -> "Ice40Dividers":
        """Return dividers that make a clock exactly.

        Raises
        ------
        BadInput
            If there are none.
        """
        made = {}
        for feedback in FEEDBACKS:
            for output in OUTPUTS:
                if source_hz * feedback in VCO_HZ and source_hz in DETECTOR_HZ:
                    made.setdefault(source_hz * feedback / (1 << output),
                                    cls(feedback=feedback, output=output))
        if wanted_hz in made and wanted_hz in OUTPUT_HZ:
            return made[wanted_hz]
        near = sorted((hz for hz in made if int(hz) in OUTPUT_HZ),
                      key=lambda hz: abs(hz - wanted_hz))
        raise BadInput(f"The PLL cannot make {mhz(wanted_hz)} MHz of {mhz(source_hz)} MHz: choose "
                       f"one of {', '.join(map(mhz, sorted(near[:4])))} MHz, or the oscillator's "
                       "own.")


class Ice40Clock(Elaboratable):
    """Drives the clock of the domain ``sync``, and its reset until PLL and block RAM are ready.

    Whoever defines the domain leaves both to it.

    Parameters
    ----------
    hz : int
        Frequency; that of the oscillator is taken as it is.
    """

    def __init__(self, hz: int):
        self._hz = hz

    def elaborate(self, platform):
        m = Module()
        source_hz = int(platform.default_clk_frequency)
        pin = platform.request(platform.default_clk, dir="-")
        clock, locked = Signal(), Signal()
        if self._hz == source_hz:
            m.submodules.oscillator = oscillator = io.Buffer("i", pin)
            m.d.comb += [clock.eq(oscillator.i), locked.eq(1)]
        else:
            dividers = Ice40Dividers.of(source_hz, self._hz)
            m.submodules.pll = Instance(
                "SB_PLL40_PAD", p_FEEDBACK_PATH="SIMPLE", p_PLLOUT_SELECT="GENCLK",
                p_DIVR=C(0, 4), p_DIVF=C(dividers.feedback - 1, 7), p_DIVQ=C(dividers.output, 3),
                p_FILTER_RANGE=C(1 + sum(source_hz >= 1e6 * at for at in FILTERS), 3),
                io_PACKAGEPIN=pin.io, i_RESETB=C(1, 1), i_BYPASS=C(0, 1),
                o_PLLOUTGLOBAL=clock, o_LOCK=locked)
        m.domains.start = start = ClockDomain(reset_less=True, local=True)
        m.d.comb += [ClockSignal().eq(clock), start.clk.eq(clock)]

        stable = Signal(2)
        cycles = int(BLOCK_RAM_SECONDS * self._hz)
        waited, ready = Signal(range(cycles)), Signal()
        m.d.start += stable.eq(Cat(locked, stable))
        with m.If(~stable[-1]):
            m.d.start += [waited.eq(0), ready.eq(0)]
        with m.Elif(waited == cycles - 1):
            m.d.start += ready.eq(1)
        with m.Else():
            m.d.start += waited.eq(waited + 1)
        m.d.comb += ResetSignal().eq(~ready)
        return m


class MicroTop(UartTop):
    """The small build, with its image in the SPRAM."""

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain()
        platform.add_clock_constraint(domain.clk, self._config.clock_hz)
        m.submodules.clock = Ice40Clock(self._config.clock_hz)
        self._attach(m, platform, MicroDevice(self._config, self._build_id))
        return m


def micro_target(platform: Callable[[], SiliconBluePlatform], **board) -> Target:
    """Return the target of a board with an iCE40UP5K and a UART.

    Parameters
    ----------
    platform : callable
        Makes the platform: a class of `amaranth_boards` that has an oscillator and ``uart``.
    board
        What else `Target` wants to know: ``name``, ``link``, ``loader``, ``evidence``.
    """
    pins = platform()
    source_hz = int(pins.default_clk_frequency)

    def check_clock(clock_hz: int) -> None:
        if clock_hz != source_hz:
            Ice40Dividers.of(source_hz, clock_hz)

    return Target(
        fpga=f"{pins.device}-{pins.package}", luts=5_280, block_rams=30, toolchain=ICESTORM,
        platform=platform, top=MicroTop, check_clock=check_clock, baud=BAUD, fixed=True,
        stage_of=estimate_micro_stage, config=clocked(LIMITS, CLOCK_HZ, BAUD),
        memory=f"{LIMITS.memory_bytes >> 10} KiB of SPRAM",
        synth_options=("-dsp", "-device", "u"), **board)
