"""cocotb agents for Amaranth streams, whose ports are ``<name>__payload/valid/ready``.

A payload comes as a non-negative integer, the bits of the port; `as_signed` reads it as a signed
one, and a negative one may be sent. For a struct, the gateware's own layout packs and unpacks:
``layout.const({...}).as_bits()``, ``layout.from_bits(value)``; an array of bytes is
``int.from_bytes(data, "little")``.

The agents do as little as possible in a cycle: they read what they need, and write only what
changes.
"""

import collections
import random
from collections.abc import Callable, Iterable

import cocotb
from cocotb.clock import Clock
from cocotb.handle import LogicArrayObject
from cocotb.triggers import ClockCycles, Event, RisingEdge, SimTimeoutError, with_timeout
from cocotb.utils import get_sim_time

__all__ = ["PERIOD", "Monitor", "Sink", "Source", "as_signed", "reset", "stall", "start_clock"]

PERIOD = 10
"""Nanoseconds per clock cycle."""


def start_clock(dut):
    """Let the clock of `dut` run, with its reset inactive."""
    dut.rst.value = 0
    Clock(dut.clk, PERIOD, unit="ns").start(start_high=False)


async def reset(dut, cycles: int = 2):
    """Hold `dut` in reset for some cycles."""
    dut.rst.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.rst.value = 0


def stall(probability: float) -> Callable[[], bool] | None:
    """Pause in each cycle with this probability, from the seed of the run."""
    return (lambda: random.random() < probability) if probability else None


def as_signed(value: int, bits: int) -> int:
    """Read the low `bits` bits of `value` as two's complement."""
    half = 1 << (bits - 1)
    return ((value + half) & ((1 << bits) - 1)) - half


def _encoder(handle) -> Callable[[int], int]:
    """Return the function that makes of a payload what cocotb accepts for this port."""
    if not isinstance(handle, LogicArrayObject):
        return lambda value: value
    modulus = 1 << len(handle)      # what does not fit is left alone, for cocotb to refuse
    if handle.is_signed:
        return lambda value: value if value < modulus >> 1 else value - modulus
    return lambda value: value if value >= 0 else value + modulus


class _Agent:
    """A task `_run` at one stream. It starts at once."""

    def __init__(self, dut, name: str):
        self.name = name
        self.edge = RisingEdge(dut.clk)
        self.payload, self.valid, self.ready = (
            dut[f"{name}__{member}"] for member in ("payload", "valid", "ready"))
        self._task = cocotb.start_soon(self._run())


class Source(_Agent):
    """Drives a stream input. An offer stands until it is taken or `clear` is called.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the stream.
    stall : callable, optional
        Asked before a payload is offered, in each cycle until it says False. May be replaced at any
        time.
    """

    def __init__(self, dut, name: str, *, stall: Callable[[], bool] | None = None):
        self.stall = stall
        self.pending = collections.deque()
        self._filled, self._drained = Event(), Event()
        self._encode = _encoder(dut[f"{name}__payload"])
        super().__init__(dut, name)

    def send(self, payloads: Iterable[int]):
        """Queue payloads, behind those not yet taken."""
        self.pending.extend(payloads)
        if self.pending:
            self._drained.clear()
            self._filled.set()

    async def sent(self):
        """Wait until everything queued has been taken."""
        if self.pending:
            await self._drained.wait()

    def clear(self):
        """Forget what is queued and withdraw the offer, as a neighbour under reset would."""
        self._task.cancel()
        self.pending.clear()
        self._drained.set()
        self._task = cocotb.start_soon(self._run())

    async def _run(self):
        edge, pending, ready, encode = self.edge, self.pending, self.ready, self._encode
        self.valid.value = offered = 0
        while True:
            if not pending or (self.stall and self.stall()):
                if offered:
                    self.valid.value = offered = 0
                if pending:
                    await edge
                    continue
                self._drained.set()
                self._filled.clear()
                await self._filled.wait()
                continue
            self.payload.value = encode(pending[0])
            if not offered:
                self.valid.value = offered = 1
            await edge
            while not ready.value:
                await edge
            pending.popleft()


class Sink(_Agent):
    """Takes a stream output into `taken`.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the stream.
    stall : callable, optional
        Asked in each cycle whether to pause. May be replaced at any time.
    """

    def __init__(self, dut, name: str, *, stall: Callable[[], bool] | None = None):
        self.stall = stall
        self.taken = collections.deque()
        self._wanted, self._enough = 0, Event()
        super().__init__(dut, name)

    async def take(self, count: int, *, patience: int = 10_000) -> list[int]:
        """Return the next `count` payloads; fail if none comes for `patience` cycles."""
        while (before := len(self.taken)) < count:
            self._wanted = count
            self._enough.clear()
            try:
                await with_timeout(self._enough.wait(), patience * PERIOD, "ns")
            except SimTimeoutError:
                assert len(self.taken) > before, (
                    f"{self.name}: {before} of {count} payloads, then none for {patience} cycles")
        return [self.taken.popleft() for _ in range(count)]

    async def nothing_more(self, cycles: int = 20):
        """Fail if anything surplus has come, or comes within these cycles."""
        for _ in range(cycles):
            await self.edge
        surplus = list(self.taken)
        assert not surplus, f"{self.name}: {len(surplus)} surplus payloads, first {surplus[0]:#x}"

    def clear(self):
        """Forget what has been taken."""
        self.taken.clear()

    async def _run(self):
        edge, taken, valid, ready = self.edge, self.taken, self.valid, self.ready
        ready.value = accepting = 0
        while True:
            accept = not (self.stall and self.stall())
            if accept != accepting:
                ready.value = accepting = accept
            await edge
            if accepting and valid.value:
                taken.append(int(self.payload.value))
                if len(taken) == self._wanted:
                    self._enough.set()


class Monitor(_Agent):
    """Watches a stream that others drive, and fails the test when an offer is not kept.

    ``payloads`` has everything transferred, ``cycles`` the number of the clock cycle of each.
    """

    def __init__(self, dut, name: str):
        self.rst = dut.rst
        self.payloads, self.cycles = [], []
        super().__init__(dut, name)

    async def _run(self):
        edge, valid, ready = self.edge, self.valid, self.ready
        offer = None            # the payload that was offered and not taken
        while True:
            await edge
            if self.rst.value:
                offer = None
            elif valid.value:
                payload = int(self.payload.value)
                assert offer in (None, payload), f"{self.name}: {offer:#x} became {payload:#x}"
                offer = payload
                if ready.value:
                    self.payloads.append(payload)
                    self.cycles.append(int(get_sim_time("ns")) // PERIOD)
                    offer = None
            else:
                assert offer is None, f"{self.name}: {offer:#x} was withdrawn"
