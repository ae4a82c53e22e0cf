"""Files that are complete whenever they exist: written aside, flushed, then renamed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tritstream.errors import BadInput

__all__ = ["replacing", "write_whole"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to, which takes the place of `path` if no error occurs.

    Raises
    ------
    BadInput
        The directory cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}; what was there "
                       "before is as it was.") from error
    finally:
        aside.unlink(missing_ok=True)


def write_whole(path: Path, contents: bytes):
    """Write a file in one go, see `replacing`."""
    with replacing(path) as aside:
        aside.write_bytes(contents)
