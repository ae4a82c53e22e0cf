"""Texts that somebody wants to have read: plain, or as lines of JSON."""

import json
import lzma
from pathlib import Path

from tritstream.errors import BadInput
from tritstream.model.tokenizer import decode_utf8
from tritstream.support.inputs import check_input

__all__ = ["read_documents", "read_text"]

MOST_BYTES = 4 << 30        # of a text, which is in memory as a whole
MARK = "\ufeff"             # with which some editors begin a file, and which is not of the text


def read_documents(path: str | Path) -> list[str]:
    """Texts of a file: a plain text is one, JSON lines are one each in `text`; either may be `.xz`.

    Raises
    ------
    BadInput
        The file cannot be read, is too large, is not UTF-8, or a line has no text.
    """
    path = Path(path)
    text = read_text(path)
    if (path.with_suffix("") if path.suffix == ".xz" else path).suffix != ".jsonl":
        return [text]
    lines = enumerate(text.split("\n"), 1)
    return [_document(path, number, line) for number, line in lines if line.strip(f"{MARK} \t\r")]


def read_text(path: str | Path) -> str:
    """Contents of a text file, which may be `.xz`; a byte-order mark in front is not of the text.

    Raises
    ------
    BadInput
        The file cannot be read, is too large, or is not UTF-8.
    """
    path = Path(path)
    try:
        check_input(path, most=MOST_BYTES)
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix == ".xz":
        data = _unpacked(path, data)
    return decode_utf8(data, str(path)).removeprefix(MARK)


def _unpacked(path: Path, data: bytes) -> bytes:
    """Decompress all streams of an xz file, and no more than a text may have."""
    parts, size = [], 0
    try:
        while data:
            stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            parts.append(stream.decompress(data, MOST_BYTES + 1 - size))
            size += len(parts[-1])
            if size > MOST_BYTES:
                raise BadInput(f"{path} holds more than {MOST_BYTES:,} bytes of text: give a part "
                               "of it.")
            if not stream.eof:
                raise BadInput(f"{path} is not a complete xz file: its end is missing.")
            data = stream.unused_data.lstrip(b"\0")     # padding
    except lzma.LZMAError as error:
        raise BadInput(f"{path} is not a complete xz file: {error}.") from error
    return b"".join(parts)


def _document(path: Path, number: int, line: str) -> str:
    try:
        text = json.loads(line.removeprefix(MARK))["text"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadInput(f"{path}, line {number}, is not a JSON object with a text.") from error
    if not isinstance(text, str):
        kind = type(text).__name__
        raise BadInput(f"{path}, line {number}: text must be a string, not a {kind}.")
    return text
