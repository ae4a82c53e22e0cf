"""Text as tokens: a memory-mapped file, made once for each text and tokenizer."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import tokenizers

from tritstream.analysis.texts import read_documents
from tritstream.errors import BadInput
from tritstream.support.cache import cache_directory

__all__ = ["digest_of", "open_tokens", "read_texts"]

FORMAT = b"tritstream tokens 1"     # changes with what is written, so that old files are not read
GROUP = 1 << 25                     # characters tokenised at a time: bounds memory


def read_texts(path: str | Path) -> list[str]:
    """Texts of a file that are not empty, see `tritstream.analysis.texts.read_documents`.

    Raises
    ------
    BadInput
        The file cannot be read, is not UTF-8, a line of JSON lines has no text, or all are empty.
    """
    texts = [text for text in read_documents(path) if text]
    if not texts:
        raise BadInput(f"{path} holds no text to train on.")
    return texts


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal.

    Raises
    ------
    BadInput
        The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def open_tokens(path: str | Path, tokenizer: bytes, begin: int) -> np.ndarray:
    """Tokens of all texts of a file, each behind the token `begin`.

    They are kept in the user's cache under the digest of text and tokenizer.

    Parameters
    ----------
    path : Path
        Text.
    tokenizer : bytes
        Contents of a `tokenizer.json`.
    begin : int
        Put before every text.

    Returns
    -------
    ndarray
        uint16, or uint32 if the vocabulary is larger; [N], mapped read-only.

    Raises
    ------
    BadInput
        As `read_texts`; or the tokenizer cannot be read, or the cache not be written.
    """
    try:
        encoder = tokenizers.Tokenizer.from_buffer(tokenizer)
    except ValueError as error:
        raise BadInput(f"The tokenizer cannot be read: {error}.") from error
    dtype = np.dtype(np.uint16 if encoder.get_vocab_size() <= 1 << 16 else np.uint32)
    key = hashlib.sha256(b"\0".join([FORMAT, digest_of(path).encode(), b"%d" % begin, tokenizer]))
    file = cache_directory("tokens") / f"{key.hexdigest()[:32]}.{dtype.name}"
    if not file.exists():
        try:
            _write(file, _encoded(encoder, read_texts(path), begin, dtype))
        except OSError as error:
            raise BadInput(f"{file.parent} cannot hold the tokens of {path} ({error.strerror}): "
                           "set XDG_CACHE_HOME to a place that can.") from error
    return np.memmap(file, dtype, mode="r")


def _encoded(encoder, texts: list[str], begin: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    group, size = [], 0
    for number, text in enumerate(texts, 1):
        group.append(text)
        size += len(text)
        if size >= GROUP or number == len(texts):
            for encoding in encoder.encode_batch_fast(group, add_special_tokens=False):
                yield np.array([begin, *encoding.ids], dtype)
            group, size = [], 0


def _write(file: Path, pieces: Iterable[np.ndarray]):
    """Write aside, then rename: a file of this name is complete, whoever else writes it too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as output:
            for piece in pieces:
                output.write(np.ascontiguousarray(piece).data)
        os.replace(aside, file)
    finally:
        Path(aside).unlink(missing_ok=True)
