"""The golden model: the whole accelerator in NumPy integers, stage by stage from the image.

It is the specification of the hardware. Row sums of int8 times trit are below 2**24 and therefore
exact in float32, which lets BLAS do them; everything else is int64.
"""

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Sequence

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import FORMATS
from tritstream.golden.elementwise import checked, dequantise, glu, mlgru
from tritstream.golden.quantise import quantise, statistics
from tritstream.golden.scalars import Statistics, dequantiser, squared_norm
from tritstream.image.banks import Banks
from tritstream.image.image import Image
from tritstream.image.rows import read_rows
from tritstream.image.trits import decode
from tritstream.support.blas import product, short_products
from tritstream.support.checks import check_vocabulary

__all__ = ["GoldenModel", "Logits", "candidates", "chain"]

_CACHE_LIMIT = 4 << 30      # bytes of float32 matrices kept; above, each is converted when used
_CHUNK = 256                # tokens that go through a stage together


@dataclasses.dataclass(frozen=True)
class Logits:
    """Logits of some tokens as the head's row sums: `acc * mantissa * 2**(10 - shift)`.

    `acc` is int64 [tokens, V]; `mantissa` and `shift` have one entry per token.
    """

    acc: np.ndarray
    mantissa: np.ndarray
    shift: np.ndarray

    def real(self) -> np.ndarray:
        """Logits as float32 [tokens, V]."""
        step = self.mantissa * 2.0 ** (FORMATS.dequant_up - self.shift)
        return (self.acc * step[:, None]).astype(np.float32)


def candidates(acc: np.ndarray, count: int) -> list[tuple[int, int]]:
    """Best `count` of one token's sums as `(token, acc)`, ties to the lower token."""
    order = np.argsort(-acc, kind="stable")[:count]
    return list(zip(order.tolist(), acc[order].tolist(), strict=True))


def chain(vector: np.ndarray, digest: int = 0) -> int:
    """Continue a digest, CRC-32 over int32 numbers, with one stage's vector."""
    return zlib.crc32(vector.astype("<i4").tobytes(), digest)


