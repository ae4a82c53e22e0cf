"""What a training run is: every number that its losses depend on, in one object."""

import dataclasses
import functools
import json
import math
from importlib import resources

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig

__all__ = ["ARCHITECTURES", "OPTIMIZERS", "PARALLEL", "RUNTIME", "SCHEDULES", "TrainConfig",
           "preset", "presets"]

ARCHITECTURES = ("hgrn_bit", "transformer")
SCHEDULES = ("linear", "cosine", "wsd")
OPTIMIZERS = ("adamw", "muon")
PARALLEL = ("ddp", "fsdp")
DTYPES = ("bfloat16", "float32")
SHORTEST_WARMUP = 4         # steps, of which the second half is timed
BEGIN, END = 0, 1           # tokens `<s>` and `</s>` of a learned tokenizer

RUNTIME = frozenset({"device", "accumulate", "parallel", "fused", "graph", "log_every",
                     "valid_every", "save_every", "keep"})
"""Fields that may differ when a run is resumed: they change where and how it is computed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run.

    Parameters
    ----------
    data : str
        Text to learn from: JSON lines with `text`, or plain text; either may be `.xz`.
    valid : str, optional
        Text held back, for bits per byte.
    tokenizer : str, optional
        A `tokenizer.json`; without it one of `vocab` tokens is learned from the data.
    start : str, optional
        Checkpoint directory whose weights, shape and tokenizer the run starts from.
    arch : str
        `hgrn_bit`, or `transformer` to compare with.
    hidden, intermediate, layers, vocab : int
        Shape. Without `intermediate`, the published rule: 8/3 of `hidden`, up to a multiple of 256.
    sequence : int
        Tokens per window.
    batch : int
        Windows per step, over all processes.
    span : int
        Consecutive windows through which the recurrent state is carried; 1 starts each afresh.
    steps : int, optional
        Updates of the weights.
    minutes : float, optional
        Instead of `steps`: how long to train. The number of steps is fixed from the speed when the
        warm-up ends, and kept with the run, so that what follows can be repeated.
    optimizer : str
        `adamw`; or `muon` for the matrices of the blocks, and AdamW for the rest.
    rate : float
        Peak learning rate of AdamW.
    vector_rate : float, optional
        The same for norm gains, lower bounds and embeddings; without it, `rate`.
    matrix_rate : float
        Peak learning rate of Muon, scaled as by Liu et al. (arXiv 2502.16982, section 2.2).
    warmup : int
        Steps in which the rate rises from 0.
    schedule : str
        `linear` or `cosine` to `final`, or `wsd`: constant, then linear over the last `decay`.
    decay : float
        Share of the steps in which `wsd` decays.
    final : float
        Rate at the end, relative to the peak.
    weight_decay : float
        Of matrices, embeddings left out.
    dropout : float
        Share of the channels, drawn for each token, that is left out of the embedding and of what
        every mixer adds to the residual stream (Vaswani et al., arXiv 1706.03762, section 5.4).
        For texts that are read many times.
    freeze : float
        Share of the steps, the last ones, in which weights that keep changing their trit freeze.
    beta1, beta2 : float
        AdamW's, as in the paper.
    clip : float
        Largest norm of the gradient.
    seed : int
        Of the first weights and of the order of the windows.
    dtype : str
        `bfloat16` or `float32`, of the products; weights and sums are float32.
    device : str
        `cuda` or `cpu`.
    accumulate : int
        Parts in which each process computes a step, one after another, to save memory.
    parallel : str
        `ddp` or `fsdp`, with several processes.
    fused : bool
        Use this package's kernels on a GPU.
    graph : bool
        Record a step's forward and backward pass once as a CUDA graph, and replay it.
    log_every, valid_every, save_every : int
        Steps between lines, validations and checkpoints; 0 validates only at the end.
    keep : int
        Checkpoints to keep.

    Raises
    ------
    BadInput
        A value is out of range; the message says which.
    """

    data: str
    valid: str | None = None
    tokenizer: str | None = None
    start: str | None = None
    arch: str = "hgrn_bit"
    hidden: int = 256
    intermediate: int | None = None
    layers: int = 6
    vocab: int = 4096
    sequence: int = 512
    batch: int = 128
    span: int = 1
    steps: int | None = None
    minutes: float | None = None
    optimizer: str = "adamw"
    rate: float = 6e-3
    vector_rate: float | None = None
    matrix_rate: float = 6e-3
    warmup: int = 100
    schedule: str = "linear"
    decay: float = 0.3
    final: float = 0.0
    weight_decay: float = 0.01
    dropout: float = 0.0
    freeze: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    seed: int = 1
    dtype: str = "bfloat16"
    device: str = "cpu"
    accumulate: int = 1
    parallel: str = "ddp"
    fused: bool = True
    graph: bool = False
    log_every: int = 50
    valid_every: int = 0
    save_every: int = 500
    keep: int = 2

    def __post_init__(self):
        for name in ("data", "valid", "tokenizer", "start"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name == "data"):
                raise BadInput(f"{name} must be the name of a file as a text, not {value!r}.")
        for name in ("fused", "graph"):
            if not isinstance(getattr(self, name), bool):
                raise BadInput(f"{name} must be true or false, not {getattr(self, name)!r}.")
        for name in ("hidden", "layers", "vocab", "sequence", "batch", "span", "accumulate",
                     "log_every", "save_every", "keep"):
            _integer(name, getattr(self, name), 1)
        for name in ("warmup", "seed", "valid_every"):
            _integer(name, getattr(self, name), 0)
        for name in ("intermediate", "steps"):
            if getattr(self, name) is not None:
                _integer(name, getattr(self, name), 1)
        for name in ("rate", "vector_rate", "matrix_rate", "clip", "minutes"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), low=0, open_low=True)
        for name in ("decay", "final", "freeze"):
            _number(name, getattr(self, name), low=0, high=1)
        for name in ("dropout", "beta1", "beta2"):
            _number(name, getattr(self, name), low=0, high=1, open_high=True)
        _number("weight_decay", self.weight_decay, low=0)
        if (self.steps is None) == (self.minutes is None):
            raise BadInput("A run takes either steps or minutes: give one of the two.")
        if self.minutes is not None and self.warmup < SHORTEST_WARMUP:
            raise BadInput("A run over some minutes measures its speed in the warm-up: warmup must "
                           f"be at least {SHORTEST_WARMUP}, not {self.warmup}.")
        plain = self.arch == "hgrn_bit" and not self.fused
        if self.graph and (self.device != "cuda" or plain):
            raise BadInput("A CUDA graph takes a GPU and is not recorded of the plain path: leave "
                           "--graph out, or give --device cuda and not --plain.")
        for name, accepted in (("arch", ARCHITECTURES), ("schedule", SCHEDULES),
                               ("optimizer", OPTIMIZERS), ("parallel", PARALLEL),
                               ("dtype", DTYPES), ("device", ("cuda", "cpu"))):
            if getattr(self, name) not in accepted:
                raise BadInput(f"{name} must be {' or '.join(accepted)}, "
                               f"not {getattr(self, name)!r}.")
        if self.freeze and (self.arch, self.optimizer, self.parallel) != (
                "hgrn_bit", "adamw", "ddp"):
            raise BadInput(f"Only ternary weights freeze that AdamW updates and every process has "
                           f"whole, not with arch {self.arch}, optimizer {self.optimizer} and "
                           f"parallel {self.parallel}: give --freeze 0.")
        if self.batch % self.accumulate:
            raise BadInput(f"batch = {self.batch} windows cannot be computed in accumulate = "
                           f"{self.accumulate} equal parts.")
        if self.arch == "transformer" and self.start is not None:
            raise BadInput(f"A transformer does not start from a checkpoint, and {self.start} is "
                           "none of a transformer: leave --model out.")
        if self.arch == "transformer" and self.span > 1:
            raise BadInput(f"A transformer has no recurrent state to carry: span must be 1, "
                           f"not {self.span}.")

    @property
    def model(self) -> ModelConfig:
        """Shape of the model."""
        intermediate = self.intermediate or 256 * math.ceil(int(self.hidden * 8 / 3) / 256)
        return ModelConfig(hidden=self.hidden, intermediate=intermediate, layers=self.layers,
                           vocab=self.vocab, bos=BEGIN, eos=END)

    @property
    def tokens_per_step(self) -> int:
        """Tokens that a step learns from."""
        return self.batch * self.sequence

    def to_json(self) -> dict:
        """Return all fields as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, table: dict) -> "TrainConfig":
        """Inverse of `to_json`; fields left out have their defaults."""
        unknown = table.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise BadInput(f"A run has no setting {min(unknown)!r}.")
        return cls(**table)


def _integer(name: str, value, low: int):
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise BadInput(f"{name} must be an integer of at least {low}, not {value!r}.")


def _number(name: str, value, *, low: float, high: float = math.inf, open_low: bool = False,
            open_high: bool = False):
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) \
        and low <= value <= high and value < math.inf \
        and not (open_low and value == low) and not (open_high and value == high)
    if not fits:
        limits = f"above {low}" if open_low else f"from {low}"
        if high < math.inf:
            limits += f" to below {high}" if open_high else f" to {high}"
        raise BadInput(f"{name} must be a number {limits}, not {value!r}.")


@functools.cache
def presets() -> tuple[str, ...]:
    """Names of the presets."""
    files = (resources.files("tritstream_train") / "presets").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files
                        if file.name.endswith(".json")))


def preset(name: str) -> dict:
    """Settings of a preset, as keyword arguments of `TrainConfig` without the data.

    Raises
    ------
    BadInput
        There is no such preset.
    """
    if name not in presets():
        raise BadInput(f"There is no preset {name!r}: take one of {', '.join(presets())}.")
    file = resources.files("tritstream_train") / "presets" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))
