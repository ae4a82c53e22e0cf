"""What lies where in the memories of a build of wide beats, or of several row groups."""

import dataclasses

import numpy as np
import pytest

from tritstream.build import BuildConfig
from tritstream.catalog import resolve
from tritstream.engines import open_engine
from tritstream.formats import UNIT
from tritstream.image.layout import lay_out
from tritstream.image.needs import Needs
from tritstream.image.tape import HEADER_FIELDS
from tritstream.stripes import Stripes
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.golden_board import GoldenBoard

BITS = {name: bits for name, bits, _ in HEADER_FIELDS}


@pytest.fixture(scope="module")
def model():
    return resolve("tiny")


@pytest.fixture(scope="module")
def image(model):
    return model.image


def header_field(header: np.ndarray, name: str) -> int:
    """Number in a header's bytes, by the table alone."""
    start = sum(bits for _, bits in list(BITS.items())[:list(BITS).index(name)]) // 8
    return int.from_bytes(header[start:start + BITS[name] // 8].tobytes(), "little")


@pytest.mark.parametrize("beat_bytes", [1, 4, 64])
def test_a_file_is_what_narrow_builds_play(image, beat_bytes):
    assert lay_out(image, Stripes(beat_bytes)) is image


@pytest.mark.parametrize("beat_bytes, groups",
                         [(128, 1), (256, 1), (1, 3), (4, 3), (16, 4), (64, 24), (256, 32)])
def test_every_byte_has_its_place(image, beat_bytes, groups):
    stripes = Stripes(beat_bytes, groups)
    laid = lay_out(image, stripes)
    content = laid.payload.reshape(-1, stripes.stripe_bytes)
    flat = content[:, :stripes.flat_bytes]
    per_unit = stripes.unit_stripes
    assert flat.shape[1] * per_unit >= UNIT
    assert len(laid.payload) == Needs.of(image, stripes).memory_bytes

    for token in (0, image.vocab - 1):
        row = flat[token * laid.row_units * per_unit:][:laid.row_units * per_unit].reshape(-1)
        assert row[:image.row_units * UNIT].tobytes() == image.row(token)
        assert not row[image.row_units * UNIT:].any()

    unit = laid.tape_unit
    for section in image.sections:
        head, header = flat[unit * per_unit:].reshape(-1), section.header
        units = header_field(head, "units")
        assert header_field(head, "rows") == header.rows
        assert header_field(head, "blocks") == -(-header.rows // (5 * groups))
        place, banks = max(UNIT, stripes.flat_bytes), bin(header.banks.value).count("1")
        known = image.payload[section.banks_start:section.body_start].reshape(banks or 1, -1)
        for bank in known[:, :2 * header.rows] if banks else ():
            assert (head[place:place + len(bank)] == bank).all()
            place += -(-2 * header.rows // (per_unit * stripes.flat_bytes)) * (
                per_unit * stripes.flat_bytes)
        body = content[unit * per_unit + place // stripes.flat_bytes:(unit + units) * per_unit]
        if header.body_bytes:
            check_trits(image, section, body, stripes)
        unit += units
        assert laid.units_before(section.index + 1) == unit - laid.tape_unit
    assert unit * stripes.unit_bytes == len(laid.payload)


def check_trits(image, section, body, stripes):
    """A byte is in the memory, the stripe and the beat of its block, projection and column."""
    count, beats = section.header.op.projections, len(body)
    for projection in range(count):
        codes = section.codes(image.payload, projection)
        block, column = np.divmod(np.arange(codes.size), codes.shape[1])
        per_block = beats // (-(-len(codes) // stripes.groups)) // count
        stripe = ((block // stripes.groups * count + projection) * per_block
                  + column // stripes.beat_bytes)
        byte = block % stripes.groups * stripes.beat_bytes + column % stripes.beat_bytes
        assert (body[stripe, byte] == codes.reshape(-1)).all()
    assert np.count_nonzero(body) == np.count_nonzero(
        image.payload[section.body_start:section.end])


@pytest.mark.parametrize("beat_bytes, groups", [(256, 1), (4, 3)])
@pytest.mark.parametrize("memory", [True, False])
def test_a_device_is_sent_what_it_plays(model, image, beat_bytes, groups, memory):
    """The same model, from its memory or over the link, whatever the build."""
    stripes = Stripes(beat_bytes, groups)
    build = BuildConfig(beat_bytes=beat_bytes, groups=groups, vector_width=4,
                        memory_bytes=stripes.unit_bytes << 13)
    if not memory:
        build = dataclasses.replace(build, memory_bytes=0)
    with (open_engine("golden", model) as golden,
          Server(Emulator(build, GoldenBoard(image, build))) as server,
          open_engine(server.uri, model) as engine):
        expected, found = golden.open(), engine.open()
        assert list(found.run(7, 3)) == list(expected.run(7, 3))
        assert (engine.stage_digests([5, 6], head=True)
                == golden.stage_digests([5, 6], head=True))
