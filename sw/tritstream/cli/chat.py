"""`tritstream chat`: a conversation at a terminal."""

import contextlib
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import notes, write
from tritstream.cli.options import Count, Device, ModelName, check_count, open_device, open_model
from tritstream.cli.sampling import (
    FrequencyPenalty,
    LogitBias,
    MinP,
    PresencePenalty,
    RepeatPenalty,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    parse_bias,
)
from tritstream.engines.candidates import CANDIDATES
from tritstream.engines.state import State, digest_text
from tritstream.errors import BadInput, DeviceError
from tritstream.runtime.chat import Chat, Reply
from tritstream.runtime.pieces import Pieces
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.scheduler import Scheduler
from tritstream.support.files import write_whole
from tritstream.support.inputs import read_input

__all__ = ["chat"]

QUOTES = '"""'
MOST_FILE = 64 << 20        # bytes of a saved conversation
MOST_TEXT = 1 << 20         # letters that are said at once
KEPT_LINES = 1_000
SHOWN = 400                 # letters of a text that one goes on from

HELP = f"""\
/save FILE      write the conversation to a file
/load FILE      go on from a file
/undo           take the latest turn back
/fork [TOKENS]  go on in a copy, as it is or as it was when it had so many tokens
/switch NUMBER  go on in another of the conversations
/stats          where the conversation is, and how fast the latest answer was made
/quit           end; so does Ctrl-D
{QUOTES}             begins and ends a text of several lines; // begins one with a /
Ctrl-C          ends an answer, and keeps what there is of it"""


def chat(
    model: ModelName = DEFAULT_MODEL,
    device: Device = "golden",
    count: Count = 256,
    system: Annotated[str | None, typer.Option(
        metavar="TEXT", help="What the model is told first, if it has a chat template.")] = None,
    temperature: Temperature = 0.7,
    top_k: TopK = CANDIDATES,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepeatPenalty = 1.0,
    presence_penalty: PresencePenalty = 0.0,
    frequency_penalty: FrequencyPenalty = 0.0,
    logit_bias: LogitBias = None,
    stop: Stop = None,
    seed: Seed = 0,
):
    """Talk with a model, or let it go on with a text in turns."""
    check_count("-n", count)
    biases = parse_bias(logit_bias)

    def sampler(number: int) -> Sampler:
        return Sampler(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
                       repetition_penalty=repetition_penalty, presence_penalty=presence_penalty,
                       frequency_penalty=frequency_penalty, logit_bias=biases, seed=seed + number)

    # What no device can do is refused before one is opened.
    sampler(0)
    opened = open_model(model)
    Pieces(opened.tokenizer, (), stop or [])
    with (open_device(device, opened) as loaded,
          Scheduler(loaded.engine, reopen=loaded.reopen) as scheduler):
        session = Chat(loaded, scheduler, sampler, count, stop=stop or [], system=system)
        _Terminal(session, opened.name, device).run()


