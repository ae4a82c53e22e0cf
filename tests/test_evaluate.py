"""Scores of models whose scores are known, and the reading of texts."""

import json
import lzma
import math
import os

import numpy as np
import pytest

from tritstream.analysis import evaluate as module
from tritstream.analysis import texts
from tritstream.analysis.evaluate import Evaluation, evaluate
from tritstream.analysis.texts import read_documents
from tritstream.errors import BadInput
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint, byte_tokenizer
from tritstream.model.tokenizer import Tokenizer
from tritstream.reference import FloatModel

VOCAB = 258
BYTES = Tokenizer(byte_tokenizer().to_str().encode(), vocab=VOCAB, bos=0, name="bytes")
BARE = Tokenizer(byte_tokenizer().to_str().encode(), vocab=VOCAB, bos=None, name="bytes")


class Constant:
    """The same logits after every token; remembers what it was asked."""

    def __init__(self, logits):
        self.row = np.asarray(logits, np.float32)
        self.seen = []

    def new_state(self):
        self.seen.append([])
        return self.seen[-1]

    def logits(self, tokens, state):
        assert state is self.seen[-1]
        state.extend(tokens.tolist())
        return np.tile(self.row, (len(tokens), 1))


def test_a_model_that_knows_nothing():
    result = evaluate(Constant(np.zeros(VOCAB)), BYTES, ["hello", "wörld"])
    assert result.tokens == result.bytes == 11
    assert result.bits_per_byte == pytest.approx(math.log2(VOCAB))
    assert result.perplexity == pytest.approx(VOCAB)
    assert result.top1_equal_float is None


def test_a_model_that_expects_one_letter():
    letter = BYTES.encode("a")[1]
    logits = np.zeros(VOCAB)
    logits[letter] = 1000
    result = evaluate(Constant(logits), BYTES, ["aaaa"], reference=Constant(logits))
    assert result == Evaluation(tokens=4, bytes=4, bits_per_byte=0.0, perplexity=1.0,
                                top1_equal_float=1.0)
    wrong = evaluate(Constant(logits), BYTES, ["ab"], reference=Constant(np.arange(VOCAB)))
    assert wrong.bits_per_byte == pytest.approx(500 / math.log(2))
    assert wrong.perplexity == pytest.approx(math.exp(500))
    assert wrong.top1_equal_float == 0.0
    assert evaluate(Constant(logits), BYTES, ["bb"]).perplexity == math.inf


@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_state_carries_through_each_document_and_no_further(monkeypatch, chunk):
    monkeypatch.setattr(module, "CHUNK", chunk)
    model, done = Constant(np.zeros(VOCAB)), []
    evaluate(model, BYTES, ["abcdefg", "", "xy"], progress=lambda *args: done.append(args))
    assert model.seen == [BYTES.encode("abcdefg")[:-1], BYTES.encode("xy")[:-1]]
    assert (done[0], done[-1]) == ((0, 9), (9, 9))
    assert len(done) == 1 + math.ceil(7 / chunk) + math.ceil(2 / chunk)


@pytest.mark.parametrize("limit, tokens", [(1, 1), (7, 7), (8, 8), (9, 9), (100, 9)])
def test_limit(limit, tokens):
    result = evaluate(Constant(np.zeros(VOCAB)), BYTES, ["abcdefg", "xy"], max_tokens=limit)
    assert result.tokens == result.bytes == tokens


def test_without_a_first_token_the_first_of_the_text_is_not_predicted():
    result = evaluate(Constant(np.zeros(VOCAB)), BARE, ["abc"])
    assert result.tokens == result.bytes == 2


def test_bytes_are_those_of_the_text_not_of_the_tokens():
    result = evaluate(Constant(np.zeros(VOCAB)), BYTES, ["aü€"], max_tokens=3)
    assert (result.tokens, result.bytes) == (3, 3)


