"""Text as tokens: a memory-mapped file, made once for each text and tokenizer."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import tokenizers

from tritstream.analysis.texts import read_documents
from tritstream.errors import BadInput
from tritstream.support.cache import cache_directory, get_or_make
from tritstream.support.inputs import check_input

__all__ = ["digest_of", "open_tokens", "read_texts"]

FORMAT = b"tritstream tokens 2"     # changes with what is written, so that old files are not read
HEADER = struct.Struct("<32sQI20x")  # format, bytes that follow, their CRC-32
PIECE = 1 << 24                     # bytes whose checksum is computed at a time
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
        The file cannot be read, or only looks like one.
    """
    try:
        check_input(path)
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def open_tokens(path: str | Path, tokenizer: bytes, begin: int,
                say: Callable[[str], None] = lambda text: None) -> np.ndarray:
    """Tokens of all texts of a file, each behind the token `begin`.

    They are kept in the user's cache under the digest of text and tokenizer; what is damaged there
    is made again.

    Parameters
    ----------
    path : Path
        Text.
    tokenizer : bytes
        Contents of a `tokenizer.json`.
    begin : int
        Put before every text.
    say : callable
        Takes a line where something had to be made again.

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
    name = f"{key.hexdigest()[:32]}.{dtype.name}"

    def make(part: Path):
        if (cache_directory("tokens") / name).exists():
            say(f"the tokens of {path} in the cache are damaged, and made again")
        _write(part, _encoded(encoder, read_texts(path), begin, dtype))
    return get_or_make("tokens", name, make, read=lambda file: _read(file, dtype))


def _encoded(encoder, texts: list[str], begin: int, dtype: np.dtype) -> Iterator[np.ndarray]:
    group, size = [], 0
    for number, text in enumerate(texts, 1):
        group.append(text)
        size += len(text)
        if size >= GROUP or number == len(texts):
            for encoding in encoder.encode_batch_fast(group, add_special_tokens=False):
                yield np.array([begin, *encoding.ids], dtype)
            group, size = [], 0


def _read(file: Path, dtype: np.dtype) -> np.ndarray:
    """Tokens of a file; `BadInput` if it is not as it was written."""
    with open(file, "rb") as opened:
        start = opened.read(HEADER.size)
    name, size, checksum = HEADER.unpack(start.ljust(HEADER.size, b"\0"))
    if size and name.rstrip(b"\0") == FORMAT and file.stat().st_size == HEADER.size + size:
        tokens = np.memmap(file, dtype, mode="r", offset=HEADER.size)
        found, step = 0, PIECE // dtype.itemsize
        for place in range(0, len(tokens), step):
            found = zlib.crc32(tokens[place:place + step], found)
        if found == checksum:
            return tokens
    raise BadInput(f"{file} is damaged: remove it.")


def _write(file: Path, pieces: Iterable[np.ndarray]):
    with open(file, "wb") as output:
        output.write(bytes(HEADER.size))
        size = checksum = 0
        for piece in pieces:
            content = np.ascontiguousarray(piece).data
            output.write(content)
            size, checksum = size + content.nbytes, zlib.crc32(content, checksum)
        output.seek(0)
        output.write(HEADER.pack(FORMAT, size, checksum))