class _Terminal:
    """Lines of a person as turns and commands, and what comes of them.

    Where there is nobody at a terminal, the first error ends it.
    """

    def __init__(self, session: Chat, name: str, device: str):
        self._session = session
        self._device = device
        self._latest: Reply | None = None
        self._watched = sys.stdin.isatty()
        sys.stdin.reconfigure(errors="surrogateescape")     # the tokenizer says what is no UTF-8
        if self._watched:
            with contextlib.suppress(ImportError):
                import readline  # lines can be edited, and those before come back

                readline.set_history_length(KEPT_LINES)
        self._commands: dict[str, Callable[[str], None]] = {
            "/save": self._save, "/load": self._load, "/undo": self._undo, "/fork": self._fork,
            "/switch": self._switch, "/stats": self._stats, "/help": self._help}
        if not session.speaks:
            self._note(f"{name} has no chat template: it does not answer, but goes on with the "
                       "text that you begin. An empty line lets it go on by itself.")
        self._note("/help shows what else there is.")

    def run(self) -> None:
        """Take lines until there are no more."""
        while (text := self._read()) is not None:
            if text.strip() == "/quit":
                return
            try:
                self._do(text)
            except (BadInput, DeviceError) as error:
                if not self._watched:
                    raise
                self._note(f"error: {error}")

    def _read(self) -> str | None:
        """Return what is said next; None at the end."""
        while True:
            try:
                text = self._line("> ")
                if text is not None and text.startswith(QUOTES):
                    text = self._lines(text.removeprefix(QUOTES))
                return text
            except KeyboardInterrupt:
                if not self._watched:
                    raise
                self._note("\n/quit or Ctrl-D ends.")

    def _line(self, prompt: str) -> str | None:
        if not self._watched:
            line = sys.stdin.readline(MOST_TEXT + 1)
            _check_length(line)
            return line.removesuffix("\n") if line else None
        try:
            return input(prompt)
        except EOFError:
            write("\n")
            return None

    def _lines(self, text: str | None) -> str:
        """Return lines up to the quotes that end them."""
        whole = ""
        while text is not None and not text.endswith(QUOTES):
            whole += text + "\n"
            _check_length(whole)
            text = self._line("… ")
        return whole + (text or "").removesuffix(QUOTES)

    def _do(self, text: str) -> None:
        if text.startswith("//"):
            self._say(text[1:])
        elif text.startswith("/"):
            word, _, rest = text.partition(" ")
            if word not in self._commands:
                raise BadInput(f"There is no {word[:40]}: /help shows what there is.")
            self._commands[word](rest.strip())
        elif text or not self._session.speaks:
            self._say(text)

    def _say(self, text: str) -> None:
        self._latest = reply = self._session.say(text)
        try:
            for piece in reply:
                write(piece)
        except KeyboardInterrupt:
            write(reply.stop())
            if not self._watched:
                raise
            self._note(f"\nended behind {len(reply.tokens)} tokens")
        finally:
            write("\n")

    def _save(self, name: str) -> None:
        _check_given("/save", name)
        write_whole(name, self._session.state.to_bytes())
        self._note(f"{name} has the conversation: {len(self._session.state.text)} tokens.")

    def _load(self, name: str) -> None:
        _check_given("/load", name)
        try:
            data = read_input(name, most=MOST_FILE)
        except OSError as error:
            raise BadInput(f"{name} cannot be read: {error.strerror}.") from error
        self._session.load(State.from_bytes(data, name))
        self._show()

    def _undo(self, rest: str) -> None:
        self._session.undo()
        self._show()

    def _fork(self, rest: str) -> None:
        self._session.fork(_number("/fork", rest) if rest else None)
        self._show()

    def _switch(self, rest: str) -> None:
        self._session.switch(_number("/switch", rest))
        self._show()

    def _show(self) -> None:
        """Say which conversation this is, and how its text ends."""
        text = self._session.text
        self._where()
        if text:
            write(("…" if len(text) > SHOWN else "") + text[-SHOWN:] + "\n", dim=True)

    def _where(self) -> None:
        session, state = self._session, self._session.state
        self._note(f"conversation {session.current + 1} of {len(session.histories)}: "
                   f"{len(state.text)} tokens, {session.turns} turns, digest "
                   f"{digest_text(state.digest) or '-'} on {self._device}")

    def _stats(self, rest: str) -> None:
        self._where()
        if self._latest is None:
            return
        timings = self._latest.timings
        for what, tokens, seconds, rate in (
                ("prompt", timings.prompt_tokens, timings.prompt_seconds, timings.prompt_rate),
                ("answer", timings.generated_tokens, timings.generated_seconds, timings.rate)):
            speed = "-" if rate is None else f"{rate:.2f}"
            self._note(f"{what:9} {tokens:6} tokens {seconds:9.3f} s {speed:>9} tok/s  "
                       f"{timings.evidence}")

    def _help(self, rest: str) -> None:
        self._note(HELP)

    def _note(self, text: str) -> None:
        notes().print(text, style="dim" if self._watched else None)


def _check_given(command: str, name: str) -> None:
    if not name:
        raise BadInput(f"{command} needs the name of a file.")


def _check_length(text: str) -> None:
    if len(text) > MOST_TEXT:
        raise BadInput(f"The text has more than the {MOST_TEXT:,} letters that can be said at "
                       "once.")


def _number(command: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput(f"{command} needs a number, not {text[:40]!r}.")
    return int(text)
