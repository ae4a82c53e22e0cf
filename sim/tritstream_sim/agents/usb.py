"""A USB host, from packets to a configured serial device."""

import collections
import enum
import struct

from tritstream.transport import Transport
from tritstream_sim.agents.usb_line import Line, State

__all__ = ["Fault", "NoAnswer", "Pid", "UsbHost", "UsbTransport"]

DATA_ENDPOINT = 4
ADDRESS = 23
MOST_NAKS = 10_000
IDLE_BITS = 200         # until a host that has nothing to say asks again
FRAME = 19              # transactions, at most, between two frames' beginnings


class Pid(enum.IntEnum):
    """Kinds of packets: their first bytes."""

    OUT = 0xE1
    IN = 0x69
    SOF = 0xA5
    SETUP = 0x2D
    DATA0 = 0xC3
    DATA1 = 0x4B
    ACK = 0xD2
    NAK = 0x5A
    STALL = 0x1E
    PING = 0xB4


class Fault(enum.Enum):
    """What befalls a transaction."""

    NONE = enum.auto()
    DAMAGED_TOKEN = enum.auto()     # on its way to the device, which may take what follows anyway
    DAMAGED_DATA = enum.auto()      # on its way to the device, or from it
    LOST_ACK = enum.auto()          # on its way to the host, or from it


class NoAnswer(AssertionError):
    """The device has not answered in time, or not what a host can understand."""


