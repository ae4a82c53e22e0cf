"""Settled weights keep their trits and their scale."""

import numpy as np
import pytest
import torch

from tritstream.model.checkpoint import ternarise
from tritstream.model.config import ModelConfig
from tritstream_train.model import bitlinear
from tritstream_train.model.hgrn import HGRNBit
from tritstream_train.optim.settle import MARGIN, settle, settled


def at_the_threshold(seed, rows=60, columns=50, std=0.02):
    """A matrix of which a third lies on the threshold but for the last bits, and its trits."""
    generator = torch.Generator().manual_seed(seed)
    weight = std * torch.randn(rows, columns, generator=generator)
    chosen = torch.rand(rows, columns, generator=generator) < 0.3
    for _ in range(100):            # until the mean, and with it the threshold, stays
        threshold = torch.copysign(0.5 * weight.abs().mean().expand_as(weight), weight)
        weight = torch.where(chosen, threshold, weight)
    step = torch.randint(-3, 4, (rows, columns), generator=generator)
    weight = weight * torch.where(chosen, 1 + 6e-8 * step, 1)
    return weight, bitlinear.ternarise(weight).sign()


@pytest.mark.parametrize("std", [1e-3, 0.02, 5.0])
def test_trits_and_scale_stay(seed, std):
    weight, trits = at_the_threshold(seed, std=std)
    found = settle(weight, trits)
    assert found.dtype == torch.float32 and torch.equal(found.sign() * trits.abs(), trits)
    scale = weight.double().abs().mean()
    assert torch.isclose(found.double().abs().mean(), scale, rtol=1e-7)
    assert ((found.abs() / scale - 0.5).abs() > 0.99 * MARGIN).all()
    assert (found - weight).abs().max() < 2 * MARGIN * weight.abs().max()


def test_other_arithmetic_sees_the_same_trits(seed):
    weight, trits = at_the_threshold(seed)
    found = settle(weight, trits)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        codes, _ = ternarise(found.to(dtype).double().numpy())
        np.testing.assert_array_equal(codes, trits.numpy())


@pytest.mark.parametrize("fused", [False, True])
def test_all_matrices_and_nothing_else(small_model, fused):
    weights = dict(small_model.state_dict())
    found = settled(weights, torch.device("cpu"), fused=fused)
    assert found.keys() == weights.keys()
    changed = {name for name in weights if not torch.equal(found[name], weights[name])}
    assert changed == {name for name in weights
                       if name.endswith("_proj.weight") or name == "lm_head.weight"}


def test_a_matrix_of_zeros_stays():
    assert not settle(torch.zeros(4, 4), torch.zeros(4, 4)).any()


@pytest.fixture
def small_model():
    torch.manual_seed(1)
    return HGRNBit(ModelConfig(hidden=16, intermediate=24, layers=2, vocab=262, bos=0, eos=1))
