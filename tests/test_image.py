"""Images: written, read back, and refused when they are not what they should be."""

import copy
import dataclasses
import math
import os
import pathlib
import struct
import zlib

import numpy as np
import pytest

from tritstream.errors import BadInput
from tritstream.formats import UNIT, padded
from tritstream.image import image as module
from tritstream.image.image import Image, write_image
from tritstream.image.pack import pack
from tritstream.image.tape import HEADER_FIELDS, ROW_PREFIX, Bank, Header, Op, Scalar
from tritstream.image.trits import VALID, decode, encode
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint

CONFIG = ModelConfig(hidden=40, intermediate=72, layers=2, vocab=33)


@pytest.fixture
def image(tmp_path):
    return pack(DummyCheckpoint(CONFIG, seed=1), tmp_path / "model.trit")


def test_trits_survive():
    trits = np.random.default_rng(1).integers(-1, 2, (5, 999)).astype(np.int8)
    assert (decode(encode(trits)) == trits).all()
    assert VALID.sum() == 243
    assert encode(np.zeros((5, 1), np.int8)) == 0


def test_header_survives_and_fits_a_unit():
    header = Header(op=Op.MLGRU, banks=Bank.KEEP | Bank.GAIN0, columns=1, rows=65535,
                    state_base=1 << 31, fractions=(20, 3), ratio=Scalar(65535, -300),
                    floor=Scalar(1, 2), scales=(Scalar(1, -1), Scalar(2, -2), Scalar(3, 3)))
    assert Header.from_bytes(header.to_bytes()) == header
    assert sum(bits for _, bits, _ in HEADER_FIELDS) <= 8 * UNIT


def test_no_header_is_refused():
    with pytest.raises(BadInput, match="0x00 0 where a header should start"):
        Header.from_bytes(bytes(UNIT))
    with pytest.raises(BadInput, match="3 of 64 bytes"):
        Header.from_bytes(b"\x54\0\0")


def test_sections_cover_the_tape(image):
    assert image.stages == 4 * CONFIG.layers + 2
    assert image.sections[0].start == image.tape_unit * UNIT
    assert image.sections[-1].end == len(image.payload)
    for before, after in zip(image.sections, image.sections[1:], strict=False):
        assert before.end == after.start
    assert image.units_before(image.stages) == image.tape_units
    assert image.body_units < image.tape_units


def test_matrices_are_on_the_tape(image):
    trits, _ = DummyCheckpoint(CONFIG, seed=1).ternary("model.layers.1.mlp.gate_proj")
    section = next(s for s in image.sections if s.name == "layers.1.glu")
    body = image.payload[section.body_start:section.end].reshape(-1, 2, 128 - 64)
    for part in range(2):
        rows = decode(body[:, part]).swapaxes(0, 1).reshape(-1, 64)
        assert (rows[:72, :40] == trits[72 * part:72 * (part + 1)]).all()
        assert not rows[72:].any() and not rows[:, 40:].any()


def test_bits_per_weight(tmp_path):
    config = ModelConfig(hidden=320, intermediate=640, layers=2, vocab=320)
    image = pack(DummyCheckpoint(config), tmp_path / "i")
    weights = 2 * (4 * 320 * 320 + 3 * 320 * 640) + 320 * 320
    body = sum(section.header.body_bytes for section in image.sections)
    assert body * 8 / weights == pytest.approx(1.6)


def test_a_pack_is_repeatable(image, tmp_path):
    again = pack(DummyCheckpoint(CONFIG, seed=1), tmp_path / "again")
    assert again.digest == image.digest
    assert pack(DummyCheckpoint(CONFIG, seed=2), tmp_path / "other").digest != image.digest


def test_reading_checks_everything(image):
    assert Image(image.path).digest == image.digest


