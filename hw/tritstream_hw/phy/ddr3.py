"""Pads of a DDR3 SDRAM at an ECP5, and the controller behind them."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib.cdc import AsyncFFSynchronizer
from amaranth.lib.wiring import Out

from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.ddr3.core import NAME, Ddr3Core, core_verilog

__all__ = ["Ddr3Phy"]

# Pins of the resource, by the names of the pads. Their levels are those of the pads: what the
# board's file says of inverted ones is left out.
PINS = {"clk_p": "clk", "cke": "clk_en", "odt": "odt", "reset_n": "rst", "cs_n": "cs",
        "ras_n": "ras", "cas_n": "cas", "we_n": "we", "ba": "ba", "a": "a", "dm": "dm",
        "dqs_p": "dqs", "dq": "dq"}
TWO_WAYS = ("dq", "dqs_p")
MAY_LACK = ("reset_n", "cs_n")      # boards hold them where they should be


class Ddr3Phy(Ddr3Core):
    """LiteDRAM's controller, with its PHY for an ECP5 at the pads of a board.

    It makes its own clock: half of that of the domain ``edge``, which has the frequency of the
    chip's. Whatever else is in that domain has no reset.

    The DLL, which is a quarter of a period, has to lock; then, by the slow clock of the domain
    ``init``, the domain ``edge`` is stopped while all cells at the pads are reset, so that they
    begin in the same of its cycles.

    For a platform that has an attribute ``simulated`` a model of the chip stands in the place of
    all cells at the pads.

    Parameters
    ----------
    chip : Ddr3Chip
        What is behind the pads.
    clock_hz : int
        Of the controller.
    ports
        The resource ``ddr3`` of a board, with no direction.
    masks : sequence of int or None
        The byte lane whose mask each pad of ``dm`` has, where a board has crossed them; None: its
        own.

    Members
    -------
    stop : :py:`Out(1)`
        The domain ``edge`` is to stand still; from the domain ``init``.
    """

    def __init__(self, chip: Ddr3Chip, clock_hz: int, ports, *,
                 masks: Sequence[int] | None = None):
        self._clock_hz = clock_hz
        self._ports = ports
        self._masks = masks
        super().__init__(chip, {"stop": Out(1)})

    def elaborate(self, platform):
        m = Module()
        lacking = [pad for pad in MAY_LACK if not hasattr(self._ports, PINS[pad])]
        platform.add_file(f"{NAME}.v", core_verilog(
            self.chip, self._clock_hz, addresses=len(self._ports.a), without=lacking,
            masks=self._masks, simulated=hasattr(platform, "simulated")))
        restart, reset, waits = Signal(), Signal(), Signal(4, init=-1)
        m.d.init += waits.eq(waits >> 1)        # the DLL wants a reset while its clock runs
        m.submodules.divider = Instance(
            "CLKDIVF", p_DIV="2.0", i_CLKI=ClockSignal("edge"), i_RST=restart, i_ALIGNWD=C(0),
            o_CDIVX=ClockSignal())
        m.submodules.reset = AsyncFFSynchronizer(restart, reset)
        m.submodules.core = self.instance(
            reset, i_fast_clk=ClockSignal("edge"), i_init_clk=ClockSignal("init"),
            i_init_rst=waits[0], o_stop=self.stop, o_restart=restart,
            **{("io" if pad in TWO_WAYS else "o") + f"_pad_{pad}": self._pins(pad)
               for pad in PINS if pad not in lacking})
        return m

    def _pins(self, pad: str):
        """Return pins; the other one of a pair is the pad's own."""
        port = getattr(self._ports, PINS[pad])
        return port.p if pad.endswith("_p") else port.io
