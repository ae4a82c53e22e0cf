"""Seeded dummy models of any shape, made tensor by tensor as they are asked for.

They speak no language, but cost what a real model of their shape costs, so that packing, speed and
ranges can be tested without a checkpoint. All values are exact in float32, float16 and bfloat16: a
dummy that has been saved and opened again is the same model.
"""

import json
import zlib
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from tritstream.model.checkpoint import lower_bounds
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.tensors import decode, encode, write_tensors
from tritstream.model.weights import Packable

__all__ = ["PRESETS", "TOKENIZER_VOCAB", "DummyCheckpoint", "byte_tokenizer"]

PRESETS = {
    "370M": ModelConfig(hidden=1024, intermediate=2816, layers=24, vocab=32000),
    "1.3B": ModelConfig(hidden=2048, intermediate=5632, layers=24, vocab=32000),
    "2.7B": ModelConfig(hidden=2560, intermediate=6912, layers=32, vocab=32000),
}
"""Shapes of the published models."""

BLOCK = 256                 # embedding rows that share a random stream
OUTLIER = 1e4               # largest residual of a model with outliers
ZEROS = 80                  # of 256 codes, as rounding a Gaussian by its mean magnitude leaves
CODES = np.repeat(np.array([0, 1, -1], np.int8), [ZEROS, (256 - ZEROS) // 2, (256 - ZEROS) // 2])
TOKENIZER_VOCAB = 258
"""Tokens of `byte_tokenizer`: begin, end and 256 bytes."""


class DummyCheckpoint(Packable):
    """A random model with the methods of `tritstream.model.weights.Packable`.

    Parameters
    ----------
    config : ModelConfig
        Its shape, for instance one of `PRESETS`.
    seed : int
        The same seed gives the same model.
    outliers : bool
        Give one in 64 channels residuals up to 10^4, and the gains a spread of three decades, as
        large trained models have them.
    """

    def __init__(self, config: ModelConfig, seed: int = 0, outliers: bool = False):
        self.config = config
        self.path = Path(f"dummy-{seed}")
        self._seed = seed
        self._outliers = outliers
        count = -(-config.hidden // 64)
        self._channels = self._rng("channels").choice(config.hidden, count, replace=False)

    def _rng(self, name: str, block: int = 0) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode()), block])

    @property
    def tokenizer_path(self) -> Path:
        """Where the tokenizer would be; `save` writes one."""
        return self.path / "tokenizer.json"

    def embedding_rows(self, start: int, stop: int) -> np.ndarray:
        """Embeddings of tokens `start` to `stop`, float32 [stop - start, H]."""
        blocks = range(start // BLOCK, -(-stop // BLOCK))
        rows = [np.empty((0, self.config.hidden), np.float32), *map(self._embedding_block, blocks)]
        return np.concatenate(rows)[start % BLOCK:][:stop - start]

    def _embedding_block(self, block: int) -> np.ndarray:
        rng = self._rng("embedding", block)
        rows = rng.standard_normal((BLOCK, self.config.hidden), np.float32)
        if self._outliers:
            rows[:, self._channels] = rng.uniform(-OUTLIER, OUTLIER, (BLOCK, self._channels.size))
        return _exact(rows)

    def lower_bounds(self) -> np.ndarray:
        """Lower bounds of the forget gates, float64 [L, H]; zeros if the model has none."""
        if not self.config.use_lower_bound:
            return np.zeros((self.config.layers, self.config.hidden))
        return lower_bounds(self._raw_bounds())

    def _raw_bounds(self) -> np.ndarray:
        shape = (self.config.layers, self.config.hidden)
        return _exact(self._rng("model.lower_bounds").standard_normal(shape, np.float32))

    def gain(self, name: str) -> np.ndarray:
        """Gain of a norm, float32 [H] or [I]."""
        size, = tensor_shapes(self.config)[f"{name}.weight"]
        rng = self._rng(name)
        if not self._outliers:
            return _exact(np.exp(0.2 * rng.standard_normal(size, np.float32)))
        gain = 10 ** rng.uniform(-1.5, 1.5, size)
        if size == self.config.hidden:
            gain[self._channels] = 10 ** -1.5       # training damps the channels that stand out
        return _exact(gain)

    def ternary(self, name: str) -> tuple[np.ndarray, float]:
        """Codes int8 [N, K] of a BitLinear, 31 % of them zero, and their scale."""
        rows, columns = tensor_shapes(self.config)[f"{name}.weight"]
        rng = self._rng(name)
        # Outputs about as large as inputs, so that no depth explodes or dies out.
        unit = 1 / np.sqrt(columns * (1 - ZEROS / 256))
        scale = _exact(unit * np.exp(0.1 * rng.standard_normal(1)))
        return CODES[rng.integers(0, 256, (rows, columns), np.uint8)], float(scale[0])

    def save(self, directory: str | Path, dtype: str = "F16", shards: int = 1):
        """Write a checkpoint directory, with a byte tokenizer if the vocabulary holds one.

        Parameters
        ----------
        directory : Path
            Made if need be.
        dtype : str
            `F32`, `F16` or `BF16`.
        shards : int
            More than one: that many files and their index.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(self.config.to_json(), indent=1))
        if self.config.vocab >= TOKENIZER_VOCAB:
            byte_tokenizer().save(str(directory / "tokenizer.json"))
        shapes = tensor_shapes(self.config)
        if shards == 1:
            self._write(directory / "model.safetensors", dtype, shapes)
            return
        places, names = {}, list(shapes)
        for shard in range(shards):
            file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
            part = {name: shapes[name] for name in names[shard::shards]}
            self._write(directory / file, dtype, part)
            places.update(dict.fromkeys(part, file))
        index = {"metadata": {}, "weight_map": places}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))

    def _write(self, path: Path, dtype: str, shapes: dict[str, tuple[int, ...]]):
        write_tensors(path, dtype, shapes, map(self._tensor, shapes))

    def _tensor(self, name: str) -> np.ndarray:
        if name == "model.embeddings.weight":
            return self.embedding_rows(0, self.config.vocab)
        if name == "model.lower_bounds":
            return self._raw_bounds()
        name = name.removesuffix(".weight")
        if name.endswith("norm"):
            return self.gain(name)
        codes, scale = self.ternary(name)
        return codes * np.float32(scale)


def _exact(values: np.ndarray) -> np.ndarray:
    """Round to what float16 and bfloat16 both hold."""
    half = np.asarray(values, np.float16).astype(np.float32)
    return decode(encode(half, "BF16"), "BF16")


def byte_tokenizer() -> Tokenizer:
    """Make a tokenizer of 258 tokens: 0 `<s>`, before every text, 1 `</s>`, then every byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