def crc(data: bytes, bits: int, polynomial: int, *, of: int | None = None) -> int:
    """Return a CRC of USB: of bytes, or of the lowest `of` bits, least significant first."""
    value = ones = (1 << bits) - 1
    for n in range(8 * len(data) if of is None else of):
        mixed = (value ^ (data[n // 8] >> n % 8)) & 1
        value = (value >> 1) ^ (polynomial if mixed else 0)
    return value ^ ones


def crc16(data: bytes) -> bytes:
    """Return the CRC of a packet's data."""
    return crc(data, 16, 0xA001).to_bytes(2, "little")


def token(pid: Pid, address: int, endpoint: int) -> bytes:
    """Return a token, or by the same bits the beginning of a frame."""
    number = address | endpoint << 7
    check = crc(number.to_bytes(2, "little"), 5, 0x14, of=11)
    return bytes([pid]) + (number | check << 11).to_bytes(2, "little")


def damaged(packet: bytes) -> bytes:
    """Return a packet one of whose bits is wrong."""
    return packet[:-1] + bytes([packet[-1] ^ 0x10])


class UsbHost:
    """A host with one device, which it takes from reset to a serial port.

    Parameters
    ----------
    line : Line
        To the device.
    speed : str
        ``full`` or ``high``.
    fault : callable or None
        Asked for each transaction of data what befalls it.

    Attributes
    ----------
    packet_bytes, clock_hz : int
        Most bytes of a packet; rate of the line's bits, or at high speed eights of them.
    turnarounds : list of int
        Bits, or eights of them, between a packet and its answer.
    seen : Counter
        Of what was answered, and what befell.
    """

    def __init__(self, line: Line, speed: str, fault=None):
        self._line = line
        self._fault = fault or (lambda: Fault.NONE)
        self._high = speed == "high"
        self._patience = 92 if self._high else 18
        self.packet_bytes = 512 if self._high else 64
        self.clock_hz = 60_000_000 if self._high else 12_000_000
        self.turnarounds, self.seen = [], collections.Counter()
        self._transactions = self._frame = 0

    def reset(self) -> None:
        """Reset the bus; at high speed, find out that the device is one for that."""
        self._address = 0
        self._toggles = {Pid.OUT: 0, Pid.IN: 0}
        self._pings = False
        if not self._high:
            assert self._line.hold(State.SE0, 1_000) is State.J, "the device pulls nothing up"
            self._line.hold(State.J, 20)
            return
        for _ in range(100):
            if self._line.hold(State.SE0, 6_000) is State.K:
                break
        else:
            raise NoAnswer("the device does not say that it is for high speed")
        for state in 4 * (State.K, State.J):
            self._line.hold(state, 3_000)
        self._line.hold(State.SE0, 6_000)

    def rest(self, bits: int) -> None:
        """Let time pass."""
        self._line.hold(State.SE0 if self._high else State.J, bits)

    def configure(self) -> tuple[bytes, bytes]:
        """Take the device from a reset to a serial port, and return its two descriptors."""
        device = self.read_control(0x80, 6, 0x0100, 0, 64)
        self.write_control(0x00, 5, ADDRESS)
        self._address = ADDRESS
        assert self.read_control(0x80, 6, 0x0100, 0, 18) == device
        head = self.read_control(0x80, 6, 0x0200, 0, 9)
        configuration = self.read_control(0x80, 6, 0x0200, 0, struct.unpack_from("<H", head, 2)[0])
        self.write_control(0x00, 9, configuration[5])
        self._toggles = {Pid.OUT: 0, Pid.IN: 0}
        self.write_control(0x21, 0x20, data=struct.pack("<IBBB", 3_000_000, 0, 0, 8))
        return device, configuration

    def string(self, number: int) -> str:
        """Return one of the device's strings."""
        return self.read_control(0x80, 6, 0x0300 | number, 0x0409, 255)[2:].decode("utf-16le")

    # Control transfers, which nothing befalls.

    def read_control(self, kind: int, request: int, value: int, index: int, size: int) -> bytes:
        """Ask for up to so many bytes."""
        self._setup(kind, request, value, index, size)
        data, toggle = b"", 1
        while len(data) < size:
            part = self._until(self._in, 0, toggle, Fault.NONE)
            data += part
            toggle ^= 1
            if len(part) < 64:
                break
        self._until(self._out, 0, 1, b"", Fault.NONE)
        return data

    def write_control(self, kind: int, request: int, value: int = 0, index: int = 0,
                      data: bytes = b"") -> None:
        """Make a request with up to 64 bytes."""
        self._setup(kind, request, value, index, len(data))
        if data:
            self._until(self._out, 0, 1, data, Fault.NONE)
        assert self._until(self._in, 0, 1, Fault.NONE) == b""

    def _setup(self, kind, request, value, index, size):
        self._begin(Pid.SETUP, 0)
        data = struct.pack("<BBHHH", kind, request, value, index, size)
        answer = self._say(bytes([Pid.DATA0]) + data + crc16(data))
        assert answer == bytes([Pid.ACK]), f"a SETUP is answered with {answer.hex()}"

    def _until(self, step, *arguments) -> bytes:
        """Return what a transaction brings, repeated until the device does not say NAK."""
        for _ in range(MOST_NAKS):
            if (found := step(*arguments)) is not None:
                return found
        raise NoAnswer("the device says NAK for ever")

    # Bulk transfers.

    def write(self, data: bytes) -> None:
        """Send bytes to the device, in packets as large as they may be."""
        while data:
            part = data[:self.packet_bytes]
            while not self.offer(part):
                pass
            data = data[len(part):]

    def offer(self, data: bytes) -> bool:
        """Offer a packet, as often as something befalls it; return whether the device took it."""
        if self._pings and self._retry(self._ping) is None:
            return False
        taken = self._retry(lambda fault: self._out(
            DATA_ENDPOINT, self._toggles[Pid.OUT], data, fault)) is not None
        self._pings = self._high and not taken
        if taken:
            self._toggles[Pid.OUT] ^= 1
        return taken

    def read(self) -> bytes | None:
        """Ask the device for a packet, as often as something befalls it; None: it has none."""
        return self._retry(lambda fault: self._in(DATA_ENDPOINT, None, fault))

    def _retry(self, step):
        for _ in range(1_000):          # faults may follow each other, unlike on a bus
            fault = self._fault()
            self.seen[fault] += 1
            try:
                return step(fault)
            except NoAnswer:
                if fault is Fault.NONE:
                    raise
        raise NoAnswer("something befalls every transaction")

    # Transactions: the answer, None for a NAK; `NoAnswer` where the host would try again.

    def _out(self, endpoint: int, toggle: int, data: bytes, fault: Fault) -> bytes | None:
        self._begin(Pid.OUT, endpoint, damage=fault is Fault.DAMAGED_TOKEN)
        packet = bytes([(Pid.DATA0, Pid.DATA1)[toggle]]) + data + crc16(data)
        answer = self._say(damaged(packet) if fault is Fault.DAMAGED_DATA else packet,
                           silent=fault is Fault.DAMAGED_DATA)
        if fault is Fault.LOST_ACK:
            raise NoAnswer("the answer to data is lost")
        return self._handshake(answer)

    def _ping(self, fault: Fault) -> bytes | None:
        damage = fault is not Fault.NONE
        return self._handshake(self._begin(Pid.PING, DATA_ENDPOINT, damage=damage, silent=damage))

    def _handshake(self, answer: bytes) -> bytes | None:
        pid = Pid(answer[0])
        self.seen[pid] += 1
        assert len(answer) == 1 and pid in (Pid.ACK, Pid.NAK), f"data is answered with {pid.name}"
        return None if pid is Pid.NAK else answer

    def _in(self, endpoint: int, toggle: int | None, fault: Fault) -> bytes | None:
        damage = fault is Fault.DAMAGED_TOKEN
        answer = self._begin(Pid.IN, endpoint, damage=damage, silent=damage)
        pid = Pid(answer[0])
        if pid is Pid.NAK:
            self.seen[pid] += 1
            return None
        assert pid in (Pid.DATA0, Pid.DATA1), f"IN is answered with {pid.name}"
        data, check = answer[1:-2], answer[-2:]
        assert crc16(data) == check, "data comes with a wrong CRC"
        assert len(data) <= (self.packet_bytes if endpoint else 64)
        if fault is Fault.DAMAGED_DATA:
            raise NoAnswer("data is damaged on its way to the host, which says nothing")
        if endpoint:                    # the host's own toggle says whether it has had that
            expected = (Pid.DATA0, Pid.DATA1)[self._toggles[Pid.IN]]
            repeated = pid is not expected
            self._toggles[Pid.IN] ^= not repeated
        else:
            assert pid is (Pid.DATA0, Pid.DATA1)[toggle], f"{pid.name} comes in its wrong turn"
            repeated = False
        if fault is not Fault.LOST_ACK:
            self._line.packet(bytes([Pid.ACK]), 0)
        self.seen["repeated"] += repeated
        return b"" if repeated else data

    def _begin(self, pid: Pid, endpoint: int, *, damage: bool = False,
               silent: bool = False) -> bytes:
        if self._transactions % FRAME == 0:
            self._line.packet(token(Pid.SOF, self._frame & 127, self._frame >> 7 & 15), 0)
            self._frame += 1
        self._transactions += 1
        packet = token(pid, self._address, endpoint)
        packet = damaged(packet) if damage else packet
        if pid in (Pid.IN, Pid.PING):
            return self._say(packet, silent=silent)
        self._line.packet(packet, 0)
        return b""

    def _say(self, packet: bytes, *, silent: bool = False) -> bytes:
        """Send a packet and return its answer, which has to come, or must not."""
        bits, answer = self._line.packet(packet, self._patience)
        if silent:
            assert bits is None, f"a damaged packet is answered with {answer.hex()}"
        if bits is None:
            raise NoAnswer(f"nothing is answered to {Pid(packet[0]).name}")
        self.turnarounds.append(bits)
        return answer


class UsbTransport(Transport):
    """The serial port that a host makes of a device, as a driver has it; time passes in `read`.

    Parameters
    ----------
    line : Line
        To the device.
    host : UsbHost
        That has configured it.
    """

    name = "usb"
    retry_seconds = 60.0                # of the driver's clock, of which the bus knows nothing

    def __init__(self, line: Line, host: UsbHost):
        self._line, self._host = line, host
        self._pending = b""

    def read(self, timeout: float) -> bytes:
        end = self.clock() + timeout
        while True:
            part = self._pending[:self._host.packet_bytes]
            if part and self._host.offer(part):
                self._pending = self._pending[len(part):]
            if data := self._host.read():
                return data
            if not part:
                if self.clock() > end:
                    return b""
                self._host.rest(IDLE_BITS)

    def write(self, data: bytes) -> None:
        self._pending += data

    def clock(self) -> float:
        """Return the time of the bus in seconds."""
        return self._line.bits / self._host.clock_hz

    def close(self) -> None:
        self._line.close()
