"""cocotb agents for Amaranth streams, whose ports are ``<name>__payload/valid/ready``.

Payloads have types, see `tritstream_sim.agents.payload`. What is not offered means nothing: a
source drives noise beside a low `valid`.

A reset ends everything. While it lasts a source offers nothing, and forgets what is queued; a sink
takes nothing, and forgets what it has taken; so does a monitor.

The agents do as little as possible in a cycle: they read what they need, write only what changes,
pack and unpack outside, and sleep while the other side of the stream does nothing.
"""

import abc
import collections
import random
from collections.abc import Callable, Iterable

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import (
    ClockCycles,
    Event,
    FallingEdge,
    RisingEdge,
    SimTimeoutError,
    with_timeout,
)
from cocotb.utils import get_sim_time

from tritstream_sim.agents.payload import encoder, packer, unpacker

__all__ = [
    "PAUSES",
    "PERIOD",
    "SOURCE_PAUSES",
    "Monitor",
    "Sink",
    "Source",
    "reset",
    "stall",
    "start_clock",
]

PERIOD = 10
"""Nanoseconds per clock cycle."""

PAUSES = [(0.0, 0.0, 1), (0.5, 0.0, 1), (0.0, 0.7, 1), (0.5, 0.7, 1), (0.5, 0.7, 16)]
"""What a test of streams goes through: the shares of the cycles in which a source and a sink pause,
and how long on average, see `stall`."""

SOURCE_PAUSES = [(0.0, 1), (0.5, 1), (0.5, 16)]
"""The same where only a source may pause."""


def start_clock(dut):
    """Let the clock of `dut` run, with its reset inactive, and hold its streams to their contract.

    The test fails when an offer of any stream is withdrawn or changed before it is taken.
    """
    dut.rst.value = 0
    Clock(dut.clk, PERIOD, unit="ns").start(start_high=False)
    cocotb.start_soon(_watch(dut))


async def _watch(dut):
    await RisingEdge(dut.offer_broken)
    streams = [handle._name.removesuffix("__broken") for handle in dut
               if handle._name.endswith("__broken") and handle.value]
    raise AssertionError(f"{', '.join(streams)}: an offer was withdrawn or changed")


async def reset(dut, cycles: int = 2):
    """Hold `dut` in reset for some cycles."""
    dut.rst.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.rst.value = 0


def stall(share: float, burst: float = 1) -> Callable[[], bool] | None:
    """Pause in this share of the cycles, from the seed of the run.

    Parameters
    ----------
    share : float
        From 0, never, to less than 1.
    burst : float
        Cycles of a pause on average, which are as if drawn with a coin; 1: each cycle for itself.
    """
    if not share:
        return None
    if burst == 1:
        return lambda: random.random() < share
    stays, begins = 1 - 1 / burst, min(1, share / (1 - share) / burst)
    paused = False

    def pause() -> bool:
        nonlocal paused
        paused = random.random() < (stays if paused else begins)
        return paused

    return pause


class _Agent(abc.ABC):
    """A task `_run` at one stream, from now on and again after each reset."""

    def __init__(self, dut, name: str, shape):
        self.name = name
        self.edge = RisingEdge(dut.clk)
        self.payload, self.valid, self.ready = (
            dut[f"{name}__{member}"] for member in ("payload", "valid", "ready"))
        self._unpack = unpacker(shape)
        self._task = cocotb.start_soon(self._run())
        cocotb.start_soon(self._forget_at_reset(dut.rst))

    async def _forget_at_reset(self, rst):
        rises, falls = RisingEdge(rst), FallingEdge(rst)
        while True:
            await rises
            self._task.cancel()
            self._rest()
            await falls
            self._task = cocotb.start_soon(self._run())

    @abc.abstractmethod
    def _rest(self):
        """Forget everything, and do nothing at the ports."""

    @abc.abstractmethod
    async def _run(self):
        """Do what the agent does, in every cycle until a reset."""


