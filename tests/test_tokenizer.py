"""Text to tokens and back, in pieces."""

import json
import operator
import os
import threading
import time

import hypothesis
import hypothesis.strategies as st
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, processors

from tritstream.errors import BadInput, TritstreamWarning
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import byte_tokenizer
from tritstream.model.tokenizer import Detokenizer, Tokenizer

BYTES = Tokenizer(byte_tokenizer().to_str().encode(), vocab=300, bos=0, name="bytes")


def spaced_tokenizer():
    """Make a tokenizer that marks spaces and falls back to bytes, as Mistral's does."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)),
              "▁", "a", "b", "ab", "▁ab"]
    merges = [("a", "b"), ("▁", "ab")]
    model = models.BPE(vocab={piece: n for n, piece in enumerate(pieces)}, merges=merges,
                       byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)])
    return Tokenizer(tokenizer.to_str().encode(), vocab=300, bos=1, name="spaced")


SPACED = spaced_tokenizer()


@pytest.mark.parametrize("tokenizer", [BYTES, SPACED], ids=["bytes", "spaced"])
@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(text=st.text(
    st.characters(codec="utf-8", exclude_characters="\ufffd▁"), min_size=1))
def test_pieces_are_whole_characters_of_the_text(tokenizer, text):
    tokens = tokenizer.encode(text)
    assert tokens[0] == tokenizer.bos
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.push(token) for token in tokens]
    assert not any("\ufffd" in piece for piece in pieces)
    assert "".join(pieces) == text
    assert detokenizer.finish() == ""


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(text=st.text(st.characters(codec="utf-8"), min_size=1))
def test_ends_count_the_bytes_of_the_text(text):
    tokens, ends = BYTES.encode_with_ends(text)
    assert tokens.tolist() == BYTES.encode(text)
    assert ends[0] == 0 and ends[-1] == len(text.encode())
    first = next(n for n, end in enumerate(ends) if end)
    assert ends[first] == len(text[0].encode())
    assert (ends[1:] >= ends[:-1]).all()


def test_others_go_on_while_a_long_text_is_encoded():
    """The interpreter is theirs meanwhile; the tokens are those of its parts."""
    moments, ended = [], threading.Event()

    def live():
        while not ended.wait(0.001):
            moments.append(time.perf_counter())

    thread = threading.Thread(target=live)
    thread.start()
    began = time.perf_counter()
    tokens = BYTES.encode("Once upon " * 100_000)
    ends = time.perf_counter()
    ended.set()
    thread.join()
    assert tokens == [BYTES.bos, *100_000 * BYTES.encode_more("Once upon ")]
    # But for the list of tokens, which is made at one go.
    assert max(map(operator.sub, [*moments, ends], [began, *moments])) < 0.7 * (ends - began)


def test_broken_characters_wait_for_the_end():
    euro = BYTES.encode("€")[1:]
    detokenizer = Detokenizer(BYTES)
    assert [detokenizer.push(token) for token in euro] == ["", "", "€"]
    assert [detokenizer.push(token) for token in euro[:2]] == ["", ""]
    assert detokenizer.finish() == "\ufffd"
    assert detokenizer.push(BYTES.encode("x")[1]) == "x"


def test_a_broken_character_in_the_middle_is_shown_and_passed():
    tokens = [BYTES.encode("€")[1], *BYTES.encode("ok")[1:]]
    detokenizer = Detokenizer(BYTES)
    assert [detokenizer.push(token) for token in tokens] == ["", "\ufffdo", "k"]


def test_a_context_keeps_the_space_of_the_first_piece():
    prompt, more = SPACED.encode("ab"), SPACED.encode("ab ab")[2:]
    assert Detokenizer(SPACED).push(more[0]) == "ab"
    assert Detokenizer(SPACED, prompt).push(more[0]) == " ab"


def test_an_end_mark_has_no_text_and_costs_no_space():
    detokenizer = Detokenizer(SPACED, SPACED.encode("ab"))
    more = SPACED.encode("ab ab")[2:]
    assert [detokenizer.push(token) for token in (2, *more)] == ["", " ab"]


def test_no_first_token_where_the_model_has_none():
    bare = Tokenizer(byte_tokenizer().to_str().encode(), vocab=258, bos=None, name="bytes")
    assert bare.encode("A") == BYTES.encode("A")[1:]
    tokens, ends = bare.encode_with_ends("AB")
    assert len(tokens) == 2 and ends.tolist() == [1, 2]


@pytest.mark.parametrize("text, message", [
    ("", "The text is empty"), (b"", "The text is empty"),
    (b"ab\xff", "The text is not UTF-8: byte 2 is 0xff"),
    ("ab\udcff", "The text is not UTF-8: byte 2 is 0xff"),
    ("ab\ud800", "The text is not UTF-8: byte 2 is 0xed"),
])
def test_text_that_cannot_be_encoded(text, message):
    with pytest.raises(BadInput, match=message):
        BYTES.encode(text)


@pytest.mark.parametrize("token", [-1, 300])
def test_token_out_of_range(token):
    with pytest.raises(BadInput, match=f"Token {token} is out of range: .* tokens 0 to 299"):
        BYTES.decode([5, token])
    with pytest.raises(BadInput, match=f"Token {token} is out of range"):
        Detokenizer(BYTES).push(token)


def test_token_of_the_model_that_the_tokenizer_lacks():
    assert BYTES.decode([299]) == ""


def test_file(tmp_path):
    config = ModelConfig(hidden=8, intermediate=8, layers=1, vocab=258, bos=0, eos=1)
    path = tmp_path / "tokenizer.json"
    with pytest.raises(BadInput, match="tokenizer.json cannot be read: No such file"):
        Tokenizer.open(path, config)
    path.write_text("{}")
    with pytest.raises(BadInput, match="tokenizer.json is not a tokenizer: "):
        Tokenizer.open(path, config)
    byte_tokenizer().save(str(path))
    assert Tokenizer.open(path, config).decode([0, *BYTES.encode("hi"), 1]) == "hi"
    small = ModelConfig(hidden=8, intermediate=8, layers=1, vocab=257, bos=0, eos=1)
    with pytest.raises(BadInput, match="has a token number 257, but the model has 257 tokens"):
        Tokenizer.open(path, small)


SHAPE = ModelConfig(hidden=8, intermediate=8, layers=1, vocab=300, bos=0, eos=1)


def saved(tmp_path, tokenizer=None, **settings):
    path = tmp_path / "tokenizer.json"
    (byte_tokenizer() if tokenizer is None else tokenizer).save(str(path))
    if settings:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return path


def bare_tokenizer():
    """Make one that adds nothing to a text."""
    table = json.loads(byte_tokenizer().to_str()) | {"post_processor": None}
    return tokenizers.Tokenizer.from_str(json.dumps(table))


def test_what_training_set_does_not_reach_inference(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=50)
    text = "a text of some length"
    for strategy in ("opened", "from an image"):
        data = saved(tmp_path, tokenizer).read_bytes()
        opened = (Tokenizer.open(tmp_path / "tokenizer.json", SHAPE) if strategy == "opened" else
                  Tokenizer(data, vocab=300, bos=0, name="x"))
        assert opened.encode(text) == BYTES.encode(text)
        assert opened.encode_with_ends(text)[1][-1] == len(text)


@pytest.mark.parametrize("tokenizer, settings, begins", [
    (byte_tokenizer, {}, True),
    (byte_tokenizer, {"add_bos_token": None}, True),
    (byte_tokenizer, {"add_bos_token": False}, False),
    (bare_tokenizer, {}, False),
    (bare_tokenizer, {"bos_token": "<s>"}, False),
    (bare_tokenizer, {"add_bos_token": True}, True),
    (bare_tokenizer, {"add_bos_token": True, "bos_token": "<s>"}, True),
    (bare_tokenizer, {"add_bos_token": True, "bos_token": {"content": "<s>"}}, True),
])
def test_the_first_token_is_the_one_that_transformers_puts_there(tmp_path, tokenizer, settings,
                                                                 begins):
    opened = Tokenizer.open(saved(tmp_path, tokenizer(), **settings), SHAPE)
    assert opened.bos == (0 if begins else None)
    assert opened.encode("ab") == BYTES.encode("ab")[not begins:]


def test_more_than_one_first_token(tmp_path):
    tokenizer = byte_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> </s> $A", special_tokens=[("<s>", 0), ("</s>", 1)])
    with pytest.raises(BadInput, match="puts 2 tokens before every text, and only one"):
        Tokenizer.open(saved(tmp_path, tokenizer), SHAPE)


def test_a_first_token_that_the_text_has_already():
    with pytest.warns(TritstreamWarning, match="The text begins with <s>, .* there twice"):
        assert BYTES.encode("<s>x")[:2] == [0, 0]


def test_a_token_of_a_number_that_the_model_has_not(tmp_path):
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab={"a": 5}, merges=[]))
    with pytest.raises(BadInput, match="has a token number 5, but the model has 3 tokens, 0 to 2"):
        Tokenizer(tokenizer.to_str().encode(), vocab=3, bos=None, name="x")


def test_only_a_tokenizer_of_sentencepiece(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(BadInput, match="only tokenizer.model, of SentencePiece, is there: convert"):
        Tokenizer.open(tmp_path / "tokenizer.json", SHAPE)


def test_files_that_no_tokenizer_is_read_from(tmp_path):
    path = tmp_path / "tokenizer.json"
    os.mkfifo(path)
    with pytest.raises(BadInput, match="tokenizer.json is not a regular file"):
        Tokenizer.open(path, SHAPE)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(BadInput, match="tokenizer.json has 68,157,440 bytes, more than the 67,108"):
        Tokenizer.open(path, SHAPE)
    path.write_text("[" * 100_000)
    with pytest.raises(BadInput, match="tokenizer.json is not a tokenizer: "):
        Tokenizer.open(path, SHAPE)
    path.write_text(byte_tokenizer().to_str(), encoding="utf-8-sig")
    assert Tokenizer.open(path, SHAPE).encode("a") == BYTES.encode("a")


def test_a_panic_of_the_library_is_a_sentence(tmp_path):
    """As of a template that puts a token nobody describes before every text."""
    tokenizer = json.loads(byte_tokenizer().to_str())
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing", "special_tokens": {}, "pair": [],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}]}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(BadInput, match="tokenizer.json is a tokenizer that cannot be used"):
        Tokenizer.open(path, SHAPE)
