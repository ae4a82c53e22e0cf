"""The MatMul-free LM (arXiv 2406.02528) for training, with its published tensor names."""

import math

import torch
from torch import nn
from torch.nn import functional

from tritstream.model.config import ModelConfig
from tritstream_train.model.bitlinear import BitLinear, RMSNorm
from tritstream_train.model.scan import recurrence

__all__ = ["IGNORE", "HGRNBit"]

IGNORE = -100               # target of a position that does not count
INITIAL_STD = 0.02
PROJECTION_GAIN = 2 ** -2.5     # of the uniform distribution that i, f, g and o start from


class HGRNBit(nn.Module):
    """The whole language model.

    Parameters are float32, and their names and shapes those of `tritstream.model.config.
    tensor_shapes`. The residual stream, the norms and the recurrence are float32 too; `dtype` is
    that of the products and of what is kept for the backward pass.

    Parameters
    ----------
    config : ModelConfig
        Dimensions and constants.
    fused : bool
        Compute with this package's kernels, which need a CUDA device (or Triton's interpreter);
        otherwise with plain tensor operations and autograd.
    dtype : torch.dtype
        `torch.bfloat16` or `torch.float32`.
    dropout : float
        Share of the channels that is left out of the embedding and of what every mixer adds, while
        the model is in training mode.
    """

    def __init__(self, config: ModelConfig, *, fused: bool = False,
                 dtype: torch.dtype = torch.bfloat16, dropout: float = 0.0):
        super().__init__()
        self.config = config
        self.fused = fused
        self.dtype = dtype
        self.model = _Backbone(config, dropout)
        self.lm_head = BitLinear(config.hidden, config.vocab)
        self.initialise()

    @torch.no_grad()
    def initialise(self):
        """Draw new parameters from the distributions that the authors' code starts from."""
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1)
            elif name == "model.lower_bounds":
                parameter.zero_()
            elif ".attn." in name:
                nn.init.xavier_uniform_(parameter, gain=PROJECTION_GAIN)
            elif name.endswith("down_proj.weight"):
                # Two residual branches a layer: their sum starts as wide as one.
                nn.init.normal_(parameter, std=INITIAL_STD / math.sqrt(2 * self.config.layers))
            else:
                nn.init.normal_(parameter, std=INITIAL_STD)

    def new_state(self, batch: int) -> torch.Tensor:
        """Return the recurrent state before any token: float32 zeros, [B, L, H]."""
        weight = self.model.norm.weight
        return weight.new_zeros(batch, self.config.layers, self.config.hidden, dtype=torch.float32)

    def forward(self, tokens, targets=None, state=None):
        """Logits, or with `targets` their loss (in one method, so that wrappers see both).

        Parameters
        ----------
        tokens : Tensor
            int64 [B, T].
        targets : Tensor, optional
            int64 [B, T], the token that follows each; `IGNORE` where none counts.
        state : Tensor, optional
            From `new_state`; read, and left as it is after the last token. No gradient crosses it.

        Returns
        -------
        Tensor
            Logits [B, T, V] (without gradients if the model is fused), or the mean cross entropy in
            nats over all targets that count.
        """
        if self.fused:
            return self._fused(tokens, targets, state)
        with torch.autocast(tokens.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.lm_head(self.model(tokens, state))
        if targets is None:
            return logits
        return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(),
                                        ignore_index=IGNORE)

    def _fused(self, tokens, targets, state):
        from tritstream_train.kernels.blocks import head
        from tritstream_train.kernels.loss import fused_loss
        x, delta = self.model.fused(tokens, state, self.dtype)
        if targets is None:
            return head(x, delta, self.model.norm, self.lm_head, self.dtype).view(*tokens.shape, -1)
        return fused_loss(x, delta, self.model.norm, self.lm_head, targets.flatten(), self.dtype)

    def loss(self, tokens, targets, state=None):
        """Mean cross entropy in nats, see `forward`."""
        return self(tokens, targets, state)


class _Backbone(nn.Module):
    """Everything but the head."""

    def __init__(self, config: ModelConfig, dropout: float):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab, config.hidden)
        self.dropout = nn.Dropout(dropout)
        if config.use_lower_bound:
            self.lower_bounds = nn.Parameter(torch.zeros(config.layers, config.hidden))
        self.layers = nn.ModuleList(_Block(config, dropout) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden, config.eps)
        self.config = config

    def forward(self, tokens, state):
        x = self.dropout(self.embeddings(tokens))
        bounds = self._bounds()
        for number, layer in enumerate(self.layers):
            x = layer(x, bounds[number], None if state is None else state[:, number])
        return self.norm(x)

    def fused(self, tokens, state, dtype):
        """Return the residual stream [B T, H] in two parts that the head adds up."""
        x, delta = self.dropout(self.embeddings(tokens)).flatten(0, 1), None
        bounds = self._bounds()
        for number, layer in enumerate(self.layers):
            state_part = None if state is None else state[:, number]
            x, delta = layer(x, bounds[number], state_part, (delta, len(tokens), dtype))
        return x, delta

    def _bounds(self):
        """Lower bounds of the forget gates [L, H]: 0 in the first layer, growing with depth."""
        if not self.config.use_lower_bound:
            return self.norm.weight.new_zeros(self.config.layers, self.config.hidden)
        share = self.lower_bounds.float().softmax(0)
        return (share.cumsum(0) - share[0]).clamp(max=1)


class _Block(nn.Module):
    def __init__(self, config: ModelConfig, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attn_norm = RMSNorm(config.hidden, config.eps)
        self.attn = _TokenMixer(config)
        self.mlp_norm = RMSNorm(config.hidden, config.eps)
        self.mlp = _ChannelMixer(config)

    def forward(self, x, bound, state, fused=None):
        if fused is not None:
            return self._fused(x, bound, state, *fused)
        x = x + self.dropout(self.attn(self.attn_norm(x), bound, state))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))

    def _fused(self, x, bound, state, delta, batch, dtype):
        from tritstream_train.kernels.blocks import channel_mixer, token_mixer
        x, delta = token_mixer(x, delta, self.attn_norm, self.attn, bound, state, batch, dtype)
        x, delta = channel_mixer(x, self.dropout(delta), self.mlp_norm, self.mlp, dtype)
        return x, self.dropout(delta)


class _TokenMixer(nn.Module):
    """MLGRU."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        for name in ("i_proj", "f_proj", "g_proj", "o_proj"):
            setattr(self, name, BitLinear(config.hidden, config.hidden))
        self.g_norm = RMSNorm(config.hidden, config.eps)

    def forward(self, y, bound, state):
        forget = bound + (1 - bound) * self.f_proj(y).float().sigmoid()
        update = functional.silu(self.i_proj(y).float()) * (1 - forget)
        # A copy, since the state moves on before the backward pass asks what it was.
        h = recurrence(forget, update, None if state is None else state.clone())
        if state is not None:
            state.copy_(h[:, -1].detach())
        return self.o_proj(self.g_norm(self.g_proj(y)) * functional.silu(h))


class _ChannelMixer(nn.Module):
    """GLU."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gate_proj = BitLinear(config.hidden, 2 * config.intermediate)
        self.down_proj = BitLinear(config.intermediate, config.hidden)

    def forward(self, y):
        a, b = self.gate_proj(y).chunk(2, dim=-1)
        return self.down_proj(functional.silu(a) * b)