class Source(_Agent):
    """Drives a stream input. An offer stands until it is taken, or a reset or `clear`.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the stream.
    shape : shape-like, optional
        Of the payload.
    stall : callable, optional
        Asked before a payload is offered, in each cycle until it says False. May be replaced at any
        time.
    """

    def __init__(self, dut, name: str, shape=None, *, stall: Callable[[], bool] | None = None):
        self.stall = stall
        self.pending = collections.deque()      # as they are driven
        self._filled, self._drained = Event(), Event()
        self._noise = random.Random(f"{name} {cocotb.RANDOM_SEED}")
        payload = dut[f"{name}__payload"]
        self._width = len(payload)
        self._pack, self._encode = packer(shape), encoder(payload)
        super().__init__(dut, name, shape)

    def send(self, payloads: Iterable):
        """Queue payloads, behind those not yet taken."""
        pack, encode = self._pack, self._encode
        self.pending.extend(encode(pack(payload)) for payload in payloads)
        if self.pending:
            self._drained.clear()
            self._filled.set()

    async def sent(self):
        """Wait until everything queued has been taken."""
        if self.pending:
            await self._drained.wait()

    def clear(self):
        """Forget what is queued and withdraw the offer, which a neighbour may not do."""
        self._task.cancel()
        self._rest()
        self._task = cocotb.start_soon(self._run())

    def _rest(self):
        self.pending.clear()
        self._drained.set()
        self._withdraw()

    def _withdraw(self):
        self.valid.value = 0
        self.payload.value = self._encode(self._noise.getrandbits(self._width))

    async def _run(self):
        edge, pending, ready = self.edge, self.pending, self.ready
        asked = RisingEdge(ready)
        self._withdraw()
        offered = False
        while True:
            if not pending or (self.stall and self.stall()):
                if offered:
                    self._withdraw()
                    offered = False
                if pending:
                    await edge
                    continue
                self._drained.set()
                self._filled.clear()
                await self._filled.wait()
                continue
            self.payload.value = pending[0]
            if not offered:
                self.valid.value = offered = 1
            await edge
            while not ready.value:
                await asked
                await edge
            pending.popleft()


class Sink(_Agent):
    """Takes a stream output into `taken`.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the stream.
    shape : shape-like, optional
        Of the payload.
    stall : callable, optional
        Asked in each cycle with an offer whether to pause. May be replaced at any time.
    """

    def __init__(self, dut, name: str, shape=None, *, stall: Callable[[], bool] | None = None):
        self.stall = stall
        self.taken = collections.deque()        # as bits
        self._wanted, self._enough = 0, Event()
        super().__init__(dut, name, shape)

    async def take(self, count: int, *, patience: int = 10_000) -> list:
        """Return the next `count` payloads; fail if none comes for `patience` cycles."""
        while (before := len(self.taken)) < count:
            self._wanted = count
            self._enough.clear()
            try:
                await with_timeout(self._enough.wait(), patience * PERIOD, "ns")
            except SimTimeoutError:
                assert len(self.taken) > before, (
                    f"{self.name}: {before} of {count} payloads, then none for {patience} cycles")
        return [self._unpack(self.taken.popleft()) for _ in range(count)]

    async def nothing_more(self, cycles: int = 20):
        """Fail if anything surplus has come, or comes within these cycles."""
        for _ in range(cycles):
            await self.edge
        surplus = list(self.taken)
        assert not surplus, f"{self.name}: {len(surplus)} surplus payloads, first {surplus[0]:#x}"

    def _rest(self):
        self.taken.clear()
        self.ready.value = 0

    async def _run(self):
        edge, taken, valid, ready = self.edge, self.taken, self.valid, self.ready
        offered = RisingEdge(valid)
        ready.value = accepting = not (self.stall and self.stall())
        while True:
            if not valid.value:
                await offered
            accept = not (self.stall and self.stall())
            if accept != accepting:
                ready.value = accepting = accept
            await edge
            if accepting and valid.value:
                taken.append(int(self.payload.value))
                if len(taken) == self._wanted:
                    self._enough.set()


class Monitor(_Agent):
    """Watches a stream that others drive.

    ``cycles`` has the number of the clock cycle of each transfer since the reset.
    """

    def __init__(self, dut, name: str, shape=None):
        self._taken, self.cycles = [], []
        super().__init__(dut, name, shape)

    @property
    def payloads(self) -> list:
        """Everything transferred since the reset."""
        return [self._unpack(bits) for bits in self._taken]

    def _rest(self):
        self._taken.clear()
        self.cycles.clear()

    async def _run(self):
        edge, valid, ready = self.edge, self.valid, self.ready
        offered = RisingEdge(valid)
        while True:
            if not valid.value:
                await offered
            await edge
            if valid.value and ready.value:
                self._taken.append(int(self.payload.value))
                self.cycles.append(int(get_sim_time("ns")) // PERIOD)
