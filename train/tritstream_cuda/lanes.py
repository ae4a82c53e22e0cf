"""Passes over the tape for a token of each of several lanes.

A pass chooses each lane's likeliest next token on the GPU, so a greedy run needs the host only to
launch it: as a CUDA graph, again and again. Conversations that are stepped greedily side by side
have their next pass launched before they ask for it; if they take other tokens, it is taken back.
"""

import collections
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import triton

from tritstream.engines.candidates import CANDIDATES
from tritstream.formats import FORMATS, padded
from tritstream.image.tape import Op
from tritstream_cuda import decode, many, ranking
from tritstream_cuda.model import CudaModel
from tritstream_cuda.recorded import Recorded
from tritstream_cuda.states import States
from tritstream_cuda.statistics import ROW
from tritstream_cuda.weights import Stage

__all__ = ["LANES", "PASSES", "Lanes", "Outcome", "Pass"]

LANES = 16
FEW = 2                     # lanes up to which `decode` is faster than `many`
PASSES = 32                 # of a greedy run between two looks at them
TOGETHER = 8                # of these, launched at once at most
LAUNCH_SECONDS = 0.5e-3     # that a launch has to take for another to be there when it ends
MEASURED = 4                # launches, of which the last is timed: the first ones are prepared
SURE = 2                    # passes that went on greedily before one is launched unasked
RANKED = 1024               # logits of a program that ranks them
RESULT = CANDIDATES + 4     # keys, mantissa, shift, digest terms of the body and of all
EARLY_SINCE = (9, 0)        # compute capability with programmatic dependent launch
QUANTISED = 1024            # elements that a program quantises
QUANTISED_WARPS = 8
INPUTS = ("tokens", "places", "firsts", "kept", "stops", "turns")


class Tile(NamedTuple):
    """How large a program of a stage's kernel is.

    Parameters
    ----------
    groups : int
        Row groups.
    warps : int
        Of `many.stage` each takes part of the columns.
    words : int
        Of four trits, that a program of `decode.stage`, or a warp of `many.stage`, meets at once.
    """

    groups: int
    warps: int
    words: int


class Tiles(NamedTuple):
    """Of each sort of stage: the residual ones are behind the MLGRU, or the GLU's longer vector."""

    mlgru: Tile
    output: Tile
    glu: Tile
    down: Tile
    head: Tile

    def of(self, stage: Stage) -> Tile:
        """Return that of a stage."""
        if stage.op is Op.RESIDUAL:
            return self.down if stage.columns > stage.rows else self.output
        return {Op.MLGRU: self.mlgru, Op.GLU: self.glu, Op.HEAD: self.head}[stage.op]


FEW_TILES = {
    1: Tiles(mlgru=Tile(2, 4, 128), output=Tile(2, 4, 256), glu=Tile(2, 2, 128),
             down=Tile(1, 2, 128), head=Tile(8, 4, 256)),
    2: Tiles(mlgru=Tile(2, 4, 128), output=Tile(2, 4, 256), glu=Tile(2, 2, 128),
             down=Tile(2, 4, 128), head=Tile(16, 8, 128)),
}
"""Of `decode.stage`, by lanes: the fastest of some ten each for 370M on an H200."""

MANY_TILES = Tiles(mlgru=Tile(4, 8, 32), output=Tile(4, 4, 64), glu=Tile(4, 4, 64),
                   down=Tile(4, 8, 32), head=Tile(8, 4, 32))
"""Of `many.stage`, likewise with 16 lanes. Shorter vectors have fewer words for each warp."""

LONG_TILES = Tiles(mlgru=Tile(2, 4, 32), output=Tile(2, 4, 64), glu=Tile(4, 4, 64),
                   down=Tile(2, 8, 32), head=Tile(8, 4, 32))
"""The same for stages whose trits would take more than `AHEAD_REGISTERS` with those."""

AHEAD_REGISTERS = 192       # of a thread, for trits that are tripled before they are needed
TRIPLED = 6                 # tensors that `many` makes of the trits
MET = 32                    # columns that a warp meets with one instruction
LEAST_WORDS = 8             # of a warp: what the tensor cores take


