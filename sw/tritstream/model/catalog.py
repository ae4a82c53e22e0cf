"""What `-m` names: an image, a checkpoint directory, or a bundled model."""

import functools
import hashlib
from pathlib import Path

from tritstream.errors import BadInput
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.image.unpack import ImageCheckpoint
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.tokenizer import Tokenizer
from tritstream.model.weights import Weights
from tritstream.support.cache import get_or_make

__all__ = ["DEFAULT_MODEL", "Model", "bundled_models", "resolve"]

BUNDLED = Path(__file__).parent / "bundled"
DEFAULT_MODEL = "demo"
"""The bundled model that is used where none is named."""

PACKERS = ("image/pack.py", "image/image.py", "image/tape.py", "image/trits.py", "formats.py",
           "model/checkpoint.py", "model/config.py")
"""What the contents of an image depend on, besides the checkpoint."""


class Model:
    """One model; image, checkpoint and tokenizer are opened when they are asked for.

    Parameters
    ----------
    name : str
        What the user called it.
    path : Path
        Image file or checkpoint directory.
    progress : callable or None
        Called with the name of each tensor when a checkpoint has to be packed.
    """

    def __init__(self, name: str, path: Path, progress=None):
        self.name = name
        self.path = path
        self._progress = progress or (lambda tensor: None)

    @functools.cached_property
    def image(self) -> Image:
        """The packed model; a checkpoint is packed into the cache."""
        if not self.path.is_dir():
            return Image(self.path)
        checkpoint = self.checkpoint
        return get_or_make(
            "images", f"{_digest(self.path, checkpoint)}.trit", read=Image,
            make=lambda path: pack(checkpoint, path, progress=self._progress))

    @functools.cached_property
    def checkpoint(self) -> Weights:
        """The checkpoint, or the image read as one."""
        return Checkpoint.open(self.path) if self.path.is_dir() else ImageCheckpoint(self.image)

    @property
    def config(self) -> ModelConfig:
        """Dimensions, a `ModelConfig`."""
        return self.checkpoint.config

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that belongs to the model."""
        if self.path.is_dir():
            return Tokenizer.open(self.checkpoint.tokenizer_path, self.config)
        data = self.image.tokenizer_json
        if data is None:
            raise BadInput(f"{self.path} was packed without a tokenizer: give token numbers, or "
                           "put tokenizer.json beside the checkpoint and pack it again.")
        return Tokenizer(data, vocab=self.config.vocab, bos=self.config.bos,
                         name=f"The tokenizer in {self.path}")


def bundled_models() -> list[str]:
    """Names of the models that come with the program."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/*.trit"))


def resolve(name: str, progress=None) -> Model:
    """Find the model that `name` means.

    Parameters
    ----------
    name : str
        An image, a checkpoint directory, or a bundled model.
    progress : callable or None
        Called with the name of each tensor when a checkpoint has to be packed.

    Raises
    ------
    BadInput
        There is no such model.
    """
    path = Path(name)
    if path.exists():
        return Model(name, path, progress)
    if name in bundled_models():
        return Model(name, BUNDLED / name / f"{name}.trit", progress)
    known = "".join(f", or {name}" for name in bundled_models())
    raise BadInput(f"There is no model {name!r}: give an image or a checkpoint directory{known}.")


def _digest(path: Path, checkpoint: Checkpoint) -> str:
    """Name for the image of a checkpoint: its contents', and the program's that packs it."""
    digest = hashlib.sha256()
    sources = [Path(__file__).parents[1] / name for name in PACKERS]
    files = [path / "config.json", *sorted(path.glob("*.safetensors")), checkpoint.tokenizer_path]
    for file in filter(Path.exists, [*sources, *files]):
        with file.open("rb") as contents:
            digest.update(hashlib.file_digest(contents, "sha256").digest())
    return digest.hexdigest()[:32]
