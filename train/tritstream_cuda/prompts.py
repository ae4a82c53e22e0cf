"""Many tokens of one conversation at a time."""

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from tritstream_cuda.model import CudaModel, Rows
from tritstream_cuda.recorded import Recorded
from tritstream_cuda.states import States

__all__ = ["Prompts"]

ROOM = 8 << 20              # bytes for the tokens that go through the stages together,
ROOM_SHARE = 16             # or this part of the model if that is more,
TOGETHER = 1024             # and how many these are at most
GRAPHS = 16                 # kept for different numbers of them


class Prompts:
    """Takes the tokens of prompts, which have been checked.

    Parameters
    ----------
    model : CudaModel
        The model.
    states : States
        Of the conversations.
    """

    def __init__(self, model: CudaModel, states: States):
        self._model = model
        self._states = states
        self._place = model.zeros(1)
        self._memory: dict[bool, torch.Tensor] = {}
        self._played: dict[tuple[int, bool], tuple[Rows, Recorded]] = {}

    def feed(self, place: int, tokens: Sequence[int]) -> list[int]:
        """Take tokens without the head; the digest's terms of each."""
        return [body for _, totals in self._chunks(place, tokens, head=False)
                for body, _ in totals]

    def logits(self, place: int,
               tokens: Sequence[int]) -> Iterator[tuple[torch.Tensor, list[list[int]]]]:
        """Take tokens with the head.

        Yields
        ------
        tuple
            Logits of some of them, float32 [some of T, V], and the digest's terms of each, those
            of the body and of the head.
        """
        for rows, totals in self._chunks(place, tokens, head=True):
            yield (rows.logits * rows.steps()).float(), totals

    def _chunks(self, place: int, tokens: Sequence[int], *, head: bool):
        """Yield rows, and terms of the digest, of as many tokens as there is room for."""
        tokens = np.array(tokens, np.int32)
        # Parts of one length, if possible: each length is a graph.
        step = -(-len(tokens) // max(1, -(-len(tokens) // self._together(head))))
        self._states.settle()
        for start in range(0, len(tokens), max(step, 1)):
            part = torch.from_numpy(tokens[start:start + step])
            with self._model.selected():
                rows, play = self._recorded(len(part), head)
                rows.tokens.copy_(part)
                self._place.fill_(place)
                play()
                totals = rows.totals.cpu().numpy()
            yield rows, totals.tolist()

    def _together(self, head: bool) -> int:
        """Tokens that there is room for."""
        image = self._model.image
        room = max(ROOM, len(image.payload) // ROOM_SHARE)
        each = Rows.size(image, 64, head=head) / 64
        return max(1, min(int(room / each), TOGETHER))

    def _recorded(self, count: int, head: bool) -> tuple[Rows, Recorded]:
        """Room for `count` tokens, and what plays them."""
        model = self._model
        if head not in self._memory:
            size = Rows.size(model.image, self._together(head), head=head)
            self._memory[head] = model.empty(size, dtype=torch.uint8)
        if len(self._played) > GRAPHS:
            self._played.clear()
        if (count, head) not in self._played:
            rows = Rows(model, count, head=head, memory=self._memory[head])
            play = functools.partial(model.play, rows, self._states, self._place, head=head)
            self._played[count, head] = rows, Recorded(play, model.device)
        return self._played[count, head]
