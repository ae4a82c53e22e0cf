"""Kernels of flash-linear-attention (package `fla-core`), to be timed beside ours.

Each does of its counterpart here what that library has a kernel for. The functions return what the
kernel makes, and where it is an autograd function the backward pass is PyTorch's call of it.
"""

import torch

from tritstream.errors import MissingTool

__all__ = ["Library"]


class Library:
    """The kernels that have a counterpart in this package.

    Raises
    ------
    MissingTool
        The library cannot be imported.
    """

    def __init__(self):
        try:
            import fla
            from fla.modules.activations import swiglu
            from fla.modules.fused_linear_cross_entropy import fused_linear_cross_entropy_loss
            from fla.modules.norm.fused_norm_gate import rms_norm_gated
            from fla.modules.norm.layernorm_quant import layer_norm_quant_bwd, layer_norm_quant_fwd
            from fla.ops.hgrn import chunk_hgrn, fused_recurrent_hgrn
        except ImportError as error:
            raise MissingTool("Kernels are timed beside those of flash-linear-attention, which "
                              f"cannot be imported ({error}): pip install fla-core.") from error
        self.version = fla.__version__
        self.recurrences = {"chunk_hgrn": chunk_hgrn, "fused_recurrent_hgrn": fused_recurrent_hgrn}
        """`(x, g)`: inputs and logarithms of the forget gates [B, T, H]; the states come first."""
        self.swiglu = swiglu
        """`(a, b)`: `silu(a) b`."""
        self._gated, self._loss = rms_norm_gated, fused_linear_cross_entropy_loss
        self._norm, self._norm_backward = layer_norm_quant_fwd, layer_norm_quant_bwd

    def norm_quantise(self, x, delta, gain, eps):
        """Add, normalise once and quantise for one projection; results are dequantised.

        Returns
        -------
        values, inverse, total : Tensor
            Dequantised codes, inverse root mean squares, and the sum.
        """
        values, _, inverse, total = self._norm(delta, gain, None, eps, residual=x, is_rms_norm=True)
        return values, inverse, total

    def norm_backward(self, dy, total, gain, inverse, residual):
        """Gradients of `norm_quantise`, and its values again."""
        return self._norm_backward(dy, total, gain, None, None, inverse, dres=residual,
                                   has_residual=True, is_rms_norm=True, x_dtype=dy.dtype,
                                   recompute_output=True)

    def gate(self, g, h, gain, eps):
        """`rms(g) gain silu(h)`."""
        return self._gated(g, h, gain, None, activation="swish", eps=eps)

    def loss(self, x, targets, weight) -> torch.Tensor:
        """Mean cross entropy of the head's logits, which are never stored whole."""
        return self._loss(x, targets, weight)
