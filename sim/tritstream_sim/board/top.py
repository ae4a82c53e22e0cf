"""The top of a simulated board: a SoC whose ports are plain signals, as C++ sees them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.link.activity import BLOCKS
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.soc import Soc
from tritstream_hw.stream.transfer import taken
from tritstream_sim.observe import busy

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
    busy : :py:`Out(8)`
        Which of :data:`tritstream.link.activity.BLOCKS` are, the first of them in the lowest bit.
    pass_starts, stage_ends : :py:`Out(1)`, :py:`Out(1)`
        Strobes: a pass begins with the next cycle, and so does what is behind a stage.
    command_valid, command_write, command_beat, command_beats, command_data, command_ready
        :py:`Out(G)`, :py:`Out(G)`, :py:`Out(32 * G)`, :py:`Out(32 * G)`, :py:`Out(8 * G * P)`,
        :py:`In(G)`: commands to the memories, see :class:`MemorySignature`, those to the first in
        the lowest bits. This and what follows only if there is memory.
    data_valid, data_payload, data_ready : :py:`In(G)`, :py:`In(8 * G * P)`, :py:`Out(G)`
        Beats read.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        groups, stripe_bits = config.groups, 8 * config.stripe_bytes
        members = {
            "clk": In(1),
            "rx_valid": In(1), "rx_payload": In(8), "rx_ready": Out(1),
            "tx_valid": Out(1), "tx_payload": Out(8), "tx_ready": In(1),
            "busy": Out(len(BLOCKS)), "pass_starts": Out(1), "stage_ends": Out(1),
        }
        if config.memory_bytes:
            members |= {
                "command_valid": Out(groups), "command_write": Out(groups),
                "command_beat": Out(32 * groups), "command_beats": Out(32 * groups),
                "command_data": Out(stripe_bits), "command_ready": In(groups),
                "data_valid": In(groups), "data_payload": In(stripe_bits),
                "data_ready": Out(groups),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.domains.sync = domain = ClockDomain(reset_less=True)
        m.d.comb += domain.clk.eq(self.clk)
        accelerator = Accelerator(config)
        m.submodules.soc = soc = Soc(config, config.digest(), accelerator)
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
            self.busy.eq(busy(m, accelerator)),
            self.pass_starts.eq(taken(accelerator.start)),
            self.stage_ends.eq(accelerator.sequencer.ended),
        ]
        for n, memory in enumerate(soc.memories if config.memory_bytes else ()):
            self._connect_memory(m, n, memory)
        return m

    def _connect_memory(self, m, n, memory):
        """Give a memory of the `Soc` its part of the ports."""
        bits, command = 8 * self._config.beat_bytes, memory.command
        m.submodules[f"data{n}"] = data = SyncFIFO(width=bits, depth=2)
        m.d.comb += [
            self.command_valid[n].eq(command.valid),
            self.command_write[n].eq(command.p.write),
            self.command_beat.word_select(n, 32).eq(command.p.beat),
            self.command_beats.word_select(n, 32).eq(command.p.beats),
            self.command_data.word_select(n, bits).eq(command.p.data),
            command.ready.eq(self.command_ready[n]),
            data.w_en.eq(self.data_valid[n]),
            data.w_data.eq(self.data_payload.word_select(n, bits)),
            self.data_ready[n].eq(data.w_rdy),
            memory.data.valid.eq(data.r_rdy),
            memory.data.payload.eq(data.r_data),
            data.r_en.eq(memory.data.ready),
        ]
