"""The float reference: the model as its authors compute it, in float64.

Sums of int8 activations times trits are exact in float32, so they go through float32 matrix
products; everything else is float64. The reference bounds the error of the integer model; it is not
what the hardware computes.
"""

import hashlib

import numpy as np

from tritstream.errors import BadInput
from tritstream.model.weights import Weights
from tritstream.support.blas import product, short_products
from tritstream.support.checks import check_vocabulary

__all__ = ["FloatModel"]

LINEAR_EPS = 1e-6           # of a BitLinear's own norm, whatever the config says of the others
AMAX_FLOOR = 1e-5           # of the absolute maximum that the quantiser divides by
EXACT_COLUMNS = (1 << 24) // 128    # longest row whose sum float32 holds exactly
CHUNK = 1 << 18             # codes widened to float32 at a time: they stay in the cache


class FloatModel:
    """A checkpoint loaded for computation, one byte per weight.

    Tokens are `[T]`, or `[B, T]` for `B` sequences side by side. All but the recurrence is
    vectorised over them.

    Parameters
    ----------
    checkpoint : Weights
        The model.

    Raises
    ------
    BadInput
        The checkpoint cannot be read, or is wider than float32 sums are exact.
    """

    def __init__(self, checkpoint: Weights):
        self.config = config = checkpoint.config
        if max(config.hidden, config.intermediate) > EXACT_COLUMNS:
            raise BadInput(f"The float reference is exact up to {EXACT_COLUMNS} columns, but the "
                           f"model has {max(config.hidden, config.intermediate)}.")
        self._embedding = checkpoint.embedding_rows(0, config.vocab)
        bounds = checkpoint.lower_bounds()
        self._blocks = [_Block(checkpoint, layer, bounds[layer]) for layer in range(config.layers)]
        self._norm = checkpoint.gain("model.norm")
        self._head = _BitLinear(checkpoint, "lm_head")

    def digest(self) -> str:
        """SHA-256 of all that it computes with, 64 hexadecimal digits."""
        digest = hashlib.sha256(repr(self.config).encode())
        for part in (self._embedding, self._norm, *self._head.parts,
                     *(part for block in self._blocks for part in block.parts)):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    def new_state(self, batch: int | None = None) -> np.ndarray:
        """Return the recurrent state before any token: float64 zeros, [L, H] or [B, L, H]."""
        shape = (self.config.layers, self.config.hidden)
        return np.zeros(shape if batch is None else (batch, *shape))

    def logits(self, tokens, state: np.ndarray | None = None,
               trace: dict[str, np.ndarray] | None = None) -> np.ndarray:
        """Logits after every token.

        Parameters
        ----------
        tokens : array of int
            [T] or [B, T].
        state : ndarray, optional
            From `new_state`; read, and left as it is after the last token. Without it the sequences
            start afresh.
        trace : dict, optional
            Filled with the vector in which every stage ends, float64 [..., T, H or I]: `embedding`,
            and for each layer N `layers.N.t` (gated vector z before its division by the RMS of g),
            `layers.N.attn` (residual after attention), `layers.N.p` (silu(a) b) and `layers.N.mlp`
            (residual after the mixer).

        Returns
        -------
        ndarray
            float64 [T, V] or [B, T, V].

        Raises
        ------
        BadInput
            A token is not below the vocabulary's size.
        """
        tokens = np.asarray(tokens, np.int64)
        check_vocabulary(tokens, self.config.vocab)
        if state is None:
            state = self.new_state(*tokens.shape[:-1])
        trace = {} if trace is None else trace
        x = trace["embedding"] = self._embedding[tokens].astype(np.float64)
        with short_products(self.config.hidden * self.config.intermediate):
            for layer, block in enumerate(self._blocks):
                x = block(x, state[..., layer, :], self.config.eps, trace)
            return self._head(_rms(x, self._norm, self.config.eps))

    def step(self, token: int, state: np.ndarray) -> np.ndarray:
        """Logits [V] after one more token of one sequence; `state` [L, H] moves on with it."""
        return self.logits([token], state)[0]


