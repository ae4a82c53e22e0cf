"""Checkpoint to image: folds gains, packs trits, and derives every binary point.

No format is guessed. For each projection a bound on its output follows from its weights: a
normalised vector of K elements has Euclidean length at most sqrt(K), so by Cauchy and Schwarz no
row's sum exceeds `b sqrt(K) |trits * gain|`. Binary points are put where these bounds fit, the
residual's where the sum of all fits; nothing can overflow, whatever the text. `docs/numerics.md`
has the arguments.
"""

import dataclasses
import math
import pathlib

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import FORMATS, MOST_ROWS, NORM_BITS, padded
from tritstream.image.bounds import PACKED_MARGIN, ROUNDING, longest_row, output_bound
from tritstream.image.image import Image, write_image
from tritstream.image.scales import scale_power
from tritstream.image.stages import Plan, plans
from tritstream.image.tape import (
    MAX_FRACTION,
    ROW_PREFIX,
    WIDE_BYTES,
    Header,
    Op,
    Scalar,
    blocks,
    row_bytes,
    units_of,
)
from tritstream.image.trits import encode
from tritstream.model.chat_template import read_template
from tritstream.model.config import ModelConfig
from tritstream.model.tokenizer import Tokenizer
from tritstream.model.weights import Packable

__all__ = ["pack"]

INNER_EPS = 1e-6
"""Epsilon of a BitLinear's own norm, whatever the model's configuration says."""


def scalar(value: float) -> Scalar:
    """Nearest 16-bit mantissa and power of two."""
    if value == 0:
        return Scalar()
    mantissa, exponent = math.frexp(value)
    scaled = round(mantissa * (1 << FORMATS.mantissa_bits))
    if scaled == 1 << FORMATS.mantissa_bits:
        scaled, exponent = scaled >> 1, exponent + 1
    return Scalar(scaled, exponent - FORMATS.mantissa_bits)


def _integer_scalar(value: int) -> Scalar:
    exponent = max(0, value.bit_length() - FORMATS.mantissa_bits)
    return Scalar(min(-(-value >> exponent), 0xFFFF), exponent)


@dataclasses.dataclass(frozen=True)
class Gain:
    """A gain vector in 16 bits: `value * 2**-fraction`."""

    values: np.ndarray
    fraction: int

    @classmethod
    def of(cls, gain: np.ndarray) -> "Gain":
        peak = float(np.abs(gain).max())
        fraction = math.floor(math.log2(0x7FFF / peak)) if peak else 0
        return cls(np.rint(gain * 2.0 ** fraction).astype(np.int64), fraction)

    @property
    def real(self) -> np.ndarray:
        """The numbers that are really used."""
        return self.values * 2.0 ** -self.fraction


