"""Published `hgrn_bit` checkpoints, read tensor by tensor.

A checkpoint is a directory in the layout of Hugging Face: `config.json`, `model.safetensors` (or
its shards with `model.safetensors.index.json`) and `tokenizer.json`. Opening it reads only headers,
and checks every name, shape and type; values are read, and checked, when they are asked for.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig, tensor_shapes
from tritstream.model.tensors import DTYPES, TensorFile
from tritstream.model.weights import Packable
from tritstream.support.inputs import read_json

__all__ = ["Checkpoint", "lower_bounds", "ternarise"]

SCALE_FLOOR = 1e-5          # of a ternary tensor's scale, as the model was trained
MOST_JSON_BYTES = 16 << 20  # of a config or an index, far more than any has
CHUNK = 1 << 20             # elements ternarised at a time: 8 MB of float64 each


def lower_bounds(raw: np.ndarray) -> np.ndarray:
    """Lower bounds of the forget gates, float64 [L, H], from the learned tensor [L, H].

    They grow with depth from exactly 0 in the first layer to at most 1.
    """
    raw = raw.astype(np.float64)
    share = np.exp(raw - raw.max(axis=0))
    share /= share.sum(axis=0)
    return np.minimum(np.cumsum(share, axis=0) - share[0], 1.0)


def ternarise(weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Ternary codes and scale of a weight matrix.

    The scale is the mean magnitude, at least 1e-5; codes are the weights over it, rounded half to
    even and clipped. A matrix of which every element is already -s, 0 or +s keeps its codes and s:
    its mean magnitude is smaller than s by the share of zeros, and would be silently wrong.

    Parameters
    ----------
    weight : ndarray
        Finite floats, [N, K].

    Returns
    -------
    codes : ndarray
        -1, 0 or 1 as int8, [N, K].
    scale : float
        One for the whole matrix.
    """
    step = max(1, CHUNK // max(1, weight.shape[1]))
    chunks = [slice(row, row + step) for row in range(0, weight.shape[0], step)]
    largest = max(float(np.abs(weight[chunk]).max(initial=0)) for chunk in chunks)
    codes = np.empty(weight.shape, np.int8)
    if largest and all(_is_ternary(weight[chunk], largest) for chunk in chunks):
        for chunk in chunks:
            codes[chunk] = np.sign(weight[chunk])
        return codes, largest
    total = sum(float(np.abs(weight[chunk].astype(np.float64)).sum()) for chunk in chunks)
    scale = max(total / weight.size, SCALE_FLOOR)
    for chunk in chunks:
        codes[chunk] = np.clip(np.rint(weight[chunk].astype(np.float64) / scale), -1, 1)
    return codes, scale


def _is_ternary(weight: np.ndarray, scale: float) -> bool:
    magnitude = np.abs(weight)
    return bool(((magnitude == 0) | (magnitude == scale)).all())


class Checkpoint(Packable):
    """A model on disk. `Checkpoint.open` makes one.

    Attributes
    ----------
    config : ModelConfig
        Dimensions and constants.
    path : Path
        The directory.
    """

    def __init__(self, path: Path, config: ModelConfig, tied: bool, files: dict[str, TensorFile]):
        self.path = path
        self.config = config
        self._tied = tied
        self._files = files

    @classmethod
    def open(cls, path: str | Path) -> "Checkpoint":
        """Open a directory and check that it holds exactly the tensors that its config asks for.

        Raises
        ------
        BadInput
            A file or tensor is missing, corrupt, superfluous, or has the wrong shape or type; or
            the config is not supported.
        """
        path = Path(path)
        table = _read_config(path)
        try:
            config = ModelConfig.from_json(table)
        except BadInput as error:
            raise BadInput(f"{path / 'config.json'}: {error}") from error
        tied = table.get("tie_word_embeddings") is True
        files = _locate(path)
        _check(path, config, tied, files)
        return cls(path, config, tied, files)

    @property
    def tokenizer_path(self) -> Path:
        """Where the tokenizer should be; not necessarily present."""
        return self.path / "tokenizer.json"

    @property
    def files(self) -> list[Path]:
        """The file of the config, and those of the tensors by name."""
        return [self.path / "config.json", *sorted({file.path for file in self._files.values()})]

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """Names of `tensor_shapes` and their float32 values; a tied head is the embeddings."""
        for name in tensor_shapes(self.config):
            tied = self._tied and name == "lm_head.weight"
            yield name, self._read("model.embeddings.weight" if tied else name)

    def embedding_rows(self, start: int, stop: int) -> np.ndarray:
        """Embeddings of tokens `start` to `stop`, float32 [stop - start, H]."""
        return self._read("model.embeddings.weight", start, stop)

    def lower_bounds(self) -> np.ndarray:
        """Lower bounds of the forget gates, float64 [L, H]; zeros if the model has none."""
        if not self.config.use_lower_bound:
            return np.zeros((self.config.layers, self.config.hidden))
        return lower_bounds(self._read("model.lower_bounds"))

    def gain(self, name: str) -> np.ndarray:
        """Gain of a norm, float32 [H] or [I]."""
        return self._read(f"{name}.weight")

    def ternary(self, name: str) -> tuple[np.ndarray, float]:
        """Codes int8 [N, K] of a BitLinear and their scale, see `ternarise`."""
        if name == "lm_head" and self._tied:
            name = "model.embeddings"
        return ternarise(self._read(f"{name}.weight"))

    def _read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self._files[name].read(name, start, stop)


def _read(path: Path) -> dict:
    try:
        return read_json(path, most=MOST_JSON_BYTES)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; a checkpoint directory holds "
                       "config.json and model.safetensors.") from error


