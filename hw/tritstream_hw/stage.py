"""The control word of a stage: what every block has to do, decoded once from the header."""

from collections.abc import Callable

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.build import BuildConfig
from tritstream.formats import FORMATS
from tritstream.image.tape import Op
from tritstream_hw.elements.layouts import ELEMENTS
from tritstream_hw.gemv.activations import VECTORS
from tritstream_hw.gemv.feeder import product_layout
from tritstream_hw.head.head import RANKING
from tritstream_hw.norm.quantiser import quantise_layout
from tritstream_hw.norm.scalars import FACTORS
from tritstream_hw.tape.gains import load_layout
from tritstream_hw.tape.layouts import HEADER_LAYOUT, padded_beats

__all__ = ["StageDecoder", "stage_layout"]


def stage_layout(config: BuildConfig) -> data.StructLayout:
    """Layout of a control word: a command for each block, by its name."""
    return data.StructLayout({
        "is_embed":  1,
        "is_head":   1,
        "gains":     load_layout(gain_beats=config.gain_beats, gain_chunks=config.gain_chunks),
        "quantiser": quantise_layout(
            vector_elements=config.vector_elements, column_words=config.column_words,
            vector_width=config.vector_width),
        "scalars":   FACTORS,
        "row":       16,
        "gemv":      product_layout(config.column_beats),
        "elements":  ELEMENTS,
        "head":      RANKING,
    })


class StageDecoder(wiring.Component):
    """Makes the control word of a header. Combinational.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build: the word has a command for every block, as wide as each takes it.

    Members
    -------
    header : :py:`In(HEADER_LAYOUT)`
        Header of the stage.
    logits : :py:`In(1)`
        The host wants all logits of the pass that it belongs to.
    word : :py:`Out(stage_layout(config))`
        Its commands.
    """

    def __init__(self, config: BuildConfig):
        self._config = config
        super().__init__({
            "header": In(HEADER_LAYOUT),
            "logits": In(1),
            "word":   Out(stage_layout(config)),
        })

    def elaborate(self, platform):
        m = Module()
        config, header, word = self._config, self.header, self.word
        z_word = config.z_base // config.vector_width
        words_per_beat = exact_log2(config.beat_bytes // config.vector_width)
        column_beats = padded_beats(header.columns, FORMATS.act_bits, config.beat_bytes)
        m.d.comb += [
            word.is_embed.eq(header.op == Op.EMBED),
            word.is_head.eq(header.op == Op.HEAD),

            word.gains.banks.eq(header.banks),
            word.gains.beats.eq(padded_beats(header.rows, FORMATS.gain_bits, config.flat_bytes)),
            word.gains.last_chunk.eq(self._last_chunk()),

            word.quantiser.base.eq(Mux(self._of_op(lambda op: op.reads_z), z_word, 0)),
            word.quantiser.words.eq(column_beats << words_per_beat),
            word.quantiser.vectors.eq(self._of_op(lambda op: op.vectors)),

            word.scalars.separate.eq(self._of_op(lambda op: op.vectors == VECTORS)),

            word.row.eq(header.rows),

            word.gemv.column_beats.eq(column_beats),
            word.gemv.blocks.eq(header.blocks),
            word.gemv.rows.eq(header.rows),
            word.gemv.projections.eq(self._of_op(lambda op: op.projections)),
            word.gemv.separate.eq(self._of_op(lambda op: op.vectors == VECTORS)),
            # The host knows logits of several tokens by their order, which is that of blocks.
            word.gemv.apart.eq(self.logits & (header.op == Op.HEAD)),

            word.elements.embed.eq(header.op == Op.EMBED),
            word.elements.mixes.eq(self._of_op(lambda op: op.writes_z)),
            word.elements.glu.eq(header.op == Op.GLU),
            word.elements.fraction0.eq(header.fraction0),
            word.elements.fraction1.eq(header.fraction1),
            word.elements.state_base.eq(header.state_base),

            word.head.logits.eq(self.logits),
        ]
        names = [f"scale{index}" for index in range(VECTORS)] + ["ratio", "floor"]
        scalars = [*word.scalars.factors, word.scalars.ratio, word.scalars.floor]
        for name, scalar in zip(names, scalars, strict=True):
            m.d.comb += [scalar.mantissa.eq(header[f"{name}_mantissa"]),
                         scalar.exponent.eq(header[f"{name}_exponent"])]
        return m

    def _last_chunk(self) -> Value:
        """Last chunk of a gain bank in its last stripe; all of it where a unit is several."""
        chunks = self._config.gain_chunks
        if self._config.stripes.unit_stripes > 1:
            return C(chunks - 1)
        return (self.header.rows - 1)[exact_log2(self._config.vector_width):][:exact_log2(chunks)]

    def _of_op(self, what: Callable[[Op], int]) -> Value:
        """What holds for the header's operation."""
        return Array(int(what(op)) for op in Op)[self.header.op]
