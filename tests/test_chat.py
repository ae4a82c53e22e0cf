"""A conversation at a terminal: turns, ways back, files, interrupts."""

import contextlib
import io
import itertools
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest

import tritstream
from tritstream.cli.app import run
from tritstream.engines.state import State
from tritstream.errors import BadInput, DeviceError
from tritstream.runtime.chat import Chat
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.scheduler import Scheduler
from tritstream_sim.report import terminal

COMMAND = [sys.executable, "-m", "tritstream", "chat", "-m", "tiny", "-n", "6"]
BEGIN = "It was a dark night, and"
WAIT = 60                   # seconds, far more than anything here takes


@contextlib.contextmanager
def chatting(model, count=6, **options):
    with Scheduler(model.engine) as scheduler:
        yield Chat(model, scheduler, lambda number: Sampler(temperature=0.7, seed=number), count,
                   **options)


def said(chat, text):
    """What the model says to a text."""
    return "".join(chat.say(text))


def test_turns_are_one_text(model):
    with chatting(model) as chat:
        texts = [said(chat, text) for text in (BEGIN, "", "But he", " then")]
        assert chat.text == BEGIN + texts[0] + texts[1] + " But he" + texts[2] + " then" + texts[3]
        assert chat.turns == 4
        with model.open() as twin:
            for token, head in zip(chat.state.tokens, chat.state.heads, strict=True):
                twin.step(token) if head else twin.feed([token])
            assert twin.digest == chat.state.digest


def test_ways_back_and_forks(model, tmp_path):
    with chatting(model) as chat:
        states = [chat.state]
        for text in (BEGIN, " and", ""):
            said(chat, text)
            states.append(chat.state)
        chat.fork()
        for state in reversed(states[:-1]):
            chat.undo()
            assert chat.state == state
        with pytest.raises(BadInput, match="no turn to take back"):
            chat.undo()
        chat.switch(1)
        assert chat.state == states[-1] and chat.turns == 3
        chat.fork(len(states[1].text))
        assert chat.state == states[1] and chat.turns == 1 and chat.current == 2
        chat.load(State.from_bytes(states[2].to_bytes()))
        assert chat.state == states[2] and chat.turns == 2
        chat.undo()
        assert chat.state == states[1]
        other = said(chat, " but")
        assert chat.text.endswith(" but" + other)
        for number in (0, 5):
            with pytest.raises(BadInput, match=f"conversations 1 to 4, and no {number}"):
                chat.switch(number)
        with pytest.raises(BadInput, match=r"has \d+ tokens"):
            chat.fork(1000)
        with pytest.raises(BadInput, match="belongs to model"):
            chat.load(State.beginning("0" * 64, states[0].kind, states[0].values.shape))


def test_an_answer_that_is_ended(model):
    """What is made is out, whatever the interrupt has lost."""
    with chatting(model, 10 ** 6) as chat:
        reply = chat.say(BEGIN)
        out = "".join(itertools.islice(reply, 3))
        next(reply._answer)                     # as if an interrupt had come behind it
        out += reply.stop()
        assert out == reply.text and BEGIN + out == chat.text
        assert len(chat.state.text) == len(model.tokenizer.encode(BEGIN)) + len(reply.tokens)
        assert list(reply) == []
        reply = chat.say("")
        reply.stop()                            # perhaps before its first token
        assert chat.turns == 1 + bool(reply.tokens)


def test_a_device_that_fails_leaves_the_conversation(model, monkeypatch):
    with chatting(model) as chat:
        said(chat, BEGIN)
        before = chat.state

        def failing(works):
            raise DeviceError("The device at golden is gone: plug it in again.")

        monkeypatch.setattr(model.engine, "step", failing)
        with pytest.raises(DeviceError, match="plug it in"):
            said(chat, " and")
        monkeypatch.undo()
        assert chat.state == before and chat.turns == 1
        assert said(chat, " and") and chat.turns == 2


def test_stop_texts_end_an_answer(model):
    with chatting(model, 20) as chat:
        whole = said(chat, BEGIN)
    stop = whole[8:11]
    with chatting(model, 20, stop=[stop]) as chat:
        assert said(chat, BEGIN) == whole[:whole.index(stop)]
        assert chat.text.startswith(BEGIN + whole[:whole.index(stop)] + stop)


def test_a_model_with_a_template(chat_image):
    with (tritstream.load(chat_image) as model,
          chatting(model, system="Be brief.") as chat):
        first, second = said(chat, "Hello"), said(chat, "And then?")
        decode = model.tokenizer.decode
        made = [token for index, token in enumerate(chat.state.text)
                if index and chat.state.heads[index - 1]]
        assert decode(chat.state.text[:len(chat.state.text) - 6]) == (
            f"[system] Be brief.\n[user] Hello\n[assistant] {decode(made[:6])}\n"
            "[user] And then?\n[assistant] ")
        assert (first, second) == (decode(made[:6]), decode(made[6:]))
        chat.undo()
        assert chat.text == f"[system] Be brief.\n[user] Hello\n[assistant] {first}"
        model.source.chat_template.close()


