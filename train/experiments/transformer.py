"""Transformer++, the model that the paper compares with (section 4): float weights, attention.

Pre-norm blocks with RMSNorm, rotary embeddings (Su et al., arXiv 2104.09864) and SwiGLU (Shazeer,
arXiv 2002.05202). With the same hidden and intermediate sizes a block has as many matrix elements
as one of the MatMul-free model: four of H x H and three of H x I.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig
from tritstream_train.config import TrainConfig
from tritstream_train.model.bitlinear import RMSNorm

__all__ = ["HEAD", "Transformer", "build"]

HEAD = 64                   # width of an attention head
INITIAL_STD = 0.02
ROTARY_BASE = 10_000


def build(config: TrainConfig, shape: ModelConfig) -> "Transformer":
    """Make one for a run, its weights drawn from the run's seed."""
    torch.manual_seed(config.seed)
    return Transformer(shape, dtype=getattr(torch, config.dtype), dropout=config.dropout)


class Transformer(nn.Module):
    """A causal language model with attention, for comparison.

    Parameters
    ----------
    config : ModelConfig
        Dimensions; `hidden` a multiple of 64.
    dtype : torch.dtype
        Of the products; weights, norms and the residual stream are float32.
    dropout : float
        As in `tritstream_train.model.hgrn.HGRNBit`.

    Raises
    ------
    BadInput
        `hidden` does not divide into heads.
    """

    def __init__(self, config: ModelConfig, *, dtype: torch.dtype = torch.bfloat16,
                 dropout: float = 0.0):
        super().__init__()
        if config.hidden % HEAD:
            raise BadInput(f"A transformer's hidden size must be a multiple of {HEAD}, the width "
                           f"of a head, not {config.hidden}.")
        self.config = config
        self.dtype = dtype
        self.model = _Backbone(config, dropout)
        self.lm_head = nn.Linear(config.hidden, config.vocab, bias=False)
        self.initialise()

    @torch.no_grad()
    def initialise(self):
        """Draw new parameters; what writes to the residual stream is narrower, as in GPT-2."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                narrow = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = 1 / math.sqrt(2 * self.config.layers) if narrow else 1
                nn.init.normal_(parameter, std=INITIAL_STD * scale)

    def forward(self, tokens, targets=None):
        """Logits [B, T, V] of tokens [B, T], or with `targets` [B, T] their mean loss in nats."""
        with torch.autocast(tokens.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.lm_head(self.model(tokens))
        if targets is None:
            return logits
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


class _Backbone(nn.Module):
    def __init__(self, config: ModelConfig, dropout: float):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab, config.hidden)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Block(config, dropout) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.eps)

    def forward(self, tokens):
        x = self.dropout(self.embeddings(tokens))
        rotation = _rotation(tokens.shape[1], x.device)
        for layer in self.layers:
            x = layer(x, rotation)
        return self.norm(x)


class _Block(nn.Module):
    def __init__(self, config: ModelConfig, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attn_norm = RMSNorm(config.hidden, config.eps)
        self.attn = _Attention(config.hidden)
        self.mlp_norm = RMSNorm(config.hidden, config.eps)
        self.mlp = _SwiGLU(config.hidden, config.intermediate)

    def forward(self, x, rotation):
        x = x + self.dropout(self.attn(self.attn_norm(x), rotation))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class _Attention(nn.Module):
    def __init__(self, hidden: int):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(hidden, hidden, bias=False))

    def forward(self, y, rotation):
        q, k, v = (projection(y).unflatten(-1, (-1, HEAD)).transpose(1, 2)
                   for projection in (self.q_proj, self.k_proj, self.v_proj))
        mixed = functional.scaled_dot_product_attention(
            _rotate(q, rotation), _rotate(k, rotation), v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class _SwiGLU(nn.Module):
    def __init__(self, hidden: int, intermediate: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, 2 * intermediate, bias=False)
        self.down_proj = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, y):
        a, b = self.gate_proj(y).chunk(2, dim=-1)
        return self.down_proj(functional.silu(a) * b)


def _rotation(length: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of every position and frequency, float32 [T, HEAD / 2]."""
    frequency = ROTARY_BASE ** (-torch.arange(0, HEAD, 2, device=device) / HEAD)
    angle = torch.arange(length, device=device)[:, None] * frequency
    return angle.cos(), angle.sin()


def _rotate(x, rotation):
    """Turn pairs of channels (c, c + HEAD / 2) of [B, heads, T, HEAD] by their angles."""
    cosine, sine = rotation
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned.to(x.dtype)
