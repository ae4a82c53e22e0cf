"""The top of a simulated board: a SoC whose ports are plain signals, as C++ sees them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.soc import Soc

__all__ = ["BoardTop"]


class BoardTop(wiring.Component):
    """The whole device with one signal per port; Verilator would mangle names of nested members.

    Verilator computes again what depends on an input whenever it evaluates the model, twice per
    cycle. Queues of two entries therefore cut all paths from the inputs, and there is no reset:
    everything starts with its initial value.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build; its digest is the build id.

    Members
    -------
    clk : :py:`In(1)`
        Clock.
    rx_valid, rx_payload, rx_ready : :py:`In(1)`, :py:`In(8)`, :py:`Out(1)`
        Bytes from the host.
    tx_valid, tx_payload, tx_ready : :py:`Out(1)`, :py:`Out(8)`, :py:`In(1)`
        Bytes to the host.
    command_valid, command_write, command_beat, command_beats, command_data, command_ready
        :py:`Out(1)`, :py:`Out(1)`, :py:`Out(32)`, :py:`Out(32)`, :py:`Out(8 * P)`, :py:`In(1)`:
        commands to the memory, see :class:`MemorySignature`; from registers. This and what follows
        only if there is memory.
    data_valid, data_payload, data_ready : :py:`In(1)`, :py:`In(8 * P)`, :py:`Out(1)`
        Beats read.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        beat_bits = 8 * config.beat_bytes
        members = {
            "clk": In(1),
            "rx_valid": In(1), "rx_payload": In(8), "rx_ready": Out(1),
            "tx_valid": Out(1), "tx_payload": Out(8), "tx_ready": In(1),
        }
        if config.memory_bytes:
            members |= {
                "command_valid": Out(1), "command_write": Out(1), "command_beat": Out(32),
                "command_beats": Out(32), "command_data": Out(beat_bits), "command_ready": In(1),
                "data_valid": In(1), "data_payload": In(beat_bits), "data_ready": Out(1),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.domains.sync = domain = ClockDomain(reset_less=True)
        m.d.comb += domain.clk.eq(self.clk)
        m.submodules.soc = soc = Soc(config, config.digest(), Accelerator(config))
        m.submodules.rx = rx = SyncFIFO(width=8, depth=2)
        m.submodules.tx = tx = SyncFIFO(width=8, depth=2)
        wiring.connect(m, rx.r_stream, soc.rx)
        wiring.connect(m, soc.tx, tx.w_stream)
        m.d.comb += [
            rx.w_en.eq(self.rx_valid),
            rx.w_data.eq(self.rx_payload),
            self.rx_ready.eq(rx.w_rdy),
            self.tx_valid.eq(tx.r_rdy),
            self.tx_payload.eq(tx.r_data),
            tx.r_en.eq(self.tx_ready),
        ]
        if config.memory_bytes:
            m.submodules.data = data = SyncFIFO(width=8 * config.beat_bytes, depth=2)
            command = soc.memory.command
            m.d.comb += [
                self.command_valid.eq(command.valid),
                self.command_write.eq(command.p.write),
                self.command_beat.eq(command.p.beat),
                self.command_beats.eq(command.p.beats),
                self.command_data.eq(command.p.data),
                command.ready.eq(self.command_ready),
                data.w_en.eq(self.data_valid),
                data.w_data.eq(self.data_payload),
                self.data_ready.eq(data.w_rdy),
                soc.memory.data.valid.eq(data.r_rdy),
                soc.memory.data.payload.eq(data.r_data),
                data.r_en.eq(soc.memory.data.ready),
            ]
        return m
