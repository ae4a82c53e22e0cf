"""The golden model as a device."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from tritstream.engines.base import Engine, Pass, Work
from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.formats import FORMATS
from tritstream.golden import GoldenModel, Logits, candidates, chain
from tritstream.image.image import Image

__all__ = ["GoldenEngine"]

CHUNK = 256                 # tokens whose vectors the golden model shows together
LANES = 16


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
    lanes = LANES

    def __init__(self, image: Image):
        super().__init__()
        self.image = image
        self.model = image.digest
        self.shape = image.layers, image.hidden
        self.vocab = image.vocab
        self.stop_tokens = image.stop_tokens
        self._golden = GoldenModel(image)
        self._place = self._new_place()
        self._vectors = []          # of the latest chunk, int32 [sequences, T, N] by stage

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
        return [Pass(None, digest) for digests, _ in self._play([tokens], [self._place], head=False)
                for digest in digests[0]]

    def _step(self, token: int) -> Pass:
        ((_, logits),) = self._play([[token]], [self._place], head=True)
        return _pass(logits, 0, self._place)

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = [logits.real() for _, logits in self._play([tokens], [self._place], head=True)]
        return np.concatenate(rows), self._place.digest

    def _together(self, works: list[Work]) -> list[Pass]:
        self._leave()
        places = []
        for conversation, *_ in works:
            self._enter(conversation)
            self._lose()            # the next one has a place of its own
            places.append(self._place)
        self._bodies(works, places)
        results = self._heads(works, places)
        for (conversation, tokens, head), place, result in zip(works, places, results, strict=True):
            conversation._took(tokens, result.digest, heads=int(head))
            conversation._keep(place.state.astype(np.int32))
        return results

    def _bodies(self, works: list[Work], places: list[_Place]) -> None:
        """Take all tokens for which the head is not played, those of as many together."""
        pending = [(work.tokens[:-1] if work.head else work.tokens, place)
                   for work, place in zip(works, places, strict=True)]
        pending.sort(key=lambda pair: len(pair[0]))
        for length, group in itertools.groupby(pending, key=lambda pair: len(pair[0])):
            if length:
                tokens, group_places = zip(*group, strict=True)
                for _ in self._play(tokens, group_places, head=False):
                    pass

    def _heads(self, works: list[Work], places: list[_Place]) -> list[Pass]:
        """Take the tokens for which it is; return the pass of every work."""
        asked = [(work.tokens[-1:], place) for work, place in zip(works, places, strict=True)
                 if work.head]
        found = iter(())
        if asked:
            tokens, asked_places = zip(*asked, strict=True)
            ((_, logits),) = self._play(tokens, asked_places, head=True)
            found = (_pass(logits, index, place) for index, place in enumerate(asked_places))
        return [next(found) if work.head else Pass(None, place.digest)
                for work, place in zip(works, places, strict=True)]

    def _stage_digests(self, tokens, head: bool) -> list[int]:
        self._replay(tokens, head)
        return self._place.stages

    def _stage_vector(self, tokens, stage: int) -> np.ndarray:
        self._replay(tokens, stage == self.image.body_stages)
        return self._vectors[stage][0, -1].astype(np.int32)

    def _replay(self, tokens, head: bool) -> None:
        if tokens[:-1]:
            self._feed(tokens[:-1])
        for _ in self._play([tokens[-1:]], [self._place], head):
            pass

    def _play(self, tokens: Sequence[Sequence[int]], places: Sequence[_Place], head: bool):
        """Take as many tokens [sequences, T] at each place.

        Yields
        ------
        tuple
            Digests [sequences][tokens] and logits of a chunk.
        """
        stages = self.image.stages if head else self.image.body_stages
        tokens = np.array(tokens)
        size = max(1, CHUNK // len(tokens))
        for start in range(0, tokens.shape[1], size):
            chunk = tokens[:, start:start + size]
            state = np.stack([place.state for place in places])
            self._vectors = []
            logits = self._golden.forward(
                chunk, state, stages=stages,
                observe=lambda stage, vectors: self._vectors.append(vectors.astype("<i4")))
            digests = []
            for sequence, place in enumerate(places):
                place.state = state[sequence]
                digests.append([])
                for index in range(chunk.shape[1]):
                    place.chain([vectors[sequence, index] for vectors in self._vectors])
                    digests[-1].append(place.digest)
            yield digests, logits


def _pass(logits: Logits, row: int, place: _Place) -> Pass:
    """Result of the token whose logits are in a row."""
    best = candidates(logits.acc[row], CANDIDATES)
    scale = int(logits.mantissa[row]) * 2.0 ** (FORMATS.dequant_up - int(logits.shift[row]))
    return Pass(Candidates(tuple(number for number, _ in best),
                           tuple(acc * scale for _, acc in best)), place.digest)