class _Block:
    def __init__(self, checkpoint: Weights, layer: int, bound: np.ndarray):
        self._prefix = prefix = f"model.layers.{layer}"
        self._name = f"layers.{layer}"
        self._bound = bound
        self._attn_norm = checkpoint.gain(f"{prefix}.attn_norm")
        self._g_norm = checkpoint.gain(f"{prefix}.attn.g_norm")
        self._mlp_norm = checkpoint.gain(f"{prefix}.mlp_norm")
        self._i, self._f, self._g, self._o = (
            _BitLinear(checkpoint, f"{prefix}.attn.{name}_proj") for name in "ifgo")
        self._gate = _BitLinear(checkpoint, f"{prefix}.mlp.gate_proj")
        self._down = _BitLinear(checkpoint, f"{prefix}.mlp.down_proj")

    @property
    def parts(self) -> list[np.ndarray]:
        linears = self._i, self._f, self._g, self._o, self._gate, self._down
        return [self._bound, self._attn_norm, self._g_norm, self._mlp_norm,
                *(part for linear in linears for part in linear.parts)]

    def __call__(self, x: np.ndarray, state: np.ndarray, eps: float, trace: dict) -> np.ndarray:
        y = _rms(x, self._attn_norm, eps)
        forget = self._bound + (1 - self._bound) * _sigmoid(self._f(y))
        h = _recur(forget, _silu(self._i(y)) * (1 - forget), state)
        g = self._g(y)
        t = trace[f"{self._name}.t"] = g * self._g_norm * _silu(h)
        x = trace[f"{self._name}.attn"] = x + self._o(t / _root_mean_square(g, eps))
        a, b = np.split(self._gate(_rms(x, self._mlp_norm, eps)), 2, axis=-1)
        p = trace[f"{self._name}.p"] = _silu(a) * b
        x = trace[f"{self._name}.mlp"] = x + self._down(p)
        return x


class _BitLinear:
    """Norm, int8 quantiser, ternary matrix and dequantiser."""

    def __init__(self, checkpoint: Weights, name: str):
        self._gain = checkpoint.gain(f"{name}.norm")
        self._codes, self._scale = checkpoint.ternary(name)

    @property
    def parts(self) -> list[np.ndarray]:
        return [self._gain, self._codes, np.array(self._scale)]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = _rms(x, self._gain, LINEAR_EPS)
        scale = 127 / np.maximum(np.abs(y).max(axis=-1, keepdims=True), AMAX_FLOOR)
        y *= scale
        quantised = np.clip(np.copysign(np.floor(np.abs(y) + 0.5), y), -128, 127)
        return self._matmul(quantised.astype(np.float32)) * (self._scale / scale)

    def _matmul(self, quantised: np.ndarray) -> np.ndarray:
        rows, columns = self._codes.shape
        flat = quantised.reshape(-1, columns)
        sums = np.empty((flat.shape[0], rows))
        step = max(1, CHUNK // columns)
        for row in range(0, rows, step):
            codes = self._codes[row:row + step].astype(np.float32)
            sums[:, row:row + step] = product(flat, codes.T)
        return sums.reshape(*quantised.shape[:-1], rows)


def _recur(forget: np.ndarray, update: np.ndarray, state: np.ndarray) -> np.ndarray:
    """All states h [..., T, H] of `h = forget h + update`; `state` [..., H] becomes the last."""
    h = np.empty_like(update)
    for t in range(update.shape[-2]):
        state *= forget[..., t, :]
        state += update[..., t, :]
        h[..., t, :] = state
    return h


def _root_mean_square(x: np.ndarray, eps: float) -> np.ndarray:
    return np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def _rms(x: np.ndarray, gain: np.ndarray, eps: float) -> np.ndarray:
    return x / _root_mean_square(x, eps) * gain


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * x)     # as 1/(1+exp(-x)), but never overflows


def _silu(x: np.ndarray) -> np.ndarray:
    return x * _sigmoid(x)
