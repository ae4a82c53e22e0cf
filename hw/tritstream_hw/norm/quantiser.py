"""Quantiser: vectors times gains, scaled to int8."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from tritstream.formats import FORMATS
from tritstream_hw.arithmetic.add_subtract import AddSubtract
from tritstream_hw.arithmetic.multiply import Multiplier
from tritstream_hw.elements.ports import gain_words_port, vector_words_port
from tritstream_hw.gemv.activations import VECTORS, ActivationWrite
from tritstream_hw.gemv.feeder import available_layout
from tritstream_hw.norm.scalars import ReciprocalsSignature
from tritstream_hw.stream.delay import delay

__all__ = ["Quantiser", "ElementQuantiser", "quantise_layout"]


def quantise_layout(*, vector_width: int, vector_elements: int,
                    column_words: int) -> data.StructLayout:
    """Layout of what is to be quantised."""
    return data.StructLayout({
        "base":    range(vector_elements // vector_width),  # first word of the vector
        "words":   range(column_words + 1),                 # of V elements; whole beats
        "vectors": range(VECTORS + 1),                      # gain banks, from the first on
    })


class ElementQuantiser(wiring.Component):
    """One element: :py:`127 * value * gain / amax`, rounded, see `golden.quantise.quantise`.

    Free-running. Right if :py:`abs(value * gain) <= amax`, arbitrary else.

    Members
    -------
    value : :py:`In(signed(32))`, gain : :py:`In(signed(16))`
        Element and its gain.
    odd : :py:`In(1)`
        Whether the reciprocal's `up` is odd; `odd_delay` cycles after the element.
    up : :py:`In(6)`, factor : :py:`In(17)`
        From the reciprocal; `up_delay` and `factor_delay` cycles after the element that they are
        for.
    o : :py:`Out(signed(8))`
        :py:`latency` cycles after the element.
    """

    def __init__(self):
        super().__init__({
            "value":  In(signed(FORMATS.vector_bits)),
            "gain":   In(signed(FORMATS.gain_bits)),
            "odd":    In(1),
            "up":     In(6),
            "factor": In(FORMATS.amax_bits),
            "o":      Out(signed(FORMATS.act_bits)),
        })
        # By the gain with another sign, and shifted by one, which are two bits more.
        self._product = Multiplier(self.value.shape(), signed(FORMATS.gain_bits + 2))
        self._scaled = Multiplier(FORMATS.amax_bits, FORMATS.amax_bits)

    @property
    def odd_delay(self) -> int:
        """Cycles from the element until its gain gets its sign."""
        return 1

    @property
    def up_delay(self) -> int:
        """Cycles from the element until its shift begins, which takes two."""
        return self.odd_delay + self._product.latency

    @property
    def factor_delay(self) -> int:
        """Cycles from the element until it is scaled."""
        return self.up_delay + 2

    @property
    def latency(self) -> int:
        """Cycles from the element to the result."""
        return self.factor_delay + self._scaled.latency + 1

    def elaborate(self, platform):
        m = Module()
        m.submodules.product, m.submodules.scaled = product, scaled = self._product, self._scaled

        # The gain gets the sign of the element, so that the product is a magnitude: a shorter carry
        # chain than to negate that. The first place of the shift is free there, for -(g << 1) is
        # ~g, shifted up with a 1 behind it, + 1. Registered before, for memories are slow.
        value = Signal.like(self.value, reset_less=True)
        gain = Signal.like(self.gain, reset_less=True)
        negated = Signal()
        m.d.sync += [value.eq(self.value), gain.eq(self.gain)]
        m.d.comb += negated.eq(value[-1] ^ gain[-1])
        inverted = gain ^ negated.replicate(FORMATS.gain_bits).as_signed()
        m.d.comb += [
            product.a.eq(value),
            product.b.eq(Mux(self.odd, Cat(negated, inverted).as_signed(), inverted) + negated),
        ]
        size = product.o[:FORMATS.product_bits]

        # Of 48 bits the top 17 are wanted: by the largest step first, as each keeps only what those
        # behind can move there. In the first a reset does most. The last two have no register of
        # their own. A shift by 48 is that of a vector of zeros.
        coarse, medium = Signal(48, reset_less=True), Signal(23, reset_less=True)
        medium_up, fine_up, fine_up_then = Signal(2), Signal(2), Signal(2)
        by_16 = Mux(medium_up[1], coarse[1:32], coarse[17:48])
        by_4 = Mux(fine_up_then[1], medium[:19], medium[4:])
        m.d.sync += [
            coarse.eq(Mux(self.up[5], size << 32, size)),
            Cat(fine_up, medium_up).eq(self.up[1:5]),
            medium.eq(Mux(medium_up[0], by_16[:23], by_16[8:])),
            fine_up_then.eq(fine_up),
        ]
        m.d.comb += [
            scaled.a.eq(Mux(fine_up_then[0], by_4[:17], by_4[2:])),
            scaled.b.eq(self.factor),
        ]

        negative = delay(m, negated, self.latency - self.odd_delay - 1, name="negative")
        # Rounded and negated by one adder: 0 - (q + r) is -r - q.
        bits, width = FORMATS.reciprocal_bits, len(self.o)
        quotient, half = scaled.o[bits:bits + width], scaled.o[bits - 1]
        m.submodules.rounding = rounding = AddSubtract(a_bits=2, b_bits=width, bits=width)
        m.d.comb += [
            rounding.a.eq(Cat(half, half & negative)),
            rounding.b.eq(quotient),
            rounding.subtract.eq(negative),
        ]
        m.d.sync += self.o.eq(rounding.total)
        return m


class Quantiser(wiring.Component):
    """Streams a vector of each token through `V` lanes, once for each gain bank.

    For each vector, those of the first token before those of the next, it waits until the
    reciprocal is coming; then it reads a word of `V` gains and, a cycle later, of `V` elements per
    cycle, without a gap from one vector to the next, and writes its activations :py:`latency`
    cycles after the address of its gains was put out. Columns beyond the vector's end become
    arbitrary activations, which meet trits of zero.

    Parameters
    ----------
    vector_width : int
        `V`.
    vector_elements : int
        Elements of the vector memory.
    column_words, column_beats : int
        Words of `V` elements and beats of the longest vector.
    lanes : int
        `T`, tokens.

    Members
    -------
    command : :py:`In(stream.Signature(quantise_layout(...)))`
        Taken when everything of the command before has been written.
    last : :py:`In(range(T))`
        The last token that there is. Stable while a command is under way.
    reciprocals : :py:`In(ReciprocalsSignature(T))`
        Each has to be there :py:`reciprocal_delay` cycles after it is said to be coming, until
        everything has been written.
    reading : :py:`Out(1)`
        The addresses mean something.
    vector, gain : :py:`In(ReadPort.Signature(...))`
        Words of the vector memory, a cycle later, and of the gain banks, two cycles later. Enabled
        from the command until everything has been written.
    write : :py:`Out(ActivationWrite(...))`
        To the activation memory.
    available : :py:`Out(available_layout(column_beats))`
        Beats of each vector that have been written of all tokens. Cleared when a command is taken.
    """

    def __init__(self, *, vector_width: int, vector_elements: int, column_words: int,
                 column_beats: int, lanes: int = 1):
        self._column_words = column_words
        self._beat_words = column_words // column_beats
        super().__init__({
            "command":     In(stream.Signature(quantise_layout(
                vector_width=vector_width, vector_elements=vector_elements,
                column_words=column_words))),
            "last":        In(range(lanes)),
            "reciprocals": In(ReciprocalsSignature(lanes)),
            "reading":     Out(1),
            "vector":      In(vector_words_port(
                vector_elements=vector_elements, vector_width=vector_width, lanes=lanes)),
            "gain":        In(gain_words_port(
                column_words=column_words, vector_width=vector_width)),
            "write":       Out(ActivationWrite(
                vector_width=vector_width, column_words=column_words, lanes=lanes)),
            "available":   Out(available_layout(column_beats)),
        })
        self._elements = [ElementQuantiser() for _ in range(vector_width)]
        self._place = data.StructLayout({"bank": range(VECTORS), "lane": range(lanes)})
        self._word_bits = ceil_log2(vector_elements // vector_width)

    @property
    def reciprocal_delay(self) -> int:
        """Cycles from putting out a gain's address until the reciprocal's factor is needed."""
        return 1 + self._elements[0].factor_delay

    @property
    def latency(self) -> int:
        """Cycles from putting out a gain's address to writing the activations."""
        return 2 + self._elements[0].latency

    def elaborate(self, platform):
        m = Module()

        base = Signal(self._word_bits)
        word = Signal(range(self._column_words))
        bank, last_bank, last = Signal(range(VECTORS)), Signal(range(VECTORS)), Signal.like(word)
        lane, is_last = Signal.like(self.last), Signal()
        running, busy, ends = Signal(), Signal(), Signal()
        # valids[n], places[n]: of the word whose gains' address was put out n + 1 cycles ago.
        valids = Signal(self.latency)
        places = Signal(data.ArrayLayout(self._place, self.latency), reset_less=True)
        m.d.comb += [
            busy.eq(running | valids.any()),
            self.command.ready.eq(~busy),
            self.reading.eq(running & self.reciprocals.coming[lane].bit_select(bank, 1)),
            self.vector.en.eq(busy),
            self.gain.en.eq(busy),
            self.gain.addr.eq(Cat(word, bank)),
            ends.eq(word == last),
            is_last.eq(lane == self.last),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                running.eq(1), bank.eq(0), lane.eq(0), word.eq(0), self.available.eq(0),
                base.eq(self.command.p.base),
                last.eq(self.command.p.words - 1),
                last_bank.eq(self.command.p.vectors - 1),
            ]
        with m.If(self.reading):
            m.d.sync += word.eq(word + 1)
            with m.If(ends):
                m.d.sync += [word.eq(0), bank.eq(bank + 1),
                             running.eq((bank != last_bank) | ~is_last)]
                with m.If((bank == last_bank) & ~is_last):
                    m.d.sync += [bank.eq(0), lane.eq(lane + 1)]
        m.d.sync += [
            self.vector.addr.eq(Cat((base + word)[:self._word_bits], lane)),
            valids.eq(Cat(self.reading, valids)),
            places.eq(Cat(bank, lane, places)),
        ]

        self._compute(m, places)
        self._write(m, valids[-1], places[self.latency - 1], last)
        return m

    def _compute(self, m, places):
        first = self._elements[0]
        odd = Signal(reset_less=True)
        up = Signal.like(first.up, reset_less=True)
        factor = Signal.like(first.factor, reset_less=True)
        numbers = self.reciprocals.numbers
        negated, shifted = places[first.odd_delay], places[first.up_delay]
        scaled = places[first.factor_delay]
        # An element is there two cycles after its gain's address; these registers take another.
        m.d.sync += [
            odd.eq(numbers[negated.lane][negated.bank].up[0]),
            up.eq(numbers[shifted.lane][shifted.bank].up),
            factor.eq(numbers[scaled.lane][scaled.bank].factor),
        ]
        for index, element in enumerate(self._elements):
            m.submodules[f"element{index}"] = element
            m.d.comb += [
                element.value.eq(self.vector.data[index]),
                element.gain.eq(self.gain.data[index]),
                element.odd.eq(odd),
                element.up.eq(up),
                element.factor.eq(factor),
                self.write.data[index].eq(element.o),
            ]

    def _write(self, m, valid, place, last):
        address = Signal.like(self.write.address)
        m.d.comb += [
            self.write.en.eq(valid),
            self.write.lane.eq(place.lane),
            self.write.vector.eq(place.bank),
            self.write.address.eq(address),
        ]
        beat_ends = address[:exact_log2(self._beat_words)] == self._beat_words - 1
        with m.If(valid):
            m.d.sync += address.eq(Mux(address == last, 0, address + 1))
            for index, available in enumerate(self.available):
                m.d.sync += available.eq(
                    available + (beat_ends & (place.bank == index) & (place.lane == self.last)))
        return m
