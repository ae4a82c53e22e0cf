"""Clocks of an ECP5 from the board's oscillator."""

import dataclasses
from fractions import Fraction

from amaranth import *

from tritstream.errors import BadInput

__all__ = ["Clock", "Dividers", "Ecp5Clocks", "mhz"]

# ECP5 and ECP5-5G Family Data Sheet, sysCLOCK PLL Timing.
VCO_HZ = range(400_000_000, 800_000_001)
DETECTOR_HZ = range(3_125_000, 400_000_001)
MOST = 128                  # of each divider
OUTPUTS = ("CLKOP", "CLKOS", "CLKOS2")
PARTS = 8                   # of a period of the oscillator, in which phases are set


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clock:
    """A clock that is made.

    Parameters
    ----------
    domain : str
        Whose clock it is.
    hz : int
        Its frequency, in whole hertz: it is made to less than one.
    degrees : int
        By which it is behind the first one; both have the same frequency then.
    edge : bool
        Whether it is for the cells of fast pads, on wires that lead only there.
    both_sides : bool
        Whether an edge clock is for pads at both sides of the FPGA.
    """

    domain: str
    hz: int
    degrees: int = 0
    edge: bool = False
    both_sides: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dividers:
    """Dividers of an EHXPLLL whose feedback is its first output.

    The phase detector runs at source / `reference`, the first output at `feedback` times that, and
    the oscillator at each of `outputs` times that output.
    """

    reference: int
    feedback: int
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, source_hz: int, first_hz: int, *others_hz: int) -> "Dividers":
        """Return dividers that make these clocks, with the fastest phase detector.

        Raises
        ------
        BadInput
            If there are none.
        """
        found = _first(source_hz, first_hz)
        if found is None:
            step = source_hz / (source_hz // DETECTOR_HZ[0]) / 1e6
            raise BadInput(f"The PLL cannot make {mhz(first_hz)} MHz of {mhz(source_hz)} MHz: "
                           f"choose a multiple of {step:g} MHz from {2 * step:g} to 300, as in "
                           "--freq 80.")
        reference, feedback = found
        exact = Fraction(source_hz * feedback, reference)
        for output in _outputs(exact):
            outputs = output, *(round(output * exact / hz) for hz in others_hz)
            if all(0 < divider <= MOST and abs(output * exact / divider - hz) < 1
                   for divider, hz in zip(outputs[1:], others_hz, strict=True)):
                return cls(reference=reference, feedback=feedback, outputs=outputs)
        raise BadInput(f"The PLL cannot make {', '.join(map(mhz, others_hz))} MHz beside "
                       f"{mhz(first_hz)} MHz: choose one of "
                       f"{', '.join(map(mhz, _beside(exact)))} MHz.")


def _first(source_hz: int, wanted_hz: int) -> tuple[int, int] | None:
    """Return dividers of the source and of the feedback."""
    for reference in range(1, MOST + 1):
        feedback = round(Fraction(wanted_hz * reference, source_hz))
        exact = Fraction(source_hz * feedback, reference)
        if (abs(exact - wanted_hz) < 1 and 0 < feedback <= MOST and _outputs(exact)
                and source_hz // reference in DETECTOR_HZ):
            return reference, feedback
    return None


def _outputs(exact: Fraction) -> list[int]:
    """Return dividers with which the oscillator may run, those in the middle of its range first."""
    middle = Fraction(VCO_HZ[0] + VCO_HZ[-1], 2)
    return sorted((n for n in range(1, MOST + 1) if VCO_HZ[0] <= n * exact <= VCO_HZ[-1]),
                  key=lambda n: abs(n * exact - middle))


def _beside(exact: Fraction) -> list[Fraction]:
    """Return the clocks that can be made beside a first one: those of 50 to 100 MHz."""
    return sorted({output * exact / n for output in _outputs(exact) for n in range(1, MOST + 1)
                   if 50e6 <= output * exact / n <= 100e6})


def mhz(hz: Fraction | int) -> str:
    """Return a frequency as it may be given, in MHz."""
    return f"{int(hz) / 1e6:.6f}".rstrip("0").rstrip(".")


class Ecp5Clocks(Elaboratable):
    """Drives the clocks of domains, which stand still until the PLL has locked.

    That takes the place of a reset, whose thousands of loads would be the longest path: flip-flops
    have their initial values from the bitstream, and keep them until then. Whoever defines the
    domains gives them none. No clock is in a known phase to another, unless it is one's `degrees`
    behind the first.

    Parameters
    ----------
    source : Signal
        The oscillator's clock.
    source_hz : int
        Its frequency.
    clocks : sequence of Clock
        One to three.

    Attributes
    ----------
    stop : Signal
        Edge clocks are to stand still.
    """

    def __init__(self, source, source_hz: int, *clocks: Clock):
        self._source = source
        self._source_hz = source_hz
        self._clocks = clocks
        self.stop = Signal()

    def elaborate(self, platform):
        m = Module()
        dividers = Dividers.of(self._source_hz, *(clock.hz for clock in self._clocks))
        outputs, locked = Signal(len(self._clocks)), Signal()
        settings = {}
        for number, clock in enumerate(self._clocks):
            name, divider = OUTPUTS[number], dividers.outputs[number]
            behind = PARTS * divider * clock.degrees // 360
            settings |= {
                f"a_FREQUENCY_PIN_{name}": mhz(clock.hz),
                f"p_{name}_DIV": divider,
                f"p_{name}_CPHASE": divider - 1 + behind // PARTS,
                f"p_{name}_FPHASE": behind % PARTS,
                f"p_{name}_ENABLE": "ENABLED",
                f"i_EN{name}": C(0),
                f"o_{name}": outputs[number],
            }
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=mhz(self._source_hz),
            # Loop filter and charge pump as Lattice's own generator sets them.
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=dividers.reference,
            p_CLKFB_DIV=dividers.feedback,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=self._source,
            i_CLKFB=outputs[0],
            i_RST=C(0), i_STDBY=C(0),
            i_PHASESEL0=C(0), i_PHASESEL1=C(0), i_PHASEDIR=C(0), i_PHASESTEP=C(0),
            i_PHASELOADREG=C(0), i_PLLWAKESYNC=C(0),
            o_LOCK=locked,
            **settings,
        )
        # Starts and stops a clock without a glitch, whenever the lock comes or goes.
        for output, clock in zip(outputs, self._clocks, strict=True):
            gated = ClockSignal(clock.domain)
            if clock.both_sides:
                source, output = output, Signal()
                m.submodules.bridge = Instance("ECLKBRIDGECS", i_CLK0=source, i_SEL=C(0),
                                               o_ECSOUT=output)
            m.submodules[f"gate_{clock.domain}"] = (
                Instance("ECLKSYNCB", i_ECLKI=output, i_STOP=self.stop | ~locked, o_ECLKO=gated)
                if clock.edge else Instance("DCCA", i_CLKI=output, i_CE=locked, o_CLKO=gated))
        return m
