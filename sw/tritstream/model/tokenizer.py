"""Text to tokens and back, by a checkpoint's `tokenizer.json`."""

import functools
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from tritstream.errors import BadInput, TritstreamWarning
from tritstream.model.config import ModelConfig
from tritstream.support.checks import checked_tokens, no_such_token
from tritstream.support.inputs import read_input, read_json

__all__ = ["MOST_BYTES", "Detokenizer", "Tokenizer", "decode_utf8"]

MOST_BYTES = 64 << 20
"""Length of a `tokenizer.json` at most; a vocabulary of 250,000 tokens takes about 17 MB."""

LONG = 1 << 14              # letters of a text that others would wait for
PAIRS = 1 << 14             # of tokens whose text is kept
INCOMPLETE = "\ufffd"       # what decoding gives for bytes that are not yet a character


def decode_utf8(data: bytes, where: str) -> str:
    """Return `data` as text; `where` names its origin if it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{where} is not UTF-8: byte {error.start} is "
                       f"0x{data[error.start]:02x}; convert it to UTF-8.") from error


class Tokenizer:
    """The tokenizer of one model.

    Parameters
    ----------
    data : bytes
        Contents of its `tokenizer.json`.
    vocab : int
        Tokens that the model has.
    bos : int or None
        Token before every text; None: there is none.
    name : str
        Where the data are from, for messages.

    Raises
    ------
    BadInput
        The data are no tokenizer, or one of tokens that the model has not.
    """

    def __init__(self, data: bytes, *, vocab: int, bos: int | None, name: str):
        self._tokenizer = _parsed(data, name)
        # What its training set must not reach inference: it would cut texts, or lengthen them.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        last = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if last >= vocab:
            raise BadInput(f"{name} has a token number {last}, but the model has {vocab} tokens, 0 "
                           f"to {vocab - 1}; they do not belong together.")
        self.vocab = vocab
        self.bos = bos
        self._panics_told = _PanicsTold(name)
        self._second = functools.lru_cache(PAIRS)(
            lambda first, second: self._rest([first], [second]))

    @classmethod
    def open(cls, path: str | Path, config: ModelConfig) -> "Tokenizer":
        """Read the `tokenizer.json` of a checkpoint, and what is beside it.

        The token before every text is the one that transformers puts there: what
        `tokenizer_config.json` says with `add_bos_token`, or else what the post-processor adds.
        """
        path = Path(path)
        try:
            data = read_input(path, most=MOST_BYTES)
        except OSError as error:
            only = path.with_name("tokenizer.model")
            reason = ("fetch the tokenizer of the checkpoint" if not only.exists() else
                      f"only {only.name}, of SentencePiece, is there: convert it with transformers")
            raise BadInput(f"{path} cannot be read: {error.strerror}; {reason}, or give token "
                           "numbers instead of text.") from error
        return cls(data, vocab=config.vocab, bos=_first_token(data, path, config), name=str(path))

    def encode(self, text: str | bytes) -> list[int]:
        """Tokens of a text, the model's first token before them.

        Warns if the text itself begins with that token, which is then there twice.

        Raises
        ------
        BadInput
            The text is empty, or not UTF-8.
        """
        tokens = self._encode(_as_text(text)).ids
        if self._prefix and tokens[:1] == self._prefix:
            warnings.warn(f"The text begins with {self._tokenizer.id_to_token(self.bos)}, which is "
                          "put before every text of this model, and is now there twice: leave it "
                          "out.", TritstreamWarning, stacklevel=2)
        return self._prefix + tokens

    def encode_more(self, text: str | bytes) -> list[int]:
        """Tokens of a text that goes on from another: the model's first token is not put before it.

        Raises
        ------
        BadInput
            The text is empty, or not UTF-8.
        """
        return self._encode(_as_text(text)).ids

    def encode_with_ends(self, text: str | bytes) -> tuple[np.ndarray, np.ndarray]:
        """Tokens as `encode`, and for each how many bytes of the text end with it; both int64 [T].

        The tokens of a character of several bytes all end with the character.
        """
        text = _as_text(text)
        encoding = self._encode(text)
        code_points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        widths = 1 + sum((code_points >= limit).astype(np.int64)
                         for limit in (0x80, 0x800, 0x10000))
        bytes_before = np.concatenate([[0], np.cumsum(widths)])
        ends = [0] * len(self._prefix) + [stop for _, stop in encoding.offsets]
        return np.array(self._prefix + encoding.ids, np.int64), bytes_before[ends]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, without those that only mark a beginning or an end.

        Raises
        ------
        BadInput
            A token is not below the model's vocabulary.
        """
        return self._decode(checked_tokens(tokens, self.vocab))

    def decode_behind(self, before: list[int], tokens: list[int]) -> str:
        """Text of tokens of the model behind others, of whose text it is the rest."""
        if len(before) == len(tokens) == 1:
            return self._second(*before, *tokens)
        return self._rest(before, tokens)

    def _rest(self, before: list[int], tokens: list[int]) -> str:
        return self._decode(before + tokens)[len(self._decode(before)):]

    def _decode(self, tokens: list[int]) -> str:
        with self._panics_told:
            return self._tokenizer.decode(tokens)

    @property
    def _prefix(self) -> list[int]:
        return [] if self.bos is None else [self.bos]

    def _encode(self, text: str) -> tokenizers.Encoding:
        if not text:
            raise BadInput("The text is empty; give at least one character.")
        with self._panics_told:
            if len(text) <= LONG:
                return self._tokenizer.encode(text, add_special_tokens=False)
            # As a batch it lets other threads of Python run meanwhile.
            (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
            return encoding


def _parsed(data: bytes, name: str) -> tokenizers.Tokenizer:
    try:
        with _PanicsTold(name):
            return tokenizers.Tokenizer.from_buffer(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        raise BadInput(f"{name} is not a tokenizer: {error}; fetch it again.") from error


class _PanicsTold:
    """Makes an error of a panic of the library, which parses some files that it cannot use.

    Its class is no `Exception`, and cannot be imported.
    """

    def __init__(self, name: str):
        self._name = name

    def __enter__(self):
        return

    def __exit__(self, kind, error, trace):
        if kind is not None and kind.__name__ == "PanicException":
            raise BadInput(f"{self._name} is a tokenizer that cannot be used ({error}): its parts "
                           "do not belong together; fetch it again.") from error


def _first_token(data: bytes, path: Path, config: ModelConfig) -> int | None:
    """Token that transformers puts before a text; None if it puts none there."""
    settings = path.with_name("tokenizer_config.json")
    try:
        table = read_json(settings, most=MOST_BYTES) if settings.exists() else {}
    except OSError as error:
        raise BadInput(f"{settings} cannot be read: {error.strerror}; make it readable, or remove "
                       "it.") from error
    asked = table.get("add_bos_token")
    if asked is False:
        return None
    tokenizer = _parsed(data, str(path))
    with _PanicsTold(str(path)):
        encoding = tokenizer.encode("a")
    count = ([*encoding.special_tokens_mask, 0]).index(0)
    if count > 1:
        raise BadInput(f"{path} puts {count} tokens before every text, and only one is supported.")
    if count:
        return encoding.ids[0]
    if asked is not True:
        return None
    named = table.get("bos_token")
    named = named.get("content") if isinstance(named, dict) else named
    return tokenizer.token_to_id(named) if isinstance(named, str) else config.bos


def _as_text(text: str | bytes) -> str:
    return decode_utf8(text if isinstance(text, bytes) else _as_bytes(text), "The text")


def _as_bytes(text: str) -> bytes:
    try:
        # An argument of the command line that was not UTF-8 carries its bytes as lone surrogates.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other lone surrogates can come out of JSON
        return text.encode("utf-8", "surrogatepass")


class Detokenizer:
    """Text of a token stream, in pieces that never cut a character.

    Parameters
    ----------
    tokenizer : Tokenizer
        Decodes all tokens pushed.
    context : sequence of int
        Tokens that came before, as a prompt's: the space before the first piece depends on them.
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()):
        self._tokenizer = tokenizer
        # Tokens of the piece before: spacing depends on them.
        self._context = checked_tokens(context, tokenizer.vocab)
        self._pending: list[int] = []   # tokens whose text is not yet out

    def push(self, token: int) -> str:
        """Take one token and return the text that is complete with it, perhaps none."""
        if not 0 <= token < self._tokenizer.vocab:
            raise no_such_token(token, self._tokenizer.vocab)
        self._pending.append(token)
        text = self._tokenizer.decode_behind(self._context, self._pending)
        if not text or text.endswith(INCOMPLETE):
            return ""
        self._context, self._pending = self._pending, []
        return text

    def finish(self) -> str:
        """Return what is left at the end, broken characters as U+FFFD."""
        if not self._pending:
            return ""
        text = self._tokenizer.decode_behind(self._context, self._pending)
        self._context, self._pending = self._context + self._pending, []
        return text
