"""States of conversations as bytes."""

import dataclasses
import struct
import zlib

import numpy as np
import pytest

from tritstream.engines.state import FLOATS, INTEGERS, State
from tritstream.errors import BadInput

MODEL = "0123456789abcdef" * 4


def state(kind=INTEGERS, tokens=(3, 1, 70_000), pending=(8,)):
    values = np.arange(-6, 6).reshape(2, 6)
    values = values.astype(np.int32) if kind == INTEGERS else values / 3
    return State(model=MODEL, kind=kind, tokens=tokens, heads=bytes([0, 1, 1][:len(tokens)]),
                 digest=5 if kind == INTEGERS else None, values=values, pending=pending)


@pytest.mark.parametrize("kind", [INTEGERS, FLOATS])
@pytest.mark.parametrize("tokens, pending", [
    ((), ()), ((3, 1, 70_000), ()), ((3, 1, 70_000), (8,))])
def test_bytes_and_back(kind, tokens, pending):
    there = state(kind, tokens, pending)
    back = State.from_bytes(there.to_bytes())
    assert back == there and hash(back) == hash(there)
    for field in dataclasses.fields(State):
        one, other = getattr(back, field.name), getattr(there, field.name)
        assert np.array_equal(one, other) and type(one) is type(other)
    assert back.values.dtype == there.values.dtype
    assert back != state(kind, (9,)) and back != 5


def test_the_bytes_are_those_of_the_document():
    data = state(tokens=(7, 9)).to_bytes()
    assert data[:8] == b"TRITSTAT"
    assert struct.unpack_from("<HH32s5I", data, 8) == (2, 0, bytes.fromhex(MODEL), 2, 6, 2, 1, 5)
    assert struct.unpack_from("<3I12i", data, 64) == (7, 9 + 2 ** 31, 8, *range(-6, 6))
    assert struct.unpack_from("<I", data, 64 + 12 + 48) == (zlib.crc32(data[:-4]),)
    assert len(data) == 64 + 12 + 48 + 4


def changed(offset, value):
    data = bytearray(state().to_bytes())
    data[offset:offset + len(value)] = value
    return bytes(data[:-4]) + struct.pack("<I", zlib.crc32(data[:-4]))


GOOD = state().to_bytes()


@pytest.mark.parametrize("data, sentence", [
    (b"", "no saved conversation"),
    (b"TRITSTRM" + GOOD[8:], "no saved conversation"),
    (GOOD[:50], "no saved conversation"),
    (GOOD[:-1], f"{len(GOOD) - 1} bytes instead of {len(GOOD)}"),
    (GOOD + b"x", f"{len(GOOD) + 1} bytes instead of {len(GOOD)}"),
    (GOOD[:70] + b"x" + GOOD[71:], "is damaged .CRC"),
    (changed(8, b"\x01"), "format 1 and kind 0"),
    (changed(10, b"\x05"), "format 2 and kind 5"),
    (changed(44, b"\xff\xff\xff\xff\xff\xff\xff\xff"), "bytes instead of"),
    (changed(52, b"\xff\xff\xff\xff\xff\xff\xff\xff"), "bytes instead of"),
])
def test_bytes_that_are_no_state(data, sentence):
    with pytest.raises(BadInput, match=f"^my.file .*{sentence}"):
        State.from_bytes(data, "my.file")


def test_every_flipped_bit_is_noticed(seed):
    random = np.random.default_rng(seed)
    for place in random.integers(0, 8 * len(GOOD), 200).tolist():
        data = bytearray(GOOD)
        data[place // 8] ^= 1 << place % 8
        with pytest.raises(BadInput):
            State.from_bytes(data)