class Outcome(NamedTuple):
    """What a pass gave a lane.

    Parameters
    ----------
    tokens : list of int
        Best tokens, best first.
    scores : list of float
        Their logits.
    body, whole : int
        Terms of the digest of all stages but the head, and of all.
    """

    tokens: list[int]
    scores: list[float]
    body: int
    whole: int


class Lanes:
    """Takes tokens, which have been checked, of up to `LANES` conversations in a pass.

    Parameters
    ----------
    model : CudaModel
        The model.
    states : States
        Of the conversations.
    """

    def __init__(self, model: CudaModel, states: States):
        self._states = states
        self._model = model
        self._room = _Room(model)
        self._passes: dict[tuple[int, type], Pass] = {}
        self._latest: Pass | None = None        # of single tokens, whose lanes are set up for more
        self._places: list[int] = []
        self._chosen: list[int] = []
        self._sure = 0

    def step(self, parts: Sequence[tuple[int, Sequence[int]]]) -> list[Outcome]:
        """Take tokens in one pass.

        Parameters
        ----------
        parts : sequence of tuple
            Places, each with its tokens, at most `LANES` in all.

        Returns
        -------
        list of Outcome
            Of every token, one after the other.
        """
        places = [place for place, _ in parts]
        tokens = [token for _, part in parts for token in part]
        single = len(places) == len(tokens)
        # One that was launched unasked, and taken back since, has moved on all the same.
        unasked = bool(self._states.ahead)
        follows = (self._latest is not None and unasked == (self._sure >= SURE)
                   and (places, tokens) == (self._places, self._chosen))
        expected = follows and unasked
        latest, self._latest = self._latest, None       # until this has come to its end
        with self._model.selected():
            if expected:
                self._states.ahead = []
            else:
                self._states.settle()
                if not follows:
                    latest = self._pass(len(tokens), single=single)
                    latest.set(parts)
                latest.launch()
            turn = latest.turn
            self._sure = self._sure + 1 if follows else 0
            if self._sure >= SURE:
                self._states.ahead = places
                latest.launch()
            outcomes = latest.outcomes(turn)
        if single:
            self._latest, self._places = latest, places
            self._chosen = [outcome.tokens[0] for outcome in outcomes]
        return outcomes

    def run(self, texts: Sequence[tuple[int, int]], passes: int, stop: int | None, *,
            candidates: bool = False,
            enough: Callable[[], bool] | None = None) -> Iterator[list[Outcome]]:
        """Take a token of each of several places, then greedily what follows.

        Parameters
        ----------
        texts : sequence of tuple
            Places, each with its token, at most `LANES`.
        passes : int
            At most `PASSES`.
        stop : int or None
            The pass in which any lane finds this token is the last.
        candidates : bool
            Whether outcomes have more than the best of them.
        enough : callable or None
            Asked before each launch but the first two; once it is true there are no more. None: all
            are launched at once, so that the GPU never waits for whoever reads what they give.

        Yields
        ------
        list of Outcome
            Of every lane in a pass. States are right when it is exhausted.
        """
        self._latest = None
        self._states.settle()
        parts = [(place, [token]) for place, token in texts]
        several = len(texts) > 1                # a single one stays at its stop token by itself
        with self._model.selected():
            run = self._pass(len(texts), single=True)
            most = run.together if enough else TOGETHER
            run.set(parts, stop)
            places = run.inputs["places"][:len(texts)].long()
            before = self._states.copy(places) if several and stop is not None else None
        launches, launched, read = _launches(passes, most), 0, 0
        ends: collections.deque[int] = collections.deque()     # of launches that are under way
        while True:
            with self._model.selected():
                while not enough or len(ends) < 2:
                    count = next(launches, 0)
                    if not count or read and enough and enough():
                        launches = iter(())
                        break
                    run.launch(count)
                    launched += count
                    ends.append(launched)
            if not ends:
                return
            for turn in range(read, read := ends.popleft()):
                outcomes = run.outcomes(turn, CANDIDATES if candidates else 1)
                yield outcomes
                if any(outcome.tokens[0] == stop for outcome in outcomes):
                    if several and turn + 1 < launched:
                        with self._model.selected():
                            self._states.put_back(places, before)
                            run.play(parts, stop, turn + 1)
                    return

    @property
    def beyond(self) -> int:
        """Passes that may come behind the one in which a run is seen to be enough."""
        return 2 * max((run.together for run in self._passes.values()), default=1) - 1

    def vectors(self, place: int, token: int) -> np.ndarray:
        """Take one token; all stage vectors in order, int32."""
        for _ in self.run([(place, token)], 1, None):
            pass
        return self._room.vectors[0].cpu().numpy()

    def _pass(self, count: int, *, single: bool) -> "Pass":
        lanes = triton.next_power_of_2(count)
        kind = _RaggedLanes if not single else _FewLanes if lanes <= FEW else _ManyLanes
        if (lanes, kind) not in self._passes:
            self._passes[lanes, kind] = kind(self._model, self._states, self._room, lanes)
        return self._passes[lanes, kind]


