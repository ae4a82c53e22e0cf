"""Gain banks of a stage, loaded from the tape while those of the stage before are in use."""

from amaranth import *
from amaranth.hdl import Assert
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from tritstream.formats import ALIGNMENT, FORMATS, padded
from tritstream.image.tape import Bank
from tritstream_hw.elements.ports import gain_words_port, rows_of, rows_port
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.norm.row_statistics import GAINS
from tritstream_hw.ram import Ram
from tritstream_hw.stream.delay import delay

__all__ = ["GainBanks", "GainPorts", "banks_layout", "load_layout"]

_GAIN_BYTES = FORMATS.gain_bits // 8


def banks_layout(count: int) -> data.StructLayout:
    """Layout of `count` neighbouring gains of each bank but `keep`."""
    return data.StructLayout({
        bank.name.lower(): data.ArrayLayout(signed(FORMATS.gain_bits), count)
        for bank in Bank if bank is not Bank.KEEP})


def load_layout(*, gain_beats: int, gain_chunks: int) -> data.StructLayout:
    """Layout of what is to be loaded, banks of up to so many beats of so many chunks."""
    return data.StructLayout({
        "banks": len(Bank),     # a bit each, as in a header
        "beats": range(gain_beats + 1),     # of each bank; at least 1
        "last_chunk": range(gain_chunks),   # of the last beat, behind which it is padding
    })


