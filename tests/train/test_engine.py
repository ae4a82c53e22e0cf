"""The engine in Triton's interpreter against the golden model: every integer, and the digest."""

import math

import numpy as np
import pytest
import torch
import triton
import triton.language as tl

from tritstream.catalog import Model
from tritstream.engines import Work, open_engine
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import BadInput, DeviceError, MissingTool
from tritstream.formats import FORMATS
from tritstream.golden import elementwise as golden_elements
from tritstream.golden import quantise as golden_quantise
from tritstream.golden import scalars as golden_scalars
from tritstream.image.pack import pack
from tritstream.image.tape import Scalar
from tritstream.image.trits import DECODE, VALID
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.reference import FloatModel
from tritstream_cuda import CudaEngine, elements, lanes, scalars, statistics
from tritstream_cuda import engine as cuda_engine
from tritstream_cuda.ternary import FRACTIONS, dot4, stack8, stack_place, triple

CPU = torch.device("cpu")
SHAPE = ModelConfig(hidden=20, intermediate=28, layers=1, vocab=41, bos=0, eos=None)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return pack(DummyCheckpoint(SHAPE, seed=3, outliers=True), tmp_path_factory.mktemp("i") / "i")


@pytest.fixture(scope="module")
def engine(image):
    return CudaEngine(image, CPU)


def wide_numbers(rng, bits, count):
    """Integers of up to so many bits, spread over all lengths, as Python has them."""
    lengths = rng.integers(1, bits + 1, count).tolist()
    return [int.from_bytes(rng.bytes(11)) % (1 << n - 1) + (1 << n - 1) for n in lengths]


# Trits in signed bytes.

def test_tripling_a_byte_pushes_its_trits_out():
    bytes_ = FRACTIONS[VALID].astype(int)
    for n in range(5):
        tripled = 3 * bytes_
        bytes_ = tripled.astype(np.int8).astype(int)
        assert ((tripled - bytes_) / 256 == DECODE[VALID, n]).all()


@triton.jit
def _words(a, b, products, tripled, N: tl.constexpr):
    index = tl.arange(0, N)
    x, y = tl.load(a + index), tl.load(b + index)
    tl.store(products + index, dot4(x, y, x))
    tl.store(tripled + index, triple(x))


def test_words_of_four_bytes():
    a, b = np.random.default_rng(1).integers(-128, 128, (2, 64, 4)).astype(np.int8)
    words = [torch.from_numpy(x.view(np.int32)[:, 0].copy()) for x in (a, b)]
    products, tripled = torch.zeros(2, 64, dtype=torch.int32)
    _words[(1,)](*words, products, tripled, N=64)
    expected = (a.astype(np.int32) * b).sum(1) + words[0].numpy()
    assert (products.numpy() == expected).all()
    assert (tripled.numpy().view(np.int8).reshape(-1, 4) == a * np.int8(3)).all()


@triton.jit
def _stack(values, out, place, N: tl.constexpr):
    index = tl.arange(0, N)
    parts = stack8(tl.load(values + index), tl.load(values + N + index),
                   tl.load(values + 2 * N + index), tl.load(values + 3 * N + index),
                   tl.load(values + 4 * N + index), tl.load(values + 5 * N + index),
                   tl.load(values + 6 * N + index), tl.load(values + 7 * N + index))
    tl.store(out + index[:, None] * 8 + tl.arange(0, 8)[None, :], tl.reshape(parts, [N, 8]))
    tl.store(place + tl.arange(0, 8), stack_place(tl.arange(0, 8)))


def test_stacked_tensors_are_where_stack_place_says():
    values = torch.arange(32, dtype=torch.int32)
    out, place = torch.zeros(4, 8, dtype=torch.int32), torch.zeros(8, dtype=torch.int32)
    _stack[(1,)](values, out, place, N=4)
    assert torch.equal(out, values.view(8, 4)[place].T)


# Arithmetic.