@dataclasses.dataclass(frozen=True)
class Norms:
    """The folded norms in front of a stage's quantisers.

    `pre` is the gain of the first of two stacked norms (None if there is one), `gains` the
    products of all gains for each quantiser, `inner` what is left of each behind `pre`.
    """

    pre: Gain | None
    gains: tuple[Gain, ...]
    eps: float                  # epsilon of the first norm
    name: str                   # of the first norm

    @classmethod
    def fold(cls, checkpoint: Packable, pre: str | None, inner: tuple[str, ...]) -> "Norms":
        first = None if pre is None else Gain.of(checkpoint.gain(pre))
        factor = 1.0 if first is None else first.real
        gains = tuple(Gain.of(checkpoint.gain(name) * factor) for name in inner)
        return cls(first, gains, checkpoint.config.eps, pre or inner[0])

    def inner(self, index: int) -> np.ndarray:
        """Gain of the BitLinear's own norm as the integers have it."""
        total = self.gains[index].real
        if self.pre is None:
            return total
        return np.divide(total, self.pre.real, out=np.zeros_like(total),
                         where=self.pre.values != 0)

    def inner_fraction(self, vector_fraction: int) -> int:
        """Fraction bits of the numbers whose squares are S2."""
        if self.pre is None:
            return vector_fraction
        return vector_fraction + self.pre.fraction - (FORMATS.gain_bits - 1)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A packed ternary matrix and what must be known of it."""

    name: str
    codes: np.ndarray           # [blocks, K] bytes
    scale: float
    bound: float                # of the outputs, with the gain it was packed for
    zeros: float

    @classmethod
    def of(cls, name: str, trits: np.ndarray, scale: float, gain: np.ndarray,
           rounding: float) -> "Matrix":
        """Pack int8 `trits` [N, K] that see a normalised vector times `gain` [K]."""
        rows, columns = trits.shape
        zeros = 1 - np.count_nonzero(trits) / trits.size
        trits = np.pad(trits, ((0, 5 * blocks(rows) - rows), (0, 0)))
        codes = encode(np.moveaxis(trits.reshape(-1, 5, columns), 1, 0))
        length, filled = longest_row(codes, gain)
        bound = PACKED_MARGIN * rounding * output_bound(
            scale=scale * math.sqrt(columns) / 127, length=length, filled=filled,
            peak=float(np.abs(gain).max()))
        return cls(name, codes, scale, bound, zeros)


@dataclasses.dataclass
class Stage:
    """A stage before its binary points are known."""

    plan: Plan
    matrices: list[Matrix]
    source: Norms | None        # in front of this stage's quantisers
    follow: Norms | None        # in front of the next stage's: its banks come with this section
    keep: np.ndarray | None = None

    @property
    def op(self) -> Op:
        """What it does."""
        return self.plan.op


def _stages(checkpoint: Packable, progress):
    """Yield the stages of the model, packing matrix by matrix."""
    keep = np.clip(np.rint((1 - checkpoint.lower_bounds()) * 65536), 0, 65535).astype(np.int64)
    source = None
    for plan in plans(checkpoint.config.layers):
        follow = Norms.fold(checkpoint, plan.pre, plan.gains) if plan.gains else None
        yield Stage(plan, list(_matrices(checkpoint, plan, source, progress)), source, follow,
                    keep[plan.layer] if plan.op is Op.MLGRU else None)
        source = follow


def _matrices(checkpoint: Packable, plan: Plan, source: "Norms | None", progress):
    index = 0
    for name in dict.fromkeys(plan.matrices):
        trits, scale = checkpoint.ternary(name)
        # The gate projection is gate and up in one tensor, with one scale.
        for part in np.split(trits, plan.matrices.count(name)):
            gain = source.inner(index if plan.op.vectors > 1 else 0)
            yield Matrix.of(name, part, scale, gain, ROUNDING if source.pre is not None else 1.0)
            index += 1
        progress(trits.size)


class _Layout:
    """Binary points of all vectors, then the headers that say them to the hardware."""

    def __init__(self, checkpoint: Packable, stages: list[Stage], largest_row: float):
        self.config = checkpoint.config
        self.path = checkpoint.path
        growth = [stage.matrices[0] for stage in stages if stage.op is Op.RESIDUAL]
        self.bound = PACKED_MARGIN * largest_row + sum(matrix.bound for matrix in growth)
        self.x_fraction = self._fraction("the residual", self.bound, FORMATS.vector_bits, 60)

    def _fraction(self, what: str, bound: float, bits: int, most: int) -> int:
        """Fraction bits with which numbers up to `bound` fit in `bits` bits, signed."""
        if bound == 0:
            return most
        # Half a unit of rounding comes on top of the bound; one unit is kept free for it.
        fraction = min(most, math.floor(math.log2(((1 << (bits - 1)) - 2) / bound)))
        if fraction < 0:
            raise BadInput(f"{self.path}: {what} can reach {bound:.4g}, more than {bits} bits hold "
                           f"({1 << (bits - 1)}); its scale or the norm gain in front of it is "
                           "out of any trained range.")
        return fraction

    def element_fractions(self, stage: Stage) -> list[int]:
        """Fraction bits of each projection's outputs."""
        if stage.op is Op.RESIDUAL:
            return [self.x_fraction]
        if stage.op is Op.HEAD:
            self._fraction(stage.matrices[0].name, stage.matrices[0].bound, FORMATS.element_bits, 0)
            return [0]
        return [self._fraction(matrix.name, matrix.bound, FORMATS.element_bits, MAX_FRACTION)
                for matrix in stage.matrices]

    def headers(self, stages: list[Stage]):
        """Yield header and metadata of each stage in order."""
        first, vector = None, self.x_fraction       # fraction bits of what S1 and S2 are made of
        for stage in stages:
            fractions = self.element_fractions(stage)
            scalars = self._scalars(stage, fractions, vector, first) if stage.source else {}
            meta = {
                "name": stage.plan.name,
                "matrices": [[m.name, m.scale, round(m.zeros, 4), m.bound] for m in stage.matrices],
                "fractions": fractions,
            }
            if stage.op is Op.MLGRU:
                first, vector = fractions[2], fractions[0] + fractions[2] - 3
                operands = (fractions[0], fractions[1])
            elif stage.op is Op.GLU:
                first, vector = None, fractions[0] + fractions[1] - 3
                operands = (fractions[0], 0)
            else:
                first, vector = self.x_fraction, self.x_fraction
                operands = (0, 0)
            if stage.follow:
                norms = stage.follow
                meta |= {"vector_fraction": vector, "gains": list(stage.plan.norms),
                         "gain_fractions": [gain.fraction for gain in _banks(norms)]}
            rows, columns = stage.plan.shape(hidden=self.config.hidden, vocab=self.config.vocab,
                                             intermediate=self.config.intermediate)
            base = stage.plan.layer * self.config.hidden if stage.op is Op.MLGRU else 0
            yield Header(op=stage.op, banks=stage.plan.banks, columns=columns, rows=rows,
                         state_base=base, fractions=operands, **scalars), meta

    def _scalars(self, stage: Stage, fractions: list[int], vector: int, first: int | None):
        """Scales, ratio and floor of a stage whose input has `vector` fraction bits."""
        columns, norms = stage.matrices[0].codes.shape[1], stage.source
        inner = norms.inner_fraction(vector)
        ratio = scalar(INNER_EPS * 2.0 ** (2 * (inner - first))) if first is not None else Scalar()
        eps = INNER_EPS * norms.eps if first is not None else INNER_EPS
        floor = max(columns, round(columns * eps * 4.0 ** inner))
        # S1 is made of x, or for z of g.
        s1_bits = FORMATS.element_bits if stage.op.reads_z else FORMATS.vector_bits
        largest = floor + columns * (4.0 ** (FORMATS.vector_bits - 1) + 4.0 ** (s1_bits - 1)
                                     * ratio.mantissa * 2.0 ** ratio.exponent)
        if largest >= 2.0 ** NORM_BITS:
            raise BadInput(f"{self.path}: {norms.name} is so small (largest gain "
                           f"{np.abs(norms.pre.real).max():.3g}) that the squared norm needs "
                           f"{math.log2(largest):.0f} bits instead of {NORM_BITS}.")
        scales = []
        for index, (matrix, fraction) in enumerate(zip(stage.matrices, fractions, strict=True)):
            gain = norms.gains[index if stage.op.vectors > 1 else 0]
            power = scale_power(fraction=fraction, gain_fraction=gain.fraction,
                                pre_fraction=norms.pre.fraction if norms.pre else None)
            used = matrix.bound > 0
            scales.append(scalar(matrix.scale * math.sqrt(columns) / 127 * 2.0 ** power)
                          if used else Scalar())
        return {"scales": tuple(scales), "ratio": ratio, "floor": _integer_scalar(floor)}


