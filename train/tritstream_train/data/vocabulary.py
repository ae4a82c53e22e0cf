"""Learned tokenizers: byte-level BPE, so that no text is out of vocabulary."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tritstream.errors import BadInput

__all__ = ["SMALLEST", "learn_tokenizer"]

SMALLEST = 258              # `<s>`, `</s>` and every byte


def learn_tokenizer(texts: Iterable[str], vocab: int) -> bytes:
    """Learn a tokenizer, with `<s>` as token 0 and `</s>` as token 1.

    Parameters
    ----------
    texts : iterable of str
        What it should be good at.
    vocab : int
        Tokens, at least 258.

    Returns
    -------
    bytes
        A `tokenizer.json`.

    Raises
    ------
    BadInput
        `vocab` is too small for every byte, or too large for so little text.
    """
    if vocab < SMALLEST:
        raise BadInput(f"vocab must be at least {SMALLEST}, two marks and every byte, not {vocab}.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=["<s>", "</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    size = tokenizer.get_vocab_size()
    if size < vocab:
        raise BadInput(f"The text has only {size} different tokens to learn, not {vocab}: give "
                       "more text, or a smaller vocab.")
    return tokenizer.to_str().encode()
