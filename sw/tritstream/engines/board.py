"""A board, real or simulated, behind the driver."""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from tritstream.driver import Device
from tritstream.engines.base import Engine, Pass
from tritstream.image.image import Image
from tritstream.image.tape import Op
from tritstream.link.messages import PassResult
from tritstream.link.protocol import RunFlag
from tritstream.runtime.sampling import Candidates

__all__ = ["DeviceEngine"]


class DeviceEngine(Engine):
    """`tritstream.driver` with one image in it.

    Parameters
    ----------
    device : Device
        Opened; it is closed with the engine.
    image : Image
        Packed model; it is uploaded if the device's memory holds it, otherwise streamed.
    simulated : bool
        Whether time is told by the accelerator's cycles rather than by this computer's clock.
    progress : callable or None
        Called with bytes done and bytes in all during an upload.
    """

    piece = 16                          # a second or two of simulation

    def __init__(self, device: Device, image: Image, *, simulated: bool, progress=None):
        self.name = device.name
        self.image = image
        self.vocab = image.vocab
        self.stop_token = image.stop_token
        self.kept = device.identity.candidates
        self.clock_hz = device.identity.clock_hz
        self.cycles = self.stalls = 0
        self.evidence = "simulated" if simulated else "measured"
        self._device = device
        device.load(image, progress=progress)
        self.start()

    @property
    def seconds(self) -> float:
        if self.evidence == "simulated":
            return self.cycles / self.clock_hz
        return time.perf_counter()

    @property
    def digest(self) -> int:
        return self._digest

    def start(self) -> None:
        self._digest = 0
        self._fresh = True          # the next pass finds no state

    def feed(self, tokens) -> list[Pass]:
        tokens = self._check(tokens)
        return [_pass(result) for result in self._play(tokens, 0)] if tokens else []

    def step(self, token: int) -> Pass:
        (result,) = self._play(self._check([token]), 1)
        return _pass(result)

    def run(self, token: int, count: int) -> Iterator[Pass]:
        for result in self._play(self._check([token]), count):
            yield _pass(result)

    def logits(self, tokens) -> np.ndarray:
        tokens = self._check(tokens)
        rows = np.empty((len(tokens), self.vocab), np.float32)
        if tokens:
            for row, result in zip(rows, self._play(tokens, 1, heads=True, logits=True),
                                   strict=True):
                row[:] = result.logits * result.scale
        return rows

    def save_state(self) -> np.ndarray:
        if self._fresh:
            return np.zeros((self.image.layers, self.image.hidden), np.int32)
        return self._device.save_state()

    def restore_state(self, state: np.ndarray) -> None:
        if self._fresh:
            self._device.stop()     # makes the digest zero, as `start` promised
        self._device.restore_state(state)
        self._fresh = False

    def stage_digests(self, tokens, *, head: bool) -> list[int]:
        self.start()
        *before, last = self._check(tokens)
        self.feed(before)
        stages = self.image.stages if head else self.image.body_stages
        self._partial(last, stages)
        return [record.digest for record in self._device.records(stages)]

    def stage_vector(self, tokens, stage: int) -> np.ndarray:
        self.start()
        *before, last = self._check(tokens)
        self.feed(before)
        header = self.image.sections[stage].header
        if header.op is Op.HEAD:
            return self._partial(last, stage + 1, logits=True).logits
        self._partial(last, stage + 1)
        name = "z" if header.op in (Op.MLGRU, Op.GLU) else "x"
        return self._device.read_vector(name, header.rows)

    def close(self) -> None:
        self._device.close()

    def _partial(self, token: int, stages: int, *, logits: bool = False) -> PassResult:
        """Play the first stages of one pass."""
        run = dataclasses.replace(
            self._device.play_of(token), tape_units=self.image.units_before(stages), stages=stages,
            flags=RunFlag(RunFlag.LOGITS * logits | RunFlag.FRESH * self._fresh))
        (result,) = self._counted(self._device.play([run]))
        return result

    def _play(self, tokens, count: int, **options) -> Iterator[PassResult]:
        return self._counted(self._device.run(tokens, count, fresh=self._fresh, **options))

    def _counted(self, results) -> Iterator[PassResult]:
        for result in results:
            self._fresh = False
            self._digest = result.digest
            self.cycles += result.cycles
            self.stalls += result.stalls
            yield result


def _pass(result: PassResult) -> Pass:
    best = None
    if result.candidates:
        tokens, sums = zip(*result.candidates, strict=True)
        best = Candidates(tokens, tuple(acc * result.scale for acc in sums))
    return Pass(best, result.digest)
