"""The authors' published model, to be timed beside ours; none of its code is in this package."""

import torch
import triton.language as tl
from torch import nn

from tritstream.errors import MissingTool
from tritstream.model.config import ModelConfig

__all__ = ["AuthorsModel"]


class AuthorsModel(nn.Module):
    """`HGRNBitForCausalLM` of the authors' package `mmfreelm`, with its fused kernels.

    Weights are float32 and products bfloat16 by autocast, as the paper trains.

    Parameters
    ----------
    config : ModelConfig
        Dimensions.

    Raises
    ------
    MissingTool
        The package cannot be imported.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        try:
            from mmfreelm.models import HGRNBitConfig, HGRNBitForCausalLM
        except ImportError as error:
            raise MissingTool(
                f"The path `authors` times the authors' code, which cannot be imported ({error}): "
                "put a checkout of github.com/ridgerchu/matmulfreellm on PYTHONPATH, and install "
                "transformers and einops.") from error
        _round()
        self.model = HGRNBitForCausalLM(HGRNBitConfig(
            vocab_size=config.vocab, hidden_size=config.hidden, num_hidden_layers=config.layers,
            intermediate_size=config.intermediate, rms_norm_eps=config.eps,
            use_lower_bound=config.use_lower_bound))

    def loss(self, tokens, targets):
        """Mean cross entropy in nats.

        Their model takes the targets from the tokens, and has none for the last one of a sequence:
        `targets` is there for the same call as `tritstream_train.model.hgrn.HGRNBit.loss`.
        """
        with torch.autocast(tokens.device.type, torch.bfloat16):
            return self.model(input_ids=tokens, labels=tokens).loss


def _round():
    """Give Triton back the `tl.math.round` that it had when those kernels were written."""
    if not hasattr(tl.math, "round"):
        from triton.language.extra.cuda import libdevice
        tl.math.round = libdevice.round
