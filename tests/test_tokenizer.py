"""Text to tokens and back, in pieces."""

import hypothesis
import hypothesis.strategies as st
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers

from tritstream.errors import BadInput
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
    with pytest.raises(BadInput, match="has 258 tokens, but the model has 257"):
        Tokenizer.open(path, small)
