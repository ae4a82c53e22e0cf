"""System clock of an ECP5 from the board's oscillator."""

import dataclasses

from amaranth import *

from tritstream.errors import BadInput

__all__ = ["Dividers", "Ecp5Clock"]

# ECP5 and ECP5-5G Family Data Sheet, sysCLOCK PLL Timing.
VCO_HZ = range(400_000_000, 800_000_001)
DETECTOR_HZ = range(3_125_000, 400_000_001)
MOST = 128                  # of each divider


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dividers:
    """Dividers of an EHXPLLL whose feedback is its output.

    The phase detector runs at source / `reference`, the output at `feedback` times that, and the
    oscillator at `output` times the output.
    """

    reference: int
    feedback: int
    output: int

    @classmethod
    def of(cls, source_hz: int, wanted_hz: int) -> "Dividers":
        """Return dividers that make exactly `wanted_hz`, with the fastest phase detector.

        Raises
        ------
        BadInput
            If there are none.
        """
        output = (VCO_HZ[0] + VCO_HZ[-1]) // 2 // max(wanted_hz, 1)
        if 1 <= output <= MOST and output * wanted_hz in VCO_HZ:
            for reference in range(1, MOST + 1):
                feedback, rest = divmod(wanted_hz * reference, source_hz)
                if rest == 0 and feedback <= MOST and source_hz // reference in DETECTOR_HZ:
                    return cls(reference=reference, feedback=feedback, output=output)
        step = source_hz / (source_hz // DETECTOR_HZ[0]) / 1e6
        raise BadInput(f"The PLL cannot make {wanted_hz / 1e6:g} MHz of {source_hz / 1e6:g} MHz: "
                       f"choose a multiple of {step:g} MHz from {2 * step:g} to 300, as in --freq "
                       "80.")


class Ecp5Clock(Elaboratable):
    """Drives the clock of the domain ``sync``, which stands still until the PLL has locked.

    That takes the place of a reset, whose thousands of loads would be the longest path: flip-flops
    have their initial values from the bitstream, and keep them until then. Whoever defines the
    domain gives it none.

    Parameters
    ----------
    source : Signal
        The oscillator's clock.
    source_hz, clock_hz : int
        Frequencies of the oscillator and of ``sync``.
    """

    def __init__(self, source, source_hz: int, clock_hz: int):
        self._source = source
        self._source_hz = source_hz
        self._clock_hz = clock_hz

    def elaborate(self, platform):
        m = Module()
        dividers = Dividers.of(self._source_hz, self._clock_hz)
        output, locked = Signal(), Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self._source_hz / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self._clock_hz / 1e6:g}",
            # Loop filter and charge pump as Lattice's own generator sets them.
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=dividers.reference,
            p_CLKFB_DIV=dividers.feedback,
            p_CLKOP_DIV=dividers.output,
            p_CLKOP_CPHASE=dividers.output - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOP_ENABLE="ENABLED",
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=self._source,
            i_CLKFB=output,
            i_RST=C(0), i_STDBY=C(0),
            i_PHASESEL0=C(0), i_PHASESEL1=C(0), i_PHASEDIR=C(0), i_PHASESTEP=C(0),
            i_PHASELOADREG=C(0), i_PLLWAKESYNC=C(0), i_ENCLKOP=C(0),
            o_CLKOP=output,
            o_LOCK=locked,
        )
        # Starts and stops the clock without a glitch, whenever the lock comes or goes.
        m.submodules.gate = Instance("DCCA", i_CLKI=output, i_CE=locked,
                                     o_CLKO=ClockSignal())
        return m