def _banks(norms: Norms) -> list[Gain]:
    return [*([norms.pre] if norms.pre else []), *norms.gains]


def _section_bytes(stage: Stage, header: Header):
    """Yield the bytes of a section: header, banks, body."""
    yield header.to_bytes()
    vectors = [] if stage.keep is None else [stage.keep]
    vectors += [gain.values for gain in _banks(stage.follow)] if stage.follow else []
    for values in vectors:
        yield (values & 0xFFFF).astype("<u2").tobytes().ljust(padded(2 * len(values)), b"\0")
    if stage.matrices:
        count, columns = stage.matrices[0].codes.shape
        body = np.zeros((count, len(stage.matrices), header.group_bytes), np.uint8)
        for index, matrix in enumerate(stage.matrices):
            body[:, index, :columns] = matrix.codes
        yield body.reshape(-1)


class _Embedding:
    """The embedding rows: int8 with a scale each, or 24 bits if 8 would lose small elements.

    Eight bits are plenty for a row whose elements are alike (no change in bits per byte was
    measured). Beside an outlier they would round everything else to zero.
    """

    CHUNK = 1024
    COARSE = 0.25           # largest step of int8 against the typical element

    def __init__(self, checkpoint: Packable):
        self.checkpoint = checkpoint
        self.config = checkpoint.config
        self.largest, coarsest = 0.0, 0.0
        for rows in self._chunks():
            magnitude = np.abs(rows)
            peak, typical = magnitude.max(axis=1), np.median(magnitude, axis=1)
            self.largest = max(self.largest, float(peak.max()))
            coarsest = max(coarsest, float(np.quantile(
                np.divide(peak, 127 * typical, out=np.zeros_like(peak), where=typical > 0), 0.99)))
        self.wide = coarsest > self.COARSE
        self.element_bytes = WIDE_BYTES if self.wide else 1
        self.row_bytes = padded(row_bytes(self.config.hidden, wide=self.wide))

    def _chunks(self):
        for start in range(0, self.config.vocab, self.CHUNK):
            yield self.checkpoint.embedding_rows(start, min(start + self.CHUNK, self.config.vocab))

    def packed(self, fraction: int):
        """Yield rows with `fraction` fraction bits, as the hardware reads them."""
        most = (1 << (8 * self.element_bytes - 1)) - 1
        for rows in self._chunks():
            peak = np.abs(rows).max(axis=1).astype(np.float64)
            step = peak / most                      # 0 for a row of zeros
            scales = [scalar(value * 2.0 ** fraction) for value in step.tolist()]
            out = np.zeros((len(rows), self.row_bytes), np.uint8)
            mantissas = np.array([s.mantissa for s in scales], "<u2")
            out[:, 0:2] = mantissas.view(np.uint8).reshape(-1, 2)
            # A row so small that the shift saturates is zero in the residual's format.
            out[:, 2] = [min(FORMATS.dequant_up - s.exponent, FORMATS.max_shift) for s in scales]
            out[:, 3] = self.wide
            elements = np.rint(rows / np.where(step > 0, step, 1.0)[:, None])
            elements = elements.astype("<i4").view(np.uint8)
            elements = elements.reshape(*rows.shape, 4)[..., :self.element_bytes]
            out[:, ROW_PREFIX:][:, :elements[0].size] = elements.reshape(len(rows), -1)
            yield out.reshape(-1)


