"""The head and the cross entropy, some tokens at a time, so that logits are never stored whole.

Logits are float32. When gradients are wanted they are computed in the same pass, while the logits
of a chunk are at hand; the backward pass only hands them on.
"""

import torch
import triton
import triton.language as tl

from tritstream_train.kernels.common import matmul
from tritstream_train.kernels.norm import norm_backward, norm_quantise
from tritstream_train.kernels.ternary import magnitudes, product, ternary_codes

__all__ = ["fused_loss"]

CHUNK_LOGITS = 1 << 26      # 256 MB of float32
CHUNK_ALIGN = 128           # tokens; whole tiles of a product
BLOCK = 4096


@triton.jit
def _cross_entropy_kernel(logits, targets, count, losses, dlogits, vocab, GRADIENT: tl.constexpr,
                          BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    logits += row * vocab
    target = tl.load(targets + row)
    top = -float("inf")
    total = 0.0
    for start in range(0, vocab, BLOCK):
        column = start + tl.arange(0, BLOCK)
        x = tl.load(logits + column, mask=column < vocab, other=-float("inf"))
        above = tl.maximum(top, tl.max(x, axis=0))
        total = total * tl.exp(top - above) + tl.sum(tl.exp(x - above), axis=0)
        top = above
    counts = target >= 0
    chosen = tl.load(logits + target, mask=counts, other=0.0)
    tl.store(losses + row, tl.where(counts, tl.log(total) + top - chosen, 0.0))
    if GRADIENT:
        share = tl.where(counts, 1.0, 0.0) / tl.load(count)
        dlogits += row * vocab
        for start in range(0, vocab, BLOCK):
            column = start + tl.arange(0, BLOCK)
            x = tl.load(logits + column, mask=column < vocab, other=-float("inf"))
            grad = share * (tl.exp(x - top) / total - tl.where(column == target, 1.0, 0.0))
            tl.store(dlogits + column, grad.to(dlogits.dtype.element_ty), mask=column < vocab)


def fused_loss(x, delta, norm, head, targets, dtype):
    """Mean cross entropy of the head's logits.

    Parameters
    ----------
    x, delta : Tensor
        Residual stream and what to add to it, [N, H].
    norm : RMSNorm
        In front of the head.
    head : BitLinear
        [V, H].
    targets : Tensor
        int64 [N]; negative where none counts.
    dtype : torch.dtype
        Of the gradients' products.

    Returns
    -------
    Tensor
        Nats, a float32 scalar.
    """
    arguments = x, delta, norm.weight, head.norm.weight, head.weight
    gradient = torch.is_grad_enabled() and any(argument.requires_grad for argument in arguments)
    return _Head.apply(*arguments, targets, norm.eps, dtype, gradient)


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, delta, gain, inner_gain, weight, targets, eps, dtype, gradient):
        total, kept, codes, steps = norm_quantise(x, delta, gain, [inner_gain], eps, dtype)
        trits, scales = ternary_codes([weight], magnitudes([weight]))
        rows, vocab = len(x), len(weight)
        losses = torch.empty(rows, device=x.device)
        count = (targets >= 0).sum().clamp(min=1).float()
        if gradient:
            wide = trits[0].to(dtype)
            dy = torch.empty_like(kept)
            dweight = torch.zeros_like(weight)
        chunk = max(CHUNK_ALIGN, CHUNK_LOGITS // vocab // CHUNK_ALIGN * CHUNK_ALIGN)
        for start in range(0, rows, chunk):
            part = slice(start, min(start + chunk, rows))
            logits = product(codes[:, part], steps[:, part], trits, scales, torch.float32)[0]
            dlogits = torch.empty_like(logits, dtype=dtype) if gradient else logits
            _cross_entropy_kernel[(len(logits),)](
                logits, targets[part], count, losses[part], dlogits, vocab, GRADIENT=gradient,
                BLOCK=BLOCK, num_warps=8)
            if gradient:
                torch.mm(dlogits, wide, out=dy[part])
                values = codes[0, part].to(dtype) * steps[0, part, None].to(dtype)
                dweight += matmul(dlogits.T, values)
        if gradient:
            dx, dx_low, _, dgains = norm_backward(kept, dy[None], scales, None, gain, [inner_gain],
                                                  eps)
            ctx.save_for_backward(dx, dx_low, dgains, dweight)
        return losses.sum() / count

    @staticmethod
    def backward(ctx, grad):
        dx, dx_low, dgains, dweight = ctx.saved_tensors
        dgain, dinner = dgains * grad
        return (dx * grad, dx_low * grad.to(dx_low.dtype), dgain, dinner, dweight * grad,
                None, None, None, None)