@triton.jit
def _scale(s1, s2, amax, parameters, factor, mantissa, shift, N: tl.constexpr):
    four = tl.arange(0, 4)
    total = tl.where(four % 2 == 0, tl.load(s1 + four // 2), tl.load(s2 + four // 2))[None, :]
    peaks = tl.load(amax + four)
    out = statistics.scales(statistics.parts_of(total), peaks,
                            statistics.constants(parameters, four))
    tl.store(factor + four, scalars.reciprocal(peaks))
    tl.store(mantissa + four, out[0])
    tl.store(shift + four, out[1])


def halves(total):
    """Split a sum of squares as the kernels gather it, with a lower part of more than 32 bits."""
    more = 5 if total > 1 << 35 else 0
    return [(total >> 32) - more, (total & 0xFFFFFFFF) + (more << 32)]


def scalar_cases():
    rng = np.random.default_rng(5)
    count = 60
    for s1, s2, amax, floor, exponent in zip(
            *(wide_numbers(rng, bits, count) for bits in (74, 74, 47, 16)),
            rng.integers(0, 60, count).tolist(), strict=True):
        yield s1, s2, amax, floor, exponent, int(rng.integers(-70, 6))
    root = 2 ** 17 - 1
    for s2 in (1, 2, root * root - 1, root * root, root * root + 1, (1 << 74) - 1, 1 << 33,
               (1 << 34) - 1, (1 << 40) - 1, 1 << 40):
        yield 0, s2 - 1, 1, 1, 0, 0
        yield s2, s2, (1 << 47) - 1, 0xFFFF, 0, -16


def test_scalars_are_the_golden_models():
    compared = 0
    for s1, s2, amax, floor, floor_exponent, ratio_exponent in scalar_cases():
        ratio, floor = Scalar(0xC123, ratio_exponent), Scalar(floor, floor_exponent)
        stats = golden_scalars.Statistics(s1, s2, (amax,))
        try:
            norm = golden_scalars.squared_norm(stats, ratio, floor)
            # As small as `pack` would choose it, so that no shift to the left is needed.
            power = math.floor(math.log2(math.sqrt(norm) / amax)) - 20
            expected = golden_scalars.dequantiser(amax, norm, Scalar(0xABCD, power))
        except OverflowError:
            continue
        value = floor.mantissa << floor_exponent
        parameters = torch.tensor([0xABCD, 0, 0, 0, power, 0, 0, 0, ratio.mantissa, ratio.exponent,
                               value >> 40, value & (1 << 40) - 1], dtype=torch.int64)
        factor, mantissa, shift = torch.zeros(3, 4, dtype=torch.int64)
        _scale[(1,)](torch.tensor(halves(s1)), torch.tensor(halves(s2)),
                     torch.tensor([amax, 0, amax, 1]), parameters, factor, mantissa, shift, N=4)
        assert (int(mantissa[0]), int(shift[0])) == expected, (s1, s2, amax)
        assert (int(mantissa[1]), int(shift[1])) == (0, FORMATS.max_shift)
        assert factor.tolist()[:2] == [golden_scalars.reciprocal(amax), 0]
        compared += 1
    assert compared > 50


@triton.jit
def _elements(i, f, g, keep, h, table, new, z, glu, fraction0, fraction1, N: tl.constexpr):
    n = tl.arange(0, N)
    openness = elements.opened(tl.load(f + n), tl.load(keep + n), fraction1, table)
    state = elements.recur(tl.load(h + n), elements.silu(tl.load(i + n), fraction0, table) << 6,
                           openness)
    tl.store(new + n, state)
    tl.store(z + n, elements.gate((state + 32) >> 6, tl.load(g + n), fraction0, table))
    tl.store(glu + n, elements.gate(tl.load(i + n), tl.load(g + n), fraction0, table))


@pytest.mark.parametrize("fractions", [(0, 20), (12, 12), (20, 3)])
def test_elements_are_the_golden_models(fractions):
    rng, limit, count = np.random.default_rng(6), 1 << 17, 512
    i, f, g = rng.integers(-limit, limit, (3, count))
    i[:4], f[:4], g[:4] = [-limit, limit - 1, 0, -1], [limit - 1, -limit, 0, 1], limit - 1
    f[count // 2:] >>= 9
    h = rng.integers(-limit, limit, count) << 6
    keep = rng.integers(0, 65536, count)
    state, z = golden_elements.mlgru(i, f, g, keep, h, fractions)
    found = torch.zeros(3, count, dtype=torch.int32)
    _elements[(1,)](*(torch.from_numpy(v.astype(np.int32)) for v in (i, f, g, keep, h)),
                    torch.from_numpy(elements.SIGMOID_TABLE), *found, *fractions, N=count)
    for one, other in zip(found.numpy(), (state, z, golden_elements.glu(i, g, fractions[0])),
                          strict=True):
        assert (one == other).all()


@triton.jit
def _vector(vector, pre, gain, total, peak, q, N: tl.constexpr):
    n = tl.arange(0, N)
    v, own = tl.load(vector + n), tl.load(gain + n)
    tl.store(total + tl.arange(0, 4)[None, :],
             statistics.sums(v[None, :], v[None, :], tl.load(pre + n)[None, :], True, True))
    amax = statistics.peaks(v[None, :], own[None, :])
    tl.store(peak + tl.arange(0, 1), amax)
    tl.store(q + n, elements.quantise(v, own, scalars.bit_length(amax), scalars.reciprocal(amax)))


@pytest.mark.parametrize("bits", [0, 1, 9, 31])
def test_vectors_are_the_golden_models(bits):
    rng, count = np.random.default_rng(bits), 64
    v = rng.integers(-(1 << bits) + 1, 1 << bits, count)
    pre, gain = rng.integers(-32767, 32768, (2, count))
    (stats,) = golden_quantise.statistics(v[None], v[None], pre, [gain])
    total, peak = torch.zeros(4, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    q = torch.zeros(count, dtype=torch.int32)
    _vector[(1,)](torch.from_numpy(v.astype(np.int32)), torch.from_numpy(pre.astype(np.int16)),
                  torch.from_numpy(gain.astype(np.int16)), total, peak, q, N=count)
    upper1, upper2, lower1, lower2 = total.tolist()
    assert ((upper1 << 32) + lower1, (upper2 << 32) + lower2) == (stats.s1, stats.s2)
    assert (int(peak),) == stats.amax
    assert (q.numpy() == golden_quantise.quantise(v[None], gain, stats.amax)[0]).all()


# Whole models.

def test_stages_of_a_token(image, engine):
    golden = GoldenEngine(image)
    expected = [golden.stage_vector([5, 9], stage) for stage in range(image.stages)]
    engine._put(None)
    for section, one, other in zip(image.sections, engine._vectors([5, 9]), expected,
                                   strict=True):
        assert np.array_equal(one, other), section.name


@pytest.mark.parametrize("registers", [lanes.AHEAD_REGISTERS, 0])
def test_several_tokens_of_some_conversations_in_one_pass(image, monkeypatch, registers):
    """Also of vectors so long that their trits are tripled when they are needed."""
    monkeypatch.setattr(lanes, "AHEAD_REGISTERS", registers)
    engines = CudaEngine(image, CPU), GoldenEngine(image)
    texts = [([4, 9], True), ([12], True), ([3, 3, 7], False)]
    for _ in range(2):          # the second time with what the first has left
        here, there = ([Work(engine.open(), *text) for text in texts] for engine in engines)
        for _ in range(2):
            assert engines[0].step(here) == engines[1].step(there)
        for one, other in zip(here, there, strict=True):
            assert one.conversation.save() == other.conversation.save()


def test_more_conversations_than_places(image, monkeypatch):
    """The one whose turn was longest ago goes to the host, and comes back."""
    monkeypatch.setattr(cuda_engine, "PLACES", 2)
    engines = CudaEngine(image, CPU), GoldenEngine(image)
    here, there = ([engine.open() for _ in range(3)] for engine in engines)
    for tokens in ((4, 9, 12), (3, 7, 5)):
        for one, other, token in zip(here, there, tokens, strict=True):
            assert one.step(token) == other.step(token)
    here.pop().close()
    here.append(engines[0].open())
    assert here[0].step(8) == there[0].step(8)
    assert here[2].step(8) == engines[1].open().step(8)


def test_what_follows_the_stop_token_changes_nothing(image):
    golden = GoldenEngine(image).open()
    stop = golden.step(5).candidates.best
    engine = CudaEngine(image, CPU)
    engine.stop_tokens = (stop,)
    place, conversation = engine._states.nobody, engine.open()
    assert len(list(engine._lanes.run([(place, 5)], 2, stop))) == 1
    assert np.array_equal(engine._states.read(place), golden.save().values)
    assert len(list(conversation.run(5, 2))) == 1
    assert conversation.save() == golden.save()


def test_narrow_rows(tmp_path):
    """The other width of embedding rows, and fewer tokens than candidates."""
    shape = ModelConfig(hidden=16, intermediate=8, layers=1, vocab=5, bos=0, eos=None)
    image = pack(DummyCheckpoint(shape), tmp_path / "i")
    golden, gpu = GoldenEngine(image).open(), CudaEngine(image, CPU).open()
    assert gpu.step(4) == golden.step(4)
    assert gpu.feed([1, 2]) == golden.feed([1, 2])


def test_the_float_reference(image, engine):
    checkpoint, tokens = DummyCheckpoint(SHAPE, seed=3, outliers=True), [3, 40, 17, 22]
    reference = engine.reference(checkpoint)
    state = reference.new_state()
    found = np.concatenate([reference.logits(tokens[:2], state),
                            reference.logits(tokens[2:], state)])
    np.testing.assert_allclose(found, FloatModel(checkpoint).logits(tokens), rtol=1e-6, atol=1e-6)


# What a user can do wrong.

@pytest.mark.parametrize("uri, error, message", [
    ("cuda:one", BadInput, "no number behind the colon"),
    (f"cuda:{'9' * 5000}", BadInput, "no number behind the colon"),
    ("cuda", DeviceError, "finds no CUDA GPU here"),
])
def test_gpus_that_are_not_there(image, monkeypatch, uri, error, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(error, match=message):
        open_engine(uri, Model("tiny", image.path))


def test_without_torch(image, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tritstream_cuda", None)
    monkeypatch.delitem(__import__("sys").modules, "tritstream_cuda.engine")
    with pytest.raises(MissingTool, match=r"pip install 'tritstream\[cuda\]'"):
        open_engine("cuda", Model("tiny", image.path))
