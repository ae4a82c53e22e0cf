"""Reads a flash memory over SPI, from one place on."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FlashReader", "FlashSignature", "clock_period", "cycles_per_byte"]

MOST_HZ = 40_000_000        # a period has time for 8 ns in the chip, and for the FPGA's own ways
FAST_READ = 0x0B            # behind the address come eight bits that mean nothing
ADDRESS_BITS = 24

WAKE_BITS, REST_BITS = 16, 7


def clock_period(clock_hz: int) -> int:
    """Return of how many cycles the memory's clock is with this system clock: two at least."""
    return 2 * -(-clock_hz // (2 * MOST_HZ))


def cycles_per_byte(clock_hz: int) -> int:
    """Return in how many cycles of this system clock a byte comes."""
    return 8 * clock_period(clock_hz)


class FlashSignature(wiring.Signature):
    """Pins of a flash memory, as their user has them.

    Members
    -------
    select, clock, o : :py:`Out(1)`
        Chip select, clock and data to the chip, all as they are meant, not as their pins are.
    i : :py:`In(1)`
        Data from the chip.
    """

    def __init__(self):
        super().__init__({"select": Out(1), "clock": Out(1), "o": Out(1), "i": In(1)})


class FlashReader(wiring.Component):
    """Begins to read when it is started, and goes on until it is stopped.

    The chip has changed its data when the clock falls the next time, so that the way to it and back
    may take a whole period. A byte comes every `8 period` cycles; while one is not taken, the clock
    rests.

    Parameters
    ----------
    address : int
        Of the first byte.
    period : int
        Cycles of the chip's clock: an even number, see `clock_period`.

    Members
    -------
    o : :py:`Out(stream.Signature(8))`
        The bytes.
    stop : :py:`In(1)`
        No more is wanted: the chip is let go.
    pads : :py:`Out(FlashSignature())`
        To the chip.
    """

    def __init__(self, *, address: int, period: int = 2):
        self._half = period // 2
        # What was in use before may have left the chip in a mode in which it takes no command: ones
        # end that, and are no command otherwise. Then it is let go for a while.
        command = f"{FAST_READ:08b}{address:0{ADDRESS_BITS}b}{0:08b}"
        self._bits = "1" * (WAKE_BITS + REST_BITS) + command + "0"
        self._selects = "1" * WAKE_BITS + "0" * REST_BITS + "1" * len(command) + "1"
        super().__init__({
            "o": Out(stream.Signature(8)),
            "stop": In(1),
            "pads": Out(FlashSignature()),
        })

    def elaborate(self, platform):
        m = Module()
        pads, clock = self.pads, self.pads.clock
        place = Signal(range(len(self._bits)))      # of the bit that goes out next, or comes
        reads, ends = Signal(), Signal()
        cycle, edge, moves = Signal(range(self._half)), Signal(), Signal()
        m.d.comb += [
            moves.eq(clock | (~self.stop & (~self.o.valid | self.o.ready))),
            edge.eq(moves & (cycle == self._half - 1)),
        ]
        with m.If(moves):
            m.d.sync += cycle.eq(Mux(edge, 0, cycle + 1))
        m.d.comb += ends.eq(place == Mux(reads, 7, len(self._bits) - 1))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(edge):
            m.d.sync += clock.eq(~clock)
        with m.If(edge & clock):
            m.d.sync += [
                pads.select.eq(reads | Array(map(int, self._selects))[place]),
                pads.o.eq(Array(map(int, self._bits))[place]),
                place.eq(place + 1),
                self.o.payload.eq(Cat(pads.i, self.o.payload[:7])),
                self.o.valid.eq(reads & ends),
            ]
            with m.If(ends):
                m.d.sync += [place.eq(0), reads.eq(1)]
        with m.If(self.stop):
            m.d.sync += pads.select.eq(0)
        return m
