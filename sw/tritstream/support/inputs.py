"""Files that somebody else made: regular ones of a bounded size, and really the file itself."""

import json
import stat
from pathlib import Path

from tritstream.errors import BadInput

__all__ = ["check_input", "read_input", "read_json"]

POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands for one which Git LFS has not fetched."""


def check_input(path: str | Path, *, most: int | None = None) -> int:
    """Check that a path is a regular file, and return its bytes; nothing else is ever opened.

    A FIFO would block whoever opens it, and a device may have no end.

    Parameters
    ----------
    path : Path
        What somebody named.
    most : int or None
        Bytes that such a file has at most.

    Raises
    ------
    BadInput
        It is not a file, or too large, or the pointer of Git LFS to one.
    OSError
        It is absent, or may not be read.
    """
    path = Path(path)
    try:
        found = path.stat()
    except ValueError:
        raise BadInput(f"{str(path)!r} has a byte 0, which no name of a file has; give a file."
                       ) from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise BadInput(f"{path} is {kind}; give the file itself.")
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise BadInput(f"{path} is only Git LFS's pointer to the file; fetch that with `git "
                           "lfs pull`.")
    if most is not None and found.st_size > most:
        raise BadInput(f"{path} has {found.st_size:,} bytes, more than the {most:,} that such a "
                       "file may have.")
    return found.st_size


def read_input(path: str | Path, *, most: int) -> bytes:
    """Return the contents of a file that passes `check_input`, at most `most` bytes."""
    size = check_input(path, most=most)
    with open(path, "rb") as file:
        return file.read(size)


def read_json(path: str | Path, *, most: int) -> dict:
    """Return the object that a JSON file holds; a byte-order mark in front of it is no harm.

    Raises
    ------
    BadInput
        It is no JSON, or not an object, or does not pass `check_input`.
    OSError
        It is absent, or may not be read.
    """
    data = read_input(path, most=most)
    try:
        table = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise BadInput(f"{path} is not JSON: {reason}; fetch it again.") from None
    if not isinstance(table, dict):
        raise BadInput(f"{path} must hold a JSON object, not a {type(table).__name__}.")
    return table
