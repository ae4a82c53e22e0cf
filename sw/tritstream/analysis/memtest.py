"""The memory of a device: its data lines, its address lines, its content, and how long it keeps it.

What is written comes from the host; what is found there is known by the CRC that the device makes.
Where that differs, the faults that a board is likely to have are tried: which of them gives it?
"""

import itertools
import math
import time
import zlib
from collections.abc import Iterator

import numpy as np

from tritstream.analysis.check import Check, Verdict
from tritstream.driver import CHUNK_UNITS, Device

__all__ = ["examine_memory"]

WORD_BITS = (8, 16, 32, 64)     # a memory's data bus may have
KEPT_SECONDS = 0.2              # three times the 64 ms within which each row is refreshed
WRITING = 0.9                   # of the time; the rest is for the device's CRC
PIECE_SECONDS = 1.0             # that a piece of the content takes to write, at most
SEED = 1


def examine_memory(device: Device, seconds: float) -> Iterator[Check]:
    """Test the memory for about so many seconds of this computer's clock; what it held is lost.

    Yields
    ------
    Check
        Of data lines, of address lines, and of the content, in as many places as there is time
        for; one that says so if there is no memory.
    """
    if not device.identity.memory_units:
        yield Check("memory", Verdict.SKIP, "it has none: weights are sent for every token")
        return
    end = time.monotonic() + seconds
    yield _data_lines(device)
    yield _address_lines(device)
    yield _content(device, end)


def _data_lines(device: Device) -> Check:
    """Write words in which one bit is 1, then words in which one is 0."""
    ones = (np.uint32(1) << np.arange(32, dtype=np.uint32)).astype("<u4")
    data = np.concatenate([ones, ~ones]).tobytes()
    data *= math.lcm(len(data), device.unit_bytes) // len(data)
    device.write_memory(0, data)
    crc = device.memory_crc(0, len(data))
    if crc == zlib.crc32(data):
        return Check("data lines", Verdict.PASS, "each bit of 32 was 1 alone, and 0 alone", 32,
                     "bits")
    return Check("data lines", Verdict.FAIL, _stuck(data, crc) or _exchanged(data, crc)
                 or "words come back changed, and not by a bit that is stuck or bytes that are "
                 "exchanged: look at the clock's phase, and at the supply")


def _exchanged(data: bytes, crc: int) -> str | None:
    """Say which bytes of each word must be in each other's place, as for `_stuck`."""
    for size in (width // 8 for width in WORD_BITS):
        for first, second in itertools.combinations(range(size), 2):
            words = np.frombuffer(data, np.uint8).reshape(-1, size).copy()
            words[:, [first, second]] = words[:, [second, first]]
            if zlib.crc32(words.tobytes()) == crc:
                return (f"bytes {first} and {second} of every {size} are exchanged: look at those "
                        "byte lanes in the board's file")
    return None


def _stuck(data: bytes, crc: int) -> str | None:
    """Say which bit of each word must be stuck for `data` to be read with this CRC."""
    for width in WORD_BITS:
        words = np.frombuffer(data, f"<u{width // 8}")
        for bit in range(width):
            mask = words.dtype.type(1 << bit)
            for value, read in enumerate((words & ~mask, words | mask)):
                if zlib.crc32(read.tobytes()) == crc:
                    return f"bit {bit} of every {width} is stuck at {value}: look at that data line"
    return None


def _address_lines(device: Device) -> Check:
    """Write a unit at each power of two, and the last one: two that are one in truth would show."""
    last, size = device.identity.memory_units - 1, device.unit_bytes
    units = sorted({0, last, *(1 << line for line in range(last.bit_length()))})
    content = {unit: _random(unit, size) for unit in units}
    for unit, data in content.items():
        device.write_memory(unit * size, data)
    known = {zlib.crc32(data): unit for unit, data in content.items()}
    for unit, data in content.items():
        crc = device.memory_crc(unit * size, size)
        if crc != zlib.crc32(data):
            found = ("something else" if crc not in known
                     else f"what was written to byte {known[crc] * size:,}")
            return Check("address lines", Verdict.FAIL, f"byte {unit * size:,} holds {found}: look "
                         "at address and bank lines")
    return Check("address lines", Verdict.PASS, f"{len(units)} places up to byte {last * size:,} "
                 "are different ones", len(units), "places")


def _content(device: Device, end: float) -> Check:
    """Write random bytes, spread evenly, while there is time, then look at them: that is fast."""
    total, began, clock = device.identity.memory_units, time.monotonic(), device.clock()
    unit_bytes = device.unit_bytes
    device.write_memory(0, bytes(unit_bytes))
    size = _piece(time.monotonic() - began, end - began, total)
    places = []
    for place in _spread(-(-total // size)):
        places.append((place * size, min(size, total - place * size)))
        device.write_memory(places[-1][0] * unit_bytes,
                            _random(places[-1][0], places[-1][1] * unit_bytes))
        if time.monotonic() > began + WRITING * (end - began):
            break
    time.sleep(KEPT_SECONDS)
    after = "" if clock is None else f", the first {device.clock() - clock:.2g} s later"
    for unit, units in places:
        start, count = unit * unit_bytes, units * unit_bytes
        data, crc = _random(unit, count), device.memory_crc(start, count)
        if crc != zlib.crc32(data):
            return Check("memory", Verdict.FAIL, f"{count:,} bytes from byte "
                         f"{start:,} on are not as written{after}: "
                         + (_stuck(data, crc) or _exchanged(data, crc)
                            or "look at refresh, clock and supply"))
    share = sum(units for _, units in places) / total
    return Check("memory", Verdict.PASS, f"{share:.2%} of {total * unit_bytes:,} bytes, in "
                 f"{len(places)} pieces, are as written{after}", share, "of all bytes")


def _piece(unit_seconds: float, seconds: float, total: int) -> int:
    """Return how many units are written at a time: a power of two."""
    size, limit = 1, min(PIECE_SECONDS, seconds / 8)
    while size < min(CHUNK_UNITS, total) and 2 * size * unit_seconds < limit:
        size *= 2
    return size


def _spread(count: int) -> Iterator[int]:
    """Yield 0 to `count` - 1, from the start on spread over all of them: their bits reversed."""
    width = (count - 1).bit_length()
    for number in range(1 << width):
        place = int(f"{number:0{width}b}"[::-1], 2) if width else 0
        if place < count:
            yield place


def _random(unit: int, size: int) -> bytes:
    return np.random.default_rng([SEED, unit]).bytes(size)
