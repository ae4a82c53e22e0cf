"""Cuts the outgoing stream into payloads, and keeps them until they have been acknowledged."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.link.protocol import DEVICE_WINDOW, MAX_PAYLOAD
from tritstream_hw.link.frame import LENGTH_BITS
from tritstream_hw.ram import Ram
from tritstream_hw.stream.reader import Reader

__all__ = ["Outbox"]

FLUSH_CYCLES = 40       # longer than any pause inside a reply: 16 candidates are counted


class Outbox(wiring.Component):
    """Memory of the payloads that may have to be sent again.

    A payload is closed when it has its full length, or when no byte has come for a few cycles while
    the link had nothing else to send: a slow link sends full frames, a fast one sends early.
    Takes one byte per cycle until `DEVICE_WINDOW` payloads are closed, and yields one per cycle.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        The stream.
    base : :py:`In(8)`
        Oldest sequence number not acknowledged; everything before it is free.
    fill : :py:`Out(8)`
        Sequence number of the payload that is being filled; those before it are closed.
    quiet : :py:`In(1)`
        The link has nothing to send.
    seq, length : :py:`In(8)`, :py:`Out(LENGTH_BITS)`
        Length of the closed payload of this number.
    play : :py:`In(1)`
        Strobe: yield payload `seq`.
    payload : :py:`Out(stream.Signature(8))`
        Its bytes.
    clear : :py:`In(1)`
        Forget everything. The payload under way is still yielded, with any content.
    """

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(8)),
            "base": In(8),
            "fill": Out(8),
            "quiet": In(1),
            "seq": In(8),
            "length": Out(LENGTH_BITS),
            "play": In(1),
            "payload": Out(stream.Signature(8)),
            "clear": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = Ram(shape=8, depth=DEVICE_WINDOW * MAX_PAYLOAD)
        write, read = store.write_port(), store.read_port()
        slot_bits = (DEVICE_WINDOW - 1).bit_length()
        byte_bits = (MAX_PAYLOAD - 1).bit_length()
        lengths = Array(Signal(LENGTH_BITS, name=f"length_{n}") for n in range(DEVICE_WINDOW))

        count, pause = Signal(LENGTH_BITS), Signal(range(FLUSH_CYCLES + 1))
        taken, close = Signal(), Signal()
        # Known a cycle before, for whoever sends waits for it. The oldest number only goes up.
        room, closed = Signal(init=1), (self.fill - self.base)[:8]
        m.d.sync += room.eq((closed < DEVICE_WINDOW) & ~(close & (closed == DEVICE_WINDOW - 1)))
        slot = self.fill[:slot_bits]
        m.d.comb += [
            self.i.ready.eq(room),
            taken.eq(self.i.valid & self.i.ready),
            write.addr.eq(Cat(count[:byte_bits], slot)),
            write.data.eq(self.i.payload),
            write.en.eq(taken),
        ]
        with m.If(taken):
            m.d.sync += count.eq(count + 1)
            m.d.sync += pause.eq(0)
            m.d.comb += close.eq(count == MAX_PAYLOAD - 1)
        with m.Elif(self.quiet & (count != 0)):
            m.d.sync += pause.eq(pause + 1)
            m.d.comb += close.eq(pause == FLUSH_CYCLES)
        with m.If(close):
            m.d.sync += [
                lengths[slot].eq(count + taken),
                self.fill.eq(self.fill + 1),
                count.eq(0),
                pause.eq(0),
            ]

        m.d.comb += self.length.eq(lengths[self.seq[:slot_bits]])
        address, left = Signal.like(read.addr), Signal(LENGTH_BITS)
        m.submodules.reader = reader = Reader(len(address), 8)
        wiring.connect(m, reader.memory, read)
        wiring.connect(m, reader.o, wiring.flipped(self.payload))
        m.d.comb += [reader.i.valid.eq(left != 0), reader.i.payload.eq(address)]
        with m.If(reader.i.valid & reader.i.ready):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
        with m.If(self.play):
            m.d.sync += address.eq(Cat(C(0, byte_bits), self.seq[:slot_bits]))
            m.d.sync += left.eq(self.length)

        with m.If(self.clear):
            m.d.sync += [self.fill.eq(0), count.eq(0), pause.eq(0)]
        return m
