"""The head's loss in chunks, against the whole logits."""

import pytest
import torch
from torch.nn import functional

from tritstream_train.kernels import loss as module
from tritstream_train.kernels.blocks import head
from tritstream_train.kernels.loss import fused_loss
from tritstream_train.model.bitlinear import BitLinear, RMSNorm
from tritstream_train.model.hgrn import IGNORE

ROWS, HIDDEN, VOCAB = 11, 32, 50


@pytest.fixture
def parts():
    torch.manual_seed(2)
    norm, linear = RMSNorm(HIDDEN, 1e-5), BitLinear(HIDDEN, VOCAB)
    with torch.no_grad():
        linear.weight.normal_()
        for gain in (norm.weight, linear.norm.weight):
            gain.uniform_(0.5, 2)
    x, delta = torch.randn(2, ROWS, HIDDEN).unbind()
    targets = torch.randint(VOCAB, (ROWS,))
    targets[3] = IGNORE
    return x.requires_grad_(), delta.requires_grad_(), norm, linear, targets


def gradients(loss, x, delta, norm, linear):
    return torch.autograd.grad(loss, [x, delta, norm.weight, linear.norm.weight, linear.weight])


@pytest.mark.parametrize("chunk_logits, align", [(1 << 26, 128), (4 * VOCAB, 4)])
def test_loss_and_gradients(monkeypatch, parts, chunk_logits, align):
    monkeypatch.setattr(module, "CHUNK_LOGITS", chunk_logits)
    monkeypatch.setattr(module, "CHUNK_ALIGN", align)
    x, delta, norm, linear, targets = parts
    plain = functional.cross_entropy(linear(norm(x + delta)), targets, ignore_index=IGNORE)
    fused = fused_loss(x, delta, norm, linear, targets, torch.float32)
    assert fused.item() == pytest.approx(plain.item(), rel=1e-3)
    expected = gradients(plain, x, delta, norm, linear)
    for ours, theirs in zip(gradients(2 * fused, x, delta, norm, linear), expected, strict=True):
        assert (ours / 2 - theirs).norm() < 0.01 * theirs.norm()


def test_without_gradients_only_the_loss(parts):
    x, delta, norm, linear, targets = parts
    with torch.no_grad():
        loss = fused_loss(x, delta, norm, linear, targets, torch.float32)
    assert not loss.requires_grad
    logits = head(x, delta, norm, linear, torch.float32)
    expected = functional.cross_entropy(logits, targets, ignore_index=IGNORE)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_no_target_counts(parts):
    x, delta, norm, linear, targets = parts
    loss = fused_loss(x, delta, norm, linear, targets.fill_(IGNORE), torch.float32)
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in gradients(loss, x, delta, norm, linear))
