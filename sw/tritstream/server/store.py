"""Conversations of a server: files of a directory, of which those used last are in memory."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import filelock

from tritstream.engines.state import State
from tritstream.errors import BadInput, TritstreamError
from tritstream.runtime.history import History
from tritstream.server.errors import Refused
from tritstream.server.residence import Served
from tritstream.support.files import write_whole
from tritstream.support.inputs import read_input

__all__ = ["MOST_TOKENS", "Kept", "Store"]

MOST_CONVERSATIONS = 1_000
MOST_TOKENS = 1 << 20       # of a conversation
LOADED = 64                 # that are in memory
BEGINNING = 16              # tokens of each
SUFFIX = ".state"

_ID = re.compile(r"conv_([0-9a-f]{8})[0-9a-f]{16}")


@dataclasses.dataclass
class Kept:
    """A conversation of a store.

    Parameters
    ----------
    id : str
        ``conv_`` and hexadecimal digits, the first eight of them the second of its creation.
    path : Path
        Its file.
    used : float
        When its file was written.
    model : str or None
        Digest of its model, once it was read.
    tokens, digest
        As its state has them, likewise.
    beginning : tuple of int
        The first tokens of its text, by which people know it.
    busy : bool
        Whether a text of it is under way.
    """

    id: str
    path: Path
    used: float
    model: str | None = None
    tokens: int = 0
    digest: int | None = None
    beginning: tuple[int, ...] = ()
    busy: bool = False

    @property
    def created(self) -> int:
        """Second of its creation."""
        return int(_ID.fullmatch(self.id)[1], 16)

    def note(self, state: State) -> None:
        """Take note of where it is."""
        self.model, self.tokens, self.digest = state.model, len(state.text), state.digest
        self.beginning = state.text[:BEGINNING]


class Store:
    """Conversations that outlive the server, if their directory does.

    A conversation is at the end of its latest turn; a turn is complete when its file is written.

    Parameters
    ----------
    directory : Path
        Made if it is not there; nobody else uses it at the same time.
    served : sequence of Served
        Whose conversations they are.

    Raises
    ------
    BadInput
        The directory cannot be used, or another server does.
    """

    def __init__(self, directory: Path, served: Iterable[Served]):
        self._directory = directory
        self._served = {each.model: each for each in served}
        self._mutex = threading.Lock()
        self._loaded: collections.OrderedDict[str, History] = collections.OrderedDict()
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "conversations")
        # Header, checksum, tokens of four bytes, and numbers of at most eight.
        self.most_bytes = 128 + 4 * MOST_TOKENS + 8 * max(
            math.prod(each.shape) for each in self._served.values())
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(directory / ".lock", timeout=0)
            self._lock.acquire()
            for part in directory.glob(".conv_*.part"):     # of a server that was killed
                part.unlink()
            self._kept = {kept.id: kept for kept in map(_found, directory.iterdir()) if kept}
        except filelock.Timeout:
            raise BadInput(f"{directory} has the conversations of another server that runs: give "
                           "another directory, or end that one.") from None
        except OSError as error:
            raise BadInput(f"{directory} cannot hold conversations ({error.strerror or error}): "
                           "give a directory that can be written.") from error

    def close(self) -> None:
        """Write what is still to be written, and leave the directory to others."""
        self._writer.shutdown()
        self._lock.release()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def create(self, state: State) -> Kept:
        """Keep another conversation, which is where a state is.

        Raises
        ------
        BadInput
            The state is of another model, or damaged, or cannot be written.
        Refused
            There are as many conversations as may be.
        """
        self._check(state)
        name = f"conv_{int(time.time()) & 0xFFFFFFFF:08x}{secrets.token_hex(8)}"
        kept = Kept(name, self._directory / f"{name}{SUFFIX}", time.time())
        with self._mutex:
            if len(self._kept) >= MOST_CONVERSATIONS:
                raise Refused(409, f"There are {len(self._kept):,} conversations already: delete "
                              "one first.")
            self._kept[name] = kept
        try:
            self._write(kept, state)
        except BaseException:
            with self._mutex:
                del self._kept[name]
            raise
        return kept

    def all(self) -> list[Kept]:
        """Return all conversations that can be read, those used last first."""
        with self._mutex:
            found = list(self._kept.values())
        for kept in found:
            if kept.model is None:      # it was not read so far
                with contextlib.suppress(TritstreamError, Refused):
                    self._read(kept)
        return sorted(found, key=lambda kept: kept.used, reverse=True)

    def find(self, name: str) -> Kept:
        """Return a conversation by its id; `Refused` if there is none."""
        with self._mutex:
            kept = self._kept.get(name)
        if kept is None:
            raise Refused(404, f"There is no conversation {name[:100]!r} here.")
        return kept

    def served(self, model: str | None) -> Served | None:
        """Return the model of a digest, if it is served."""
        return self._served.get(model)

    def history(self, kept: Kept) -> History:
        """Return where a conversation is, read from its file if need be.

        Raises
        ------
        BadInput
            The file is damaged, or of another model.
        Refused
            It was deleted meanwhile.
        """
        with self._mutex:
            if kept.id in self._loaded:
                self._loaded.move_to_end(kept.id)
                return self._loaded[kept.id]
        return self._load(kept, self._read(kept))

    def begin(self, kept: Kept) -> History:
        """Have a conversation for one text; `end` gives it back, or `release`."""
        with self._mutex:
            self._check_idle(kept)
            kept.busy = True
        try:
            return self.history(kept)
        except BaseException:
            self.release(kept)
            raise

    def release(self, kept: Kept) -> None:
        """Give a conversation back whose text has not begun."""
        kept.busy = False

    def end(self, kept: Kept, state: State | None,
            then: Callable[[Exception | None], None]) -> None:
        """Go on to the end of a turn, None: there was none; `then` is called behind the write.

        It is called with the error if the state could not be written, and the conversation stays
        where it was.
        """
        self._writer.submit(self._end, kept, state, then)

    def delete(self, kept: Kept) -> None:
        """Forget a conversation, and remove its file."""
        with self._mutex:
            self._check_idle(kept)
            self._kept.pop(kept.id, None)
            self._loaded.pop(kept.id, None)
            with contextlib.suppress(FileNotFoundError):
                kept.path.unlink()

    def _end(self, kept: Kept, state: State | None,
             then: Callable[[Exception | None], None]) -> None:
        error = None
        try:
            if state is not None:
                self._write(kept, state)
        except Exception as failed:
            error = failed
        with self._mutex:
            kept.busy = False
        then(error)

    def _check_idle(self, kept: Kept) -> None:
        if kept.busy:
            raise Refused(409, f"A text of conversation {kept.id} is under way: wait for its end.")

    def _check(self, state: State) -> None:
        served = self.served(state.model) or next(iter(self._served.values()))
        state.check(model=served.model, kind=served.kind, shape=served.shape, vocab=served.vocab,
                    device=served.device)
        if len(state.text) > MOST_TOKENS:
            raise BadInput(f"The conversation has {len(state.text):,} tokens, more than the "
                           f"{MOST_TOKENS:,} that are kept: begin another.")

    def _write(self, kept: Kept, state: State) -> None:
        write_whole(kept.path, state.to_bytes())
        with self._mutex:
            history = self._loaded.get(kept.id)
            if history is not None:
                history.advance(state)
        kept.used = time.time()
        kept.note(state)
        if history is None:
            self._load(kept, History(state))

    def _read(self, kept: Kept) -> History:
        try:
            data = read_input(kept.path, most=self.most_bytes)
        except FileNotFoundError:
            raise Refused(404, f"Conversation {kept.id} is no longer here.") from None
        except OSError as error:
            raise BadInput(f"Conversation {kept.id} cannot be read ({error.strerror}): make its "
                           "file readable.") from error
        state = State.from_bytes(data, f"Conversation {kept.id}")
        self._check(state)
        kept.note(state)
        return History(state)

    def _load(self, kept: Kept, history: History) -> History:
        with self._mutex:
            history = self._loaded.setdefault(kept.id, history)
            self._loaded.move_to_end(kept.id)
            if len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
        return history


def _found(path: Path) -> Kept | None:
    """Return the conversation of a file; None if it has another name than those that we give."""
    if path.suffix != SUFFIX or not _ID.fullmatch(path.stem) or not path.is_file():
        return None
    return Kept(path.stem, path, path.stat().st_mtime)