@pytest.fixture
def piped(capsys, monkeypatch):
    """Return what the program writes, and notes, for bytes that are said to it."""
    def run_with(said, *options, code=0):
        with io.TextIOWrapper(io.BytesIO(said), encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            assert run(["chat", "-m", "tiny", "-n", "6", *options]) == code
        return capsys.readouterr()
    return run_with


def test_through_a_pipe(piped, tmp_path):
    """The first line of the notes says what the model is for."""
    file = tmp_path / "kept.state"
    lines = [BEGIN, "", '"""But', 'he"""', "/stats", "/undo", "/fork 3", "/switch 1",
             f"/save {file}", "/help", f"/load {file}", "//not a command", "/quit", "never said"]
    out, notes = piped("\n".join(lines).encode())
    assert notes.startswith("tiny has no chat template: it does not answer, but goes on with the")
    assert "conversation 1 of 1" in notes and "3 turns" in notes and "measured" in notes
    assert "conversation 2 of 2: 3 tokens" in notes and "/switch NUMBER" in notes
    assert "never said" not in out and not out.startswith(BEGIN)
    state = State.from_bytes(file.read_bytes())
    with tritstream.load("tiny") as model:
        assert model.tokenizer.decode(state.text) in out


@pytest.mark.parametrize("said, words", [
    (b"/nothing", "no /nothing: /help shows"), (b"/save", "/save needs the name"),
    (b"/load", "/load needs the name"), (b"/fork x", "needs a number, not 'x'"),
    (b"/switch 7", "conversations 1 to 1, and no 7"), (b"/undo", "no turn to take back"),
    (b"\n", "text is empty"), (b"\xff\xfe", "not UTF-8"), (b"/load .", "is a directory"),
    (b"/load absent", "cannot be read"), (b"/save /proc/nothing/x", "cannot be written"),
    (b"a" * (2 << 20), "more than the 1,048,576 letters"),
    (b'"""' + (b"a" * 999 + b"\n") * 2000, "more than the 1,048,576 letters"),
])
def test_what_cannot_be_done_is_a_sentence(piped, said, words):
    _, notes = piped(said + b"\n", code=2)
    assert words in " ".join(notes.split())


@pytest.mark.parametrize("options, words", [
    (["--temp", "-1"], "temperature"), (["-n", "0"], "-n must be"), (["--stop", ""], "stop text"),
    (["--system", "Be brief."], "no chat template, so it cannot be told")])
def test_options_that_cannot_be(piped, options, words):
    assert words in piped(b"", *options, code=2)[1]


class Terminal:
    """The program at a terminal."""

    def __init__(self, *options):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen([*COMMAND, *options], stdin=slave, stdout=slave,
                                        stderr=slave, env=os.environ | {"TERM": "dumb"})
        os.close(slave)
        self.seen = ""

    def wait_for(self, pattern, again=lambda: None):
        """What is shown up to a pattern; `again` is called where nothing is shown for a second."""
        ends = time.monotonic() + WAIT
        while not re.search(pattern, self.seen):
            assert time.monotonic() < ends, self.seen
            ready, _, _ = select.select([self._master], [], [], 1)
            if not ready:
                again()
            else:
                self.seen += os.read(self._master, 4096).decode(errors="replace")
        found, self.seen = self.seen, ""
        return found

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def type(self, text):
        os.write(self._master, text.encode())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def test_at_a_terminal():
    """Ctrl-C ends an answer, and the conversation goes on; an error is told, and it goes on."""
    with Terminal("-n", "1000000", "--logit-bias", "0=-100,1=-100") as terminal:
        terminal.wait_for("> ")
        terminal.interrupt()            # readline loses one that comes while it shows its prompt
        terminal.wait_for("Ctrl-D ends", terminal.interrupt)
        terminal.type("Once upon a time\n")
        terminal.wait_for(r"time\r\n.{20}")
        terminal.interrupt()
        made = int(re.search(r"ended behind (\d+) tokens",
                             terminal.wait_for(r"ended behind \d+ tokens"))[1])
        terminal.type("/nothing\n/stats\n")
        shown = terminal.wait_for(r"answer +\d+ tokens .*measured\s+> ")
        assert "There is no /nothing" in shown and "1 turns" in shown
        assert int(re.search(r"answer +(\d+) tokens", shown)[1]) <= made
        terminal.type("\x04")
        assert terminal.process.wait(WAIT) == 0


def test_a_session_as_a_picture():
    """As the document shows it; nothing in it is from elsewhere."""
    said = terminal.session("tiny", "golden", ["Once upon a time", "/fork 3", "/quit"])
    root = ElementTree.fromstring(terminal.picture(said))
    shown = "".join(root.itertext()).replace("\xa0", " ")
    assert "> Once upon a time" in shown and "conversation 2 of 2: 3 tokens" in shown
    assert not re.search(r"url\((?!#)|https?:", shown)
