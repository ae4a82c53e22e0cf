"""Comparison of a device with the golden model: every stage of every token.

The running digests are compared pass by pass. Where they part, the pass is played again and the
records of its stages tell the first stage that differs; then that vector is read, element by
element.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tritstream.engines import Engine
from tritstream.engines.golden import GoldenEngine
from tritstream.image.image import Image

__all__ = ["Difference", "Verification", "verify"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The first number that is not what the golden model has.

    Parameters
    ----------
    token : int
        Position in the conversation, the prompt's first token being 0.
    stage : str or None
        Name of the stage; None if the difference did not come again when the pass was repeated.
    layer : int or None
        Its layer; None for the embedding and the head.
    element : int or None
        Index in the stage's vector; None if the vector itself, read afterwards, is right.
    expected, actual : number or None
        What the golden model and the device have there.
    """

    token: int
    stage: str | None = None
    layer: int | None = None
    element: int | None = None
    expected: float | None = None
    actual: float | None = None

    def sentence(self) -> str:
        """Say where the difference is, and what that means."""
        if self.stage is None:
            return (f"Token {self.token} differed once and not when it was repeated: memory or "
                    "link lose bits; check supply, clock and cables.")
        where = f"Token {self.token}, layer {self.layer}, stage {self.stage}"
        if self.layer is None:
            where = f"Token {self.token}, stage {self.stage}"
        if self.element is None:
            return (f"{where}: the digest differs, but the vector that is read afterwards is "
                    "equal; the digest unit or the vector memory is at fault.")
        return f"{where}, element {self.element}: golden {self.expected}, device {self.actual}."


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of `verify`.

    Parameters
    ----------
    tokens : tuple of int
        What was generated, as the golden model has it.
    passes : int
        Tokens of which all stages were compared.
    stages : int
        Stages that were compared, over all passes.
    digest : int
        The golden model's digest after the last pass that was compared.
    difference : Difference or None
        The first difference; None if there is none.
    """

    tokens: tuple[int, ...]
    passes: int
    stages: int
    digest: int
    difference: Difference | None

    @property
    def equal(self) -> bool:
        """Whether the device did everything as the golden model does."""
        return self.difference is None


def verify(engine: Engine, image: Image, prompt: Sequence[int], count: int,
           progress=None) -> Verification:
    """Compare a greedy run on a device with the golden model.

    Parameters
    ----------
    engine : Engine
        The device.
    image : Image
        The model that is on it.
    prompt : sequence of int
        At least one token.
    count : int
        Passes with a head.
    progress : callable or None
        Called with passes done and passes in all.

    Raises
    ------
    BadInput
        The device has no integer stages.
    """
    return _Comparison(engine, image, list(prompt), count, progress).run()


class _Comparison:
    def __init__(self, engine: Engine, image: Image, prompt: list[int], count: int, progress):
        self.engine = engine
        self.golden = GoldenEngine(image)
        self.expected = self.golden.open()
        self.actual = engine.open()
        self.image = image
        self.prompt = prompt
        self.count = count
        self.progress = progress or (lambda done, total: None)
        self.fed: list[int] = []            # tokens whose passes were compared
        self.generated: list[int] = []
        self.digest = 0

    def run(self) -> Verification:
        self._tell()                # the first pass alone may take minutes
        # Closed before the device is asked anything else: it may be ahead of the comparison.
        with self.actual:
            difference = self._prompt() or self._generation()
        if difference and difference.stage is None:
            difference = self._locate(difference.token)
        passes = len(self.fed)
        heads = max(0, passes - len(self.prompt) + 1)
        return Verification(tuple(self.generated), passes,
                            passes * self.image.body_stages + heads, self.digest, difference)

    def _prompt(self) -> Difference | None:
        body, piece = self.prompt[:-1], self.engine.piece
        for start in range(0, len(body), piece):
            tokens = body[start:start + piece]
            pairs = zip(self.expected.feed(tokens), self.actual.feed(tokens), strict=True)
            for token, pair in zip(tokens, pairs, strict=True):
                difference = self._compare(token, *pair)
                if difference:
                    return difference
        return None

    def _generation(self) -> Difference | None:
        token = self.prompt[-1]
        for actual in self.actual.run(token, self.count, candidates=True):
            expected = self.expected.step(token)
            difference = self._compare(token, expected, actual)
            if difference:
                return difference
            token = expected.candidates.best
            self.generated.append(token)
        if len(self.generated) < self.count and token not in self.golden.stop_tokens:
            return Difference(token=len(self.fed), stage="run", element=0, expected=self.count,
                              actual=len(self.generated))
        return None

    def _compare(self, token, expected, actual) -> Difference | None:
        """Compare one pass; a difference in the digest is not located yet."""
        self.fed.append(token)
        self.digest = expected.digest
        self._tell()
        if expected.digest != actual.digest:
            return Difference(token=len(self.fed) - 1)
        return self._candidates(expected.candidates, actual.candidates)

    def _tell(self) -> None:
        self.progress(len(self.fed), len(self.prompt) - 1 + self.count)

    def _candidates(self, expected, actual) -> Difference | None:
        """Compare what the digest does not cover: the ranking, and the scale of the logits."""
        if expected is None:
            return None
        pairs = zip(expected.tokens, expected.scores, actual.tokens, actual.scores, strict=False)
        for rank, (number, score, other, other_score) in enumerate(pairs):
            if number != other:
                return Difference(token=len(self.fed) - 1, stage="candidates", element=rank,
                                  expected=number, actual=other)
            if score != other_score:
                return Difference(token=len(self.fed) - 1, stage="scale", element=rank,
                                  expected=score, actual=other_score)
        return None

    def _locate(self, position: int) -> Difference:
        """Find the first stage and element of the latest pass that differ."""
        head = position >= len(self.prompt) - 1
        expected = self.golden.stage_digests(self.fed, head=head)
        actual = self.engine.stage_digests(self.fed, head=head)
        stage = next((index for index, pair in enumerate(zip(expected, actual, strict=True))
                      if pair[0] != pair[1]), None)
        if stage is None:
            return Difference(token=position)
        place = {"token": position, "stage": self.image.sections[stage].name,
                 "layer": (stage - 1) // 4 if 0 < stage < self.image.body_stages else None}
        right = self.golden.stage_vector(self.fed, stage)
        found = self.engine.stage_vector(self.fed, stage)
        wrong = np.flatnonzero(right != found)
        if not wrong.size:
            return Difference(**place)
        element = int(wrong[0])
        return Difference(**place, element=element, expected=int(right[element]),
                          actual=int(found[element]))
