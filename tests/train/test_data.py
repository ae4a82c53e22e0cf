"""Tokenizers, tokens and windows."""

import json
import lzma

import numpy as np
import pytest
import tokenizers

from tritstream.errors import BadInput
from tritstream_train.data.tokens import open_tokens, read_texts
from tritstream_train.data.vocabulary import learn_tokenizer
from tritstream_train.data.windows import Windows

TEXTS = ["the cat sat on the mat. " * 20, "a dog, a log and a frog. " * 20, "Ünïcödé too.\n" * 20]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tritstream" / "tokens"


def kept(cache):
    return list(cache.glob("*.uint16"))


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"title": "t", "text": text}) + "\n" for text in TEXTS))
    return path


def test_a_learned_tokenizer_marks_beginnings_and_knows_every_byte():
    data = learn_tokenizer(TEXTS, 290)
    tokenizer = tokenizers.Tokenizer.from_buffer(data)
    assert tokenizer.get_vocab_size() == 290
    assert [tokenizer.token_to_id(mark) for mark in ("<s>", "</s>")] == [0, 1]
    anything = bytes(range(1, 256)).decode("latin-1") + "漢字 the cat"
    assert tokenizer.decode(tokenizer.encode(anything).ids) == anything
    assert data == learn_tokenizer(TEXTS, 290)


@pytest.mark.parametrize(("vocab", "word"), [(257, "258"), (5000, "more text")])
def test_a_vocabulary_has_to_fit_the_text(vocab, word):
    with pytest.raises(BadInput, match=word):
        learn_tokenizer(TEXTS, vocab)


def test_tokens_begin_every_text_and_are_made_once(lines, cache, monkeypatch):
    tokenizer = learn_tokenizer(TEXTS, 290)
    tokens = open_tokens(lines, tokenizer, 0)
    assert tokens.dtype == np.uint16
    encode = tokenizers.Tokenizer.from_buffer(tokenizer).encode
    assert tokens.tolist() == [token for text in TEXTS for token in [0, *encode(text).ids]]
    monkeypatch.setattr("tritstream_train.data.tokens.read_texts", None)
    np.testing.assert_array_equal(open_tokens(lines, tokenizer, 0), tokens)
    assert len(kept(cache)) == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-2], lambda data: data[:20],
                                    lambda data: data[:-1] + bytes([data[-1] ^ 1]),
                                    lambda data: bytes(len(data))],
                         ids=["torn", "without a header", "other bits", "zeros"])
def test_damaged_tokens_are_made_again(lines, cache, damage):
    tokenizer, said = learn_tokenizer(TEXTS, 290), []
    tokens = open_tokens(lines, tokenizer, 0, said.append).tolist()
    path, = kept(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert not said
    assert open_tokens(lines, tokenizer, 0, said.append).tolist() == tokens
    assert len(said) == 1 and "damaged, and made again" in said[0]
    assert open_tokens(lines, tokenizer, 0, said.append).tolist() == tokens and len(said) == 1


def test_other_text_and_other_tokenizers_have_other_tokens(lines, cache):
    for vocab in (270, 290):
        open_tokens(lines, learn_tokenizer(TEXTS, vocab), 0)
    lines.write_text(lines.read_text() + json.dumps({"text": "More."}))
    open_tokens(lines, learn_tokenizer(TEXTS, 290), 0)
    assert len(kept(cache)) == 3


def test_plain_text_and_packed_lines_are_read(tmp_path, lines):
    plain = tmp_path / "text.txt"
    plain.write_text(TEXTS[0])
    packed = tmp_path / "text.jsonl.xz"
    packed.write_bytes(lzma.compress(lines.read_bytes()))
    assert read_texts(plain) == TEXTS[:1]
    assert read_texts(packed) == TEXTS


@pytest.mark.parametrize(("contents", "word"), [
    (b"\xff\xfe", "not UTF-8"), (b"", "no text"), (b'{"text": ""}', "no text"),
    (b'{"body": "x"}', "line 1")])
def test_bad_text_is_one_sentence(tmp_path, contents, word):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(contents)
    with pytest.raises(BadInput, match=word):
        read_texts(path)


def test_an_unwritable_cache_is_one_sentence(tmp_path, lines, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="XDG_CACHE_HOME"):
        open_tokens(lines, learn_tokenizer(TEXTS, 290), 0)


TOKENS = np.arange(4 * 48 + 5, dtype=np.uint16)


def test_an_epoch_reads_every_stretch_once():
    windows = Windows(TOKENS, batch=4, sequence=16, seed=3)
    assert windows.stretches == 12
    first = [windows.rows(step, 0, 4)[0][:, 0] for step in range(3)]
    distances = np.diff(np.sort(np.concatenate(first)))
    assert set(distances.tolist()) <= {16, 16 + 5}       # the ring has five tokens to spare
    inputs, _ = windows.rows(7, 0, 4)
    assert ((np.diff(inputs) % len(TOKENS)) == 1).all()


def test_windows_depend_on_seed_step_and_row_only():
    whole, fresh = Windows(TOKENS, batch=6, sequence=8, span=3, seed=5).rows(11, 0, 6)
    other = Windows(TOKENS, batch=6, sequence=8, span=3, seed=5)
    for start in (0, 2, 4):
        part, part_fresh = other.rows(11, start, start + 2)
        np.testing.assert_array_equal(part, whole[start:start + 2])
        np.testing.assert_array_equal(part_fresh, fresh[start:start + 2])
    assert (whole != Windows(TOKENS, batch=6, sequence=8, span=3, seed=6).rows(11, 0, 6)[0]).any()


def test_rows_walk_through_their_stretch():
    windows = Windows(TOKENS, batch=3, sequence=8, span=3, seed=1)
    before, _ = windows.rows(0, 0, 3)
    begun = []
    for step in range(1, 10):
        now, fresh = windows.rows(step, 0, 3)
        for row in range(3):
            follows = now[row, 0] == before[row, -1]
            assert follows or fresh[row]
        begun.append(fresh.sum())
        before = now
    assert set(begun) == {1}                             # rows change one after another


def test_a_text_too_short_says_what_it_needs():
    with pytest.raises(BadInput, match="has 9 tokens, but 2 windows of 8 need 17"):
        Windows(TOKENS[:9], batch=1, sequence=8, span=2)
