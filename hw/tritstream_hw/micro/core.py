"""The micro machine: one datapath of 32 bits under a program in block RAM."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.arithmetic.crc import crc_after
from tritstream_hw.micro.data_memory import DataMemory
from tritstream_hw.micro.dot import Dot
from tritstream_hw.micro.isa import (
    ACTIVATIONS,
    PROGRAM_WORDS,
    RECEIVED_BYTES,
    SLOTS,
    Jump,
    Op,
    Place,
    Region,
    Width,
)
from tritstream_hw.micro.multiplier import CYCLES, Multiplier

__all__ = ["Core"]

BYTE = 8                    # places that are shifted at once, as long as there are as many


class Core(wiring.Component):
    """Accumulator machine that runs a program which never ends.

    An instruction is read with the slot of its operand in mind: jumps take a cycle, everything else
    two, while the next instruction is fetched. Longer take: a shift one, and one for each eight
    places and each place that is left; a product two; memory one, or a word two, and what is read
    of the program one; a DOT as many as it has columns, and one. H keeps the upper half of
    products, and of what is shifted in pairs.

    Bytes that come are written to a ring whatever the program does: whoever reads them late finds
    newer ones in their place, and a frame with a wrong CRC.

    Parameters
    ----------
    words : list of int
        The program, and its tables, from address 0 on.
    slots : list of int
        What the slots hold at first.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes from and to the host; `rx` is always ready.
    """

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def __init__(self, words: list[int], slots: list[int]):
        self._words, self._slots = words, slots
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.program = program = memory.Memory(
            shape=16, depth=PROGRAM_WORDS, init=self._words)
        m.submodules.slots = slots = memory.Memory(shape=32, depth=SLOTS, init=self._slots)
        m.submodules.received = received = memory.Memory(shape=8, depth=RECEIVED_BYTES, init=[])
        m.submodules.activations = activations = memory.Memory(
            shape=8, depth=ACTIVATIONS, init=[])
        m.submodules.data = data = DataMemory()
        m.submodules.dot = dot = Dot()
        m.submodules.multiplier = multiplier = Multiplier()

        fetch, operand = program.read_port(), slots.read_port()
        write_back = slots.write_port()
        a, h, carry, less = Signal(32), Signal(32), Signal(), Signal()
        counter = Signal(range(PROGRAM_WORDS))          # where the instruction at hand is
        then = Signal.like(counter)                     # where the next one is
        x, word = operand.data, fetch.data
        op, slot = word[9:15], word[:9]
        with_memory, stores, advances, width = op[5], op[4], op[3], op[:3]
        region = x[17:20]
        m.d.comb += [
            operand.addr.eq(slot), operand.en.eq(0),
            fetch.addr.eq(then), fetch.en.eq(0),
            then.eq(counter + 1),
            write_back.addr.eq(slot), write_back.data.eq(a),
        ]

        def go_on():
            """Fetch the next instruction."""
            m.d.comb += fetch.en.eq(1)
            m.d.sync += counter.eq(then)
            m.next = "READ"

        clock, kept = Signal(32), Signal(16)
        arrived = Signal(range(RECEIVED_BYTES))
        m.d.sync += clock.eq(clock + 1)
        self._receive(m, received, arrived)
        ring = received.read_port()
        m.d.comb += ring.addr.eq(x)

        sending = Signal()                              # a byte is waiting
        m.d.comb += self.tx.valid.eq(sending)
        with m.If(self.tx.ready):
            m.d.sync += sending.eq(0)

        # Of devices.
        found = Signal(16)
        with m.Switch(x[:5]):
            for n in range(5):
                with m.Case(2 * n):
                    m.d.comb += found.eq(dot.sums[n])
            with m.Case(Place.RECEIVED & 31):
                m.d.comb += found.eq(arrived)
            with m.Case(Place.SENDING & 31):
                m.d.comb += found.eq(sending)
            with m.Case(Place.CLOCK & 31):
                m.d.comb += found.eq(clock)
                m.d.sync += kept.eq(clock[16:])
        second = Signal()                               # half of a word
        with m.If(second & (x[:5] == Place.CLOCK & 31)):
            m.d.comb += found.eq(kept)

        half = Signal(16)
        with m.Switch(region):
            with m.Case(Region.DATA):
                m.d.comb += half.eq(data.read)
            with m.Case(Region.PROGRAM):
                m.d.comb += half.eq(word)
            with m.Case(Region.RECEIVED):
                m.d.comb += half.eq(Cat(ring.data, ring.data))
            with m.Default():
                m.d.comb += half.eq(found)

        # Row sums: codes from the large memory, activations behind H.
        column, code_at = Signal(9), Signal(17)
        odd, live = Signal(), Signal()
        quantised = activations.read_port()
        m.d.comb += [
            code_at.eq(x + column),
            quantised.addr.eq(h[:9] | column),
            dot.code.eq(data.read.word_select(odd, 8)),
            dot.activation.eq(quantised.data),
            dot.valid.eq(live),
        ]
        m.d.sync += [odd.eq(code_at[0]), live.eq(0)]
        put_activation = activations.write_port()
        m.d.comb += [put_activation.addr.eq(x), put_activation.data.eq(a)]

        # The adder.
        subtracts = Signal()
        m.d.comb += subtracts.eq(op == Op.SUB)
        added, total = Signal(32), Signal(33)
        m.d.comb += [
            added.eq(x ^ subtracts.replicate(32)),
            total.eq(a + added + (subtracts | (op == Op.ADD_CARRY) & carry)),
        ]

        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(x)]
        left = Signal(6)                                # places to shift, or cycles to wait
        m.d.comb += [
            data.address.eq(x[1:]), data.word.eq(a),
            data.lanes.eq(Mux(width == Width.BYTE, Cat(~x[0], x[0]), 0b11)),
        ]
        with m.If(width == Width.BYTE):
            m.d.comb += data.word.eq(Cat(a[:8], a[:8]))

        with m.FSM(init="BEGIN"):
            with m.State("BEGIN"):
                m.d.comb += [then.eq(0), fetch.en.eq(1)]
                m.next = "READ"

            with m.State("READ"):
                m.d.comb += operand.en.eq(1)
                m.next = "EXECUTE"
                with m.If(word[-1]):
                    go_on()
                    taken = Signal()
                    with m.Switch(word[12:15]):
                        for kind, condition in (
                                (Jump.ALWAYS, 1), (Jump.CALL, 1), (Jump.ZERO, a == 0),
                                (Jump.NOT_ZERO, a != 0), (Jump.LESS, less),
                                (Jump.NOT_LESS, ~less), (Jump.CARRY, carry),
                                (Jump.NOT_CARRY, ~carry)):
                            with m.Case(kind):
                                m.d.comb += taken.eq(condition)
                    with m.If(taken):
                        m.d.comb += then.eq(word[:12])
                    with m.If(word[12:15] == Jump.CALL):
                        m.d.sync += a.eq(counter + 1)

            with m.State("EXECUTE"):
                m.d.sync += [left.eq(x), column.eq(0), second.eq(0)]
                with m.If(with_memory):
                    m.d.comb += [write_back.en.eq(advances),
                                 write_back.data.eq(x + (C(1) << _steps(width)))]
                    with m.If(stores):
                        m.d.comb += put_activation.en.eq(region == Region.ACTIVATIONS)
                        with m.If(region == Region.DEVICES):
                            m.d.sync += [self.tx.payload.eq(a), sending.eq(1)]
                        m.d.comb += data.write.eq(region == Region.DATA)
                        with m.If(width == Width.WORD):
                            m.next = "STORE"
                        with m.Else():
                            go_on()
                    with m.Else():
                        m.next = "FOUND"
                        with m.If(region == Region.PROGRAM):
                            m.d.comb += [fetch.en.eq(1), fetch.addr.eq(x[1:])]
                            m.next = "TABLE"
                with m.Else():
                    self._execute(m, op, x, a, h, carry, less, total, left, go_on, write_back, dot)
                    with m.If(op == Op.RETURN):
                        m.d.comb += then.eq(x)

            with m.State("FOUND"):
                m.d.sync += a.eq(Mux(width == Width.BYTE, half.word_select(x[0], 8), half))
                with m.If(width == Width.HALF_SIGNED):
                    m.d.sync += a.eq(half.as_signed())
                with m.If(width == Width.WORD):
                    m.d.comb += data.address.eq(x[1:] | 1)
                    m.d.sync += second.eq(1)
                    m.next = "UPPER"
                with m.Else():
                    go_on()
            with m.State("UPPER"):
                m.d.sync += a[16:].eq(half)
                go_on()
            with m.State("TABLE"):
                m.d.sync += a.eq(half)
                go_on()
            with m.State("STORE"):
                m.d.comb += [data.address.eq(x[1:] | 1), data.word.eq(a[16:]),
                             data.write.eq(1)]
                go_on()

            with m.State("SHIFT"):
                for step, condition in ((BYTE, left >= BYTE), (1, (left < BYTE) & (left != 0))):
                    with m.If(condition):
                        m.d.sync += left.eq(left - step)
                        self._shift(m, op, a, h, carry, step)
                with m.If(left == 0):
                    go_on()

            with m.State("MULTIPLY"):
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.d.sync += Cat(a, h).eq(multiplier.o)
                    go_on()

            with m.State("DOT"):
                m.d.comb += data.address.eq(code_at[1:])
                m.d.sync += column.eq(column + 1)
                with m.If(column == a[:9]):
                    go_on()
                with m.Else():
                    m.d.sync += live.eq(1)
        return m

    def _receive(self, m, received, arrived):
        """Write what comes to the ring."""
        port = received.write_port()
        m.d.comb += [self.rx.ready.eq(1), port.en.eq(self.rx.valid), port.addr.eq(arrived),
                     port.data.eq(self.rx.payload)]
        with m.If(self.rx.valid):
            m.d.sync += arrived.eq(arrived + 1)

    def _shift(self, m, op, a, h, carry, step):
        """Shift by some places."""
        with m.If(op == Op.LEFT):
            m.d.sync += Cat(a, h, carry).eq(Cat(C(0, step), a, h)[:65])
        with m.Else():
            enters = Mux(op == Op.RIGHT_PAIR, h[:step],
                         ((op == Op.RIGHT_SIGNED) & a[-1]).replicate(step))
            m.d.sync += [a.eq(Cat(a[step:], enters)), carry.eq(a[step - 1])]
            with m.If(op == Op.RIGHT_PAIR):
                m.d.sync += h.eq(h.as_signed() >> step)

    def _execute(self, m, op, x, a, h, carry, less, total, left, go_on, write_back, dot):
        """Carry out an operation that is not on memory."""
        with m.Switch(op):
            with m.Case(Op.LEFT, Op.RIGHT, Op.RIGHT_SIGNED, Op.RIGHT_PAIR):
                m.d.sync += carry.eq(0)
                m.next = "SHIFT"
            with m.Case(Op.MULTIPLY):
                m.d.sync += left.eq(CYCLES - 1)
                m.next = "MULTIPLY"
            with m.Case(Op.DOT):
                m.d.comb += dot.clear.eq(1)
                m.next = "DOT"
            with m.Default():
                go_on()
        with m.Switch(op):
            with m.Case(Op.LOAD):
                m.d.sync += a.eq(x)
            with m.Case(Op.ADD, Op.ADD_CARRY, Op.SUB):
                m.d.sync += [Cat(a, carry).eq(total)]
                with m.If(op == Op.SUB):
                    m.d.sync += less.eq(Mux(a[-1] ^ x[-1], a[-1], total[31]))
            with m.Case(Op.AND):
                m.d.sync += a.eq(a & x)
            with m.Case(Op.OR):
                m.d.sync += a.eq(a | x)
            with m.Case(Op.XOR):
                m.d.sync += a.eq(a ^ x)
            with m.Case(Op.CRC):
                m.d.sync += a.eq(crc_after(m, a, x[:8], name="crc"))
            with m.Case(Op.HIGH):
                m.d.sync += a.eq(h)
            with m.Case(Op.SET_HIGH):
                m.d.sync += h.eq(x)
            with m.Case(Op.STORE):
                m.d.comb += write_back.en.eq(1)


def _steps(width):
    """Return the logarithm of a width's bytes."""
    return Mux(width == Width.BYTE, 0, Mux(width == Width.WORD, 2, 1))
