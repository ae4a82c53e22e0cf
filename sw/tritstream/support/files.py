"""Files that are complete whenever they exist: written aside, flushed, then renamed."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from tritstream.errors import BadInput, TritstreamError

__all__ = ["replacing", "write_whole", "written_aside"]

NAME_KEPT = 40              # letters of a name that its part has, too: a name has at most 255 bytes


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield the name of a part, which is renamed to `path` if no error occurs, or else removed.

    No two parts have the same name, whichever threads, processes or machines write them.

    Raises
    ------
    OSError
        The part cannot be written or renamed.
    """
    part = path.with_name(f".{path.name[:NAME_KEPT]}.{secrets.token_hex(8)}.part")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):      # a directory that is none was told already
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path to write a file to, which takes the place of `path` if no error occurs.

    A link stays a link: what it leads to is replaced.

    Raises
    ------
    BadInput
        The file cannot be written there, or `path` is something that only looks like a file.
    """
    path = Path(path)
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise BadInput(f"{path} cannot be written: it is not a regular file; give the name "
                           "of a file.")
        with written_aside(path) as part:
            yield part
    except TritstreamError:             # of what is written; some are an `OSError`, too
        raise
    except (OSError, RuntimeError) as error:    # of links in a circle, `resolve` says the latter
        raise BadInput(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}; "
                       "what was there before is as it was.") from error


def write_whole(path: str | Path, contents: bytes):
    """Write a file in one go, see `replacing`."""
    with replacing(path) as part:
        part.write_bytes(contents)