def _tokenizer(checkpoint: Packable) -> tuple[bytes | None, int | None]:
    """Contents of the checkpoint's tokenizer, if it has one, and the token before every text."""
    path = checkpoint.tokenizer_path
    if not path.exists():
        return None, checkpoint.config.bos
    bos = Tokenizer.open(path, checkpoint.config).bos
    return path.read_bytes(), bos


def _check_dimensions(checkpoint: Packable) -> None:
    config = checkpoint.config
    for name in ("hidden", "intermediate", "vocab"):
        if getattr(config, name) > MOST_ROWS:
            raise BadInput(f"{checkpoint.path} has {name} = {getattr(config, name)}, but an image "
                           f"counts rows and columns in 16 bits, to {MOST_ROWS}: only --device "
                           "float can run it.")


class _Progress:
    """Weights that are packed, of all ternary ones."""

    def __init__(self, config: ModelConfig, show):
        per_layer = 4 * config.hidden ** 2 + 3 * config.hidden * config.intermediate
        self._total = config.layers * per_layer + config.hidden * config.vocab
        self._done = 0
        self._show = show

    def __call__(self, weights: int) -> None:
        self._done += weights
        self._show(self._done, self._total)


def pack(checkpoint: Packable, path: pathlib.Path, *,
         progress=lambda done, total: None) -> Image:
    """Pack a checkpoint into an image file.

    Parameters
    ----------
    checkpoint : Packable
        The model, read tensor by tensor; the packed trits (1.6 bits a weight) stay in memory.
    path : Path
        The file to write.
    progress : callable
        Called with the ternary weights that are packed and with all of them, after each tensor.

    Returns
    -------
    Image
        The written file, opened.

    Raises
    ------
    BadInput
        If the checkpoint cannot be used, or a range cannot hold; the message names the tensor.
    """
    config = checkpoint.config
    _check_dimensions(checkpoint)
    tokenizer, bos = _tokenizer(checkpoint)
    chat = read_template(checkpoint.tokenizer_path.parent)
    stages = list(_stages(checkpoint, _Progress(config, progress)))
    embedding = _Embedding(checkpoint)
    layout = _Layout(checkpoint, stages, embedding.largest)
    headers, metas = zip(*layout.headers(stages), strict=True)
    meta = {
        "formats": FORMATS.version, "hidden": config.hidden, "intermediate": config.intermediate,
        "layers": config.layers, "vocab": config.vocab, "eps": config.eps,
        "use_lower_bound": config.use_lower_bound, "bos": bos, "eos": config.eos,
        "row_units": units_of(embedding.row_bytes), "residual_bound": layout.bound,
        "residual_fraction": layout.x_fraction, "stages": metas,
    }
    if chat is not None:
        meta["chat"] = chat

    def payload():
        yield from embedding.packed(layout.x_fraction)
        for stage, header in zip(stages, headers, strict=True):
            yield from _section_bytes(stage, header)

    write_image(path, meta, tokenizer, payload())
    return Image(path, check=False)
