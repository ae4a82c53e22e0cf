"""How a conversation is written as a text: the template of a checkpoint.

Templates are programs in Jinja's language, by whoever made the model. They run in its sandbox, in a
process of their own (`tritstream.model.chat_worker`) that bounds their time and memory.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from tritstream.errors import BadInput, MissingTool
from tritstream.support.inputs import read_input, read_json

__all__ = ["MOST_TEMPLATE", "ChatTemplate", "Message", "read_template"]

Message = dict[str, str]
"""What somebody says: `role`, which is `system`, `user` or `assistant`, and `content`."""

MOST_TEMPLATE = 256 << 10   # bytes; published ones have 20 kB at most
MOST_TEXT = 8 << 20         # bytes of a conversation as a text
MOST_SETTINGS = 64 << 20    # bytes of a tokenizer_config.json, which may list all its tokens
START_SECONDS = 60.0        # for Python and Jinja, on a machine that does other things
RENDER_SECONDS = 10.0       # the process itself ends what computes for longer than 2 s

ANSWER = "\u2042the answer\u2042"       # stands for an answer, whose end is looked for


def read_template(directory: Path) -> dict[str, str] | None:
    """Return the template of a checkpoint, and the tokens that it may name; None: it has none.

    Returns
    -------
    dict
        `template`, `bos_token` and `eos_token`, as the metadata of an image have them.

    Raises
    ------
    BadInput
        A file cannot be read, or the template is none.
    """
    settings, own = directory / "tokenizer_config.json", directory / "chat_template.jinja"
    try:
        table = read_json(settings, most=MOST_SETTINGS) if settings.exists() else {}
        template = table.get("chat_template")
        if own.exists():
            template = read_input(own, most=MOST_TEMPLATE).decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be read: {error.strerror}; make it readable, or "
                       "remove it.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{own} is not UTF-8 ({error.reason}): convert it.") from error
    if isinstance(template, list):      # of several by name
        named = {entry.get("name"): entry.get("template") for entry in template
                 if isinstance(entry, dict)}
        template = named.get("default")
    if template is None:
        return None
    if not isinstance(template, str):
        raise BadInput(f"{settings} has a chat_template that is no text: correct it, or remove it.")
    if len(template.encode("utf-8", "surrogatepass")) > MOST_TEMPLATE:
        raise BadInput(f"The chat template of {directory} has more than the {MOST_TEMPLATE:,} "
                       "bytes that one may have.")
    return {"template": template, "bos_token": _token(table, "bos_token"),
            "eos_token": _token(table, "eos_token")}


def _token(table: dict, name: str) -> str:
    named = table.get(name)
    named = named.get("content") if isinstance(named, dict) else named
    return named if isinstance(named, str) else ""


class ChatTemplate:
    """The template of a model; nothing runs before a text is asked for.

    Parameters
    ----------
    table : dict
        What `read_template` returns.
    name : str
        Whose it is, for messages.
    """

    def __init__(self, table: dict[str, str], name: str):
        self._table = table
        self._name = name
        self._lock = threading.Lock()
        self._worker: tuple[subprocess.Popen, socket.socket] | None = None
        self._end = lambda: None

    @property
    def source(self) -> str:
        """The template itself."""
        return self._table["template"]

    def first(self, messages: Sequence[Message]) -> str:
        """Return the text of a conversation up to where the model answers.

        Raises
        ------
        BadInput
            The template does not take these messages, or does not come to an end.
        MissingTool
            Jinja is not installed.
        """
        return self._render(list(messages))

    def more(self, messages: Sequence[Message]) -> str:
        """Return what comes behind an answer of the model, up to where it answers again.

        It does not depend on what was said before: it is what the template writes behind an answer
        in a conversation of these messages, what ends the answer included.
        """
        before = [{"role": "user", "content": "?"}, {"role": "assistant", "content": ANSWER}]
        _, found, rest = self._render([*before, *messages]).partition(ANSWER)
        if not found:
            raise BadInput(f"The chat template of {self._name} does not show an answer as it is, "
                           "so a conversation cannot go on: begin another with all its messages.")
        return rest

    def close(self) -> None:
        """End its process."""
        self._end()
        self._worker = None

    def _render(self, messages: list[Message]) -> str:
        request = json.dumps(self._table | {"messages": messages}).encode() + b"\n"
        with self._lock:
            try:
                answer = json.loads(self._ask(request))
            except (OSError, ValueError) as error:      # no answer in time, or it has died
                self.close()
                raise BadInput(f"The chat template of {self._name} has come to no end, or needs "
                               f"too much memory ({error or 'it was ended'}): correct it, or give "
                               "texts instead of messages.") from error
        if "error" in answer:
            raise BadInput(f"The chat template of {self._name} does not take these messages "
                           f"({answer['error']}): give others, or texts instead.")
        return answer["text"]

    def _ask(self, request: bytes) -> bytes:
        if self._worker is None or self._worker[0].poll() is not None:
            self._start()
        _, connection = self._worker
        connection.settimeout(RENDER_SECONDS)
        connection.sendall(request)
        return _line(connection)

    def _start(self) -> None:
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "tritstream.model.chat_worker"], stdin=theirs,
                stdout=theirs, stderr=subprocess.DEVNULL)
        self._worker = process, ours
        self._end = weakref.finalize(self, _end, process, ours)
        ours.settimeout(START_SECONDS)
        missing = json.loads(_line(ours)).get("missing")
        if missing is not None:
            self.close()
            raise MissingTool(f"What chat templates need is not installed ({missing}): run `pip "
                              "install 'tritstream[chat]'`.")


def _line(connection: socket.socket) -> bytes:
    """Read one line of bounded length."""
    with connection.makefile("rb") as file:
        return file.readline(2 * MOST_TEXT)


def _end(process: subprocess.Popen, connection: socket.socket) -> None:
    connection.close()
    with contextlib.suppress(OSError):
        process.kill()
    process.wait()
