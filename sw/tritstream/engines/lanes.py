"""A board that takes several tokens in a pass, behind the driver."""

import contextlib
import dataclasses
import weakref
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tritstream.driver import Device
from tritstream.engines.base import Pass, Work
from tritstream.engines.board import DeviceEngine, as_pass
from tritstream.engines.conversation import Conversation
from tritstream.engines.places import Places
from tritstream.image.image import Image
from tritstream.link.messages import Lane, PassResult
from tritstream.link.protocol import LaneFlag

__all__ = ["LanesEngine"]


class LanesEngine(DeviceEngine):
    """`tritstream.driver` with one image in a device that has lanes.

    States of conversations stay in its slots, of which there is one for each lane; the one whose
    turn was longest ago makes way for a new one. Of a text, as many tokens share a pass as
    there are lanes, but only one where each depends on the one before.

    The device says of each token what its digest is alone, and all are joined here.

    Parameters
    ----------
    device, image, simulated, progress
        As those of `DeviceEngine`.
    """

    def __init__(self, device: Device, image: Image, *, simulated: bool, progress=None):
        super().__init__(device, image, simulated=simulated, progress=progress)
        self.prefill = self.lanes
        self._places = Places(self.lanes)
        self._slot: int | None = None               # where the device is
        self._digest = 0
        self._unused = set(range(self.lanes))       # slots whose state counts as 0

    def _enter(self, conversation: Conversation) -> None:
        self._leave()
        slot = self._places.find(conversation)
        self._slot = self._admit(conversation) if slot is None else slot
        self._digest = conversation.digest
        self._current = weakref.ref(conversation)

    def _admit(self, conversation: Conversation) -> int:
        """Give a conversation a slot, and put its state there."""
        oldest = self._places.oldest()
        if oldest is not None:
            self._evict(oldest)
        self._slot = self._places.take(conversation)
        try:
            self._bring(conversation)
        except BaseException:
            self._places.drop(conversation)
            raise
        return self._slot

    def _evict(self, conversation: Conversation) -> None:
        """Let a conversation leave its slot."""
        self._slot = self._places.find(conversation)
        self._put_away(conversation)
        self._places.drop(conversation)

    def _leave(self) -> None:
        super()._lose()
        self._slot = None

    def _lose(self) -> None:
        current = self._current()
        if current is not None:
            self._places.drop(current)
        self._leave()

    def _forget(self, conversation: Conversation) -> None:
        super()._forget(conversation)
        self._places.drop(conversation)

    def _put(self, values) -> None:
        if self._slot is None:
            self._clear()
        self._digest = 0
        if values is None:
            self._unused.add(self._slot)
        else:
            self._unused.discard(self._slot)
            with self._pace.move():
                self._device.restore_state(values, slot=self._slot)

    def _go_on_from(self, digest: int) -> None:
        self._digest = digest

    def _brought(self) -> None:
        self._unused.discard(self._slot)

    @property
    def _untouched(self) -> bool:
        return self._slot in self._unused

    def _feed(self, tokens) -> list[Pass]:
        return [as_pass(result) for result in self._in_lanes(tokens)]

    def _step(self, token: int) -> Pass:
        (result,) = self._run(token, 1, True)
        return result

    def _run(self, token: int, count: int, candidates: bool,
             enough: Callable[[], bool] | None = None) -> Iterator[Pass]:
        lanes = self._lanes_of(self._slot, [token], heads=1)
        for results in self._device.run_together(lanes, count, candidates=candidates,
                                                 enough=enough):
            (result,) = self._counted(results)
            self._digest = self._joined(self._digest, result)
            yield as_pass(dataclasses.replace(result, digest=self._digest))

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = np.empty((len(tokens), self.vocab), np.float32)
        played = self._in_lanes(tokens, logits=True)
        for row, result in zip(rows, played, strict=True):
            row[:] = result.logits * result.scale
        return rows, self._digest

    def _in_lanes(self, tokens, *, logits: bool = False) -> Iterator[PassResult]:
        """Take tokens of the conversation that the device is at; with the head for logits."""
        lanes = self._lanes_of(self._slot, tokens, heads=len(tokens) if logits else 0)
        for result in self._counted(self._device.together(lanes, logits=logits)):
            self._digest = self._joined(self._digest, result)
            yield dataclasses.replace(result, digest=self._digest)

    def _lanes_of(self, slot: int, tokens: Sequence[int], heads: int) -> list[Lane]:
        """Return what the device is told of tokens, the first of which goes on from the slot.

        Only the last `heads` of them have a head.
        """
        first = LaneFlag.FRESH if slot in self._unused else LaneFlag(0)
        self._unused.discard(slot)
        bodies = len(tokens) - heads
        return [Lane(token=token, slot=slot, flags=(LaneFlag.FOLLOWS if n else first)
                     | (LaneFlag.BODY if n < bodies else LaneFlag(0)))
                for n, token in enumerate(tokens)]

    def _joined(self, digest: int, result: PassResult) -> int:
        return self._shifts[bool(result.candidates)](digest) ^ result.digest

    def _together(self, works: list[Work]) -> list[Pass]:
        results = []
        for start in range(0, len(works), self.lanes):
            with self._pace.step():
                results += self._side_by_side(works[start:start + self.lanes])
        return results

    def _side_by_side(self, works: list[Work]) -> list[Pass]:
        """Take the tokens of as many works as there are slots.

        The longest texts come first: then most of the heads are in the last passes, and few are
        played beside tokens that need none.
        """
        slots = self._slots_of(works)
        lanes, owners = [], []
        for index in sorted(range(len(works)), key=lambda index: -len(works[index].tokens)):
            work = works[index]
            lanes += self._lanes_of(slots[index], work.tokens, heads=int(work.head))
            owners += [index] * len(work.tokens)
        last: list[Pass | None] = [None] * len(works)
        played = self._counted(self._device.together(
            lanes, candidates=any(work.candidates for work in works if work.head)))
        for index, result in zip(owners, played, strict=True):
            last[index] = self._noted(works[index].conversation, result)
        return last

    def _run_together(self, works: list[Work], count: int,
                      enough: Callable[[], bool] | None) -> Iterator[list[Pass]]:
        if len(works) > self.lanes:
            yield from super()._run_together(works, count, enough)
            return
        lanes = [lane for slot, work in zip(self._slots_of(works), works, strict=True)
                 for lane in self._lanes_of(slot, work.tokens, heads=1)]
        with contextlib.closing(self._device.run_together(lanes, count, enough=enough)) as passes:
            while True:
                with self._pace.step():
                    results = next(passes, None)
                if results is None:
                    return
                yield [self._noted(work.conversation, result) for work, result
                       in zip(works, self._counted(results), strict=True)]

    def _slots_of(self, works: list[Work]) -> list[int]:
        """Give each conversation a slot, if it has none."""
        slots = []
        for work in works:
            self._places.find(work.conversation)    # none of them has to go for another
        for work in works:
            self._enter(work.conversation)
            slots.append(self._slot)
            self._leave()
        return slots

    def _noted(self, conversation: Conversation, result: PassResult) -> Pass:
        """Note what a conversation has taken, and return what came of it."""
        digest = self._joined(conversation.digest, result)
        conversation._took([result.token], digest, heads=int(bool(result.candidates)))
        return as_pass(dataclasses.replace(result, digest=digest))

    def _clear(self) -> None:
        """Leave the first slot to nobody, and let the device be there."""
        while (oldest := self._places.first()) is not None:
            self._evict(oldest)
        self._slot = 0

    def _partial(self, tokens, stages: int, **options) -> PassResult:
        self._fresh, self._earlier = True, 0
        self._unused.discard(self._slot)
        return super()._partial(tokens, stages, **options)