@pytest.mark.parametrize("documents, limit", [([], None), ([""], None), (["a"], 0), (["a"], -1)])
def test_nothing_to_predict(documents, limit):
    with pytest.raises(BadInput, match="no token to predict"):
        evaluate(Constant(np.zeros(VOCAB)), BYTES, documents, max_tokens=limit)


def test_the_reference_agrees_with_itself():
    config = ModelConfig(hidden=16, intermediate=24, layers=2, vocab=VOCAB, bos=0, eos=1)
    dummy = DummyCheckpoint(config)
    one, other = FloatModel(dummy), FloatModel(DummyCheckpoint(config, seed=1))
    text = ["some text, " * 30]
    assert evaluate(one, BYTES, text, reference=FloatModel(dummy)).top1_equal_float == 1.0
    assert evaluate(other, BYTES, text, reference=one).top1_equal_float < 0.5


def test_texts_of_files(tmp_path):
    lines = "\n".join(json.dumps({"text": text}) for text in ("ein\nText", "zwei")) + "\n\n"
    mark = "\ufeff".encode()
    files = {"a.txt": b"ein\nText", "e.txt": mark + b"ein\nText",
             "f.jsonl": mark + lines.encode(), "g.jsonl": (mark + lines.encode()) * 2 + mark,
             "h.txt.xz": lzma.compress(b"ei") + bytes(4) + lzma.compress(b"ns"),
             "b.txt.xz": lzma.compress("zwölf".encode()),
             "c.jsonl": lines.encode(), "d.jsonl.xz": lzma.compress(lines.encode())}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name in ("a.txt", "e.txt"):
        assert read_documents(tmp_path / name) == ["ein\nText"]
    assert read_documents(tmp_path / "h.txt.xz") == ["eins"]
    assert read_documents(tmp_path / "g.jsonl") == ["ein\nText", "zwei"] * 2
    assert read_documents(tmp_path / "b.txt.xz") == ["zwölf"]
    for name in ("c.jsonl", "d.jsonl.xz", "f.jsonl"):
        assert read_documents(str(tmp_path / name)) == ["ein\nText", "zwei"]


@pytest.mark.parametrize("name, data, message", [
    ("a.txt", b"ok\xe9", "a.txt is not UTF-8: byte 2 is 0xe9"),
    ("b.txt.xz", b"no xz", "b.txt.xz is not a complete xz file"),
    ("b.txt.xz", lzma.compress(bytes(1000))[:-9], "b.txt.xz is not a complete xz file"),
    ("c.jsonl", b'{"text": "x"}\n{"text', "c.jsonl, line 2, is not a JSON object with a text"),
    ("c.jsonl", b'{"title": "x"}', "c.jsonl, line 1, is not a JSON object with a text"),
    ("c.jsonl", b"[]", "c.jsonl, line 1, is not a JSON object with a text"),
    ("c.jsonl", b'{"text": 3}', "c.jsonl, line 1: text must be a string, not a int"),
    ("c.jsonl", b"[" * 100_000, "c.jsonl, line 1, is not a JSON object with a text"),
    ("d.txt", None, "d.txt cannot be read: No such file"),
])
def test_files_that_are_no_texts(tmp_path, name, data, message):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=message):
        read_documents(tmp_path / name)


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(BadInput, match="is a directory|is not a regular file"):
            read_documents(path)


def test_a_text_that_memory_cannot_hold_is_refused(tmp_path, monkeypatch):
    """Also if it is small as long as it is packed."""
    monkeypatch.setattr(texts, "MOST_BYTES", 1000)
    (tmp_path / "a.txt").write_bytes(bytes(1001))
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(bytes(600)) * 2)
    (tmp_path / "c.txt.xz").write_bytes(lzma.compress(b"x" * 1000))
    with pytest.raises(BadInput, match="1,001 bytes, more than the 1,000"):
        read_documents(tmp_path / "a.txt")
    with pytest.raises(BadInput, match="more than 1,000 bytes of text: give a part"):
        read_documents(tmp_path / "b.txt.xz")
    assert read_documents(tmp_path / "c.txt.xz") == ["x" * 1000]
