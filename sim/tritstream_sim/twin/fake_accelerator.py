"""A stand-in for the accelerator that a test can predict."""

import dataclasses

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.memory import Memory

from tritstream.build import BuildConfig
from tritstream.link.protocol import Space, Status
from tritstream.link.spaces import space_words
from tritstream_hw.construct import construct
from tritstream_hw.ports import AcceleratorSignature

__all__ = ["STALLS_SHIFT", "FakeAccelerator", "FakePass", "predict"]

STALLS_SHIFT = 40       # so far up are the stages shown where stalls are counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakePass:
    """What `FakeAccelerator` answers to one pass."""

    status: Status
    candidates: tuple[tuple[int, int], ...]
    logits: tuple[int, ...]
    total: int


def predict(config: BuildConfig, beats: bytes, vocab: int, lane: int = 0) -> FakePass:
    """Return what `FakeAccelerator` gives to the token of a lane in a pass that plays these bytes.

    The first bytes of a pass steer it: byte 0 says how many beats are taken, bit 0 of byte 1
    whether the head is played, bit 1 whether the tape is bad; byte 2 is the number of candidates;
    byte 3 is a number of idle cycles before each further beat.
    """
    count, flags, most = beats[:3]
    total = sum(beats[:count * config.beat_bytes]) + lane
    head = bool(flags & 1)
    best = [((total + n) % vocab, total - n) for n in range(min(most, config.candidates))]
    return FakePass(
        status=Status.BAD_TAPE if flags & 2 else Status.OK,
        candidates=tuple(best) if head else (),
        logits=tuple(total - n for n in range(vocab)) if head else (),
        total=total)


class FakeAccelerator(wiring.Component):
    """Adds up the bytes of a pass, as they say.

    Parameters
    ----------
    config : BuildConfig
        With at least four bytes per beat.
    vocab : int
        A power of two: tokens are smaller.
    """

    def __init__(self, config: BuildConfig, *, vocab: int):
        self._config = config
        self._vocab = vocab
        ports = construct(AcceleratorSignature, config).members
        super().__init__({name: member.flip() for name, member in ports.items()})

    def elaborate(self, platform):
        m = Module()
        total, left, steer = Signal(32), Signal(8), Signal(32)
        digest, mine = Signal(32), Signal(32)       # `mine` is the total of the lane asked about
        short = Signal()                # the pass had not as many beats as it should
        idle = Signal(8)
        logits, exhausted = Signal(), Signal()
        m.d.comb += [
            self.digest.eq(digest + self.lane),
            mine.eq(total + self.lane),
            self.best.valid.eq(self.candidate < steer[16:24]),
            self.scale.mantissa.eq(mine),
            self.scale.shift.eq(17),
            self.done.p.status.eq(Mux(steer[9] | short | ~exhausted, Status.BAD_TAPE, Status.OK)),
            self.done.p.head.eq(steer[8]),
        ]
        # A cycle later than what is asked for, as those of an accelerator are.
        m.d.sync += [
            self.best.token.eq((mine + self.candidate) & (self._vocab - 1)),
            self.best.acc.eq(mine - self.candidate),
        ]
        taken = Signal()
        m.d.comb += taken.eq(self.beats.valid & self.beats.ready)
        with m.If(taken):
            m.d.sync += [
                total.eq(total + sum(self.beats.p.data)),
                exhausted.eq(self.beats.p.last),
                self.beats_taken.eq(self.beats_taken + 1),
                left.eq(left - 1),
                idle.eq(steer[24:]),
            ]
        with m.Elif(idle != 0):
            m.d.sync += idle.eq(idle - 1)

        index = Signal(range(self._vocab + 1))
        m.d.comb += self.logits.p.acc.eq(total - index)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.start.ready.eq(1)
                with m.If(self.start.valid):
                    m.d.sync += [total.eq(0), exhausted.eq(0), self.cycles.eq(0)]
                    m.d.sync += [logits.eq(self.start.p.logits)]
                    m.d.sync += self.stalls.eq(self.start.p.stages << STALLS_SHIFT)
                    with m.If(self.start.p.lanes.table[0].fresh):
                        m.d.sync += digest.eq(0)
                    m.next = "FIRST"
            with m.State("FIRST"):
                m.d.comb += self.beats.ready.eq(1)
                with m.If(taken):
                    m.d.sync += steer.eq(self.beats.p.data.as_value()[:32])
                    m.d.sync += left.eq(self.beats.p.data[0] - 1)
                    m.next = "PLAY"
            with m.State("PLAY"):
                m.d.comb += self.beats.ready.eq((idle == 0) & (left != 0))
                m.d.sync += short.eq(left != 0)
                with m.If((left == 0) | exhausted):
                    m.d.sync += index.eq(0)
                    m.d.sync += digest.eq(digest + total)
                    m.next = "LOGITS"
            with m.State("LOGITS"):
                m.d.comb += self.logits.valid.eq(logits & steer[8] & (index != self._vocab))
                with m.If(~self.logits.valid):
                    m.next = "DONE"
                with m.Elif(self.logits.ready):
                    m.d.sync += index.eq(index + 1)
            with m.State("DONE"):
                m.d.comb += self.done.valid.eq(1)
                with m.If(self.done.ready):
                    m.next = "IDLE"
        with m.If(self.clear_digest):
            m.d.sync += digest.eq(0)
        m.d.sync += self.cycles.eq(self.cycles + 1)

        self._debug_memories(m)
        return m

    def _debug_memories(self, m):
        debug, sizes = self.debug, space_words(self._config)
        m.d.comb += debug.idle.eq(1)
        for space, read, write in (
                (Space.VECTORS, debug.vectors_read, debug.vectors_write),
                (Space.STATE, debug.state_read, debug.state_write),
                (Space.RECORDS, debug.records_read, None)):
            m.submodules[space.name.lower()] = store = Memory(
                shape=read.data.shape(), depth=sizes[space], init=range(sizes[space]))
            port = store.read_port()
            m.d.comb += [port.en.eq(1), port.addr.eq(read.addr)]
            # Records take a cycle more.
            m.d["sync" if space is Space.RECORDS else "comb"] += read.data.eq(port.data)
            if write is not None:
                wiring.connect(m, wiring.flipped(write), store.write_port())
