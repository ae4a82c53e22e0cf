"""The golden model as a device."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tritstream.engines.base import Engine, Pass, Work
from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.formats import FORMATS
from tritstream.golden import GoldenModel, Logits, candidates, chain
from tritstream.image.image import Image

__all__ = ["GoldenEngine"]

CHUNK = 256                 # tokens that go through the golden model together
LANES = 64                  # a pass of as many is a third cheaper per token than one of 16


@dataclasses.dataclass
class _Place:
    """Where a conversation is.

    Parameters
    ----------
    state : ndarray
        Recurrent state, int64 [L, H].
    digest : int
        Running digest.
    stages : list of int
        Digests after each stage of the latest pass.
    """

    state: np.ndarray
    digest: int = 0
    stages: list[int] = dataclasses.field(default_factory=list)

    def chain(self, vectors: Sequence[np.ndarray]) -> None:
        """Go on by the stage vectors of a pass."""
        self.stages = []
        for vector in vectors:
            self.digest = chain(vector, self.digest)
            self.stages.append(self.digest)


class GoldenEngine(Engine):
    """`tritstream.golden` on this computer: the digests that hardware has to reach.

    Parameters
    ----------
    image : Image
        Packed model.
    """

    name = "golden"
    lanes = prefill = LANES
    uniform = False

    def __init__(self, image: Image):
        super().__init__()
        self.image = image
        self.model = image.digest
        self.shape = image.layers, image.hidden
        self.vocab = image.vocab
        self.stop_tokens = image.stop_tokens
        self._golden = GoldenModel(image)
        self._place = self._new_place()
        self._vectors = []          # of the latest chunk, int32 [n, N] by stage

    def _new_place(self) -> _Place:
        return _Place(self._golden.new_state()[0])

    def _put(self, values) -> None:
        self._place = self._new_place()
        if values is not None:
            self._place.state[:] = values

    def _go_on_from(self, digest: int) -> None:
        self._place.digest = digest

    def _values(self) -> np.ndarray:
        return self._place.state.astype(np.int32)

    def _feed(self, tokens) -> list[Pass]:
        return [Pass(None, digest) for digests, _ in self._chunks(tokens, head=False)
                for digest in digests]

    def _step(self, token: int) -> Pass:
        ((_, logits),) = self._chunks([token], head=True)
        return _pass(logits, 0, self._place)

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = [logits.real() for _, logits in self._chunks(tokens, head=True)]
        return np.concatenate(rows), self._place.digest

    def _chunks(self, tokens, *, head: bool) -> Iterator[tuple[list[int], Logits | None]]:
        """Take tokens of one conversation; digests behind each, and logits of all, by chunk."""
        for start in range(0, len(tokens), CHUNK):
            chunk = tokens[start:start + CHUNK]
            (digests,), logits = self._play([(self._place, chunk, len(chunk) * head)])
            yield digests, logits

    def _together(self, works: list[Work]) -> list[Pass]:
        self._leave()
        places = []
        for conversation, *_ in works:
            self._enter(conversation)
            self._lose()            # the next one has a place of its own
            places.append(self._place)
        results: list[Pass | None] = [None] * len(works)
        for parts in _packed(works):
            digests, logits = self._play([(places[index], tokens, int(head))
                                          for index, tokens, head in parts])
            row = 0
            for index, _, head in parts:
                place = places[index]
                results[index] = _pass(logits, row, place) if head else Pass(None, place.digest)
                row += head
        for (conversation, tokens, head, _), place in zip(works, places, strict=True):
            conversation._took(tokens, place.digest, heads=int(head))
            conversation._keep(place.state.astype(np.int32))
        return results

    def _stage_digests(self, tokens, head: bool) -> list[int]:
        self._replay(tokens, head)
        return self._place.stages

    def _stage_vector(self, tokens, stage: int) -> np.ndarray:
        self._replay(tokens, stage == self.image.body_stages)
        return self._vectors[stage][-1].astype(np.int32)

    def _replay(self, tokens, head: bool) -> None:
        if tokens[:-1]:
            self._feed(tokens[:-1])
        self._play([(self._place, tokens[-1:], int(head))])

    def _play(self, parts: Sequence[tuple[_Place, Sequence[int], int]]
              ) -> tuple[list[list[int]], Logits | None]:
        """Take tokens in one pass.

        Parameters
        ----------
        parts : sequence of tuple
            Places, the tokens that each takes, and behind how many of these, the last ones, the
            head is played.

        Returns
        -------
        digests : list of list of int
            Of each part, behind each of its tokens.
        logits : Logits or None
            Of the tokens behind which the head is played.
        """
        state = np.stack([place.state for place, _, _ in parts])
        self._vectors = []
        logits = self._golden.together(
            [tokens for _, tokens, _ in parts], state, [heads for _, _, heads in parts],
            observe=lambda stage, vectors: self._vectors.append(vectors.astype("<i4")))
        body, head = self._vectors[:self.image.body_stages], self._vectors[self.image.body_stages:]
        digests, row, asked = [], 0, 0
        for (place, tokens, heads), values in zip(parts, state, strict=True):
            place.state = values
            digests.append([])
            for left in reversed(range(len(tokens))):
                vectors = [vectors[row] for vectors in body]
                row += 1
                if left < heads:
                    vectors += [vectors[asked] for vectors in head]
                    asked += 1
                place.chain(vectors)
                digests[-1].append(place.digest)
        return digests, logits


def _packed(works: Sequence[Work]) -> Iterator[list[tuple[int, Sequence[int], bool]]]:
    """Yield what goes through the model together: works' indices, tokens, whether with the head."""
    parts, room = [], CHUNK
    for index, (_, tokens, head, _) in enumerate(works):
        while tokens:
            if not room:
                yield parts
                parts, room = [], CHUNK
            some, tokens = tokens[:room], tokens[room:]
            parts.append((index, some, head and not tokens))
            room -= len(some)
    if parts:
        yield parts


def _pass(logits: Logits, row: int, place: _Place) -> Pass:
    """Result of the token whose logits are in a row."""
    best = candidates(logits.acc[row], CANDIDATES)
    scale = int(logits.mantissa[row]) * 2.0 ** (FORMATS.dequant_up - int(logits.shift[row]))
    return Pass(Candidates(tuple(number for number, _ in best),
                           tuple(acc * scale for _, acc in best)), place.digest)
