"""Files that are complete whenever they exist: written aside, flushed, then renamed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tritstream.errors import BadInput

__all__ = ["replacing", "write_whole"]


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path to write a file to, which takes the place of `path` if no error occurs.

    A link stays a link: what it leads to is replaced.

    Raises
    ------
    BadInput
        The file cannot be written there, or `path` is something that only looks like a file.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} cannot be written: it is not a regular file; give the name of a "
                       "file.")
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
        with contextlib.suppress(OSError):      # a directory that is none was told already
            aside.unlink(missing_ok=True)


def write_whole(path: str | Path, contents: bytes):
    """Write a file in one go, see `replacing`."""
    with replacing(path) as aside:
        aside.write_bytes(contents)
