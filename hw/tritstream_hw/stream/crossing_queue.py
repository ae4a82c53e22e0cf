"""A queue between two clocks."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import memory, stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

__all__ = ["CrossingQueue"]


class CrossingQueue(wiring.Component):
    """A queue whose source knows by `level` that there is room, and never waits.

    Amaranth's own queues ask in the cycle of a write whether they are full, which takes longer than
    a DRAM's clock allows. The places are counted in Gray code on both sides, and only these counts
    are synchronised: what they say is late, but true.

    Parameters
    ----------
    shape : shape-like
        Of the payload.
    depth : int
        Places, a power of two.
    i_domain, o_domain : str
        Where payloads come from, and where they go.

    Members
    -------
    i : :py:`In(stream.Signature(shape, always_ready=True))`
        In `i_domain`.
    level : :py:`Out(range(depth + 1))`
        In `i_domain`: places that are taken, at most, by all but the payload of the cycle before.
    o : :py:`Out(stream.Signature(shape))`
        In `o_domain`, from a register.
    """

    def __init__(self, shape, *, depth: int, i_domain: str, o_domain: str):
        self._shape = shape
        self._bits = exact_log2(depth)
        self._i_domain = i_domain
        self._o_domain = o_domain
        super().__init__({
            "i": In(stream.Signature(shape, always_ready=True)),
            "level": Out(range(depth + 1)),
            "o": Out(stream.Signature(shape)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = memory.Memory(shape=self._shape, depth=1 << self._bits,
                                                   init=[])
        write = store.write_port(domain=self._i_domain)
        read = store.read_port(domain=self._o_domain)

        come, come_code, _ = self._count(m, self._i_domain, self.i.valid)
        moves, there = Signal(), Signal.like(come_code)
        gone, gone_code, following = self._count(m, self._o_domain, moves)
        m.submodules.there = FFSynchronizer(come_code, there, o_domain=self._o_domain)
        back = Signal.like(gone_code)
        m.submodules.back = FFSynchronizer(gone_code, back, o_domain=self._i_domain)

        m.d.comb += [write.addr.eq(come), write.data.eq(self.i.payload),
                     write.en.eq(self.i.valid)]
        seen = self._decode(m, back)
        m.d[self._i_domain] += self.level.eq((come - seen)[:len(come)])
        m.d[self._i_domain] += Assert(self.level <= 1 << self._bits)

        # The memory reads ahead: its word is that of `gone`.
        m.d.comb += [
            moves.eq((there != gone_code) & (self.o.ready | ~self.o.valid)),
            read.addr.eq(following),
        ]
        with m.If(self.o.ready | ~self.o.valid):
            m.d[self._o_domain] += [self.o.valid.eq(moves), self.o.payload.eq(read.data)]
        return m

    def _count(self, m, domain: str, counts) -> tuple[Signal, Signal, Value]:
        """Return a count, the same in Gray code, and what it is in the next cycle."""
        count, code = Signal(self._bits + 1), Signal(self._bits + 1)
        ahead = Signal.like(count, init=1)      # the count behind it: whether it counts comes late
        following = Mux(counts, ahead, count)
        with m.If(counts):
            m.d[domain] += [count.eq(ahead), ahead.eq(ahead + 1), code.eq(ahead ^ ahead[1:])]
        m.d[domain] += Assert(ahead == (count + 1)[:len(count)], "another count follows")
        return count, code, following

    def _decode(self, m, code) -> Signal:
        """Return the number that a Gray code is, late: a bit is the parity of all from it on up."""
        reach = 1
        while reach < len(code):
            parity = Signal.like(code, name=f"parity_{reach}")      # of four times as many bits
            m.d[self._i_domain] += parity.eq(
                code ^ code[reach:] ^ code[2 * reach:] ^ code[3 * reach:])
            code, reach = parity, 4 * reach
        return code
