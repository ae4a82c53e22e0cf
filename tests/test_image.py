"""Images: written, read back, and refused when they are not what they should be."""

import math

import numpy as np
import pytest

from tritstream.errors import BadInput
from tritstream.formats import UNIT
from tritstream.image.image import Image, is_image, write_image
from tritstream.image.pack import pack
from tritstream.image.tape import HEADER_FIELDS, Bank, Header, Op, Scalar
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
    assert is_image(image.path)


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