@pytest.mark.parametrize("damage, message", [
    (lambda data: data[:len(data) // 2], "it was cut short or extended"),
    (lambda data: data + b"\0", "it was cut short or extended"),
    (lambda data: data[:20], "is no tritstream image"),
    (lambda data: b"GGUF" + data[4:], "is no tritstream image"),
    (lambda data: data[:8] + b"\x09" + data[9:], "is an image of version 9, this program reads"),
    (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is corrupt: SHA-256"),
    (lambda data: data[:70] + b"x" + data[71:], "is corrupt: SHA-256"),
])
def test_damaged_images_are_refused(image, damage, message):
    data = image.path.read_bytes()
    image.path.write_bytes(damage(data))
    with pytest.raises(BadInput, match=message):
        Image(image.path)


def test_missing_image(tmp_path):
    with pytest.raises(BadInput, match="cannot be read as an image"):
        Image(tmp_path / "none.trit")


def test_a_failed_write_leaves_nothing(tmp_path):
    def payload():
        yield bytes(UNIT)
        raise BadInput("broken in the middle")

    (tmp_path / "model.trit").write_bytes(b"old")
    with pytest.raises(BadInput):
        write_image(tmp_path / "model.trit", {"formats": 1}, None, payload())
    assert [path.name for path in tmp_path.iterdir()] == ["model.trit"]
    assert (tmp_path / "model.trit").read_bytes() == b"old"


class Scaled(DummyCheckpoint):
    """A dummy with one tensor's numbers multiplied."""

    def __init__(self, name, factor):
        super().__init__(CONFIG, seed=1)
        self.name, self.factor = name, factor

    def ternary(self, name):
        codes, scale = super().ternary(name)
        return codes, scale * (self.factor if name == self.name else 1)

    def gain(self, name):
        return super().gain(name) * (self.factor if name == self.name else 1)


@pytest.mark.parametrize("name, factor, said", [
    ("model.layers.1.attn.g_proj", 1e6, "model.layers.1.attn.g_proj can reach"),
    ("model.layers.0.mlp.gate_proj", 1e7, "model.layers.0.mlp.gate_proj can reach"),
    ("model.layers.1.mlp.down_proj", 1e10, "the residual can reach"),
    ("lm_head", 1e7, "lm_head can reach"),
    ("model.layers.1.mlp_norm", 1e-12, "model.layers.1.mlp_norm is so small"),
])
def test_a_range_that_cannot_hold_names_the_tensor(tmp_path, name, factor, said):
    with pytest.raises(BadInput, match=said):
        pack(Scaled(name, factor), tmp_path / "i")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.layers.0.attn.i_proj", "model.layers.1.attn.g_norm"])
@pytest.mark.parametrize("factor", [1e-4, 30.0])
def test_bounds_hold_for_scaled_tensors(tmp_path, name, factor):
    """The bound is a theorem, so the golden model's own checks stay quiet."""
    from tritstream.golden import GoldenModel

    golden = GoldenModel(pack(Scaled(name, factor), tmp_path / "i"))
    logits = golden.forward([list(range(33))], golden.new_state())
    assert math.isfinite(logits.real().sum())


# Whole images with a right checksum that say what no image says.

def rewritten(image, *, tokenizer=None, payload=None, **changes):
    """Write the image anew, its checksum right, and open that."""
    write_image(image.path, changes.get("meta", image.meta), tokenizer,
                [image.payload.tobytes() if payload is None else payload])
    return Image(image.path)


def section(image, name):
    return next(section for section in image.sections if section.name == name)


@pytest.mark.parametrize("path, value, said", [
    ((), None, "The metadata of .* must be an object, not null"),
    ((), [1], "must be an object, not a list of 1"),
    (("formats",), 2, "has number formats 2, this program has 1"),
    (("hidden",), 10**9, "has hidden 1000000000 where an integer of 1 to 65535 should be"),
    (("hidden",), True, "has hidden true where an integer"),
    (("hidden",), 41, "stage embed: The header has rows 40, its place in the model makes 41"),
    (("intermediate",), 73, "layers.0.glu: The header has rows 72, .* makes 73"),
    (("vocab",), 70_000, "has vocab 70000 where an integer of 1 to 65535 should be"),
    (("vocab",), 32, "stage embed: The tape has 0x"),
    (("vocab",), 65_535, "stage embed: The tape ends inside a header"),
    (("layers",), 10**9, "has layers 1000000000 where an integer"),
    (("layers",), 3, "has stages a list of 10 where a list of 14 stages"),
    (("stages",), 7, "has stages 7 where a list of 10 stages"),
    (("stages", 1), None, "Stage layers.0.mlgru in the metadata of .* must be an object, not null"),
    (("stages", 2, "name"), "layers.1.o", 'has name "layers.1.o" where \'layers.0.o\' should be'),
    (("stages", 2, "matrices"), 5, "Stage layers.0.o .* has matrices 5 where a list of 1"),
    (("stages", 2, "matrices", 0, 0), "lm_head", 'has matrix "lm_head" where'),
    (("stages", 2, "matrices", 0, 1), "x", "has matrices a list of 1 where a list of 1 lists of"),
    (("stages", 2, "gain_fractions"), [1], "has gain_fractions a list of 1 where a list of 2"),
    (("stages", 2, "gain_fractions", 0), 10**400, "has gain_fractions a list of 2 where"),
    (("eps",), "small", 'has eps "small" where a positive number should be'),
    (("eps",), 10**400, "has eps 1000000000000000000000000000000000000000… where a positive"),
    (("bos",), 33, "has bos 33 where null or a token below 33"),
    (("eos",), [1, 33], "has eos a list of 2 where null or tokens below 33"),
    (("use_lower_bound",), 1, "has use_lower_bound 1 where true or false"),
    (("row_units",), 2, "has embedding rows of 2 units, its hidden size makes 1|stage embed"),
    (("chat",), "{{ messages }}", "The chat template in the metadata of .* must be an object"),
    (("chat",), {"template": "", "bos_token": None}, "has bos_token null where a text of at most"),
    (("chat",), {"template": "a" * 262_145}, 'has template "aaa.* where a text of at most 262,144'),
    (("residual_fraction",), 61, "has residual_fraction 61 where an integer of 0 to 60"),
])
def test_metadata_of_another_kind(image, path, value, said):
    meta = {"": copy.deepcopy(image.meta)}
    *way, last = ("", *path)
    table = meta
    for key in way:
        table = table[key]
    table[last] = value
    with pytest.raises(BadInput, match=said):
        rewritten(image, meta=meta[""])


@pytest.mark.parametrize("key", ["formats", "hidden", "eos", "bos", "stages", "row_units", "eps"])
def test_metadata_that_lack_something(image, key):
    meta = {name: value for name, value in image.meta.items() if name != key}
    with pytest.raises(BadInput, match=f"has no {key}; pack"):
        rewritten(image, meta=meta)


@pytest.mark.parametrize("text, said", [
    (b"[" * 100_000, "no JSON .nested too deep"), (b"{", "no JSON"), (b"\xff", "no JSON"),
    (b'{"formats": ' + b"9" * 5000 + b"}", "no JSON"),
    (b" " * (17 << 20), "metadata of 17825792 bytes, more than 16777216"),
], ids=["deep", "open", "bytes", "digits", "long"])
def test_metadata_that_are_none(image, monkeypatch, text, said):
    monkeypatch.setattr(module.json, "dumps", lambda *arguments, **options: text.decode("latin-1"))
    with pytest.raises(BadInput, match=said):
        rewritten(image)


@pytest.mark.parametrize("change, said", [
    ({"op": Op.RESIDUAL}, "has operation RESIDUAL, its place in the model makes EMBED"),
    ({"rows": 39}, "has rows 39, its place in the model makes 40"),
    ({"banks": Bank.KEEP}, "has banks KEEP, its place in the model makes PRE.GAIN0.GAIN1.GAIN2"),
    ({"state_base": 1}, "has state base 1, its place in the model makes 0"),
    ({"fractions": (1, 0)}, "has 1 fraction bits where at most 0 can be"),
    ({"scales": (Scalar(1 << 15, 0),)}, "has a scale, which the embedding has not"),
])
def test_headers_of_the_embedding(image, change, said):
    check_header(image, "embed", change, said)


@pytest.mark.parametrize("change, said", [
    ({"columns": 41}, "has columns 41, its place in the model makes 40"),
    ({"state_base": 1}, "has state base 1, its place in the model makes 40"),
    ({"state_base": 1 << 31}, "has state base 2147483648, its place in the model makes 40"),
    ({"fractions": (21, 0)}, "has 21 fraction bits where at most 20 can be"),
    ({"ratio": Scalar(1 << 14, 0)}, "has a ratio of 16384 times 2 to the 0, beyond what"),
    ({"ratio": Scalar(1 << 15, 32767)}, "has a ratio of 32768 times 2 to the 32767, beyond"),
    ({"ratio": Scalar(1 << 15, 0)}, "has a squared norm of up to .*, more than 80 bits hold"),
    ({"floor": Scalar()}, "has a floor of 0 under its norm, less than one for each of its 40"),
    ({"floor": Scalar(1, -1)}, "has a floor of 0.5 under its norm"),
    ({"floor": Scalar(1, 80)}, "has a squared norm of up to .*, more than 80 bits"),
])
def test_headers_of_a_layer(image, change, said):
    check_header(image, "layers.1.mlgru", change, said)


@pytest.mark.parametrize("exponent, said", [
    (-1, "has outputs of up to .* in projection 2, more than 18 bits|shift to the left"),
    (32767, "has a scale of .* times 2 to the 32767, beyond what the hardware computes with"),
])
def test_a_scale_out_of_range(image, exponent, said):
    scales = section(image, "layers.0.mlgru").header.scales
    change = {"scales": (*scales[:2], Scalar(scales[2].mantissa, exponent))}
    check_header(image, "layers.0.mlgru", change, said)


def check_header(image, name, change, said):
    where = section(image, name)
    payload = bytearray(image.payload.tobytes())
    header = dataclasses.replace(where.header, **change).to_bytes()
    payload[where.start:where.start + len(header)] = header
    with pytest.raises(BadInput, match=f"stage {name}: .*{said}"):
        rewritten(image, payload=payload)


@pytest.mark.parametrize("name, index, change", [
    ("layers.0.mlgru", 2, {"scale": 1.001}), ("layers.0.o", 0, {"scale": 0.5}),
    ("layers.1.glu", 1, {"scale": 2.0}), ("head", 0, {"scale": 1e30}),
    ("layers.0.mlgru", 0, {"fractions": 1}), ("layers.1.down", 0, {"fractions": -1}),
])
def test_scales_of_which_metadata_and_header_say_two(image, name, index, change):
    """The float reference would compute with one, everything else with the other."""
    meta = copy.deepcopy(image.meta)
    stage = meta["stages"][section(image, name).index]
    stage["matrices"][index][1] *= change.get("scale", 1)
    stage["fractions"][index] += change.get("fractions", 0)
    with pytest.raises(BadInput, match=f"stage {name}: The metadata have a scale of .* for "
                                       f"projection {index}, which is not that of the header"):
        rewritten(image, meta=meta)


def test_a_projection_that_gives_nothing_has_any_scale(tmp_path):
    class Empty(DummyCheckpoint):
        def ternary(self, name):
            codes, scale = super().ternary(name)
            return codes * ("o_proj" not in name), scale

    image = Image(pack(Empty(CONFIG), tmp_path / "i").path)
    assert section(image, "layers.0.o").header.scales[0] == Scalar()


def patched(image, position, data):
    payload = bytearray(image.payload.tobytes())
    payload[position:position + len(data)] = data
    return payload


@pytest.mark.parametrize("offset, data", [
    (struct.calcsize("<BBBBHHIIHhHhHhHhHh"), b"\0\0"),            # blocks 0: hardware would wait
    (struct.calcsize("<BBBBHHI"), b"\1\0\0\0"),                  # units
    (60, b"\1"),                                                 # behind the last field
])
def test_header_fields_that_follow_from_others(image, offset, data):
    position = section(image, "layers.0.o").start + offset
    with pytest.raises(BadInput, match="layers.0.o: The header has (a number of )?.*units"):
        rewritten(image, payload=patched(image, position, data))


@pytest.mark.parametrize("code", [code for code in range(256) if not VALID[code]])
def test_trit_bytes_that_mean_nothing(image, code):
    where = section(image, "layers.1.down")
    position = where.body_start + where.header.group_bytes + 71     # the last column of a row
    said = f"layers.1.down: The section has byte 0x{code:02x} in column 71, .* no five trits"
    with pytest.raises(BadInput, match=said):
        rewritten(image, payload=patched(image, position, bytes([code])))


def test_padding_of_zeros(image):
    where = section(image, "layers.1.down")
    for position, said in [(where.body_start + 72, "behind a row group"),
                           (where.body_start - 1, "behind a gain bank")]:
        with pytest.raises(BadInput, match=f"layers.1.down: .* bytes other than 0 {said}"):
            rewritten(image, payload=patched(image, position, b"\1"))


@pytest.mark.parametrize("offset, byte", [(2, 63), (2, 255), (3, 1), (3, 2), (63, 1)])
def test_prefix_and_padding_of_a_row(image, offset, byte):
    with pytest.raises(BadInput, match="embedding row of token 7 has a shift, a width or padding"):
        rewritten(image, payload=patched(image, 7 * UNIT + offset, bytes([byte])))


def test_a_row_too_large(image):
    with pytest.raises(BadInput, match="the residual can reach .*, more than 32 bits hold"):
        rewritten(image, payload=patched(image, 7 * UNIT, b"\xff\xff\0"))


def test_a_gain_behind_a_first_gain_of_zero(image):
    position = section(image, "embed").banks_start
    with pytest.raises(BadInput, match="layers.0.mlgru: .* a gain behind a first gain of 0"):
        rewritten(image, payload=patched(image, position, b"\0\0"))


def test_a_gain_too_large(image):
    """The bound of every projection is derived again: none can overflow."""
    position = section(image, "embed").body_start - 2 * padded(2 * 40)      # of f
    with pytest.raises(BadInput, match="layers.0.mlgru: .* outputs of up to .* in projection 1"):
        rewritten(image, payload=patched(image, position, b"\xff\x7f" * 40))


def test_a_stage_left_out(image):
    meta = copy.deepcopy(image.meta)
    where = section(image, "layers.0.o")
    del meta["stages"][2]
    payload = image.payload.tobytes()
    payload = payload[:where.start] + payload[where.end:]
    with pytest.raises(BadInput, match="has stages a list of 9 where a list of 10 stages"):
        rewritten(image, meta=meta, payload=payload)
    with pytest.raises(BadInput, match="stage layers.0.o: The header has operation GLU"):
        rewritten(image, payload=payload)


def test_a_payload_longer_than_its_stages(image):
    payload = image.payload.tobytes() + bytes(UNIT)
    with pytest.raises(BadInput, match="has a payload of .* bytes, its stages make"):
        rewritten(image, payload=payload)


def test_a_tokenizer_that_inflates_without_end(image, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    assert rewritten(image, tokenizer=bytes(1 << 20)).tokenizer_json == bytes(1 << 20)
    with pytest.raises(BadInput, match="a tokenizer that .* inflates to more than 1,048,576 bytes"):
        rewritten(image, tokenizer=bytes((1 << 20) + 1))


def test_a_tokenizer_that_is_none(image, monkeypatch):
    monkeypatch.setattr(module.zlib, "compress", lambda data, level: b"nothing")
    with pytest.raises(BadInput, match="has a tokenizer that cannot be inflated"):
        rewritten(image, tokenizer=b"{}")
    monkeypatch.setattr(module.zlib, "compress", lambda data, level: zlib.compressobj().flush()[:4])
    with pytest.raises(BadInput, match="has a tokenizer that is cut short"):
        rewritten(image, tokenizer=b"{}")


@pytest.mark.parametrize("field, said", [("<I", "its payload of .* at byte .*, behind"),
                                         ("<Q", "bytes instead of")])
def test_lengths_that_disagree(image, field, said):
    data = bytearray(image.path.read_bytes())
    position = 12 if field == "<I" else 24
    value, = struct.unpack_from(field, data, position)
    struct.pack_into(field, data, position, value + 64 if field == "<I" else 1 << 60)
    image.path.write_bytes(data)
    with pytest.raises(BadInput, match=said):
        Image(image.path)


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", pathlib.Path("/dev/zero")):
        with pytest.raises(BadInput, match=f"{path} is not a regular file"):
            Image(path)
    with pytest.raises(BadInput, match="is a directory; give the file itself"):
        Image(tmp_path)


def test_a_pointer_of_git_lfs(tmp_path):
    (tmp_path / "a.trit").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(BadInput, match="is only Git LFS's pointer .* `git lfs pull`"):
        Image(tmp_path / "a.trit")


def test_rows_of_zeros(tmp_path):
    """As of tokens that a training never saw."""
    class Sparse(DummyCheckpoint):
        def embedding_rows(self, start, stop):
            rows = super().embedding_rows(start, stop)
            rows[5:] = 0
            return rows / 1e6       # a residual with many fraction bits

        def ternary(self, name):
            codes, scale = super().ternary(name)
            return codes, scale / 1e6

    image = Image(pack(Sparse(CONFIG), tmp_path / "i").path)
    assert image.row(32)[:ROW_PREFIX] == bytes([0, 0, 10, 0])
    assert not any(image.row(32)[ROW_PREFIX:])
