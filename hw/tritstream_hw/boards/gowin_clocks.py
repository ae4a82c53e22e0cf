"""Clocks of a GW2A from the board's oscillator."""

import dataclasses
from fractions import Fraction

from amaranth import *

from tritstream.errors import BadInput
from tritstream_hw.boards.clocks import mhz

__all__ = ["GowinClocks", "GowinDividers"]

# GW2AR series Data Sheet (DS226), PLL Switching Characteristics, speed grade C8/I7.
VCO_HZ = range(500_000_000, 1_250_000_001)
DETECTOR_HZ = range(3_000_000, 500_000_001)
MOST = 64                   # of the dividers of the source and of the feedback
OUTPUTS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GowinDividers:
    """Dividers of an rPLL whose feedback is its first output.

    The phase detector runs at source / `reference`, the output at `feedback` times that, and the
    oscillator at `output` times that.
    """

    reference: int
    feedback: int
    output: int

    @classmethod
    def of(cls, source_hz: int, wanted_hz: int) -> "GowinDividers":
        """Return dividers that make a clock, to less than a hertz, with the fastest phase detector.

        Raises
        ------
        BadInput
            If there are none.
        """
        made = cls._all(source_hz)
        near = sorted(made, key=lambda hz: abs(hz - wanted_hz))
        if abs(near[0] - wanted_hz) < 1:
            return made[near[0]]
        raise BadInput(f"The PLL cannot make {mhz(wanted_hz)} MHz of {mhz(source_hz)} MHz: choose "
                       f"one of {', '.join(map(mhz, sorted(near[:4])))} MHz.")

    @classmethod
    def _all(cls, source_hz: int) -> dict[Fraction, "GowinDividers"]:
        """Return the dividers of each clock that can be made."""
        made = {}
        for reference in range(1, source_hz // DETECTOR_HZ[0] + 1):
            for feedback in range(1, MOST + 1):
                exact = Fraction(source_hz * feedback, reference)
                outputs = [n for n in OUTPUTS if VCO_HZ[0] <= n * exact <= VCO_HZ[-1]]
                if outputs:
                    made.setdefault(exact, cls(reference=reference, feedback=feedback,
                                               output=outputs[-1]))
        return made


class GowinClocks(Elaboratable):
    """Drives the clocks of domains, which stand still until the PLL has locked.

    That takes the place of a reset, as in `Ecp5Clocks`. All are of one frequency: another one takes
    another PLL. Whoever defines the domains gives them no reset.

    Parameters
    ----------
    source : Signal
        The oscillator's clock.
    source_hz, hz : int
        Its frequency, and the one that is made.
    domain : str
        Has the first output's clock.
    behind : str or None
        The domain that has the second output's, if any.
    phase : int
        By how many sixteenths of a period that is behind the first.
    """

    def __init__(self, source, source_hz: int, hz: int, *, domain: str, behind: str | None = None,
                 phase: int = 0):
        self._source = source
        self._source_hz = source_hz
        self._hz = hz
        self._domains = (domain, behind)
        self._phase = phase

    def elaborate(self, platform):
        m = Module()
        dividers = GowinDividers.of(self._source_hz, self._hz)
        outputs, locked = Signal(2), Signal()
        m.submodules.pll = Instance(
            "rPLL",
            p_FCLKIN=mhz(self._source_hz), p_DEVICE=platform.family,
            p_IDIV_SEL=dividers.reference - 1, p_FBDIV_SEL=dividers.feedback - 1,
            p_ODIV_SEL=dividers.output,
            p_PSDA_SEL=f"{self._phase:04b}", p_DUTYDA_SEL="1000",       # half of a period
            p_CLKFB_SEL="internal",
            i_CLKIN=self._source, i_CLKFB=C(0), i_RESET=C(0), i_RESET_P=C(0),
            i_IDSEL=C(0, 6), i_FBDSEL=C(0, 6), i_ODSEL=C(0, 6),
            i_PSDA=C(0, 4), i_DUTYDA=C(0, 4), i_FDLY=C(0, 4),
            o_CLKOUT=outputs[0], o_CLKOUTP=outputs[1], o_LOCK=locked)
        for output, domain in zip(outputs, self._domains, strict=True):
            if domain is not None:
                m.submodules[f"gate_{domain}"] = Instance(
                    "DQCE", i_CLKIN=output, i_CE=locked, o_CLKOUT=ClockSignal(domain))
        return m
