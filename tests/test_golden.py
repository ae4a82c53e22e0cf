"""The golden model against real arithmetic: its formulas, its ranges, and whole models."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritstream.errors import BadInput
from tritstream.formats import FORMATS
from tritstream.golden import GoldenModel, candidates, chain
from tritstream.golden.elementwise import checked, dequantise, glu, mlgru, sigmoid, silu
from tritstream.golden.quantise import quantise, statistics, sum_of_squares
from tritstream.golden.scalars import dequantiser, normalise, reciprocal, squared_norm
from tritstream.image.pack import pack
from tritstream.image.tape import Op, Scalar
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.reference import FloatModel

SMALL = ModelConfig(hidden=48, intermediate=80, layers=2, vocab=97)


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return GoldenModel(pack(DummyCheckpoint(SMALL, seed=3), tmp_path_factory.mktemp("i") / "i"))


@pytest.mark.parametrize("fraction", [0, 5, 11, 12, 13, 17, 20])
def test_sigmoid_is_within_two_units_of_16_bits(fraction):
    x = np.arange(-1 << 17, 1 << 17)
    exact = 65536 / (1 + np.exp(-np.clip(x * 2.0 ** -fraction, -60, 60)))
    assert np.abs(sigmoid(x, fraction) - exact).max() < (2 if fraction <= 12 else 6)


def test_sigmoid_is_symmetric():
    x = np.arange(1, 1 << 17)
    assert (sigmoid(x, 12) + sigmoid(-x, 12) == 65536).all()


def test_silu_of_the_extremes():
    low, high = -1 << 17, (1 << 17) - 1
    assert silu(np.array([low, 0, high]), 10).tolist() == [0, 0, high]


@given(st.integers(1, 1 << 80), st.integers(1, 34))
def test_normalise_truncates(value, bits):
    mantissa, exponent = normalise(value, bits)
    assert mantissa.bit_length() == bits
    assert mantissa == math.floor(value / 2 ** exponent) if exponent < 0 else value >> exponent


@given(st.integers(1, (1 << 47) - 1), st.integers(1, (1 << 79) - 1),
       st.integers(1 << 15, (1 << 16) - 1), st.integers(-60, -18))
def test_dequantiser_is_the_quotient(amax, norm, mantissa, exponent):
    exact = mantissa * 2.0 ** exponent * amax / math.sqrt(norm)
    if not 2.0 ** -36 < exact < 2.0 ** 24:
        return                              # outside of what `pack` produces
    got, shift = dequantiser(amax, norm, Scalar(mantissa, exponent))
    assert got * 2.0 ** (10 - shift) == pytest.approx(exact, rel=2.0 ** -13.5)
    assert got.bit_length() == 16


def test_dequantiser_of_nothing_is_zero():
    assert dequantiser(0, 1, Scalar(65535, 0)) == (0, FORMATS.max_shift)
    assert dequantiser(5, 1, Scalar(0, 0)) == (0, FORMATS.max_shift)


@given(st.integers(1, (1 << 47) - 1))
def test_reciprocal_has_17_bits(amax):
    assert 127 << 9 <= reciprocal(amax) <= 127 << 10
    assert (127 << 10).bit_length() == 17


@given(st.lists(st.integers(-1 << 31, (1 << 31) - 1), min_size=1, max_size=40))
def test_sums_of_squares_are_exact(values):
    assert sum_of_squares(np.array([values])) == [sum(v * v for v in values)]


def test_squared_norm_adds_three_terms():
    [stats] = statistics(np.array([[3, 4]]), np.array([[1000, 0]]), None, [np.array([1, 1])])
    assert stats.s2 == 25
    # 2**-10 of the million that S1 is, its mantissa truncated to 16 bits
    assert squared_norm(stats, Scalar(1 << 15, -25), Scalar(7, 2)) == 25 + 28 + 976


@pytest.mark.parametrize("scale", [1, 1000, 1 << 20])
def test_quantise_rounds_as_the_real_quotient(scale):
    rng = np.random.default_rng(scale)
    vector = rng.integers(-1000, 1001, (20, 64)) * scale
    gain = rng.integers(-32767, 32768, 64)
    amax = np.abs(vector * gain).max(axis=1).tolist()
    exact = 127 * (vector * gain) / np.array(amax)[:, None]
    q = quantise(vector, gain, amax)
    assert np.abs(q - exact).max() <= 0.5 + 2.0 ** -8
    assert np.abs(q).max(axis=1).tolist() == [127] * 20


def test_quantise_of_zeros():
    assert not quantise(np.zeros((1, 4), int), np.ones(4, int), [0]).any()


def test_state_stays_between_its_operands():
    rng = np.random.default_rng(1)
    limit = (1 << 17) - 1
    h = rng.choice([-limit, limit], 5000) << FORMATS.state_extra
    i, f, g = rng.integers(-limit, limit + 1, (3, 5000))
    new, _ = mlgru(i, f, g, np.full(5000, 65535), h, (12, 12))
    update = silu(i, 12) << FORMATS.state_extra
    assert (np.minimum(h, update) <= new).all() and (new <= np.maximum(h, update)).all()


def test_mlgru_is_the_real_recurrence():
    rng = np.random.default_rng(2)
    i, f, g = rng.integers(-60000, 60000, (3, 2000))
    h = rng.integers(-60000 << 6, 60000 << 6, 2000)
    keep = rng.integers(0, 65536, 2000)
    new, z = mlgru(i, f, g, keep, h, (13, 12))
    real_i, real_h = i * 2.0 ** -13, h * 2.0 ** -19
    bound = 1 - keep / 65536
    forget = bound + (1 - bound) / (1 + np.exp(-f * 2.0 ** -12))
    expected = forget * real_h + (1 - forget) * real_i / (1 + np.exp(-real_i))
    assert np.abs(new * 2.0 ** -19 - expected).max() < 2.0 ** -11
    gated = expected / (1 + np.exp(-expected)) * (g * 2.0 ** -10)
    assert np.abs(z * 2.0 ** -20 - gated).max() < 0.02


def test_glu_is_the_real_product():
    a, b = np.random.default_rng(3).integers(-131072, 131072, (2, 2000))
    real = a * 2.0 ** -14
    expected = real / (1 + np.exp(-real)) * (b * 2.0 ** -11)
    assert np.abs(glu(a, b, 14) * 2.0 ** -22 - expected).max() < 0.02


def test_dequantise_rounds_half_up():
    assert dequantise(np.array([3, -3, 1, -1]), 1, 11, 18).tolist() == [2, -1, 1, 0]


def test_overflow_is_never_silent():
    with pytest.raises(OverflowError, match="h has -3..8, which needs more than 4 bits"):
        checked(np.array([-3, 8]), 4, "h")


def test_tokens_one_by_one_or_together(golden):
    tokens = np.random.default_rng(4).integers(0, SMALL.vocab, (1, 12))
    together, state = golden.new_state(), golden.new_state()
    logits = golden.forward(tokens, together)
    for n in range(12):
        one = golden.forward(tokens[:, n:n + 1], state)
        assert (one.acc[0] == logits.acc[n]).all()
        assert (one.mantissa[0], one.shift[0]) == (logits.mantissa[n], logits.shift[n])
    assert (together == state).all()


def test_sequences_do_not_mix(golden):
    tokens = np.random.default_rng(5).integers(0, SMALL.vocab, (3, 300))
    state = golden.new_state(3)
    together = golden.forward(tokens, state).acc.reshape(3, 300, -1)
    for n in range(3):
        alone = golden.forward(tokens[n:n + 1], golden.new_state())
        assert (alone.acc == together[n]).all()


@settings(max_examples=20, deadline=None)
@given(texts=st.lists(st.tuples(st.lists(st.integers(0, SMALL.vocab - 1), min_size=1, max_size=9),
                                st.integers(0, 9)), min_size=1, max_size=5))
def test_more_tokens_of_some_sequences_than_of_others(golden, texts):
    """In one pass, with the head behind some of them: as each sequence is alone."""
    asked = [min(heads, len(tokens)) for tokens, heads in texts]
    state, seen = golden.new_state(len(texts)), {}
    logits = golden.together([tokens for tokens, _ in texts], state, asked,
                             observe=lambda stage, vectors: seen.update({stage: vectors}))
    assert (logits is None) == (not any(asked)) == (golden.image.stages - 1 not in seen)
    ends = np.cumsum([len(tokens) for tokens, _ in texts]), np.cumsum(asked)
    for number, ((tokens, _), heads, *end) in enumerate(zip(texts, asked, *ends, strict=True)):
        place, alone = golden.new_state(), []
        expected = golden.forward([tokens], place, observe=functools.partial(_note, alone))
        assert (state[number] == place[0]).all()
        for stage in range(golden.image.body_stages):
            assert (seen[stage][end[0] - len(tokens):end[0]] == alone[stage][0]).all()
        if heads:
            for name in ("acc", "mantissa", "shift"):
                found = getattr(logits, name)[end[1] - heads:end[1]]
                assert (found == getattr(expected, name)[-heads:]).all()


def _note(notes, stage, vectors):
    notes.append(vectors)


def test_a_prefix_of_the_tape_stops_where_it_ends(golden):
    seen = []
    logits = golden.forward([[5]], golden.new_state(), stages=4,
                            observe=lambda stage, vector: seen.append((stage, vector.shape)))
    assert logits is None
    assert seen == [(0, (1, 1, 48)), (1, (1, 1, 48)), (2, (1, 1, 48)), (3, (1, 1, 80))]


@pytest.mark.parametrize("tokens", [[1, 2], [[0.5]], [[[1]]]])
def test_tokens_that_are_no_sequences(golden, tokens):
    with pytest.raises(BadInput, match=r"Tokens must be integers \[sequences, T\], not "):
        golden.forward(tokens, golden.new_state())


def test_a_state_of_other_conversations(golden):
    with pytest.raises(BadInput, match="The state must be .* take it from `new_state`"):
        golden.forward([[1], [2]], golden.new_state(3))
    with pytest.raises(BadInput, match="The state must be .* take it from `new_state`"):
        golden.together([[1], [2]], golden.new_state(3), [0, 0])


def test_token_out_of_range(golden):
    with pytest.raises(BadInput, match="Token 97 is out of range: this model has tokens 0 to 96"):
        golden.forward([[3, 97]], golden.new_state())
    with pytest.raises(BadInput, match="Token 97 is out of range: this model has tokens 0 to 96"):
        golden.together([[3, 97]], golden.new_state(), [1])


def test_candidates_are_sorted_and_ties_go_to_the_lower_token():
    assert candidates(np.array([1, 7, 7, -2]), 3) == [(1, 7), (2, 7), (0, 1)]


def test_chain_continues_a_digest():
    vector = np.array([1, -2, 3])
    assert chain(vector[1:], chain(vector[:1])) == chain(vector)


@pytest.mark.parametrize("outliers", [False, True])
@pytest.mark.parametrize("shape", [(64, 128, 3, 200), (24, 40, 5, 61), (256, 512, 2, 300)])
def test_whole_models_follow_the_float_reference(tmp_path, shape, outliers):
    """Also with residuals up to 10^4 and gains over three decades nothing overflows."""
    hidden, intermediate, layers, vocab = shape
    model = DummyCheckpoint(ModelConfig(hidden=hidden, intermediate=intermediate, layers=layers,
                                        vocab=vocab), seed=7, outliers=outliers)
    tokens = np.random.default_rng(8).integers(0, vocab, (1, 24))
    golden = GoldenModel(pack(model, tmp_path / "i"))
    got = golden.forward(tokens, golden.new_state()).real().astype(float)
    want = FloatModel(model).logits(tokens[0])
    cosine = (got * want).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    # Random gains over three decades amplify every rounding tie: some tokens drift in any format.
    assert np.median(cosine) > (0.95 if outliers else 0.99), cosine


def test_stages_come_in_the_order_of_the_model(golden):
    ops = [section.header.op for section in golden.sections]
    layer = [Op.MLGRU, Op.RESIDUAL, Op.GLU, Op.RESIDUAL]
    assert ops == [Op.EMBED, *layer, *layer, Op.HEAD]