class _Room:
    """What passes of all numbers of lanes work in."""

    def __init__(self, model: CudaModel):
        image, most = model.image, LANES
        widest = max(image.hidden, image.intermediate)
        self.inputs = model.zeros(len(INPUTS), most)
        self.vectors = model.empty(most, model.weights.words)
        self.statistics = model.empty(most, image.stages, ROW.value, dtype=torch.int64)
        self.acts = model.zeros(3, most, padded(widest), dtype=torch.int8)
        self.factors = model.zeros(most, 8, dtype=torch.int64)     # of the logits
        self.totals = model.zeros(most, 2)
        self.blocks = triton.cdiv(image.vocab, RANKED)
        self.keys = model.empty(most, self.blocks, CANDIDATES, dtype=torch.int64)
        # Memory of the host, which the GPU writes to and reads from while both go on.
        shared = model.device.type == "cuda"
        self.given = torch.zeros(len(INPUTS), most, dtype=torch.int32, pin_memory=shared)
        self.results = torch.empty(PASSES * most * RESULT, dtype=torch.int64, pin_memory=shared)
        self.events = [torch.cuda.Event() for _ in range(PASSES)] if shared else None


def _launches(passes: int, most: int) -> Iterator[int]:
    """Yield how many passes each launch has.

    A launch lets other threads run, which may not let this one go on for milliseconds: so there are
    few, of ever fewer passes, that what the last ones give is read soon.
    """
    while passes:
        count = min(most, 1 << max(0, passes.bit_length() - 2))
        yield count
        passes -= count


