"""The user's cache, for what can be made again: packed checkpoints, simulated boards, tokens."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import filelock
import platformdirs

from tritstream.errors import BadInput, TritstreamError
from tritstream.support.files import written_aside

__all__ = ["cache_directory", "get_or_make", "provide_home"]

Read = TypeVar("Read")

LOCK_SECONDS = 3600.0       # somebody else packs a large model, or has hung


def cache_directory(kind: str) -> Path:
    """Where things of one kind are kept; it need not exist yet.

    Raises
    ------
    BadInput
        There is no home directory, and its place below the temporary one is somebody else's.
    """
    provide_home()
    return platformdirs.user_cache_path("tritstream", appauthor=False) / kind


def provide_home() -> None:
    """Give a user whom the system does not know, as in containers, a place for caches.

    It is told by ``XDG_CACHE_HOME``, which holds for the tools that are started, too.

    Raises
    ------
    BadInput
        As `cache_directory`.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return
    with contextlib.suppress(RuntimeError):     # there is none
        if Path.home().is_absolute():
            return
    base = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    with contextlib.suppress(OSError):          # told when something is written there
        base.mkdir(mode=0o700, exist_ok=True)
        found = base.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise BadInput(f"{base} belongs to somebody else, and there is no home directory: set "
                           "XDG_CACHE_HOME to a directory of your own.")
    os.environ["XDG_CACHE_HOME"] = str(base)


def get_or_make(kind: str, name: str, make: Callable[[Path], object], *,
                read: Callable[[Path], Read] = Path, directory: Path | None = None) -> Read:
    """Read a file of the cache, which is made first if it is absent or damaged.

    Of several threads or processes that want the same one, the first makes it and the others wait.

    Parameters
    ----------
    kind : str
        What it is one of; names the directory.
    name : str
        Its name there, which tells everything that it is made from.
    make : callable
        Writes it to the path that it is given.
    read : callable
        Opens it; raises `BadInput` if it is not what `make` wrote.
    directory : Path, optional
        Where it is instead of `cache_directory`.

    Returns
    -------
    object
        What `read` returns: without it, the path.

    Raises
    ------
    BadInput
        The cache cannot be written, or another process has been making it for an hour.
    """
    directory = cache_directory(kind) if directory is None else directory.absolute()
    path = directory / name
    try:
        with contextlib.suppress(BadInput):
            if path.exists():
                return read(path)
        directory.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(directory / f".{name}.lock", timeout=LOCK_SECONDS):
            with contextlib.suppress(BadInput):
                if path.exists():
                    return read(path)
            with written_aside(path) as part:
                make(part)
            return read(path)
    except TritstreamError:             # of what is made; some are an `OSError`, too
        raise
    except filelock.Timeout as error:
        raise BadInput(f"Another process has been making {path} for {LOCK_SECONDS / 60:g} "
                       "minutes: end it, or wait and try again.") from error
    except OSError as error:
        raise BadInput(f"{directory} cannot hold what is kept there ({error.strerror or error}): "
                       "set XDG_CACHE_HOME to a directory that can be written and has room."
                       ) from error
