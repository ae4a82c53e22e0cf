"""The float reference on a GPU: what `tritstream.reference` computes, where the engine is.

Float64, with row sums in float32 where they are exact. It differs from the one in NumPy by the
rounding of sums, 10^-15 of them, which is enough to move a favourite only in a tie.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from tritstream.reference import AMAX_FLOOR, LINEAR_EPS

__all__ = ["FloatReference"]

BLOCK = 32


class FloatReference:
    """A checkpoint in a GPU's memory, one byte per weight.

    Parameters
    ----------
    checkpoint : Checkpoint
        Or anything with its methods.
    device : torch.device
        Where it goes.
    """

    def __init__(self, checkpoint, device: torch.device):
        self.config = config = checkpoint.config
        self.device = device
        self._embedding = self._moved(checkpoint.embedding_rows(0, config.vocab))
        bounds = self._moved(checkpoint.lower_bounds())
        self._layers = [self._layer(checkpoint, f"model.layers.{n}", bounds[n])
                        for n in range(config.layers)]
        self._norm = self._gain(checkpoint, "model.norm")
        self._head = self._linear(checkpoint, "lm_head")

    def _moved(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _gain(self, checkpoint, name: str) -> torch.Tensor:
        return self._moved(checkpoint.gain(name)).double()

    def _linear(self, checkpoint, name: str):
        codes, scale = checkpoint.ternary(name)
        return self._gain(checkpoint, f"{name}.norm"), self._moved(codes), scale

    def _layer(self, checkpoint, prefix: str, bound: torch.Tensor) -> dict:
        gains = {name: self._gain(checkpoint, f"{prefix}.{path}") for name, path in (
            ("attn_norm", "attn_norm"), ("g_norm", "attn.g_norm"), ("mlp_norm", "mlp_norm"))}
        linears = {name: self._linear(checkpoint, f"{prefix}.{path}") for name, path in (
            *((n, f"attn.{n}_proj") for n in "ifgo"), ("gate", "mlp.gate_proj"),
            ("down", "mlp.down_proj"))}
        return {"bound": bound, **gains, **linears}

    def new_state(self) -> torch.Tensor:
        """State before any token, float64 [L, H]."""
        return torch.zeros(self.config.layers, self.config.hidden, dtype=torch.float64,
                           device=self.device)

    def logits(self, tokens, state: torch.Tensor) -> np.ndarray:
        """Logits float64 [T, V] after every token [T]; `state` moves on."""
        index = torch.from_numpy(np.asarray(tokens, np.int64)).to(self.device)
        x = self._embedding[index].double()
        for layer, own in zip(self._layers, state, strict=True):
            x = self._block(layer, x, own)
        return _bit(_rms(x, self._norm, self.config.eps), *self._head).cpu().numpy()

    def _block(self, layer: dict, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        eps = self.config.eps
        y = _rms(x, layer["attn_norm"], eps)
        forget = layer["bound"] + (1 - layer["bound"]) * torch.sigmoid(_bit(y, *layer["f"]))
        h = _recurrence(forget, _silu(_bit(y, *layer["i"])) * (1 - forget), state)
        g = _bit(y, *layer["g"])
        x = x + _bit(_rms(g, layer["g_norm"], eps) * _silu(h), *layer["o"])
        a, b = _bit(_rms(x, layer["mlp_norm"], eps), *layer["gate"]).chunk(2, dim=-1)
        return x + _bit(_silu(a) * b, *layer["down"])


def _rms(x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
    return x / torch.sqrt(torch.mean(x * x, dim=-1, keepdim=True) + eps) * gain


def _silu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


def _bit(x: torch.Tensor, gain: torch.Tensor, codes: torch.Tensor, scale: float) -> torch.Tensor:
    y = _rms(x, gain, LINEAR_EPS)
    steps = 127 / torch.clamp(y.abs().amax(dim=-1, keepdim=True), min=AMAX_FLOOR)
    y = y * steps
    q = torch.clamp(torch.copysign(torch.floor(y.abs() + 0.5), y), -128, 127)
    return (q.float() @ codes.float().T).double() * (scale / steps)


def _recurrence(forget: torch.Tensor, update: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    """All states of `h = forget h + update` [T, H]; `state` [H] becomes the last."""
    steps, hidden = update.shape
    h = torch.empty_like(update)
    grid = (triton.cdiv(hidden, BLOCK),)
    _recur[grid](forget.contiguous(), update.contiguous(), h, state, steps, hidden, BLOCK=BLOCK,
                 num_warps=1)
    return h


@triton.jit
def _recur(forget, update, out, state, steps, hidden, BLOCK: tl.constexpr):
    element = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = element < hidden
    h = tl.load(state + element, inside, 0.0)
    for step in tl.range(0, steps, num_stages=4):
        place = step * hidden + element
        h = h * tl.load(forget + place, inside, 0.0) + tl.load(update + place, inside, 0.0)
        tl.store(out + place, h, inside)
    tl.store(state + element, h, inside)
