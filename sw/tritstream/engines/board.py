"""A board, real or simulated, behind the driver."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tritstream.driver import Device
from tritstream.engines.base import Engine, Pass, Work
from tritstream.engines.candidates import Candidates
from tritstream.engines.conversation import Conversation
from tritstream.engines.pace import Pace
from tritstream.engines.shelves import Shelves
from tritstream.image.image import Image
from tritstream.image.tape import Op
from tritstream.link.activity import StageActivity
from tritstream.link.messages import Identity, PassResult, StageRecord
from tritstream.link.protocol import RunFlag
from tritstream.support.checks import checked_tokens
from tritstream.support.crc import Shift

__all__ = ["DeviceEngine", "as_pass"]


class DeviceEngine(Engine):
    """`tritstream.driver` with one image in it.

    There are a slot of the device for each lane, and shelves for states in its memory; what has no
    place there goes to the host.

    The device's own digest can only be cleared. So what a conversation had before it came back to
    the device is kept here, and both are joined after each pass.

    Parameters
    ----------
    device : Device
        Opened; it is closed with the engine.
    image : Image
        Packed model; it is uploaded if the device's memory holds its tape, otherwise streamed.
    simulated : bool
        Whether time is told by the accelerator's cycles rather than by this computer's clock.
    progress : callable or None
        Called with bytes done and bytes in all during an upload.
    """

    piece = 16                          # a second or two of simulation

    def __init__(self, device: Device, image: Image, *, simulated: bool, progress=None):
        super().__init__()
        self.name = device.name
        self.image = image
        self.model = image.digest
        self.shape = image.layers, image.hidden
        self.vocab = image.vocab
        self.stop_tokens = image.stop_tokens
        self.kept = device.identity.candidates
        self.build = device.identity.build.hex()
        self.clock_hz = device.identity.clock_hz
        self.cycles = self.stalls = 0
        self.evidence = "simulated" if simulated else "measured"
        self.lanes = device.identity.lanes
        self._pace = Pace(self.lanes)
        self._device = device
        device.load(image, progress=progress)
        self.runs_ahead = device.goes_on_alone
        self._shelves = Shelves(device, self._pace)
        # One more than goes there: states change places by way of one that is free.
        self.slots = self.lanes + max(0, self._shelves.count - 1)
        self._slot = 0
        self._fresh = True              # the next pass finds no state, and the digest 0
        self._earlier = 0               # digest of the vectors before those that the device has

    @property
    def quantum(self) -> int:
        return self._pace.quantum

    @property
    def ahead(self) -> int:
        return self._pace.ahead if self.runs_ahead else 1

    @property
    def seconds(self) -> float:
        if self.evidence == "simulated":
            return self.cycles / self.clock_hz
        return time.perf_counter()

    def _put_away(self, conversation: Conversation) -> None:
        kept = self._untouched or self._shelves.keep(conversation, self._slot)
        if not kept and not conversation._at_rest:
            super()._put_away(conversation)

    def _bring(self, conversation: Conversation) -> None:
        if self._shelves.recall(conversation, self._slot):
            self._brought()
        else:
            super()._bring(conversation)

    def _brought(self) -> None:
        """Note that there is a state in the slot."""
        self._fresh, self._earlier = False, 0

    @property
    def _untouched(self) -> bool:
        """Whether the state of the slot counts as 0."""
        return self._fresh

    def _copy(self, other: Conversation) -> bool:
        return self._untouched or self._shelves.keep(other, self._slot)

    def _forget(self, conversation: Conversation) -> None:
        self._shelves.drop(conversation)

    def _put(self, values) -> None:
        self._fresh = values is None
        self._earlier = 0
        if values is not None:
            with self._pace.move():
                self._device.restore_state(values)

    def _go_on_from(self, digest: int) -> None:
        self._earlier = digest
        if not self._fresh:
            self._device.clear_digest()

    def _values(self) -> np.ndarray:
        if self._untouched:
            return np.zeros(self.shape, np.int32)
        with self._pace.move():
            return self._device.save_state(slot=self._slot)

    def _together(self, works: list[Work]) -> list[Pass]:
        with self._pace.step():
            return super()._together(works)

    def _feed(self, tokens) -> list[Pass]:
        return [as_pass(result) for result in self._play(tokens, 0)]

    def _step(self, token: int) -> Pass:
        (result,) = self._run(token, 1, True)
        return result

    def _run(self, token: int, count: int, candidates: bool,
             enough: Callable[[], bool] | None = None) -> Iterator[Pass]:
        for result in self._play([token], count, candidates=candidates, enough=enough):
            yield as_pass(result)

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = np.empty((len(tokens), self.vocab), np.float32)
        for row, result in zip(rows, self._play(tokens, 1, heads=True, logits=True), strict=True):
            row[:] = result.logits * result.scale
        return rows, result.digest

    def _stage_digests(self, tokens, head: bool) -> list[int]:
        stages = self.image.stages if head else self.image.body_stages
        self._partial(tokens, stages)
        return [record.digest for record in self._device.records(stages)]

    def _stage_vector(self, tokens, stage: int) -> np.ndarray:
        header = self.image.sections[stage].header
        if header.op is Op.HEAD:
            return self._partial(tokens, stage + 1, logits=True).logits
        self._partial(tokens, stage + 1)
        name = "z" if header.op in (Op.MLGRU, Op.GLU) else "x"
        return self._device.read_vector(name, header.rows)

    def profile(self, tokens: Sequence[int]) -> list[StageRecord]:
        """Take tokens afresh, and return what each stage of the last pass took."""
        tokens = checked_tokens(tokens, self.vocab)
        with self._afresh():
            self._partial(tokens, self.image.stages)
            return self._device.records()

    def activity(self) -> list[StageActivity] | None:
        """Return what the blocks did in the latest pass, see `Transport.activity`."""
        return self._device.activity()

    @property
    def identity(self) -> Identity:
        """What the device says that it is."""
        return self._device.identity

    def latest_records(self) -> list[StageRecord]:
        """Return what each stage took when it was last played; none before the first pass."""
        with self._claimed():
            return self._device.records() if self.cycles else []

    def _release(self) -> None:
        self._device.close()

    def _partial(self, tokens, stages: int, *, logits: bool = False) -> PassResult:
        """Take tokens, of the last only the first stages."""
        *before, last = tokens
        if before:
            for _ in self._play(before, 0):
                pass
        run = dataclasses.replace(
            self._device.play_of(last), stages=stages,
            tape_units=self._device.layout.units_before(stages),
            flags=RunFlag(RunFlag.LOGITS * logits | RunFlag.FRESH * self._fresh))
        (result,) = self._counted(self._device.play([run]))
        return result

    def _play(self, tokens, count: int, **options) -> Iterator[PassResult]:
        for result in self._counted(self._device.run(tokens, count, fresh=self._fresh, **options)):
            if self._earlier:
                self._earlier = self._shifts[bool(result.candidates)](self._earlier)
                result = dataclasses.replace(result, digest=self._earlier ^ result.digest)
            yield result

    def _counted(self, results) -> Iterator[PassResult]:
        for result in results:
            self._fresh = False
            self.cycles += result.cycles
            self.stalls += result.stalls
            yield result

    @functools.cached_property
    def _shifts(self) -> dict[bool, Shift]:
        """What moves a digest on by the vectors of a pass, with and without the head."""
        rows = [section.header.rows for section in self.image.sections]
        return {True: Shift(sum(rows)), False: Shift(sum(rows[:-1]))}


def as_pass(result: PassResult) -> Pass:
    """Return what the answer to a pass is to whoever asked for it."""
    best = None
    if result.candidates:
        tokens, sums = zip(*result.candidates, strict=True)
        best = Candidates(tokens, tuple(acc * result.scale for acc in sums))
    return Pass(best, result.digest)
