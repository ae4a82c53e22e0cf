"""The micro machine, instruction by instruction: what its gates are held to, and a driver's device.

It runs half a million instructions per second, two seconds a token of `tiny`.
"""

import sys
import zlib

from tritstream.build import BuildConfig
from tritstream.image.trits import DECODE
from tritstream.transport import Transport
from tritstream_hw.micro.compiler import Program
from tritstream_hw.micro.core import BYTE
from tritstream_hw.micro.device import program_of
from tritstream_hw.micro.isa import (
    ACTIVATIONS,
    DATA_BYTES,
    RECEIVED_BYTES,
    Jump,
    Op,
    Place,
    Region,
    Width,
)
from tritstream_hw.micro.multiplier import CYCLES

__all__ = ["MicroSimulator", "MicroTransport"]

_ONES = (1 << 32) - 1
_RING = RECEIVED_BYTES - 1
_TRITS = [[int(trit) for trit in trits] for trits in DECODE]
_TURN = 50                  # instructions, between two of which a byte may come
_OUTSIDE = 4095             # an address where no function is
_PROGRAM = "tritstream_hw.micro.program"


def _signed(value: int, bits: int = 32) -> int:
    return value - (1 << bits) if value >> bits - 1 & 1 else value


class MicroSimulator:
    """A machine with its memories, and bytes that come and go.

    Parameters
    ----------
    program : Program
        What it runs.

    Attributes
    ----------
    data : bytearray
        The large memory.
    slots : list of int
        Unsigned.
    sent : bytearray
        What has been sent.
    cycles : int
        That have passed, but for those in which the UART's bytes are waited for.
    """

    def __init__(self, program: Program):
        self.program = program
        self._words = list(program.words)
        self.slots = list(program.slots)
        self.data = bytearray(DATA_BYTES)
        self.activations = bytearray(ACTIVATIONS)
        self.sums = [0] * 5
        self.sent, self._ring, self._arrived = bytearray(), bytearray(_RING + 1), 0
        self.counter = self.a = self.h = self.carry = self.less = 0
        self.cycles = 0

    def receive(self, data: bytes) -> None:
        """Let bytes come."""
        for byte in data:
            self._ring[self._arrived] = byte
            self._arrived = self._arrived + 1 & _RING

    def value(self, name: str) -> int:
        """Return a variable, signed."""
        return _signed(self.slots[self.program.places[name]])

    def set(self, name: str, value: int) -> None:
        """Give a variable, or an argument, a value."""
        self.slots[self.program.places[name]] = value & _ONES

    def call(self, name: str, *arguments: int) -> int:
        """Let a function run to its end, and return what it returns, signed."""
        code = getattr(sys.modules[f"{_PROGRAM}.{name.partition('.')[0]}"],
                       name.partition(".")[2]).__code__
        for argument, value in zip(code.co_varnames, arguments, strict=False):
            self.set(f"{name}.{argument}", value)
        self.counter, self.a = self.program.functions[name], _OUTSIDE
        while self.counter != _OUTSIDE:
            self.step()
        return _signed(self.a)

    def run(self, count: int) -> None:
        """Carry out so many instructions."""
        for _ in range(count):
            self.step()

    def step(self) -> None:
        """Carry out one instruction."""
        word = self._words[self.counter]
        following = self.counter + 1
        if word >> 15:
            self.cycles += 1
            kind, a = word >> 12 & 7, self.a
            if (kind < 2 or kind == 2 and a == 0 or kind == 3 and a or kind == 4 and self.less
                    or kind == 5 and not self.less or kind == 6 and self.carry
                    or kind == 7 and not self.carry):
                if kind == Jump.CALL:
                    self.a = following
                following = word & 4095
            self.counter = following
            return
        op, slot = word >> 9, word & 511
        x = self.slots[slot]
        self.cycles += 2
        self.counter = following
        if op & Op.MEMORY:
            self._memory(op, slot, x)
        elif op == Op.LOAD:
            self.a = x
        elif op == Op.STORE:
            self.slots[slot] = self.a
        elif op == Op.ADD:
            total = self.a + x
            self.a, self.carry = total & _ONES, total >> 32
        elif op == Op.SUB:
            before = self.a
            total = before - x
            self.a, self.carry = total & _ONES, total >= 0
            self.less = _signed(before) < _signed(x)
        else:
            self._other(op, x)

    def _other(self, op: int, x: int) -> None:
        if op == Op.ADD_CARRY:
            total = self.a + x + self.carry
            self.a, self.carry = total & _ONES, total >> 32
        elif op == Op.AND:
            self.a &= x
        elif op == Op.OR:
            self.a |= x
        elif op == Op.XOR:
            self.a ^= x
        elif op == Op.CRC:
            self.a = zlib.crc32(bytes([x & 255]), self.a)
        elif op == Op.HIGH:
            self.a = self.h
        elif op == Op.SET_HIGH:
            self.h = x
        elif op == Op.RETURN:
            self.counter = x & 4095
        elif op == Op.MULTIPLY:
            self._set_pair(_signed(self.a) * _signed(x))
            self.cycles += CYCLES
        elif op == Op.DOT:
            self._dot(x)
        else:
            self._shift(op, x & 63)

    def _set_pair(self, value: int) -> None:
        self.a, self.h = value & _ONES, value >> 32 & _ONES

    def _shift(self, op: int, places: int) -> None:
        self.cycles += 1 + places // BYTE + places % BYTE
        self.carry = 0
        if not places:
            return
        pair = self.h << 32 | self.a
        if op == Op.LEFT:
            self.carry = pair >> 64 - places & 1
            self._set_pair(pair << places)
        elif op == Op.RIGHT_PAIR:
            pair = _signed(pair, 64)
            self.carry = pair >> places - 1 & 1
            self._set_pair(pair >> places)
        else:
            value = _signed(self.a) if op == Op.RIGHT_SIGNED else self.a
            self.carry = value >> places - 1 & 1
            self.a = value >> places & _ONES

    def _dot(self, x: int) -> None:
        columns, first = self.a & 511, self.h & 511
        self.cycles += columns + 1
        sums = [0] * 5
        for column in range(columns):
            activation = self.activations[first | column]
            activation -= (activation & 128) << 1
            for n, trit in enumerate(_TRITS[self.data[x + column & DATA_BYTES - 1]]):
                sums[n] += trit * activation
        self.sums = sums

    def _memory(self, op: int, slot: int, x: int) -> None:
        width = Width(op & 3)
        if op & 8:
            self.slots[slot] = x + width.size & _ONES
        region = x >> 17 & 7
        if op & 16:
            self._write(region, x, width)
            self.cycles += width == Width.WORD
            return
        self.cycles += 2 if width == Width.WORD else 1
        if region == Region.DATA:
            place = x & DATA_BYTES - 1
            place -= place % width.size
            value = int.from_bytes(self.data[place:place + width.size], "little")
        elif region == Region.PROGRAM:
            value = self._words[(x & 8191) >> 1]
        elif region == Region.RECEIVED:
            value = self._ring[x & _RING]
        else:
            value = self._device(x)
        self.a = _signed(value, 16) & _ONES if width == Width.HALF_SIGNED else value

    def _device(self, x: int) -> int:
        if x == Place.RECEIVED:
            return self._arrived
        if x == Place.CLOCK:
            return self.cycles & _ONES
        if x == Place.SENDING:
            return 0
        return self.sums[(x & 15) >> 1] & 0xFFFF

    def _write(self, region: int, x: int, width: Width) -> None:
        if region == Region.DATA:
            place = x & DATA_BYTES - 1
            place -= place % width.size
            self.data[place:place + width.size] = (
                self.a & (1 << 8 * width.size) - 1).to_bytes(width.size, "little")
        elif region == Region.ACTIVATIONS:
            self.activations[x & ACTIVATIONS - 1] = self.a & 255
        elif region == Region.DEVICES:
            self.sent.append(self.a & 255)


