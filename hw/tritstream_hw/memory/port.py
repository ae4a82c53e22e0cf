"""Port of the memory that holds an image, and an on-chip memory behind such a port."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.stream.reader import Reader
from tritstream_hw.stream.skid import Skid

__all__ = ["REGION", "BlockMemory", "MemorySignature", "beat_layout", "write_layout"]

REGION = data.StructLayout({"beat": 32, "beats": 32})
"""Consecutive beats: the address of the first, and how many."""


def beat_layout(config: BuildConfig) -> data.ArrayLayout:
    """Layout of one beat, `P` bytes in the order of their addresses."""
    return data.ArrayLayout(8, config.beat_bytes)


def write_layout(config: BuildConfig) -> data.StructLayout:
    """Layout of one beat to be written, with its address."""
    return data.StructLayout({"beat": 32, "data": beat_layout(config)})


class MemorySignature(wiring.Signature):
    """Port of a memory, as its user has it.

    A write that has been taken is seen by every read whose request is taken later.

    Members
    -------
    read_request : :py:`Out(stream.Signature(REGION))`
        Asks for at least one beat.
    read_data : :py:`In(stream.Signature(beat_layout(config)))`
        The beats of all requests, in order.
    write : :py:`Out(stream.Signature(write_layout(config)))`
        Beats to be written.
    """

    def __init__(self, config: BuildConfig):
        super().__init__({
            "read_request": Out(stream.Signature(REGION)),
            "read_data": In(stream.Signature(beat_layout(config))),
            "write": Out(stream.Signature(write_layout(config))),
        })


class BlockMemory(wiring.Component):
    """On-chip memory of `memory_bytes`.

    Reads and writes one beat per cycle each. The first beat comes three cycles after its request;
    the next request is taken while the last beat is fetched, so that there is no gap between them.

    Parameters
    ----------
    config : :class:`BuildConfig`
        For `memory_bytes` and `beat_bytes`.

    Members
    -------
    bus : :py:`In(MemorySignature(config))`
        The port.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({"bus": In(MemorySignature(config))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = memory.Memory(
            shape=beat_layout(self._config), init=[],
            depth=self._config.memory_bytes // self._config.beat_bytes)
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            self.bus.write.ready.eq(1),
            write.en.eq(self.bus.write.valid),
            write.addr.eq(self.bus.write.p.beat),
            write.data.eq(self.bus.write.p.data),
        ]

        # The memory is spread over the chip: what comes out of it is registered at once.
        m.submodules.skid = skid = Skid(beat_layout(self._config))
        m.submodules.reader = reader = Reader(len(read.addr), beat_layout(self._config))
        wiring.connect(m, reader.memory, read)
        wiring.connect(m, reader.o, skid.i)
        wiring.connect(m, skid.o, wiring.flipped(self.bus.read_data))
        request = self.bus.read_request
        # `left` counts beyond the beat that is read next; what is decided by it is registered.
        address, left = Signal.like(read.addr), Signal(range(store.depth))
        busy, last, fetched = Signal(), Signal(), Signal()
        m.d.comb += [
            reader.i.payload.eq(address),
            reader.i.valid.eq(busy),
            fetched.eq(reader.i.valid & reader.i.ready),
            request.ready.eq(~busy | (fetched & last)),
        ]
        with m.If(fetched):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), last.eq(left == 1),
                         busy.eq(~last)]
        with m.If(request.valid & request.ready):
            m.d.sync += [address.eq(request.p.beat), left.eq(request.p.beats - 1),
                         last.eq(request.p.beats == 1), busy.eq(1)]
        return m
