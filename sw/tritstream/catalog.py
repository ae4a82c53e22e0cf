"""What `-m` names: an image, a checkpoint directory, or a bundled model."""

import contextlib
import functools
import hashlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from tritstream.errors import BadInput, TritstreamWarning
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.image.unpack import ImageCheckpoint
from tritstream.model.chat_template import ChatTemplate, Message, read_template
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.tokenizer import Tokenizer
from tritstream.model.weights import Weights
from tritstream.support.cache import get_or_make
from tritstream.support.inputs import check_input

__all__ = ["DEFAULT_MODEL", "Model", "bundled_models", "resolve"]

BUNDLED = Path(__file__).parent / "model" / "bundled"
DEFAULT_MODEL = "demo"
"""The bundled model that is used where none is named."""

SOURCES = Path(__file__).parents[2] / "train" / "models"
"""Where a source checkout has the models that are too large for a wheel."""

ELSEWHERE = {"story-30m": "; story-30m is in the source repository, as "
                          "train/models/story-30m/story-30m.trit"}
"""What is said of a model that the documents speak of, where there is no checkout."""

PACKERS = ("image/bounds.py", "image/image.py", "image/pack.py", "image/stages.py",
           "image/tape.py", "image/trits.py", "formats.py", "model/chat_template.py",
           "model/checkpoint.py", "model/config.py", "model/tensors.py", "model/tokenizer.py")
"""What the contents of an image depend on, besides the checkpoint."""


_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


class Model:
    """One model; image, checkpoint and tokenizer are opened when they are asked for.

    Parameters
    ----------
    name : str
        What the user called it.
    path : Path
        Image file or checkpoint directory.
    progress : callable or None
        Context manager that is told what begins and yields what `pack` calls, for when a
        checkpoint has to be packed.
    """

    def __init__(self, name: str, path: Path, progress=None):
        self.name = name
        self.path = path
        self._progress = progress or (lambda what: contextlib.nullcontext(lambda done, total: None))

    @functools.cached_property
    def image(self) -> Image:
        """The packed model; a checkpoint is packed into the cache."""
        if not self.path.is_dir():
            return Image(self.path)
        return get_or_make("images", f"{_digest(self.path, self.checkpoint)}.trit", read=Image,
                           make=self._pack)

    def _pack(self, path: Path) -> None:
        with self._progress(f"packing {self.name}") as show:
            pack(self.checkpoint, path, progress=show)

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

    @property
    def tokenizer_if_any(self) -> Tokenizer | None:
        """The tokenizer, or None if there is none; one that is damaged is refused."""
        there = (self.checkpoint.tokenizer_path.exists() if self.path.is_dir()
                 else self.image.tokenizer_json is not None)
        return self.tokenizer if there else None

    @functools.cached_property
    def chat_template(self) -> ChatTemplate | None:
        """How a conversation is written for this model; None: it only goes on from texts."""
        table = read_template(self.path) if self.path.is_dir() else self.image.meta.get("chat")
        return None if table is None else ChatTemplate(table, self.name)

    def chat_tokens(self, messages: Sequence[Message], before: Sequence[int] = ()) -> list[int]:
        """Tokens of messages, up to where the model answers.

        No token is put before them that the template does not write.

        Parameters
        ----------
        messages : sequence of Message
            All of a conversation, or those behind the model's latest answer.
        before : sequence of int
            Tokens of the conversation so far, which ends with that answer.

        Raises
        ------
        BadInput
            The model has no chat template, or that does not take these messages.
        """
        if self.chat_template is None:
            raise BadInput(f"{self.name} has no chat template: give it texts to go on from.")
        if not before:
            return self.tokenizer.encode_more(self.chat_template.first(messages))
        tokens = self.tokenizer.encode_more(self.chat_template.more(messages))
        # The token that ended the answer may be the first of what the template writes behind it.
        ended = before[-1] in self.config.stop_tokens and tokens[:1] == [before[-1]]
        return tokens[ended:]


def bundled_models() -> list[str]:
    """Names of the models that come with the program."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/*.trit"))


def resolve(name: str, progress=None) -> Model:
    """Find the model that `name` means.

    Parameters
    ----------
    name : str
        An image, a checkpoint directory, a model that comes with the program, or one on the
        Hugging Face Hub. A name without a slash and a suffix means a model of the program first.
    progress : callable or None
        See `Model`.

    Raises
    ------
    BadInput
        There is no such model.
    """
    path = Path(name)
    if path.name == name and not path.suffix:       # a place has a slash or a suffix
        for place in (BUNDLED / name / f"{name}.trit", SOURCES / name / f"{name}.trit"):
            if _exists(place):
                if _exists(path):
                    warnings.warn(f"{name} means the model of that name; ./{name} is what is here.",
                                  TritstreamWarning, stacklevel=2)
                return Model(name, place, progress)
    if _exists(path):
        return Model(name, path, progress)
    if _HUB_NAME.fullmatch(name):
        return Model(name, _from_hub(name), progress)
    known = "".join(f", or {name}" for name in bundled_models())
    raise BadInput(f"There is no model {name[:200]!r}: give an image or a checkpoint directory"
                   f"{known}{ELSEWHERE.get(name, '')}.")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:             # what opens it says that it may not be seen
        return len(path.parts) > 1
    except (OSError, ValueError):       # too long, not allowed, or with a byte 0
        return False


def _from_hub(name: str) -> Path:
    """Return the directory of a checkpoint on the Hugging Face Hub, fetched if need be."""
    try:
        import huggingface_hub
    except ImportError:
        raise BadInput(f"There is no file or directory {name}; if it is a name on the Hugging Face "
                       "Hub, run `pip install 'tritstream[hub]'` and repeat, or give the directory "
                       "that it was downloaded to.") from None
    try:
        return Path(huggingface_hub.snapshot_download(
            name, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
        reason = str(error).partition("\n")[0]
        raise BadInput(f"There is no file or directory {name}, and the Hugging Face Hub does not "
                       f"give it ({reason}): give the directory of a checkpoint.") from error


def _digest(path: Path, checkpoint: Checkpoint) -> str:
    """Name for the image of a checkpoint: its contents', and the program's that packs it."""
    digest = hashlib.sha256()
    sources = [Path(__file__).parent / name for name in PACKERS]
    beside = [path / name for name in ("generation_config.json", "tokenizer_config.json",
                                       "chat_template.jinja")]
    optional = filter(Path.exists, [*beside, checkpoint.tokenizer_path])
    for file in [*sources, *checkpoint.files, *optional]:
        digest.update(file.name.encode() + b"\0" + _digest_of(file))
    return digest.hexdigest()[:32]


def _digest_of(file: Path) -> bytes:
    try:
        check_input(file)
        with file.open("rb") as contents:
            return hashlib.file_digest(contents, "sha256").digest()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}; make it readable, or fetch the "
                       "checkpoint again.") from error