class MicroTransport(Transport):
    """A driver's cable to a machine that runs the program of a build; its time is the machine's.

    Parameters
    ----------
    config : BuildConfig
        Whose identity is that of its configuration.

    Attributes
    ----------
    machine : MicroSimulator
        At the other end.
    """

    name = "micro simulator"
    retry_seconds = 0.5

    def __init__(self, config: BuildConfig):
        self.rate = config.link_rate
        self.machine = MicroSimulator(program_of(config, config.digest()))
        self._hz, self._byte_cycles = config.clock_hz, config.clock_hz // config.link_rate
        self._waiting, self._due = bytearray(), 0

    def now(self) -> float:
        return self.machine.cycles / self._hz

    def nonce(self) -> int:
        return 77

    def write(self, data: bytes) -> None:
        self._waiting += data

    def close(self) -> None:
        pass

    def read(self, timeout: float) -> bytes:
        machine = self.machine
        end = machine.cycles + timeout * self._hz
        while not machine.sent and machine.cycles <= end:
            machine.run(_TURN)
            if self._waiting and machine.cycles >= self._due:
                machine.receive(self._waiting[:1])
                del self._waiting[:1]
                self._due = machine.cycles + self._byte_cycles
        data = bytes(machine.sent)
        machine.sent.clear()
        return data