class Pass:
    """A pass of so many lanes.

    Parameters
    ----------
    model, states, room
        See `Lanes`.
    lanes : int
        A power of two.
    """

    def __init__(self, model: CudaModel, states: States, room: _Room, lanes: int):
        self.model, self.states, self.room, self.lanes = model, states, room, lanes
        self.turn = 0               # of the latest launch
        self.early = (model.device.type == "cuda"
                      and torch.cuda.get_device_capability(model.device) >= EARLY_SINCE)
        self.options = {"launch_pdl": True} if self.early else {}
        self.inputs = {name: row[:lanes] for name, row in zip(INPUTS, room.inputs, strict=True)}
        self.logits = room.vectors[:lanes, -model.image.vocab:]
        self.results = room.results[:PASSES * lanes * RESULT].view(PASSES, lanes, RESULT)
        self._numbers = self.results.numpy()
        self._given = room.given[:, :lanes].numpy()
        self._used = 0              # lanes that have a token
        self._plays: dict[int, Recorded] = {}       # so many times together
        self._events: list[torch.cuda.Event | None] = [None] * PASSES   # that end each launch

    def set(self, parts: Sequence[tuple[int, Sequence[int]]], stop: int | None = None) -> None:
        """Say whose tokens come, when nothing else is under way any more."""
        self.turn = PASSES - 1
        rows = []
        for place, tokens in parts:
            first = len(rows)
            for token in tokens:
                rows.append((token, place, first, len(rows) == first + len(tokens) - 1,
                             -1 if stop is None else stop, 0))
        self._used = len(rows)
        rows += [(0, self.states.nobody, lane, 0, -1, 0) for lane in range(len(rows), self.lanes)]
        if self.room.events:
            torch.cuda.current_stream().synchronize()
        self._given[:] = np.array(rows, np.int32).T
        self.room.inputs.copy_(self.room.given, non_blocking=True)

    def launch(self, count: int = 1) -> None:
        """Play it so many times; `outcomes` can be asked for when all of these are done."""
        if count not in self._plays:
            self._plays[count] = Recorded(lambda: self._times(count), self.model.device)
        self._plays[count]()
        turns = [(self.turn + 1 + number) % PASSES for number in range(count)]
        self.turn = turns[-1]
        if self.room.events:
            self.room.events[self.turn].record()
            for turn in turns:
                self._events[turn] = self.room.events[self.turn]

    def play(self, parts: Sequence[tuple[int, Sequence[int]]], stop: int | None,
             passes: int) -> None:
        """Launch so many passes, of which each takes what the one before chose."""
        self.set(parts, stop)
        for count in _launches(passes, TOGETHER):
            self.launch(count)

    @functools.cached_property
    def together(self) -> int:
        """Passes of a launch that takes long enough for another to be there when it ends."""
        if not self.room.events:
            return 1
        self.set([])                        # nobody's
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(MEASURED):
            began.record()
            self.launch(TOGETHER)
            ended.record()
        ended.synchronize()
        seconds = began.elapsed_time(ended) / 1000 / TOGETHER
        return min(TOGETHER, triton.next_power_of_2(math.ceil(LAUNCH_SECONDS / seconds)))

    def outcomes(self, turn: int, most: int = CANDIDATES) -> list[Outcome]:
        """Return what a launch has found, when it has, with at most so many candidates."""
        event = self._events[turn]
        if event and not event.query():
            event.synchronize()
        found = self._numbers[turn, :self._used]
        keys, rest = found[:, :min(most, self.model.image.vocab)], found[:, CANDIDATES:]
        step = np.ldexp(rest[:, 0].astype(np.float64), FORMATS.dequant_up - rest[:, 1])
        return list(map(Outcome, (65535 - (keys & 65535)).tolist(),
                        ((keys >> 16) * step[:, None]).tolist(), rest[:, 2].tolist(),
                        rest[:, 3].tolist()))

    def _times(self, count: int) -> None:
        for _ in range(count):
            self.kernels()

    def kernels(self) -> None:
        """Launch what a pass consists of."""
        model, room, inputs = self.model, self.room, self.inputs
        vocab = model.image.vocab
        self._stages()
        model.add_terms(room.vectors[:self.lanes], model.body_words, vocab, room.totals)
        ranking.best_of_blocks[(room.blocks, self.lanes)](
            self.logits, model.weights.words, room.keys, vocab, KEPT=CANDIDATES, BLOCK=RANKED)
        ranking.choose[(self.lanes,)](
            room.keys, room.blocks * CANDIDATES, inputs["tokens"], inputs["kept"],
            inputs["stops"], inputs["turns"], room.results, room.factors, room.totals,
            model.powers[vocab:], inputs["places"], self.states.sides, KEPT=CANDIDATES,
            RESULT=RESULT, PASSES=PASSES, BLOCK=triton.next_power_of_2(room.blocks * CANDIDATES))

    def _embed(self) -> None:
        room, weights, hidden = self.room, self.model.weights, self.model.image.hidden
        first = weights.stages[0]
        decode.embed[(self.lanes,)](
            weights.rows, weights.row_bytes, self.inputs["tokens"], room.vectors, weights.words,
            room.statistics, first.pre, first.gains, first.stride, hidden, self._length,
            WIDE=weights.element_bytes > 1, BLOCK=triton.next_power_of_2(hidden), CLEAR=1024,
            num_warps=8)

    def _stages(self) -> None:
        self._embed()
        stages = self.model.weights.stages
        x = stages[0].offset
        for before, stage in itertools.pairwise(stages):
            self._play(before, stage, x)
            if stage.op is Op.RESIDUAL:
                x = stage.offset

    @property
    def _length(self) -> int:
        """Numbers of a lane's statistics."""
        return self.room.statistics[0].numel()

    def _banks(self, stage: Stage) -> tuple:
        """A stage's gains; where it has none, something that is not read."""
        none = self.model.weights.parameters
        return tuple(none if bank is None else bank
                     for bank in (stage.keep, stage.pre, stage.gains))


