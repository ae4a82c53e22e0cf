"""The safetensors reader and writer, against the format's own library."""

import json

import numpy as np
import pytest
from safetensors import TensorSpec, safe_open, serialize_file

from tritstream.errors import BadInput
from tritstream.model.tensors import TensorFile, decode, encode, write_tensors

NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@pytest.fixture
def values():
    rng = np.random.default_rng(5)
    return {"a.weight": rng.standard_normal((7, 12)).astype(np.float32),
            "b.weight": rng.standard_normal(33).astype(np.float32)}


@pytest.fixture
def path(tmp_path, values):
    path = tmp_path / "model.safetensors"
    write_tensors(path, "F16", {name: v.shape for name, v in values.items()}, values.values())
    return path


@pytest.mark.parametrize("dtype", NAMES)
def test_reads_what_the_library_writes(tmp_path, values, dtype):
    stored = {name: encode(v, dtype) for name, v in values.items()}
    specs = {name: TensorSpec(dtype=NAMES[dtype], shape=v.shape, data_ptr=v.ctypes.data,
                              data_len=v.nbytes) for name, v in stored.items()}
    serialize_file(specs, tmp_path / "x.safetensors", metadata={"format": "pt"})
    file = TensorFile(tmp_path / "x.safetensors")
    assert file.entries.keys() == values.keys()
    for name in values:
        assert np.array_equal(file.read(name), decode(stored[name], dtype))


def test_the_library_reads_what_is_written(path, values):
    with safe_open(path, "np") as file:
        for name, expected in values.items():
            assert np.array_equal(file.get_tensor(name), expected.astype(np.float16))


def test_rows(path, values):
    expected = values["a.weight"].astype(np.float16).astype(np.float32)
    for start, stop in ((0, 7), (2, 5), (6, 9), (3, 3)):
        assert np.array_equal(TensorFile(path).read("a.weight", start, stop), expected[start:stop])


def test_bfloat16_keeps_the_upper_half_and_rounds_half_to_even():
    bits = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0xC1230000], np.uint32)
    stored = encode(bits.view(np.float32), "BF16")
    assert stored.tolist() == [0x3F80, 0x3F80, 0x3F82, 0x3F81, 0xC123]
    assert decode(stored, "BF16").tolist() == [1.0, 1.0, 1.015625, 1.0078125, -10.1875]


@pytest.mark.parametrize("size", [0, 5, 8, 40, 200, -1])
def test_truncated_anywhere(path, size):
    whole = path.read_bytes()
    path.write_bytes(whole[:size])
    with pytest.raises(BadInput, match="model.safetensors is not a readable safetensors file"):
        TensorFile(path)


def test_longer_than_its_header_says(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadInput, match="longer than its header says, .* bytes where"):
        TensorFile(path)


def test_absent(tmp_path):
    with pytest.raises(BadInput, match="none.safetensors .*No such file"):
        TensorFile(tmp_path / "none.safetensors")


def test_no_flipped_bit_of_the_header_is_a_traceback(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(11)
    refused = 0
    for position in range(8 + int.from_bytes(whole[:8], "little")):
        data = bytearray(whole)
        data[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            TensorFile(path)
        except BadInput as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("entry, reason", [
    ({"dtype": "F16", "shape": [2], "data_offsets": [0, 6]}, "tensor w covers 6 bytes, not 4"),
    ({"dtype": "F16", "shape": [-2], "data_offsets": [0, 6]}, "header is corrupt"),
    ({"dtype": "F16", "shape": [3], "data_offsets": [0.0, 6.0]}, "header is corrupt"),
    ({"dtype": ["F16"], "shape": [3], "data_offsets": [0, 6]}, "header is corrupt"),
    ({"dtype": "F16", "shape": [3], "data_offsets": [2, 8]}, "tensor w starts at byte"),
    ({"dtype": "F16", "shape": [3]}, "header is corrupt"),
    ([], "header is corrupt"),
])
def test_header_that_contradicts_itself(tmp_path, entry, reason):
    header = json.dumps({"w": entry}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    with pytest.raises(BadInput, match=reason):
        TensorFile(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, bad):
    path = tmp_path / "w.safetensors"
    values = np.ones((4, 5), np.float32)
    values[2, 3] = bad
    write_tensors(path, "F32", {"w": (4, 5)}, [values])
    with pytest.raises(BadInput, match=r"Tensor w in .*w.safetensors holds .* at element 13;"):
        TensorFile(path).read("w")
    assert TensorFile(path).read("w", 0, 2).shape == (2, 5)


def test_file_that_shrinks_after_it_was_opened(path):
    file = TensorFile(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match="it ended within tensor b.weight"):
        file.read("b.weight")
    path.unlink()
    with pytest.raises(BadInput, match="No such file"):
        file.read("b.weight")


@pytest.mark.parametrize("shape", [[1] * 9, [0, 1 << 63], [10**400]])
def test_shapes_that_no_tensor_has(tmp_path, shape):
    header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}}).encode()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadInput, match="x is not a readable safetensors file: its header is corr"):
        TensorFile(tmp_path / "x")
