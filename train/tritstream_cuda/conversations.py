"""Conversations side by side, continued by prompts or by what the model itself finds most likely.

A greedy pass chooses the next token on the GPU, so a run needs the host only to launch it: as a
CUDA graph, again and again.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import triton

from tritstream.engines.candidates import CANDIDATES
from tritstream.image.tape import Op
from tritstream.support.checks import check_vocabulary
from tritstream_cuda import decode, ranking
from tritstream_cuda.model import CudaModel, Rows
from tritstream_cuda.recorded import Recorded
from tritstream_cuda.statistics import ROW

__all__ = ["Conversations", "Greedy"]

ROOM = 8 << 20              # bytes for the tokens that go through the stages together,
ROOM_SHARE = 16             # or this part of the model if that is more,
TOGETHER = 1024             # and how many these are at most
GRAPHS = 16                 # kept for different numbers of them
RANKED = 1024               # logits of a program that ranks them
RESULT = CANDIDATES + 3     # keys, mantissa, shift, digest terms
EARLY_SINCE = (9, 0)        # compute capability with programmatic dependent launch
PASSES = 32                 # greedy passes between two looks at them


class Greedy(NamedTuple):
    """What a pass gave one conversation.

    Parameters
    ----------
    tokens, sums : tuple of int
        Best tokens and their row sums, best first.
    mantissa, shift : int
        A logit is `sum * mantissa * 2^(10 - shift)`.
    digest : int
        Running digest.
    """

    tokens: tuple[int, ...]
    sums: tuple[int, ...]
    mantissa: int
    shift: int
    digest: int


class Conversations:
    """Conversations with one model, all continued by equally many tokens.

    Tokens are checked: `BadInput` says which is out of range.

    Parameters
    ----------
    model : CudaModel
        The model.
    count : int
        How many.
    stop : int or None
        Token behind which a greedy run leaves a conversation as it is.
    """

    def __init__(self, model: CudaModel, count: int = 1, stop: int | None = None):
        self.model = model
        self.count = count
        self.stop = stop
        with model.selected():
            self.state = model.new_state(count)
            self._always = torch.ones_like(self.state[:, 0, 0])
            self._memory: dict[bool, torch.Tensor] = {}
            self._played: dict[tuple[int, bool], tuple[Rows, Recorded]] = {}
            self._passes = _Passes(model, self.state, -1 if stop is None else stop)
        self.start()

    def start(self) -> None:
        """Begin all conversations anew."""
        self.state.zero_()
        self.digests = [0] * self.count

    def feed(self, tokens: np.ndarray) -> list[list[int]]:
        """Take tokens [count, T] without the head; the running digests after each, [T][count]."""
        return [digests for _, found in self._chunks(tokens, head=False) for digests in found]

    def logits(self, tokens: np.ndarray) -> Iterator[torch.Tensor]:
        """Take tokens [count, T]; yield float32 [count, some of T, V] until all are done."""
        for rows, _ in self._chunks(tokens, head=True):
            values = (rows.logits * rows.steps()).float()
            yield values.view(self.count, -1, values.shape[1])

    def run(self, tokens: Sequence[int], passes: int) -> list[list[Greedy]]:
        """Take a token each, then greedily what follows; results [passes][count].

        A conversation that has found the stop token stands still; what its further passes report
        means nothing, and is left out of its digest.

        Raises
        ------
        BadInput
            A token is out of range.
        """
        tokens = self._checked([[token] for token in tokens])[:, 0].tolist()
        results, going = [], [True] * self.count
        while len(results) < passes:
            with self.model.selected():
                found = self._passes.run(tokens, going, min(PASSES, passes - len(results)))
            for row in found.tolist():
                results.append([self._result(n, *pair)
                                for n, pair in enumerate(zip(row, going, strict=True))])
                tokens = [result.tokens[0] for result in results[-1]]
                going = [on and token != self.stop
                         for on, token in zip(going, tokens, strict=True)]
        return results

    def _result(self, conversation: int, numbers: list[int], going: bool) -> Greedy:
        if going:
            self.digests[conversation] = self.model.chains[True](self.digests[conversation],
                                                                 numbers[-1] & 0xFFFFFFFF)
        keys = numbers[:min(CANDIDATES, self.model.image.vocab)]
        return Greedy(tuple(65535 - (key & 65535) for key in keys), tuple(k >> 16 for k in keys),
                      numbers[CANDIDATES], numbers[CANDIDATES + 1], self.digests[conversation])

    def _checked(self, tokens) -> np.ndarray:
        """Tokens as int32 [count, T], if they are in the vocabulary."""
        tokens = np.asarray(tokens, np.int64).reshape(self.count, -1)
        check_vocabulary(tokens, self.model.image.vocab)
        return tokens.astype(np.int32)

    def vectors(self, token: int) -> torch.Tensor:
        """Take one token of the only conversation; all stage vectors in order, int32."""
        with self.model.selected():
            self._passes.run([token], [True], 1)
        return self._passes.vectors

    def _chunks(self, tokens: np.ndarray, *, head: bool):
        """Yield rows and running digests [T][count] of as many tokens as there is room for."""
        tokens = self._checked(tokens)
        total = tokens.shape[1]
        # Parts of one length, if possible: each length is a graph.
        step = -(-total // max(1, -(-total // self._together(head))))
        for start in range(0, total, max(step, 1)):
            part = torch.from_numpy(np.ascontiguousarray(tokens[:, start:start + step]))
            with self.model.selected():
                rows, play = self._recorded(part.numel(), head)
                rows.tokens.copy_(part.view(-1))
                play()
                totals = rows.totals.view(self.count, -1).T.cpu().numpy().view(np.uint32)
            yield rows, [self._continued(sums, head) for sums in totals.tolist()]

    def _continued(self, sums: list[int], head: bool) -> list[int]:
        """Take the digest's terms of one more token each; the running digests."""
        chain = self.model.chains[head]
        self.digests = [chain(*pair) for pair in zip(self.digests, sums, strict=True)]
        return list(self.digests)

    def _together(self, head: bool) -> int:
        """Tokens of each conversation that there is room for."""
        image = self.model.image
        room = max(ROOM, len(image.payload) // ROOM_SHARE)
        each = Rows.size(image, 64 * self.count, head=head) / 64
        return max(1, min(int(room / each), TOGETHER // self.count))

    def _recorded(self, count: int, head: bool) -> tuple[Rows, Recorded]:
        """Room for `count` tokens, and what plays them."""
        if head not in self._memory:
            size = Rows.size(self.model.image, self._together(head) * self.count, head=head)
            self._memory[head] = self.model.empty(size, dtype=torch.uint8)
        if len(self._played) > GRAPHS:
            self._played.clear()
        if (count, head) not in self._played:
            rows = Rows(self.model, count, head=head, memory=self._memory[head])
            play = functools.partial(self.model.play, rows, self.state, self._always, head=head)
            self._played[count, head] = rows, Recorded(play, self.model.device)
        return self._played[count, head]


class _Passes:
    """Greedy passes: one token of each conversation at a time, launched as a graph."""

    def __init__(self, model: CudaModel, state: torch.Tensor, stop: int):
        count, image = len(state), model.image
        self.model = model
        self.state = state
        self.stop = stop
        self.early = (model.device.type == "cuda"
                      and torch.cuda.get_device_capability(model.device) >= EARLY_SINCE)
        self.play = Recorded(self._play, model.device)
        self.rows = Rows(model, count, head=True) if count > 1 else None
        if self.rows is None:
            self.vectors = model.empty(model.weights.words)
            self.statistics = model.empty(image.stages, ROW.value, dtype=torch.int64)
            self.tokens, self.totals = model.zeros(1), model.zeros(1)
            self.factors = model.empty(1, 8, dtype=torch.int64)
            self.logits = self.vectors[-image.vocab:].view(1, -1)
        else:
            self.tokens, self.totals = self.rows.tokens, self.rows.totals
            self.factors, self.logits = self.rows.factors, self.rows.logits
        self.active, self.position = model.zeros(count), model.zeros(count)
        self.blocks = triton.cdiv(image.vocab, RANKED)
        self.keys = model.empty(count, self.blocks, CANDIDATES, dtype=torch.int64)
        self.results = model.empty(PASSES, count, RESULT, dtype=torch.int64)

    def run(self, tokens: list[int], going: list[bool], passes: int) -> torch.Tensor:
        """Results [passes, count] of at most `PASSES` passes, on the host."""
        self.tokens.copy_(torch.tensor(tokens, dtype=torch.int32))
        self.active.copy_(torch.tensor(going, dtype=torch.int32))
        self.position.zero_()
        for _ in range(passes):
            self.play()
        return self.results[:passes].cpu()

    def _play(self) -> None:
        model, image = self.model, self.model.image
        if self.rows is None:
            self._stages()
            model.add_terms(self.vectors.view(1, -1), 0, self.totals)
        else:
            model.play(self.rows, self.state, self.active, head=True)
        count = len(self.state)
        ranking.best_of_blocks[(self.blocks, count)](
            self.logits, image.vocab, self.keys, image.vocab, KEPT=CANDIDATES, BLOCK=RANKED)
        ranking.choose[(count,)](
            self.keys, self.blocks * CANDIDATES, self.tokens, self.active, self.stop,
            self.position, self.results, self.factors, self.totals, KEPT=CANDIDATES,
            RESULT=RESULT, BLOCK=triton.next_power_of_2(self.blocks * CANDIDATES))

    def _stages(self) -> None:
        """One token of one conversation, a kernel for each stage."""
        weights, hidden = self.model.weights, self.model.image.hidden
        first, *others = weights.stages
        x = self.vectors[:hidden]
        decode.embed[(1,)](
            weights.rows, weights.row_bytes, self.tokens, x, self.statistics, first.pre,
            first.gains, first.stride, hidden, self.statistics.numel(),
            WIDE=weights.element_bytes > 1, BLOCK=triton.next_power_of_2(hidden), CLEAR=1024,
            num_warps=8)
        before, vector = first, x
        for stage in others:
            out = self.vectors[stage.offset:stage.offset + stage.rows]
            groups, words, warps = decode.TILES[stage.op]
            none = weights.parameters
            decode.stage[(triton.cdiv(stage.groups, groups),)](
                stage.body, stage.parameters, vector, before.gains, before.stride,
                self.statistics[before.index], x, out, self.statistics[stage.index],
                none if stage.keep is None else stage.keep,
                none if stage.pre is None else stage.pre,
                none if stage.gains is None else stage.gains, stage.stride,
                self.state[0, stage.layer], self.active, self.factors, weights.table,
                stage.columns, stage.rows, stage.words, stage.groups,
                OP=stage.op.value, CHUNKS=triton.cdiv(stage.words, words), WORDS=words,
                GROUPS=groups, EARLY=self.early, num_warps=warps,
                **({"launch_pdl": True} if self.early else {}))
            if stage.op is Op.RESIDUAL:
                x = out
            before, vector = stage, out
