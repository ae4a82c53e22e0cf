"""Choice of tokens among candidates."""

import collections
import math

import pytest

from tritstream.engines.candidates import Candidates
from tritstream.errors import BadInput
from tritstream.runtime.sampling import Sampler

FOUR = Candidates((7, 3, 9, 1), (math.log(8), math.log(4), math.log(3), math.log(1)))


def draws(count=4000, **options):
    sampler = Sampler(**options)
    return collections.Counter(sampler.choose(FOUR) for _ in range(count))


def test_greedy_takes_the_best():
    assert draws(10) == {7: 10}
    assert Sampler().greedy
    assert not Sampler(temperature=0.1).greedy


def test_probabilities_are_those_of_the_logits():
    counts = draws(temperature=1.0, seed=1)
    for token, share in zip(FOUR.tokens, (8 / 16, 4 / 16, 3 / 16, 1 / 16), strict=True):
        assert counts[token] / 4000 == pytest.approx(share, abs=0.03)


def test_temperature_sharpens_and_flattens():
    assert draws(temperature=0.5, seed=1)[7] / 4000 == pytest.approx(64 / 90, abs=0.03)
    assert draws(temperature=100.0, seed=1)[7] / 4000 == pytest.approx(0.25, abs=0.03)


def test_top_k_keeps_the_best():
    assert set(draws(temperature=1.0, top_k=2)) == {7, 3}
    assert set(draws(temperature=1.0, top_k=1)) == {7}


@pytest.mark.parametrize("top_p, kept", [
    (0.4, {7}), (0.5, {7}), (0.51, {7, 3}), (0.75, {7, 3}), (0.8, {7, 3, 9}), (1.0, {7, 3, 9, 1})])
def test_top_p_keeps_the_fewest_that_suffice(top_p, kept):
    assert set(draws(temperature=1.0, top_p=top_p)) == kept


def test_the_seed_decides():
    def text(seed):
        sampler = Sampler(temperature=2.0, seed=seed)
        return [sampler.choose(FOUR) for _ in range(50)]

    assert text(5) == text(5)
    assert text(5) != text(6)
    # Written down, so that another release does not tell another story.
    assert text(5)[:8] == [3, 9, 9, 1, 9, 1, 7, 3]


def test_extreme_logits_and_temperatures():
    wide = Candidates((1, 2), (1e30, -1e30))
    assert Sampler(temperature=1e-300).choose(wide) == 1
    assert Sampler(temperature=1e-9).choose(FOUR) == 7


@pytest.mark.parametrize("options, sentence", [
    (dict(temperature=-1), "temperature must be at least 0 and finite, not -1"),
    (dict(temperature=math.nan), "not nan"),
    (dict(temperature=math.inf), "not inf"),
    (dict(top_k=0), "top-k must be at least 1, not 0"),
    (dict(top_p=0.0), "top-p must be above 0 and at most 1, not 0.0"),
    (dict(top_p=1.5), "not 1.5"),
])
def test_numbers_out_of_range(options, sentence):
    with pytest.raises(BadInput, match=sentence):
        Sampler(**options)


def test_no_more_candidates_than_the_device_keeps():
    Sampler(temperature=1.0).check(16, "sim")
    Sampler().check(5, "sim")               # greedy needs one, and the default is no wish
    Sampler(top_k=20).check(20, "sim")
    for temperature in (0.0, 1.0):
        with pytest.raises(BadInput, match="top-k is 17, but sim reports only its 16 best"):
            Sampler(temperature=temperature, top_k=17).check(16, "sim")
    with pytest.raises(BadInput, match="top-k is 16, but sim reports only its 5 best"):
        Sampler(temperature=1.0).check(5, "sim")


def drawn_one_by_one(count=400, prompt=(), **options):
    sampler = Sampler(**options)
    sampler.begin(prompt)
    return [sampler.choose(FOUR) for _ in range(count)]


def test_min_p_keeps_what_is_likely_beside_the_best():
    assert set(draws(temperature=1.0, min_p=0.3)) == {7, 3, 9}
    assert set(draws(temperature=1.0, min_p=0.4)) == {7, 3}
    assert set(draws(temperature=1.0, min_p=1.0)) == {7}


def test_a_bias_is_added_to_the_logit():
    assert draws(10, logit_bias={1: math.log(8) + 1e-9}) == {1: 10}
    assert draws(10, logit_bias={7: -100, 5: 100}) == {3: 10}      # 5 is no candidate
    assert not Sampler(logit_bias={7: 1}).greedy
    counts = draws(temperature=1.0, seed=2, logit_bias={3: math.log(2)})
    assert counts[3] / 4000 == pytest.approx(8 / 20, abs=0.03)


def test_penalties_count_what_was_drawn():
    """The logits are the logarithms of 8, 4, 3 and 1; each draw costs one more."""
    assert drawn_one_by_one(5, presence_penalty=0.7) == [7, 3, 7, 7, 7]
    assert drawn_one_by_one(4, frequency_penalty=0.7) == [7, 3, 7, 9]
    assert drawn_one_by_one(3, prompt=[7], frequency_penalty=2.0) == [7, 3, 9]


def test_repetition_counts_the_prompt_too():
    assert drawn_one_by_one(2, prompt=[7], repetition_penalty=1.6) == [3, 7]
    negative = Candidates((4, 2), (-1.0, -1.5))
    sampler = Sampler(repetition_penalty=2.0)
    sampler.begin([4])
    assert sampler.choose(negative) == 2
    assert sampler.choose(negative) == 4


@pytest.mark.parametrize("options, sentence", [
    (dict(min_p=-0.1), "min-p"), (dict(min_p=1.1), "min-p"), (dict(min_p=math.nan), "min-p"),
    (dict(repetition_penalty=0), "repetition"), (dict(repetition_penalty=math.inf), "repetition"),
    (dict(presence_penalty=2.1), "presence"), (dict(frequency_penalty=math.nan), "frequency"),
    (dict(logit_bias={3: 101}), "token 3"), (dict(logit_bias={3: math.nan}), "token 3"),
])
def test_what_is_out_of_range(options, sentence):
    with pytest.raises(BadInput, match=sentence):
        Sampler(**options)
