"""`BuildConfig`: what it refuses and how it says so, its derived widths, and its JSON."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritstream.build import BuildConfig
from tritstream.errors import BadInput
from tritstream.formats import FORMATS, UNIT

MAY_BE_NONE = ["prefetch_beats", "memory_bytes", "memory_registers", "flash_offset", "link_rate"]
POSITIVE = [field.name for field in dataclasses.fields(BuildConfig)
            if field.name not in MAY_BE_NONE]


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("value", [0, -1, 2.0, "8", None, True])
def test_refuses_what_is_not_a_positive_integer(name, value):
    with pytest.raises(BadInput, match=f"^{name} must be an integer of at least 1, not {value!r}"):
        BuildConfig(**{name: value})


@pytest.mark.parametrize("name", MAY_BE_NONE)
def test_zero_says_that_there_is_none(name):
    assert getattr(BuildConfig(**{name: 0}), name) == 0
    with pytest.raises(BadInput, match=f"^{name} must be an integer of at least 0, not -1"):
        BuildConfig(**{name: -1})


@pytest.mark.parametrize("bad, message", [
    ({"beat_bytes": 12}, "beat_bytes must be a power of two, not 12."),
    ({"vector_width": 3}, "vector_width must be a power of two, not 3."),
    ({"beat_bytes": 512}, "beat_bytes must be at most 256, not 512."),
    ({"groups": 65}, "groups must be at most 64, not 65."),
    ({"beat_bytes": 4, "vector_width": 8}, "vector_width must be at most beat_bytes = 4, not 8."),
    ({"element_width": 3}, "element_width must be a power of two, not 3."),
    ({"element_width": 16},
     "element_width must be at most 32, and at most vector_width = 8, not 16."),
    ({"vector_width": 1, "element_width": 2},
     "element_width must be at most 32, and at most vector_width = 1, not 2."),
    ({"lanes": 17}, "lanes must be at most 16, not 17."),
    ({"candidates": 256}, "candidates must be at most 255, not 256."),
    ({"max_hidden": 65_536}, "max_hidden must be at most 65535, not 65536."),
    ({"max_intermediate": 70_000}, "max_intermediate must be at most 65535, not 70000."),
    ({"max_vocab": 100_000}, "max_vocab must be at most 65535, not 100000."),
    ({"memory_bytes": 100}, "memory_bytes must be a multiple of 64, not 100."),
    ({"groups": 24, "memory_bytes": 512}, "memory_bytes must be a multiple of 384, not 512."),
])
def test_refuses_with_the_number_in_the_sentence(bad, message):
    with pytest.raises(BadInput) as error:
        BuildConfig(**bad)
    assert str(error.value) == message
    assert error.value.exit_code == 2


dimensions = st.integers(1, 65_535)


@given(hidden=dimensions, intermediate=dimensions, vocab=dimensions,
       beat_bytes=st.sampled_from([1, 2, 4, 8, 16, 32, 64]))
def test_derived_numbers_hold_the_extremes(hidden, intermediate, vocab, beat_bytes):
    config = BuildConfig(max_hidden=hidden, max_intermediate=intermediate, max_vocab=vocab,
                         beat_bytes=beat_bytes, vector_width=1)
    longest = max(hidden, intermediate)
    assert longest <= config.max_columns < longest + UNIT
    assert config.max_columns % UNIT == 0
    assert config.column_beats * beat_bytes == config.max_columns
    assert config.z_base >= hidden
    assert config.vector_elements >= config.z_base + longest

    largest = 127 * config.max_columns
    assert largest < 1 << (config.acc_bits - 1)
    assert largest >= 1 << (config.acc_bits - 2), "a bit too many"
    assert vocab < 1 << config.token_bits


def test_derived_numbers_of_a_known_build():
    config = BuildConfig(max_hidden=1000, max_intermediate=2816, max_vocab=32_000, beat_bytes=16)
    assert config.max_columns == 2816
    assert config.column_beats == 176
    assert config.z_base == 1024
    assert config.vector_elements == 1024 + 2816
    assert config.acc_bits == 20            # 127 * 2816 = 357,632 < 2**19
    assert config.token_bits == 15


def test_json_round_trip():
    config = BuildConfig(beat_bytes=64, vector_width=4, memory_bytes=1 << 25, link_rate=300_000)
    assert BuildConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["beat_bytes"] == 64


def test_digest_tells_builds_apart():
    default = BuildConfig()
    assert default.digest() == BuildConfig().digest()
    assert len(default.digest()) == 8
    for field in dataclasses.fields(BuildConfig):
        # vector_width may not exceed beat_bytes
        change = {"beat_bytes": 32, "vector_width": 4, "memory_bytes": 64}.get(
            field.name, getattr(default, field.name) + 1)
        other = dataclasses.replace(default, **{field.name: change})
        assert other.digest() != default.digest(), field.name


def test_formats_derive_their_widths():
    assert FORMATS.product_bits == FORMATS.vector_bits + FORMATS.gain_bits
    assert FORMATS.state_extra == FORMATS.state_bits - FORMATS.element_bits > 0