def _part(stage: Stage, tile: Tile) -> int:
    """Columns of a stage that a warp meets at once."""
    words = min(tile.words, _power_of_two_below(stage.words // tile.warps))
    return 4 * max(LEAST_WORDS, words)


def _registers(stage: Stage, tile: Tile) -> int:
    """Registers of a thread that trits take which are tripled ahead: two for each instruction."""
    part = _part(stage, tile)
    columns = triton.cdiv(stage.words * 4, tile.warps * part) * part
    return 2 * TRIPLED * stage.op.projections * triton.cdiv(columns, MET)


def _power_of_two_below(number: int) -> int:
    """Return the largest one that is not above a number; 0 for 0."""
    return 1 << number.bit_length() - 1 if number else 0


class _FewLanes(Pass):
    """A kernel for each stage, in which each program has one lane."""

    def _play(self, before: Stage, stage: Stage, x: int) -> None:
        room, inputs, weights = self.room, self.inputs, self.model.weights
        tile = FEW_TILES[self.lanes].of(stage)
        decode.stage[(triton.cdiv(stage.groups, tile.groups), self.lanes)](
            stage.body, stage.parameters, room.vectors, weights.words, before.offset, x,
            stage.offset, before.gains, before.stride, room.statistics, self._length,
            before.index * ROW.value, stage.index * ROW.value, *self._banks(stage),
            stage.stride, self.states.layer(stage.layer), self.states.size, self.states.sides,
            inputs["places"], inputs["kept"], room.factors, weights.table, stage.columns,
            stage.rows, stage.words, stage.groups,
            OP=stage.op.value, CHUNKS=triton.cdiv(stage.words, tile.words), WORDS=tile.words,
            GROUPS=tile.groups, LANES=self.lanes, EARLY=self.early, num_warps=tile.warps,
            **self.options)


class _ManyLanes(Pass):
    """Two kernels for each stage, in which each program has all lanes."""

    ragged = False              # whether a conversation may have several lanes

    def _play(self, before: Stage, stage: Stage, x: int) -> None:
        room, inputs, weights = self.room, self.inputs, self.model.weights
        length, vectors = stage.words * 4, stage.op.vectors
        many.quantise_lanes[(self.lanes, triton.cdiv(length, QUANTISED))](
            room.vectors, weights.words, before.offset, before.gains, before.stride,
            room.statistics, self._length, before.index * ROW.value, room.acts, length,
            room.acts[0].numel(), stage.columns,
            VECTORS=vectors, BLOCK=QUANTISED, EARLY=self.early, num_warps=QUANTISED_WARPS,
            **self.options)
        tile, ahead = MANY_TILES.of(stage), True
        if _registers(stage, tile) > AHEAD_REGISTERS:
            tile, ahead = LONG_TILES.of(stage), False
        part = _part(stage, tile)
        many.stage[(triton.cdiv(stage.groups, tile.groups),)](
            stage.body.view(torch.int8), stage.parameters, room.acts, length,
            room.acts[0].numel(), room.vectors, weights.words, x, stage.offset,
            room.statistics, self._length, before.index * ROW.value, stage.index * ROW.value,
            *self._banks(stage), stage.stride, self.states.layer(stage.layer),
            self.states.size, self.states.sides, inputs["places"], inputs["firsts"],
            inputs["kept"], room.factors, weights.table, stage.rows, stage.groups,
            OP=stage.op.value, LANES=self.lanes, RAGGED=self.ragged, GROUPS=tile.groups,
            PARTS=tile.warps, STEPS=triton.cdiv(length, tile.warps * part), BYTES=part, AHEAD=ahead,
            EARLY=self.early, num_warps=tile.warps, **self.options)


class _RaggedLanes(_ManyLanes):
    """The same for conversations with several tokens, side by side."""

    ragged = True