def _read_config(path: Path) -> dict:
    """Contents of `config.json`; what `generation_config.json` says of tokens goes before it."""
    table = _read(path / "config.json")
    generation = path / "generation_config.json"
    if generation.exists():
        given = _read(generation)
        table |= {name: given[name] for name in ("bos_token_id", "eos_token_id") if name in given}
    return table


def _locate(path: Path) -> dict[str, TensorFile]:
    """Return the file of every tensor, by name."""
    index, single = path / "model.safetensors.index.json", path / "model.safetensors"
    if not index.exists():
        if not single.exists() and any(path.glob("*.bin")):
            raise BadInput(f"{path} holds its tensors as .bin files, which are programs that run "
                           "when they are read; convert them to safetensors, or fetch the model "
                           "where it has these.")
        file = TensorFile(single)
        return dict.fromkeys(file.entries, file)
    places = _read(index).get("weight_map")
    if not isinstance(places, dict) or not all(
            isinstance(shard, str) and Path(shard).name == shard for shard in places.values()):
        raise BadInput(f"{index} must hold a weight_map of tensor names to file names.")
    if single.exists() and single.name not in places.values():
        raise BadInput(f"{path} holds {single.name}, and {index.name} with other files: only one "
                       "of them is the model, so remove what is left of the other.")
    shards = {}
    for shard in sorted(set(places.values())):
        if not (path / shard).exists():
            raise BadInput(f"{path / shard} is missing, a shard that {index.name} names; "
                           "fetch it into the same directory.")
        shards[shard] = TensorFile(path / shard)
    for name, shard in places.items():
        if name not in shards[shard].entries:
            raise BadInput(f"{path / shard} does not hold tensor {name}, which {index.name} "
                           "expects there; fetch both again.")
    for shard, file in shards.items():
        for name in file.entries.keys() - places.keys():
            raise BadInput(f"{path / shard} holds tensor {name}, which {index.name} does not name; "
                           "fetch both again.")
    return {name: shards[shard] for name, shard in places.items()}


def _check(path: Path, config: ModelConfig, tied: bool, files: dict[str, TensorFile]):
    if config.layers > len(files):      # before its tensors are counted one by one
        raise BadInput(f"{path / 'config.json'} calls for {config.layers} layers, but there are "
                       f"only {len(files)} tensors in {path}.")
    expected = tensor_shapes(config)
    optional = {"model.lower_bounds"}
    if tied:
        del expected["lm_head.weight"]
        optional.add("lm_head.weight")
    for name, shape in expected.items():
        if name not in files:
            raise BadInput(f"{path} has no tensor {name}, which its config.json calls for "
                           f"with shape {list(shape)}.")
        entry = files[name].entries[name]
        if entry.shape != shape:
            raise BadInput(f"Tensor {name} in {files[name].path} has shape {list(entry.shape)}, "
                           f"but config.json calls for {list(shape)}.")
        if entry.dtype not in DTYPES:
            raise BadInput(f"Tensor {name} in {files[name].path} is of type {entry.dtype}, "
                           f"but only {', '.join(DTYPES)} are supported.")
    for name in files.keys() - expected.keys() - optional:
        raise BadInput(f"Tensor {name} in {files[name].path} has no place in an hgrn_bit model; "
                       "leaving it out would change the results.")
