"""The Python interface: what a program that imports the package sees."""

import importlib.resources
import itertools
import subprocess
import sys

import numpy as np
import pytest

import tritstream
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint

PROMPT = "It was a dark night, and"


@pytest.fixture(scope="module")
def model():
    with tritstream.load("demo") as model:
        yield model


@pytest.fixture(scope="module")
def speechless(tmp_path_factory):
    """An image without a tokenizer."""
    shape = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=40, eos=None)
    return pack(DummyCheckpoint(shape), tmp_path_factory.mktemp("model") / "dumb.trit").path


def test_importing_costs_nothing():
    program = ("import sys, tritstream\n"
               "print(*sorted({name.split('.')[0] for name in sys.modules}"
               " & {'numpy', 'tokenizers', 'typer', 'rich', 'torch', 'amaranth'}))\n"
               "tritstream.State, tritstream.LanguageModel\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_all_names_are_there():
    for name in tritstream.__all__:
        assert getattr(tritstream, name).__name__ == name
    assert not hasattr(tritstream, "absent")
    assert importlib.resources.files(tritstream).joinpath("py.typed").is_file()


def test_errors_are_those_that_python_expects():
    with pytest.raises(ValueError, match="There is no model 'absent'") as bad:
        tritstream.load("absent")
    with pytest.raises(OSError, match="No device answers") as absent:
        tritstream.load("demo", "tcp:127.0.0.1:1")
    assert (bad.value.exit_code, absent.value.exit_code) == (2, 4)
    assert issubclass(tritstream.DeviceBusy, tritstream.DeviceError)
    with pytest.raises(tritstream.BadInput, match="golden has no option speed"):
        tritstream.load("demo", speed=3)


# Text.

def test_text_comes_in_pieces(model):
    text = model.generate(PROMPT, max_tokens=12)
    pieces = list(text)
    assert "".join(pieces) == text.text == model.tokenizer.decode(text.tokens)
    assert len(text.tokens) == text.timings.generated_tokens == 12
    assert len(pieces) in (12, 13)
    assert text.timings.prompt_tokens == len(model.tokenizer.encode(PROMPT))
    assert text.timings.rate > 0 and text.timings.wall_seconds > 0
    assert text.timings.load_seconds == model.load_seconds > 0


def test_a_text_is_repeated_by_its_seed(model):
    texts = []
    for seed in (1, 1, 2):
        with model.generate(PROMPT, max_tokens=12, temperature=0.9, seed=seed) as text:
            list(text)
        texts.append((text.text, text.digest))
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_text_that_is_left_is_usable(model, temperature):
    whole, part = (model.generate(PROMPT, max_tokens=12, temperature=temperature)
                   for _ in range(2))
    list(whole)
    pieces = list(itertools.islice(part, 5))
    if not temperature:
        with pytest.raises(tritstream.DeviceBusy):
            model.logits([1])
    part.close()
    assert part.tokens == whole.tokens[:5] and whole.text.startswith("".join(pieces))
    assert list(part) == []
    assert model.logits([1]).shape == (1, model.engine.vocab)


@pytest.mark.parametrize("arguments, sentence", [
    (dict(prompt=""), "text is empty"), (dict(prompt=[]), "prompt is empty"),
    (dict(max_tokens=0), "at least 1, not 0"), (dict(temperature=-1), "temperature"),
    (dict(top_k=0), "top-k"), (dict(top_k=17), "top-k is 17, but golden reports only its 16"),
    (dict(top_p=0), "top-p"), (dict(prompt=[1, 10**6]), "Token 1000000 is out of range")])
def test_texts_that_cannot_be(model, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.generate(**{"prompt": PROMPT} | arguments)


def test_a_model_without_a_tokenizer_takes_tokens(speechless):
    with tritstream.load(speechless) as model:
        text = model.generate([3, 4], max_tokens=5)
        assert "".join(text) == text.text == ""
        assert len(text.tokens) == 5
        with pytest.raises(tritstream.BadInput, match="without a tokenizer"):
            model.generate("words")


# Logits and conversations.

def test_logits_are_those_of_a_conversation(model):
    tokens = model.tokenizer.encode(PROMPT)
    rows = model.logits(np.array(tokens))
    assert rows.dtype == np.float32 and rows.shape == (len(tokens), model.engine.vocab)
    with model.open() as conversation:
        best = [conversation.step(token).candidates.best for token in tokens]
    assert best == rows.argmax(1).tolist()


def test_a_conversation_forks(model):
    tokens = model.tokenizer.encode(PROMPT)
    with model.open() as conversation:
        conversation.feed(tokens[:-1])
        state = tritstream.State.from_bytes(conversation.save().to_bytes())
        with model.open(state) as fork:
            passes = [list(each.run(tokens[-1], 4)) for each in (fork, conversation)]
    assert passes[0] == passes[1]


def test_what_is_closed_stays_closed(speechless):
    with tritstream.load(speechless) as model:
        conversation = model.open()
    for call in (model.open, lambda: model.logits([1]), lambda: conversation.step(1),
                 lambda: model.generate([1])):
        with pytest.raises(tritstream.BadInput, match="closed"):
            call()
