"""Messages: one table each, which host, gateware and page share."""

import dataclasses
import io
import pathlib
import re

import pytest

from tritstream.build import BuildConfig
from tritstream.link import frames, messages, protocol
from tritstream.link.frames import MAX_FRAME
from tritstream.link.messages import (
    ARGUMENTS,
    RECORD_WORDS,
    Identity,
    Measures,
    PassResult,
    Run,
    StageRecord,
    answer_size,
    pack_answer,
    read_answer,
    record_words,
    stage_records,
)
from tritstream.link.protocol import Code, RunFlag, Space, Status
from tritstream.link.table import Table
from tritstream_hw.layouts import table_layout

PAGE = (pathlib.Path(__file__).resolve().parents[1] / "docs" / "link.md").read_text()
TABLES = [kind for module in (frames, messages) for kind in vars(module).values()
          if isinstance(kind, type) and issubclass(kind, Table) and kind is not Table]


def names(table):
    return table.__name__


@pytest.mark.parametrize("table", TABLES, ids=names)
def test_page_shows_the_table(table):
    _, section = PAGE.split(f"\n**{table.__name__}**\n\n")
    lines = section.partition("\n\n")[0].splitlines()
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert rows == [("field", "type", "meaning"), ("---", "---", "---"), *table.rows()]


@pytest.mark.parametrize("table", TABLES, ids=names)
def test_gateware_has_the_bytes_of_the_host(table):
    layout = table_layout(table)
    assert layout.size == 8 * table.SIZE
    message = table(**{name: bytes(range(65, 73)) if kind == "8 bytes" else 5 + n
                       for n, (name, kind) in enumerate(table.kinds().items())})
    assert table.unpack(message.pack()) == message
    constant = layout.const({
        name: int.from_bytes(value, "little") if isinstance(value, bytes) else value
        for name, value in vars(message).items()})
    assert constant.as_bits().to_bytes(table.SIZE, "little") == message.pack()


def test_page_shows_the_commands():
    rows = re.findall(r"^\| (0x\d+) \| (\w+) \| (\w*) ?\|", PAGE, re.MULTILINE)
    assert rows == [(f"0x{code:02x}", code.name, table.__name__ if table else "")
                    for code, table in ARGUMENTS.items()]


def test_page_shows_the_numbers():
    assert "Status: " + ", ".join(
        f"{status} {status.name.lower().replace('_', ' ')}" for status in Status) + "." in PAGE
    for space in Space:
        assert f"{space} {space.name.lower()} " in PAGE
    for flag in RunFlag:
        assert f"bit {flag.bit_length() - 1} `{flag.name.lower()}`" in PAGE
    for code in (Code.LOGIT, Code.UNKNOWN):
        assert f"`0x{code:02X}`" in PAGE
    assert f"{MAX_FRAME} zero bytes" in PAGE and f"3 x {MAX_FRAME} bytes" in PAGE
    assert f"room for {protocol.DEVICE_ROOM} frames in, {protocol.DEVICE_WINDOW} frames out" in PAGE
    assert f"{RECORD_WORDS} words a stage" in PAGE
    frame = MAX_FRAME - protocol.MAX_PAYLOAD
    assert (f"{answer_size(1)} bytes of a token alone without the flag `candidates`, "
            f"{answer_size(1) + frame} in a frame, and {answer_size(1, 16)} with 16") in PAGE


def test_records_hold_what_had_been_measured():
    records = [StageRecord(1, 10, 0), StageRecord(2, 2**33, 2**32), StageRecord(3, 5, 1)]
    words = record_words(records)
    last = words.reshape(-1, RECORD_WORDS)[-1]
    assert Measures.unpack(last.tobytes()[:Measures.SIZE]) == Measures(
        digest=3, cycles=15 + 2**33, stalls=1 + 2**32)
    assert stage_records(words) == records
    assert stage_records(words[:0]) == []


def test_an_answer_is_read_as_it_was_written():
    first = PassResult(token=7, last=True, candidates=((3, -5), (9, -2**31)), mantissa=65_535,
                       shift=60, digest=0xFFFF_FFFF, cycles=2**40, stalls=2**39)
    other = dataclasses.replace(first, token=8, candidates=(), digest=3, cycles=0, stalls=0)
    for results in ([first], [first, other]):
        answer = pack_answer(results)
        if len(results) == 1:
            assert 2 + len(answer) == answer_size(1, 2)     # code and status come first
        stream = io.BytesIO(answer + b"next")
        assert read_answer(stream.read, [result.token for result in results]) == results
        assert stream.read() == b"next"


def test_identity_is_that_of_the_build():
    config = BuildConfig(memory_bytes=4096)
    assert Identity.of(config).build == config.digest()
    assert Identity.of(config, b"12345678").build == b"12345678"
    assert Identity.of(config).memory_units == 64


def test_flags_come_back_as_flags():
    run = Run(flags=RunFlag.FRESH | RunFlag.LOGITS, token=1, tape_units=2, stages=3)
    assert repr(Run.unpack(run.pack())) == repr(run)
