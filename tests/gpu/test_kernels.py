"""The kernels of training on a real GPU, at sizes that fill it; see `tests/train` for the rest."""

import pytest
import torch
from torch.nn import functional

from step import measure
from tritstream.model.config import ModelConfig
from tritstream_train.kernels.graph import GraphedLoss
from tritstream_train.kernels.mlgru import mlgru, mlgru_backward
from tritstream_train.kernels.ternary import product
from tritstream_train.model.hgrn import IGNORE, HGRNBit
from tritstream_train.model.scan import recurrence

CONFIG = ModelConfig(hidden=256, intermediate=768, layers=3, vocab=4096)
DEVICE = "cuda"


def error(ours, theirs):
    ours, theirs = ours.double(), theirs.double()
    return ((ours - theirs).norm() / theirs.norm()).item()


def trained_like(config, **options):
    """A model whose gains and bounds are not those that it starts from."""
    torch.manual_seed(7)
    with torch.device(DEVICE):
        model = HGRNBit(config, **options)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("norm.weight"):
                    parameter.copy_((0.2 * torch.randn_like(parameter)).exp())
                elif name.endswith("lower_bounds"):
                    parameter.normal_()
        tokens = torch.randint(config.vocab, (4, 300))
    targets = tokens.roll(-1, 1)
    targets[:, -1] = IGNORE
    return model, tokens, targets


def gradients(model, tokens, targets, fused, dtype):
    model.fused, model.dtype = fused, dtype
    model.zero_grad()
    loss = model.loss(tokens, targets)
    loss.backward()
    return loss.item(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("use_lower_bound", [False, True])
def test_gradients_are_those_of_the_plain_path(use_lower_bound):
    config = ModelConfig(hidden=256, intermediate=768, layers=3, vocab=4096,
                         use_lower_bound=use_lower_bound)
    model = trained_like(config)
    truth, expected = gradients(*model, False, torch.float32)
    exact, ours = gradients(*model, True, torch.float32)
    assert exact == pytest.approx(truth, rel=1e-4)
    for name, gradient in expected.items():
        assert error(ours[name], gradient) < 0.04, name     # codes next to a tie fall either way

    # In bfloat16 both paths are as far from float32.
    _, plain = gradients(*model, False, torch.bfloat16)
    rounded, fused = gradients(*model, True, torch.bfloat16)
    assert rounded == pytest.approx(truth, rel=1e-3)
    for name, gradient in expected.items():
        assert error(fused[name], gradient) < 1.3 * error(plain[name], gradient) + 0.005, name


@torch.no_grad()
def test_logits_are_those_of_the_plain_path():
    model, tokens, _ = trained_like(CONFIG, dtype=torch.float32)
    plain = model(tokens)
    model.fused = True
    state = model.new_state(len(tokens))
    cuts = [model(part, state=state) for part in tokens.split([1, 99, 200], dim=1)]
    assert functional.cosine_similarity(model(tokens), plain, dim=-1).mean() > 0.9995
    assert functional.cosine_similarity(torch.cat(cuts, 1), plain, dim=-1).mean() > 0.9995


@pytest.mark.parametrize("count, n, m, k", [
    (1, 1, 33, 64), (2, 300, 257, 1000), (3, 1000, 1024, 1024), (1, 4096, 5632, 2048),
    (1, 70, 32000, 2816)])
def test_products_are_exact(count, n, m, k):
    generator = torch.Generator(DEVICE).manual_seed(k)
    x = torch.randint(-127, 128, (count, n, k), generator=generator, device=DEVICE)
    codes = torch.randint(-1, 2, (count, m, k), generator=generator, device=DEVICE)
    ones = torch.ones(count, n, device=DEVICE)
    sums = product(x.to(torch.int8), ones, codes.to(torch.int8), ones[:, 0], torch.float32)
    assert torch.equal(sums.double(), x.double() @ codes.double().mT)


@pytest.mark.parametrize("batch, length, columns", [(3, 1, 64), (2, 2048, 1024), (1, 10_000, 200)])
def test_recurrence(batch, length, columns):
    generator = torch.Generator(DEVICE).manual_seed(length)
    i, f, dh = torch.randn(3, batch, length, columns, generator=generator, device=DEVICE)
    f += 3                                              # remembers for hundreds of tokens
    bound = torch.rand(columns, generator=generator, device=DEVICE) / 2
    state = torch.randn(batch, columns, generator=generator, device=DEVICE)
    leaves = [tensor.double().requires_grad_() for tensor in (i, f, bound)]
    forget = leaves[2] + (1 - leaves[2]) * leaves[1].sigmoid()
    update = functional.silu(leaves[0]) * (1 - forget)
    expected = recurrence(forget, update, state.double())
    wanted = torch.autograd.grad((expected * dh).sum(), leaves)

    h, carry = mlgru(i, f, bound, state)
    di, df = torch.empty_like(i), torch.empty_like(f)
    dbound = mlgru_backward(i, f, h, dh, bound, carry, di, df)
    assert error(h, expected) < 1e-6 and error(carry[:, -1], expected[:, -1]) < 1e-6
    for ours, theirs in zip((di, df, dbound), wanted, strict=True):
        assert error(ours, theirs) < 1e-4


def test_a_graph_gives_the_same_losses_and_gradients():
    model, tokens, targets = trained_like(CONFIG, fused=True)
    state = model.new_state(4)
    batches = [(tokens, targets), (targets.clamp(min=0), tokens)]
    expected = [model.loss(*batch, state).detach() for batch in batches]
    loss, wanted = gradients(model, tokens, targets, True, torch.bfloat16)
    model.zero_grad()

    graph = GraphedLoss(model, 4, 300, scale=0.5)
    graphed_state = model.new_state(4)
    ours = [graph(*batch, graphed_state).clone() for batch in batches]
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(graphed_state, state)
    graph.zero_grad()
    for _ in range(2):
        assert graph(tokens, targets).item() == pytest.approx(loss, rel=1e-5)
    for name, parameter in model.named_parameters():
        assert error(parameter.grad, wanted[name]) < 1e-3, name


def test_a_graph_drops_anew_in_every_pass_and_the_same_from_a_seed():
    model, tokens, targets = trained_like(CONFIG, fused=True, dropout=0.1)
    graph = GraphedLoss(model, *tokens.shape)

    def losses(seed):
        torch.manual_seed(seed)
        return [graph(tokens, targets).item() for _ in range(3)]
    assert len(set(losses(1))) == 3
    assert losses(1) == losses(1) != losses(2)


def test_fused_steps_are_faster_and_smaller():
    config = ModelConfig(hidden=1024, intermediate=2816, layers=4, vocab=4096)
    plain, fused = (measure("four layers", config, path=path, batch=8, tokens=2048,
                            steps=3)
                    for path in ("plain", "fused"))
    assert fused.speed > 2 * plain.speed
    assert fused.gigabytes < 0.39 * plain.gigabytes