class GainBanks(wiring.Component):
    """Five banks of gains in two halves: one is loaded while the other is read.

    Bank `gain0` holds :py:`max_columns` gains in a half, the others :py:`max_hidden`. The beats of
    the banks follow each other as on the tape. Loading writes up to `V` gains per cycle: a beat is
    taken every cycle if it has at most `V` gains, else in chunks of `V` gains, one per cycle.
    What a beat holds is there for a read that begins two cycles after the beat was taken, or later.
    The content survives a reset.

    Parameters
    ----------
    flat_bytes, vector_width : int
        Bytes of a stripe that have gains, and `V`.
    gain_beats, gain_chunks : int
        Stripes of the longest bank, and chunks of a stripe.
    max_columns, max_hidden : int
        Gains of the longest bank `gain0`, padded as columns are, and of the longest other.

    Members
    -------
    command : :py:`In(stream.Signature(load_layout(gain_beats)))`
        Taken when all beats of the command before it have been.
    beats : :py:`In(stream.Signature(data.ArrayLayout(8, flat_bytes)))`
        Tape: gains of 16 bits, the low byte first.
    half : :py:`In(1)`
        The half that is loaded; has to be stable from the command until the cycle after its last
        beat.
    read_half : :py:`In(1)`, read_address : :py:`In(range(max_columns / V))`
        Number of a word of `V` gains.
    read_data : :py:`Out(banks_layout(V))`
        That word of all banks but `keep`, two cycles later. Arbitrary for a bank that has no such
        word.
    keep_half, keep_address, keep_data
        The same for bank `keep`, one cycle later; it is read where a vector begins, not where it
        ends.
    """

    def __init__(self, *, flat_bytes: int, vector_width: int, gain_beats: int, gain_chunks: int,
                 max_columns: int, max_hidden: int):
        self._flat_bytes, self._vector_width = flat_bytes, vector_width
        self._gain_beats, self._gain_chunks = gain_beats, gain_chunks
        self._max_hidden = max_hidden
        words = range(max_columns // vector_width)
        super().__init__({
            "command":      In(stream.Signature(load_layout(
                gain_beats=gain_beats, gain_chunks=gain_chunks))),
            "beats":        In(stream.Signature(data.ArrayLayout(8, flat_bytes))),
            "half":         In(1),
            "read_half":    In(1),
            "read_address": In(words),
            "read_data":    Out(banks_layout(vector_width)),
            "keep_half":    In(1),
            "keep_address": In(words),
            "keep_data":    Out(data.ArrayLayout(FORMATS.gain_bits, vector_width)),
        })

    def _words(self, bank: Bank) -> int:
        """Words of a half.

        The longest bank has a power of two of them: its block RAMs have few bits of each then, and
        there is no choice among them, which takes time. The other four have as many as they need,
        which with a hidden size of 2,560 saves eight block RAMs.
        """
        word_bytes = _GAIN_BYTES * self._vector_width
        if bank is Bank.GAIN0:
            return 1 << ceil_log2(-(-self._gain_beats * self._flat_bytes // word_bytes))
        size = padded(_GAIN_BYTES * self._max_hidden, max(ALIGNMENT, self._flat_bytes))
        return -(-size // word_bytes)

    def elaborate(self, platform):
        m = Module()
        word_bytes, chunks = _GAIN_BYTES * self._vector_width, self._gain_chunks

        # What is written in a cycle: a part of a word, or a part of a beat.
        chunk_bytes = self._flat_bytes // chunks
        position = Signal(range(self._gain_beats * chunks))
        chunk = position[:exact_log2(chunks)]
        part = position[:exact_log2(word_bytes // chunk_bytes)]

        remaining = Signal(len(Bank))
        current = Signal(len(Bank))
        last_beat, last_chunk = Signal(range(self._gain_beats)), Signal(range(chunks))
        is_last, beat_ends, bank_ends = Signal(), Signal(), Signal()
        m.d.comb += [
            current.eq(remaining & -remaining),
            is_last.eq(position[len(chunk):] == last_beat),
            beat_ends.eq(chunk == Mux(is_last, last_chunk, chunks - 1)),
            bank_ends.eq(beat_ends & is_last),
            self.beats.ready.eq(remaining.any() & beat_ends),
            self.command.ready.eq(~remaining.any()),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                remaining.eq(self.command.p.banks),
                last_beat.eq(self.command.p.beats - 1),
                last_chunk.eq(self.command.p.last_chunk),
                position.eq(0),
            ]
        with m.If(self.beats.valid & remaining.any()):
            m.d.sync += position.eq(position + 1)
            with m.If(bank_ends):
                m.d.sync += [remaining.eq(remaining & ~current), position.eq(0)]

        enable, address = Signal(len(Bank)), Signal(position.shape(), reset_less=True)
        written = Signal(8 * chunk_bytes, reset_less=True)
        m.d.sync += [
            enable.eq(Mux(self.beats.valid, current, 0)),
            address.eq(position),
            written.eq(Value.cast(self.beats.payload).word_select(chunk, 8 * chunk_bytes)),
        ]

        for index, bank in enumerate(Bank):
            bits = ceil_log2(self._words(bank))

            def place(half, address, bits=bits):
                """Where a word is; of both halves beside each other, so that none has a gap."""
                return Cat(half, Cat(address, C(0, bits))[:bits])

            memory = Ram(shape=unsigned(8 * word_bytes), depth=2 * self._words(bank))
            m.submodules[bank.name.lower()] = memory
            write, read = memory.write_port(granularity=8 * chunk_bytes), memory.read_port()
            m.d.comb += [
                write.addr.eq(place(self.half, address[len(part):])),
                write.data.eq(written.replicate(word_bytes // chunk_bytes)),
                write.en.eq(enable[index] << address[:len(part)]),
            ]
            if bank is Bank.KEEP:
                m.d.comb += [read.addr.eq(place(self.keep_half, self.keep_address)),
                             self.keep_data.eq(read.data)]
            else:
                # Registered, for block RAMs are slow, and which of their words it is has to be
                # chosen behind them.
                m.d.comb += read.addr.eq(place(self.read_half, self.read_address))
                m.d.sync += self.read_data[bank.name.lower()].eq(read.data)
        return m


class GainPorts(wiring.Component):
    """The gain banks with a port for each of their users, two of which take turns.

    The quantiser goes first; it works with the gains that were loaded in the stage before, the
    others with those of this stage. No element may come while the quantiser is enabled: it is
    through with all its vectors before the first element of an output vector is there.

    Parameters
    ----------
    flat_bytes, vector_width, gain_beats, gain_chunks, max_columns, max_hidden : int
        As those of `GainBanks`.
    element_width : int
        `E`.

    Members
    -------
    command, beats, half
        As those of `GainBanks`.
    words : :py:`Out(ReadPort.Signature(...))`
        The quantiser: words of banks `gain0` to `gain2`, two cycles later.
    rows : :py:`Out(ReadPort.Signature(...))`
        The statistics: all gains of a word of rows, two cycles later.
    keep : :py:`Out(ReadPort.Signature(...))`
        The mixer: one minus the lower bound of a word of rows.
    """

    def __init__(self, *, flat_bytes: int, vector_width: int, element_width: int, gain_beats: int,
                 gain_chunks: int, max_columns: int, max_hidden: int):
        self._width = element_width
        self._banks = GainBanks(flat_bytes=flat_bytes, vector_width=vector_width,
                                gain_beats=gain_beats, gain_chunks=gain_chunks,
                                max_columns=max_columns, max_hidden=max_hidden)
        super().__init__({
            "command": In(self._banks.command.signature.flip()),
            "beats":   In(self._banks.beats.signature.flip()),
            "half":    In(1),
            "words":   Out(gain_words_port(column_words=max_columns // vector_width,
                                           vector_width=vector_width)),
            "rows":    Out(rows_port(GAINS, element_width)),
            "keep":    Out(rows_port(unsigned(FORMATS.gain_bits), element_width)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.banks = banks = self._banks
        wiring.connect(m, wiring.flipped(self.command), banks.command)
        wiring.connect(m, wiring.flipped(self.beats), banks.beats)

        m.d.sync += Assert(~(self.words.en & self.rows.en),
                           "gains of a row are read while the quantiser reads")
        words, word_bits = len(banks.keep_data) // self._width, len(banks.read_address)
        m.d.comb += [
            banks.half.eq(self.half),
            banks.read_half.eq(self.half ^ self.words.en),
            banks.read_address.eq(Mux(self.words.en, self.words.addr[:word_bits],
                                      self.rows.addr >> exact_log2(words))),
            banks.keep_half.eq(self.half),
            banks.keep_address.eq(self.keep.addr >> exact_log2(words)),
            self.keep.data.eq(
                rows_of(m, banks.keep_data, self.keep.addr, self._width, name="keep_word")),
        ]
        for name, _ in GAINS:
            gains = rows_of(m, banks.read_data[name], self.rows.addr, self._width, cycles=2,
                            name=f"{name}_word")
            m.d.comb += [gain[name].eq(part) for gain, part in zip(
                self.rows.data, data.View(data.ArrayLayout(
                    FORMATS.gain_bits, self._width), gains), strict=True)]

        with m.Switch(delay(m, self.words.addr[word_bits:], 2, name="bank")):
            for index in range(VECTORS):
                with m.Case(index):
                    m.d.comb += self.words.data.eq(banks.read_data[f"gain{index}"])
        return m
