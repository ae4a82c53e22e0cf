"""Dimensions and constants of a model, and the shapes of the tensors that follow from them."""

import dataclasses
import math

from tritstream.errors import BadInput

__all__ = ["ModelConfig", "count_parameters", "tensor_shapes"]

MOST_DIMENSION = (1 << 31) - 1  # far beyond every model; what follows from it is still a number


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Dimensions and constants of a model.

    Parameters
    ----------
    hidden : int
        Width of the residual stream, `H`.
    intermediate : int
        Width of the gated channel mixer, `I`.
    layers : int
        Blocks, `L`.
    vocab : int
        Tokens, `V`.
    eps : float
        Added to the mean square in the norms that are not a BitLinear's own.
    use_lower_bound : bool
        Whether the forget gates have learned lower bounds.
    bos : int or None
        Token before every text.
    eos : int, tuple of int or None
        Token that ends a text, or several that do, that of the hardware first.
    """

    hidden: int
    intermediate: int
    layers: int
    vocab: int
    eps: float = 1e-6
    use_lower_bound: bool = True
    bos: int | None = 1
    eos: int | tuple[int, ...] | None = 2

    def __post_init__(self):
        for name in ("hidden", "intermediate", "layers", "vocab"):
            value = getattr(self, name)
            if not _is_int(value) or value < 1:
                raise BadInput(f"{name} must be a positive integer, not {value!r}.")
        if not isinstance(self.eps, float) or not 0 < self.eps < math.inf:
            raise BadInput(f"eps must be a positive number, not {self.eps!r}.")
        if not isinstance(self.use_lower_bound, bool):
            raise BadInput(f"use_lower_bound must be true or false, not "
                           f"{_shown(self.use_lower_bound)}.")
        if isinstance(self.eos, list | tuple):      # one way to say none, one, or several
            single = self.eos[0] if len(self.eos) == 1 else tuple(self.eos) or None
            object.__setattr__(self, "eos", single)
        bos = () if self.bos is None else (self.bos,)
        for name, tokens in (("bos", bos), ("eos", self.stop_tokens)):
            if not all(_is_int(token) and 0 <= token < self.vocab for token in tokens):
                raise BadInput(f"{name} must be null or a token below vocab = {self.vocab}, "
                               f"not {_shown(getattr(self, name))}.")

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """Tokens that end a text; a device by itself knows only the first."""
        if self.eos is None:
            return ()
        return self.eos if isinstance(self.eos, tuple) else (self.eos,)

    @classmethod
    def from_json(cls, table: dict) -> "ModelConfig":
        """Read the contents of a `config.json`.

        Raises
        ------
        BadInput
            A key is missing, or asks for something that is not supported; the message says which.
        """
        if table.get("model_type") != "hgrn_bit":
            raise BadInput(f"model_type is {_shown(table.get('model_type'))}, but only 'hgrn_bit' "
                           "models are supported.")
        for key, (accepted, reason) in _SUPPORTED.items():
            value = table.get(key, accepted[0])
            if value not in accepted:
                raise BadInput(f"{key} is {_shown(value)}, but {reason}.")
        for key in ("hidden_size", "num_hidden_layers", "vocab_size"):
            _dimension(table, key)
        return cls(
            hidden=table["hidden_size"],
            intermediate=_intermediate(table),
            layers=table["num_hidden_layers"],
            vocab=table["vocab_size"],
            eps=_positive(table, "rms_norm_eps", 1e-6, 1e30),
            use_lower_bound=table.get("use_lower_bound", True),
            bos=table.get("bos_token_id", 1),
            eos=table.get("eos_token_id", 2),
        )

    def to_json(self) -> dict:
        """Return the contents of a `config.json` that `from_json` reads back."""
        return {
            "architectures": ["HGRNBitForCausalLM"], "model_type": "hgrn_bit",
            "hidden_size": self.hidden, "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers, "vocab_size": self.vocab,
            "rms_norm_eps": self.eps, "use_lower_bound": self.use_lower_bound,
            "bos_token_id": self.bos, "eos_token_id": self.eos,
            "num_heads": 1, "expand_ratio": 1, "use_short_conv": False, "hidden_act": "swish",
            "tie_word_embeddings": False,
        }


# Values that are supported, the published configuration's default first; and why no others are.
_SUPPORTED = {
    "use_short_conv": ((False,), "short convolutions are not supported: the accelerator has none"),
    "expand_ratio": ((1,), "only 1 is supported: the recurrent state is as wide as the model"),
    "num_heads": ((1,), "only 1 is supported, as in all published models"),
    "hidden_act": (("swish", "silu"), "only swish (silu) is supported"),
}


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _dimension(table: dict, key: str) -> int:
    value = table.get(key)
    if not _is_int(value) or not 0 < value <= MOST_DIMENSION:
        raise BadInput(f"{key} must be an integer of 1 to {MOST_DIMENSION}, not {_shown(value)}.")
    return value


def _positive(table: dict, key: str, default: float, most: float) -> float:
    value = table.get(key, default)
    if type(value) not in (int, float) or not 0 < value <= most:
        raise BadInput(f"{key} must be a positive number, at most {most:g}, not {_shown(value)}.")
    return float(value)


def _intermediate(table: dict) -> int:
    if table.get("intermediate_size") is not None:
        return _dimension(table, "intermediate_size")
    ratio = 4 if table.get("hidden_ratio") is None else _positive(table, "hidden_ratio", 4, 1e6)
    return 256 * math.ceil(int(table["hidden_size"] * ratio * 2 / 3) / 256)


def _shown(value) -> str:
    """Say a value of a file; one that is as long as the file is cut."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a longer number"
    return text if len(text) <= 60 else f"{text[:60]}…"


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a model, in the order of its computation."""
    hidden, intermediate = config.hidden, config.intermediate
    shapes = {"model.embeddings.weight": (config.vocab, hidden)}
    if config.use_lower_bound:
        shapes["model.lower_bounds"] = (config.layers, hidden)

    def linear(name, rows, columns):
        shapes[f"{name}.norm.weight"] = (columns,)
        shapes[f"{name}.weight"] = (rows, columns)

    for layer in range(config.layers):
        prefix = f"model.layers.{layer}"
        shapes[f"{prefix}.attn_norm.weight"] = (hidden,)
        for name in "ifg":
            linear(f"{prefix}.attn.{name}_proj", hidden, hidden)
        shapes[f"{prefix}.attn.g_norm.weight"] = (hidden,)
        linear(f"{prefix}.attn.o_proj", hidden, hidden)
        shapes[f"{prefix}.mlp_norm.weight"] = (hidden,)
        linear(f"{prefix}.mlp.gate_proj", 2 * intermediate, hidden)
        linear(f"{prefix}.mlp.down_proj", hidden, intermediate)
    shapes["model.norm.weight"] = (hidden,)
    linear("lm_head", config.vocab, hidden)
    return shapes


def count_parameters(config: ModelConfig) -> int:
    """Numbers in all tensors of a model."""
    return sum(map(math.prod, tensor_shapes(config).values()))
