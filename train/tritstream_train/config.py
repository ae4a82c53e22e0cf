"""What a training run is: every number that its losses depend on, in one object.

A setting is said once, here: its name, type, default, range and meaning. `tritstream train` has an
option for each, made of the same fields.
"""

import dataclasses
import functools
import json
import math
from importlib import resources
from typing import Any

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig

__all__ = ["RUNTIME", "Setting", "TrainConfig", "preset", "presets", "settings"]

BEGIN, END = 0, 1           # tokens `<s>` and `</s>` of a learned tokenizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field of `TrainConfig` means, and what it may be.

    Parameters
    ----------
    help : str
        A sentence for whoever sets it.
    low, high : float
        Limits of a number.
    open_low, open_high : bool
        Whether the number has to keep off them.
    choices : tuple of str
        All that a text may be; any without.
    flags : tuple of str
        Names of the option where they do not follow from the field's.
    shown : str, optional
        What help says of the default, where that is not the field's.
    runtime : bool
        Whether it may differ when a run is resumed: it changes where and how that is computed.
    """

    help: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    choices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    shown: str | None = None
    runtime: bool = False

    def check(self, name: str, kind: type, value: Any):
        """Raise `BadInput` unless the value is one that the setting may have."""
        if kind is str:
            if self.choices and value not in self.choices:
                raise BadInput(f"{name} must be {' or '.join(self.choices)}, not {value!r}.")
            if not isinstance(value, str):
                raise BadInput(f"{name} must be the name of a file as a text, not {value!r}.")
        elif kind is bool:
            if not isinstance(value, bool):
                raise BadInput(f"{name} must be true or false, not {value!r}.")
        elif kind is int:
            if not isinstance(value, int) or isinstance(value, bool) or value < self.low:
                raise BadInput(f"{name} must be an integer of at least {self.low}, not {value!r}.")
        elif not self._holds(value):
            limits = f"above {self.low}" if self.open_low else f"from {self.low}"
            if self.high < math.inf:
                limits += f" to below {self.high}" if self.open_high else f" to {self.high}"
            raise BadInput(f"{name} must be a number {limits}, not {value!r}.")

    def _holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) \
            and self.low <= value <= self.high and value < math.inf \
            and not (self.open_low and value == self.low) \
            and not (self.open_high and value == self.high)


def _setting(help: str, default: Any = dataclasses.MISSING, **options) -> Any:
    return dataclasses.field(default=default,
                             metadata={"setting": Setting(help=help, **options)})


_count = functools.partial(_setting, low=1)
_positive = functools.partial(_setting, low=0, open_low=True)
_share = functools.partial(_setting, low=0, high=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run; `settings` says what its fields mean, and so does `tritstream train --help`.

    Raises
    ------
    BadInput
        A value is out of range; the message says which.
    """

    data: str = _setting("Text to learn from: JSON lines with a `text` each, or plain text; either "
                         "may be .xz.")
    valid: str | None = _setting("Text held back, for bits per byte.", None)
    tokenizer: str | None = _setting(
        "A tokenizer.json.", None, shown="one is learned from the data")
    start: str | None = _setting(
        "Checkpoint directory whose weights, shape and tokenizer the run goes on from.", None,
        flags=("-m", "--model"))
    hidden: int = _count("Width.", 256)
    intermediate: int | None = _count(
        "Width of the channel mixer.", None, shown="8/3 of hidden, up to a multiple of 256")
    layers: int = _count("Blocks.", 6)
    vocab: int = _count("Tokens of the vocabulary.", 4096)
    sequence: int = _count("Tokens of a window.", 512)
    batch: int = _count("Windows of a step, over all processes.", 128)
    span: int = _count("Consecutive windows through which the recurrent state is carried.", 1)
    steps: int = _count("Updates of the weights.", shown="that of the preset")
    rate: float = _positive("Peak learning rate; it rises from 0 and falls to 0 as a cosine.", 6e-3)
    vector_rate: float | None = _positive(
        "The same for gains, bounds and embeddings.", None, shown="that of --rate")
    warmup: int = _setting("Steps in which the rate rises.", 100, low=0)
    weight_decay: float = _setting("Of matrices, embeddings left out.", 0.01, low=0)
    dropout: float = _share(
        "Share of the channels that is left out of the embedding and of what each mixer adds, for "
        "texts that are read many times.", 0.0, open_high=True)
    freeze: float = _share(
        "Share of the steps, the last ones, in which weights that keep changing their trit freeze.",
        0.0)
    beta1: float = _share("AdamW's memory of gradients.", 0.9, open_high=True)
    beta2: float = _share("AdamW's memory of their squares.", 0.95, open_high=True)
    clip: float = _positive("Largest norm of the gradient.", 1.0)
    seed: int = _setting("Of the first weights and of the order of the windows.", 1, low=0,
                         flags=("-s", "--seed"))
    dtype: str = _setting("Of the products; weights and sums are float32.", "bfloat16",
                          choices=("bfloat16", "float32"), shown="bfloat16, float32 on a CPU")
    device: str = _setting("What computes.", "cpu", choices=("cuda", "cpu"), runtime=True,
                           shown="cuda if there is a GPU")
    accumulate: int = _count("Parts that a step is computed in, one after another, to save memory.",
                             1, runtime=True)
    parallel: str = _setting("How processes of torchrun share the work: whole models, or parts.",
                             "ddp", choices=("ddp", "fsdp"), runtime=True)
    fused: bool = _setting("This package's kernels on a GPU, or plain tensor operations.", True,
                           flags=("--fused/--plain",), runtime=True)
    graph: bool = _setting("Record a step once as a CUDA graph, and replay it.", False,
                           flags=("--graph/--no-graph",), runtime=True)
    log_every: int = _count("Steps between lines of the curve.", 50, runtime=True)
    valid_every: int = _setting("Steps between validations; 0 validates only at the end.", 0, low=0,
                                runtime=True)
    save_every: int = _count("Steps between checkpoints.", 500, runtime=True)
    keep: int = _count("Checkpoints to keep.", 2, runtime=True)
    hours: float = _positive("Longest that a run without a GPU may be expected to take.", 24.0,
                             runtime=True)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is not None:
                field.metadata["setting"].check(field.name, _kind(field), value)
        if self.graph and (self.device != "cuda" or not self.fused):
            raise BadInput("A CUDA graph takes a GPU and is not recorded of the plain path: leave "
                           "--graph out, or give --device cuda and not --plain.")
        if self.freeze and self.parallel != "ddp":
            raise BadInput("Only weights freeze that every process has whole, not with parallel "
                           f"{self.parallel}: give --freeze 0.")
        if self.batch % self.accumulate:
            raise BadInput(f"batch = {self.batch} windows cannot be computed in accumulate = "
                           f"{self.accumulate} equal parts.")

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
        unknown = table.keys() - {name for name, _, _ in settings()}
        if unknown:
            raise BadInput(f"A run has no setting {min(unknown)!r}.")
        if table.get("data") is None:
            raise BadInput("There is no text to learn from: give --data FILE.")
        if table.get("steps") is None:
            raise BadInput("A run has to have an end: give --steps N, or --preset NAME.")
        return cls(**table)


@functools.cache
def settings() -> tuple[tuple[str, type, Setting], ...]:
    """Name, type (`str`, `int`, `float`, `bool`) and meaning of every field of a `TrainConfig`."""
    return tuple((field.name, _kind(field), field.metadata["setting"])
                 for field in dataclasses.fields(TrainConfig))


def _kind(field: dataclasses.Field) -> type:
    """Type of a field's values but None."""
    return getattr(field.type, "__args__", (field.type,))[0]


RUNTIME = frozenset(name for name, _, setting in settings() if setting.runtime)
"""Fields that may differ when a run is resumed."""


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
