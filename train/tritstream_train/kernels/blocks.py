"""The two halves of a block as one autograd function each, made of this package's kernels.

Between halves travel the float32 residual stream and the last half's result in the model's type;
they are added where the next half reads them for its norm. A half keeps its input, rounded to that
type, and what its projections gave; norms, codes, gates and states are cheap to compute again.
Ternary codes are made where a product needs them, from the master weights. No result is a view:
FSDP2 hangs its hooks on results, and cannot promise to keep them on views.
"""

import torch

from tritstream_train.kernels.common import matmul
from tritstream_train.kernels.gates import (
    glu_backward,
    glu_quantise,
    output_gate_backward,
    output_gate_quantise,
)
from tritstream_train.kernels.mlgru import mlgru, mlgru_backward, mlgru_states
from tritstream_train.kernels.norm import norm_backward, norm_quantise
from tritstream_train.kernels.ternary import magnitudes, product, ternary_codes

__all__ = ["channel_mixer", "head", "token_mixer"]


def token_mixer(x, delta, norm, attn, bound, state, batch, dtype):
    """MLGRU with its norm and projections.

    Parameters
    ----------
    x : Tensor
        Residual stream, float32 [N, H], the tokens of each sequence in order.
    delta : Tensor or None
        What to add to it, [N, H].
    norm, attn : Module
        Of the block.
    bound : Tensor
        [H].
    state : Tensor or None
        float32 [B, H], left as it is after the last token.
    batch : int
        `B`, sequences.
    dtype : torch.dtype
        Of products and of what is kept.

    Returns
    -------
    x, delta : Tensor
        The stream after `delta`, and what to add to it next.
    """
    inputs = attn.i_proj, attn.f_proj, attn.g_proj
    return _TokenMixer.apply(
        x, delta, norm.weight, *(linear.norm.weight for linear in inputs),
        *(linear.weight for linear in inputs), attn.g_norm.weight, attn.o_proj.norm.weight,
        attn.o_proj.weight, bound, state, batch, norm.eps, dtype)


def channel_mixer(x, delta, norm, mlp, dtype):
    """GLU with its norm and projections; arguments and results as of `token_mixer`."""
    return _ChannelMixer.apply(
        x, delta, norm.weight, mlp.gate_proj.norm.weight, mlp.gate_proj.weight,
        mlp.down_proj.norm.weight, mlp.down_proj.weight, norm.eps, dtype)


@torch.no_grad()
def head(x, delta, norm, linear, dtype):
    """Logits [N, V] for all tokens, without gradients."""
    _, _, codes, steps = norm_quantise(x, delta, norm.weight, [linear.norm.weight], norm.eps, dtype)
    weights = [linear.weight]
    return product(codes, steps, *ternary_codes(weights, magnitudes(weights)), torch.float32)[0]


class _TokenMixer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, delta, gain, i_gain, f_gain, g_gain, i_weight, f_weight, g_weight, g_norm,
                o_gain, o_weight, bound, state, batch, eps, dtype):
        total, kept, codes, steps = norm_quantise(x, delta, gain, [i_gain, f_gain, g_gain], eps,
                                                  dtype)
        weights = [i_weight, f_weight, g_weight, o_weight]
        sums = magnitudes(weights)
        trits, scales = ternary_codes(weights, sums)
        ifg = product(codes, steps, trits[:3], scales[:3], dtype)
        i, f = (part.unflatten(0, (batch, -1)) for part in ifg[:2])
        h, carry = mlgru(i, f, bound, None if state is None else state.contiguous())
        if state is not None:
            state.copy_(carry[:, -1])
        codes, steps = output_gate_quantise(ifg[2], h, g_norm, o_gain, eps)
        out = product(codes, steps, trits[3:], scales[3:], dtype).squeeze_(0)
        ctx.save_for_backward(kept, ifg, carry, sums, gain, i_gain, f_gain, g_gain, i_weight,
                              f_weight, g_weight, g_norm, o_gain, o_weight, bound)
        ctx.eps, ctx.first = eps, delta is None
        return total, out

    @staticmethod
    def backward(ctx, dtotal, dout):
        (kept, ifg, carry, sums, gain, i_gain, f_gain, g_gain, i_weight, f_weight,
         g_weight, g_norm, o_gain, o_weight, bound) = ctx.saved_tensors
        i, f = (part.unflatten(0, (len(carry), -1)) for part in ifg[:2])
        difg = torch.empty_like(ifg)
        di, df = (part.unflatten(0, (len(carry), -1)) for part in difg[:2])

        weights = [i_weight, f_weight, g_weight, o_weight]
        trits, scales = ternary_codes(weights, sums, dout.dtype)
        h = mlgru_states(i, f, bound, carry)
        dh, values, (dg_norm, do_gain) = output_gate_backward(
            ifg[2], h.flatten(0, 1), dout @ trits[3], scales[3:], g_norm, o_gain, ctx.eps, difg[2])
        do_weight = matmul(dout.T, values)
        dbound = mlgru_backward(i, f, h, dh.unflatten(0, (len(carry), -1)), bound, carry, di, df)

        dx, dx_low, values, (dgain, *dgains) = norm_backward(
            kept, torch.bmm(difg, trits[:3]), scales, dtotal, gain, [i_gain, f_gain, g_gain],
            ctx.eps)
        dweights = [matmul(grad.T, value) for grad, value in zip(difg, values, strict=True)]
        return (dx, None if ctx.first else dx_low, dgain, *dgains, *dweights, dg_norm, do_gain,
                do_weight, dbound, None, None, None, None)


class _ChannelMixer(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, delta, gain, gate_gain, gate_weight, down_gain, down_weight, eps, dtype):
        total, kept, codes, steps = norm_quantise(x, delta, gain, [gate_gain], eps, dtype)
        gate_sums, down_sums = magnitudes([gate_weight]), magnitudes([down_weight])
        ab = product(codes, steps, *ternary_codes([gate_weight], gate_sums), dtype)[0]
        codes, steps = glu_quantise(ab, down_gain)
        out = product(codes, steps, *ternary_codes([down_weight], down_sums), dtype).squeeze_(0)
        ctx.save_for_backward(kept, ab, gain, gate_gain, gate_weight, gate_sums, down_gain,
                              down_weight, down_sums)
        ctx.eps, ctx.first = eps, delta is None
        return total, out

    @staticmethod
    def backward(ctx, dtotal, dout):
        (kept, ab, gain, gate_gain, gate_weight, gate_sums, down_gain, down_weight,
         down_sums) = ctx.saved_tensors
        trits, scales = ternary_codes([down_weight], down_sums, dout.dtype)
        dab, values, ddown_gain = glu_backward(ab, dout @ trits[0], scales, down_gain)
        ddown_weight = matmul(dout.T, values)

        trits, scales = ternary_codes([gate_weight], gate_sums, dout.dtype)
        dx, dx_low, values, (dgain, dgate_gain) = norm_backward(
            kept, (dab @ trits[0])[None], scales, dtotal, gain, [gate_gain], ctx.eps)
        dgate_weight = matmul(dab.T, values[0])
        return (dx, None if ctx.first else dx_low, dgain, dgate_gain, dgate_weight, ddown_gain,
                ddown_weight, None, None)
