"""Several models, of which one is on the device at a time."""

import asyncio
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from tritstream.catalog import Model
from tritstream.engines.state import State
from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.model.tokenizer import Tokenizer
from tritstream.runtime.language_model import LanguageModel
from tritstream.runtime.scheduler import ACTIVE, Scheduler
from tritstream.server.errors import Refused

__all__ = ["Residence", "Resident", "Served", "Use"]

MOST_WAITING = 256          # requests that wait for another model


@dataclasses.dataclass(frozen=True)
class Served:
    """A model, and what is known of it while it is not on the device.

    Parameters
    ----------
    name : str
        What clients call it.
    source : Model
        Its image, checkpoint and chat template.
    tokenizer : Tokenizer or None
        Its tokenizer.
    model, kind, shape, vocab, device
        What its conversations are like, see `State.check`.
    """

    name: str
    source: Model
    tokenizer: Tokenizer | None
    model: str
    kind: str
    shape: tuple[int, int]
    vocab: int
    device: str

    @classmethod
    def of(cls, opened: LanguageModel) -> "Served":
        """Return what has to be known of a model that is open."""
        source, engine = opened.source, opened.engine
        return cls(source.name, source, source.tokenizer_if_any, engine.model, engine.kind,
                   engine.shape, engine.vocab, engine.name)

    @property
    def beginning(self) -> State:
        """Where a conversation begins."""
        return State.beginning(self.model, self.kind, self.shape)


class Resident:
    """The model that is on the device, and who uses it.

    Parameters
    ----------
    served : Served
        Which one.
    model : LanguageModel
        Open on the device.
    active : int
        Texts that take turns.
    """

    def __init__(self, served: Served, model: LanguageModel, active: int):
        self.served = served
        self.model = model
        self.scheduler = Scheduler(model.engine, reopen=model.reopen, active=active)
        self._changed = threading.Condition()
        self._users = 0
        self._leaving = False

    def enter(self) -> None:
        """Keep it on the device until `leave`, which any thread may call."""
        with self._changed:
            self._users += 1

    def leave(self) -> None:
        """Let others have the device, as far as this user is concerned."""
        with self._changed:
            self._users -= 1
            self._changed.notify_all()

    def wait(self) -> None:
        """Wait until nobody uses it, or it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._users or self._leaving)

    def close(self) -> None:
        """End all texts."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
        self.scheduler.close()


@dataclasses.dataclass(frozen=True)
class Use:
    """The right to begin texts.

    Parameters
    ----------
    resident : Resident
        The model that was asked for.
    load_seconds : float or None
        How long it took to put it on the device; None: it was there.
    """

    resident: Resident
    load_seconds: float | None = None


class Residence:
    """Puts the model on the device that a request asks for.

    The device goes to requests in their order: one for another model waits until the texts before
    it have ended, and those that come behind it wait for it. Every model is opened once in the
    beginning, so that one that does not fit is told before anybody asks for it.

    Parameters
    ----------
    models : sequence of Model
        The first is there in the beginning, and is meant where none is named.
    opener : callable
        Called with a model; returns a context manager that has it open on the device.
    active : int
        Texts that take turns.
    announce : callable
        Called with a sentence when a device is prepared, or another model is on it.

    Raises
    ------
    BadInput
        Two models have one name, or one does not fit the device.
    DeviceError
        The device is absent, or not what it should be.
    """

    def __init__(self, models: Sequence[Model],
                 opener: Callable[[Model], AbstractContextManager[LanguageModel]], *,
                 active: int = ACTIVE, announce: Callable[[str], None] = lambda sentence: None):
        self._opener = opener
        self._active = active
        self._announce = announce
        self._door = asyncio.Lock()         # taken in the order in which requests come
        self._queued = 0
        self._moving = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._closed = False
        self.resident: Resident | None = None
        self.loading: str | None = None
        found = {model.name: model for model in models}
        if len(found) < len(models):
            raise BadInput("A model is given twice: give each once.")
        self.served: dict[str, Served] = {}
        try:
            for model in reversed(models):
                self._leave()
                self._enter(model)
                self._prepare()
        except BaseException:
            self._stack.close()
            raise
        self.served = {name: self.served[name] for name in found}

    @property
    def here(self) -> Resident:
        """The model that is on the device; `DeviceError` if there is none."""
        resident = self.resident
        if resident is None:
            what = f"{self.loading} is being loaded" if self.loading else "No model is loaded"
            raise DeviceError(f"{what}: try again later.")
        return resident

    @property
    def waiting(self) -> int:
        """How many requests wait for another model."""
        return self._queued

    def find(self, name: str | None) -> Served:
        """Return the model of a name, or the first; `Refused` if there is none."""
        if name is None:
            return next(iter(self.served.values()))
        if name not in self.served:
            raise Refused(404, f"There is no model {name[:100]!r} here, only "
                          f"{', '.join(self.served)}.", "model")
        return self.served[name]

    @contextlib.asynccontextmanager
    async def use(self, served: Served):
        """Have a model on the device, as long as this takes; `Use`.

        Raises
        ------
        DeviceBusy
            As many requests wait for the device as may.
        DeviceError
            The device fails.
        """
        if self._queued >= MOST_WAITING:
            raise DeviceBusy(f"{self._queued} requests wait for another model already: try again "
                             "later.")
        self._queued += 1
        try:
            async with self._door:
                seconds = None
                if self.resident is None or self.resident.served is not served:
                    seconds = await asyncio.to_thread(self._move, served)
                use = Use(self.here, seconds)
                use.resident.enter()
        finally:
            self._queued -= 1
        try:
            yield use
        finally:
            use.resident.leave()

    def close(self) -> None:
        """End all texts, and leave the device."""
        self._closed = True
        resident = self.resident
        if resident is not None:
            resident.close()
        with self._moving:
            self._leave()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # In a thread of its own.

    def _move(self, served: Served) -> float:
        """Put another model on the device once nobody uses the one that is there."""
        with self._moving:
            before = self.resident
            if before is not None:
                before.wait()
            if self._closed:
                raise DeviceBusy("The server ends.")
            self.loading = served.name
            began = time.perf_counter()
            try:
                self._leave()
                self._enter(served.source)
            finally:
                self.loading = None
            seconds = time.perf_counter() - began
            place = f" in the place of {before.served.name}" if before else ""
            self._announce(f"{served.name} is on {served.device}{place}, loaded in {seconds:.1f} s")
            return seconds

    def _prepare(self) -> None:
        """Let no request wait for what a device makes when it first has so many texts."""
        resident = self.resident
        counts = resident.scheduler.engine.prepares
        if not counts:
            return
        served = resident.served
        self._announce(f"{served.device} is being prepared for {served.name}, and up to "
                       f"{max(counts)} texts in a pass")
        began = time.perf_counter()
        for count in counts:
            resident.scheduler.between(lambda engine, count=count: engine.prepare(count)).result()
        self._announce(f"that took {time.perf_counter() - began:.1f} s")

    def _leave(self) -> None:
        resident, self.resident = self.resident, None
        if resident is not None:
            resident.close()
        self._stack.close()

    def _enter(self, model: Model) -> None:
        opened = self._stack.enter_context(self._opener(model))
        served = self.served.setdefault(model.name, Served.of(opened))
        self.resident = Resident(served, opened, self._active)
