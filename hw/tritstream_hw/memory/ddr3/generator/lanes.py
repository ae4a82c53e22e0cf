"""Byte lanes in front of LiteDRAM's model of a chip, which reads right wherever it is read."""

from litedram.phy.dfi import Interface
from litex.soc.interconnect.csr import CSR, AutoCSR, CSRStatus, CSRStorage
from migen import If, Module, Mux, Signal

__all__ = ["Lanes"]

WINDOW_BITS = 8             # of each lane, from the lowest: bitslip 2, first delay 3, last delay 3


class Lanes(Module, AutoCSR):
    """A PHY with the registers of `ECP5DDRPHY`: outside of its window, a lane reads all bits wrong.

    Its `dfi` is that of the controller, `phy` the model; `windows` says where each lane reads
    right, and `stuck` which data lines are read as 0.
    """

    def __init__(self, phy, lanes: int):
        self.settings = phy.settings
        self._dly_sel = CSRStorage(lanes)
        self._rdly_dq_rst = CSR()
        self._rdly_dq_inc = CSR()
        self._rdly_dq_bitslip_rst = CSR()
        self._rdly_dq_bitslip = CSR()
        self._burstdet_clr = CSR()
        self._burstdet_seen = CSRStatus(lanes)
        self.windows = Signal(WINDOW_BITS * lanes)
        self.stuck = Signal(8 * lanes)

        first, *others = phy.dfi.phases
        self.dfi = Interface(len(first.address), len(first.bank), len(first.cs_n),
                             len(first.rddata), 1 + len(others))
        for mine, model in zip(self.dfi.phases, phy.dfi.phases, strict=True):
            # The model says of the first phase alone when it has read.
            self.comb += [*mine.connect(model, omit={"rddata", "rddata_valid"}),
                          mine.rddata_valid.eq(first.rddata_valid)]
        for lane in range(lanes):
            self._add_lane(lane, phy.dfi.phases, 8 * lanes)

    def _add_lane(self, lane: int, phases, word_bits: int):
        bitslip, delay, seen, right = Signal(2), Signal(3), Signal(), Signal()
        window = self.windows[WINDOW_BITS * lane:WINDOW_BITS * (lane + 1)]
        status, chosen = self._burstdet_seen.status[lane], self._dly_sel.storage[lane]
        self.comb += [seen.eq((window[2:5] <= delay) & (delay <= window[5:8])),
                      right.eq(seen & (window[:2] == bitslip))]
        self.sync += [
            If(chosen & self._rdly_dq_bitslip.re, bitslip.eq(bitslip + 1)),
            If(chosen & self._rdly_dq_bitslip_rst.re, bitslip.eq(0)),
            If(chosen & self._rdly_dq_inc.re, delay.eq(delay + 1)),
            If(chosen & self._rdly_dq_rst.re, delay.eq(0)),
            If(self._burstdet_clr.re, status.eq(0)),
            If(phases[0].rddata_valid & seen, status.eq(1)),
        ]
        for mine, model in zip(self.dfi.phases, phases, strict=True):
            for start in range(8 * lane, len(model.rddata), word_bits):
                read = model.rddata[start:start + 8]
                stuck = self.stuck[8 * lane:8 * lane + 8]
                self.comb += mine.rddata[start:start + 8].eq(Mux(right, read, ~read) & ~stuck)