class GoldenModel:
    """A packed model, computed exactly as the accelerator does.

    Parameters
    ----------
    image : Image
        The model.

    Notes
    -----
    State is int64 [sequences, L, H], and is advanced in place.
    """

    def __init__(self, image: Image):
        self.image = image
        self.sections = image.sections
        self.banks = [Banks.of(section, image.payload) for section in self.sections]
        size = sum(5 * section.header.body_bytes for section in self.sections)
        self._matrix = (functools.cache(self._unpack) if 4 * size <= _CACHE_LIMIT
                        else self._unpack)
        self._largest = max(section.header.rows * section.header.columns
                            for section in self.sections[:image.body_stages])

    def _unpack(self, index: int) -> list[np.ndarray]:
        """Matrices of a stage, float32 [N, K] each."""
        section, header = self.sections[index], self.sections[index].header
        body = self.image.payload[section.body_start:section.end]
        codes = body.reshape(-1, header.op.projections, header.group_bytes)[..., :header.columns]
        return [decode(codes[:, p]).astype(np.float32).swapaxes(0, 1)
                .reshape(-1, header.columns)[:header.rows]
                for p in range(header.op.projections)]

    def new_state(self, sequences: int = 1) -> np.ndarray:
        """State of fresh conversations."""
        return np.zeros((sequences, self.image.layers, self.image.hidden), np.int64)

    def forward(self, tokens: np.ndarray, state: np.ndarray, *, stages: int | None = None,
                observe=None) -> Logits | None:
        """Run as many tokens of each sequence through the first `stages` stages (default all).

        Parameters
        ----------
        tokens : ndarray [sequences, T]
            Token numbers.
        state : ndarray
            From `new_state` or an earlier call; advanced in place.
        stages : int
            How much of the tape is played.
        observe : callable
            Called as `observe(stage index, vector)` with every output vector, int64
            [sequences, T, N]. Only the tokens of one call are seen together if T is at most 256.

        Returns
        -------
        Logits or None
            Logits of all tokens, sequence by sequence, if the head is among the stages.

        Raises
        ------
        BadInput
            If a token is out of range, or an array has another shape or type.
        """
        tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
            raise BadInput("Tokens must be integers [sequences, T], not "
                           f"{tokens.dtype} {list(tokens.shape)}.")
        tokens = tokens.astype(np.int64)
        self._check(tokens, state, len(tokens))
        stages = self.image.stages if stages is None else stages
        step = max(1, _CHUNK // len(tokens))
        parts = [self._block(tokens[:, start:start + step], state, stages, observe)
                 for start in range(0, tokens.shape[1], step)]
        if not parts or parts[0] is None:
            return None
        return Logits(*(_joined(parts, name, len(tokens)) for name in ("acc", "mantissa", "shift")))

    def _block(self, tokens: np.ndarray, state, stages: int, observe) -> Logits | None:
        """Run a chunk of `forward`."""
        sequences, count = tokens.shape
        starts = np.arange(sequences) * count
        show = observe and (lambda stage, vectors: observe(
            stage, vectors.reshape(sequences, count, -1)))
        steps = [(starts + n, slice(None)) for n in range(count)]
        return self._run(_Pass(self, tokens.reshape(-1), steps, state, show), stages)

    def together(self, texts: Sequence[Sequence[int]], state: np.ndarray, heads: Sequence[int], *,
                 observe=None) -> Logits | None:
        """Run tokens of sequences, more of some than of others, through all stages in one pass.

        Parameters
        ----------
        texts : sequence of sequence of int
            Tokens of each sequence; some 256 in all are as fast as it gets.
        state : ndarray
            From `new_state` or an earlier call; advanced in place.
        heads : sequence of int
            Behind how many of each one's tokens, the last ones, the head is played.
        observe : callable
            Called as `observe(stage index, vectors)` with every stage's output, int64 [n, N]: a row
            for each token, sequence by sequence; of the head for those only behind which it is
            played.

        Returns
        -------
        Logits or None
            Logits of these tokens, sequence by sequence, if there are any.

        Raises
        ------
        BadInput
            If a token is out of range, or the state has another shape.
        """
        tokens = np.array(list(itertools.chain(*texts)), np.int64)
        lengths = np.array([len(text) for text in texts])
        self._check(tokens, state, len(texts))
        starts = np.cumsum(lengths) - lengths
        steps = []
        for n in range(lengths.max()):
            (who,) = np.nonzero(lengths > n)
            steps.append((starts[who] + n, who))
        asked = [row for end, count in zip((starts + lengths).tolist(), heads, strict=True)
                 for row in range(end - count, end)]
        whole = _Pass(self, tokens, steps, state, observe)
        self._run(whole, self.image.body_stages)
        if not asked:
            return None
        whole.keep(asked)
        return self._run(whole, self.image.stages)

    def _check(self, tokens: np.ndarray, state: np.ndarray, sequences: int) -> None:
        wanted = (sequences, self.image.layers, self.image.hidden)
        if state.shape != wanted:
            raise BadInput(f"The state must be {list(wanted)}, not {list(state.shape)}: take it "
                           "from `new_state`.")
        check_vocabulary(tokens, self.image.vocab)

    def _run(self, tokens: "_Pass", stages: int) -> Logits | None:
        with short_products(self._largest):
            return tokens.run(stages)


def _joined(parts, name: str, sequences: int) -> np.ndarray:
    """Join chunks of tokens, each sequence by sequence, into whole sequences."""
    arrays = [getattr(part, name) for part in parts]
    split = [array.reshape(sequences, -1, *array.shape[1:]) for array in arrays]
    joined = np.concatenate(split, axis=1)
    return joined.reshape(-1, *joined.shape[2:])


class _Pass:
    """Tokens on their way through the stages.

    Parameters
    ----------
    model : GoldenModel
        The model.
    tokens : ndarray
        Token numbers [n], sequence by sequence.
    steps : list of tuple
        Rows of the first token of each sequence, and which sequences these are; of the second; and
        so on.
    state : ndarray
        Of the sequences.
    observe : callable or None
        Called with a stage's index and vectors [n, N].
    """

    def __init__(self, model: GoldenModel, tokens: np.ndarray, steps: list[tuple],
                 state: np.ndarray, observe):
        self.model = model
        self.tokens = tokens
        self.steps = steps
        self.state = state
        self.observe = observe or (lambda stage, vectors: None)
        self.played = 0             # stages
        self.x = self.z = None
        self.stats: list[Statistics] = []

    def run(self, stages: int) -> Logits | None:
        """Play the stages up to so many."""
        logits = None
        for section in self.model.sections[self.played:stages]:
            logits = getattr(self, f"_{section.header.op.name.lower()}")(section)
        self.played = stages
        return logits

    def keep(self, rows: list[int]) -> None:
        """Go on with some of the tokens only, to the head."""
        self.x = self.x[rows]
        self.stats = [self.stats[row] for row in rows]

    def _finish(self, section, vector, first) -> None:
        """Gather the statistics of a stage's output, for the next stage's quantisers."""
        banks = self.model.banks[section.index]
        self.stats = statistics(vector, first, banks.pre, banks.gains)
        self.observe(section.index, vector)

    def _sums(self, section) -> list[tuple]:
        """Per projection `(row sums [n, N], mantissa [n, 1], shift [n, 1])`."""
        header = section.header
        gains = self.model.banks[section.index - 1].gains
        vector = self.z if header.op.reads_z else self.x
        norms = [squared_norm(stats, header.ratio, header.floor) for stats in self.stats]
        acts = []
        for index, gain in enumerate(gains):
            peaks = [stats.amax[index] for stats in self.stats]
            acts.append((quantise(vector, gain, peaks).astype(np.float32), peaks))
        out = []
        for index, matrix in enumerate(self.model._matrix(section.index)):
            q, peaks = acts[index if header.op.vectors > 1 else 0]
            scales = [dequantiser(peak, norm, header.scales[index])
                      for peak, norm in zip(peaks, norms, strict=True)]
            mantissa, shift = np.array(scales, np.int64).T[..., None]
            out.append((product(q, matrix.T).astype(np.int64), mantissa, shift))
        return out

    def _elements(self, section) -> list[np.ndarray]:
        return [dequantise(*sums, FORMATS.element_bits) for sums in self._sums(section)]

    def _embed(self, section) -> None:
        self.x = dequantise(*read_rows(self.model.image, self.tokens),
                            FORMATS.vector_bits)
        self._finish(section, self.x, self.x)

    def _residual(self, section) -> None:
        (sums,) = self._sums(section)
        grown = self.x + dequantise(*sums, FORMATS.vector_bits)
        self.x = checked(grown, FORMATS.vector_bits, f"residual after {section.name}")
        self._finish(section, self.x, self.x)

    def _mlgru(self, section) -> None:
        i, f, g = self._elements(section)
        keep = self.model.banks[section.index].keep
        state = self.state[:, section.header.state_base // self.model.image.hidden]
        self.z = np.empty_like(i)
        for rows, who in self.steps:
            state[who], self.z[rows] = mlgru(i[rows], f[rows], g[rows], keep, state[who],
                                             section.header.fractions)
        self._finish(section, self.z, g)

    def _glu(self, section) -> None:
        self.z = glu(*self._elements(section), section.header.fractions[0])
        self._finish(section, self.z, None)

    def _head(self, section) -> Logits:
        ((acc, mantissa, shift),) = self._sums(section)
        self.observe(section.index, acc)
        return Logits(acc, mantissa[:, 0], shift[:, 0])
