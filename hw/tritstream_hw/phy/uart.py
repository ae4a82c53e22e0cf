"""Asynchronous serial port: one start bit, eight data bits, one stop bit."""

from fractions import Fraction

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["SLOWEST", "BitClock", "UartReceiver", "UartTransmitter", "bit_ratio"]

SLOWEST = 8             # cycles per bit that the receiver needs to find the middle of a bit
FRAME_BITS = 10
MOST_PARTS = 1000       # in which a cycle is divided: what is lost is less than a part in 10,000


def bit_ratio(clock_hz: int, baud: int) -> tuple[int, int]:
    """Return the parts of a bit, and how many of them pass in a cycle.

    Frequencies that are not of whole hertz have small parts, too: 83,333,333 Hz is 250 / 3 MHz.

    Raises
    ------
    ValueError
        If there are too few cycles in a bit.
    """
    if not 0 < SLOWEST * baud <= clock_hz:
        raise ValueError(f"clock_hz must be at least {SLOWEST} times the baud rate of {baud}, "
                         f"and that more than 0, not {clock_hz}")
    return Fraction(clock_hz, baud).limit_denominator(MOST_PARTS).as_integer_ratio()


class BitClock(wiring.Component):
    """Ticks once per bit, on average exactly, and never more than a cycle off.

    Parameters
    ----------
    clock_hz, baud : int
        Rates whose quotient, the cycles per bit, need not be an integer.

    Members
    -------
    begin, begin_half : :py:`In(1)`
        Let the first tick come a bit, or half a bit, after this cycle.
    strobe : :py:`Out(1)`
        The tick.
    """

    def __init__(self, clock_hz: int, baud: int):
        self._period, self._step = bit_ratio(clock_hz, baud)
        super().__init__({
            "begin": In(1),
            "begin_half": In(1),
            "strobe": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        # Each cycle is `step` parts of a bit that has `period` parts. What one reaches beyond the
        # bit's end is not negative in its last one, which so is told by a flip-flop.
        first = self._step - self._period
        beyond = Signal(range(first, self._step), init=first)
        m.d.comb += self.strobe.eq(~beyond[-1])
        m.d.sync += beyond.eq(beyond + Mux(self.strobe, first, self._step))
        with m.If(self.begin):
            m.d.sync += beyond.eq(first)
        with m.If(self.begin_half):
            m.d.sync += beyond.eq(first + self._period // 2)
        return m


class UartReceiver(wiring.Component):
    """Receives bytes from a line whose bits take at least eight cycles.

    Each bit is sampled in its middle, after a vote of the last three samples: a glitch of one
    cycle is not seen, nor a start bit that is gone in its middle. A byte without its stop bit is
    dropped, and the next one is awaited when the line has been idle. So is a byte for which there
    is no room, for the line cannot wait. A byte is out half a bit before its frame ends.

    Parameters
    ----------
    clock_hz, baud : int
        Rates of the clock and of the bits on the line.

    Members
    -------
    pin : :py:`In(1)`
        The line, asynchronous.
    o : :py:`Out(stream.Signature(8))`
        Bytes. One that is not taken until the next one comes stands, and the next one is lost.
    """

    def __init__(self, clock_hz: int, baud: int):
        self._clock = BitClock(clock_hz, baud)
        super().__init__({
            "pin": In(1, init=1),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = clock = self._clock
        synchronised = Signal(init=1)
        m.submodules += FFSynchronizer(self.pin, synchronised, init=1)
        samples = Signal(3, init=0b111)
        line = Signal(init=1)
        m.d.sync += samples.eq(Cat(synchronised, samples))
        a, b, c = samples
        m.d.sync += line.eq((a & b) | (b & c) | (a & c))

        shift, left = Signal(8), Signal(range(8))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += clock.begin_half.eq(1)
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += left.eq(7)
                with m.If(clock.strobe):
                    m.next = "IDLE"
                    with m.If(~line):
                        m.next = "DATA"
            with m.State("DATA"):
                with m.If(clock.strobe):
                    m.d.sync += [shift.eq(Cat(shift[1:], line)), left.eq(left - 1)]
                    with m.If(left == 0):
                        m.next = "STOP"
            with m.State("STOP"):
                with m.If(clock.strobe):
                    m.next = "BREAK"
                    with m.If(line):
                        m.next = "IDLE"
                        with m.If(~self.o.valid | self.o.ready):
                            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(shift)]
            with m.State("BREAK"):
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Sends bytes, back to back if they come in time.

    Parameters
    ----------
    clock_hz, baud : int
        Rates of the clock and of the bits on the line.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes.
    pin : :py:`Out(1)`
        The line, from a register.
    """

    def __init__(self, clock_hz: int, baud: int):
        self._clock = BitClock(clock_hz, baud)
        super().__init__({
            "i": In(stream.Signature(8)),
            "pin": Out(1, init=1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.clock = clock = self._clock
        shift, left = Signal(FRAME_BITS - 1, init=-1), Signal(range(FRAME_BITS + 1))
        ends = Signal()
        m.d.comb += [
            ends.eq((left == 1) & clock.strobe),
            self.i.ready.eq((left == 0) | ends),
            clock.begin.eq(left == 0),
        ]
        with m.If(clock.strobe & (left != 0)):
            m.d.sync += [Cat(self.pin, shift).eq(Cat(shift, 1)), left.eq(left - 1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                self.pin.eq(0),
                shift.eq(Cat(self.i.payload, 1)),
                left.eq(FRAME_BITS),
            ]
        return m
