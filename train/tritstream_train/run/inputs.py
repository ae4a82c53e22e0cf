"""What a run needs before its first step: shape, tokenizer and digests of its files."""

import dataclasses
from pathlib import Path

import tokenizers

from tritstream.errors import BadInput
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import ModelConfig
from tritstream.model.tokenizer import MOST_BYTES
from tritstream.support.inputs import read_input
from tritstream_train.config import TrainConfig
from tritstream_train.data.tokens import digest_of
from tritstream_train.model.load import digest_of_weights
from tritstream_train.run.directory import Run

__all__ = ["checked_tokenizer", "digests_of_inputs", "under_way", "with_marks", "with_start"]


def with_start(config: TrainConfig) -> tuple[TrainConfig, ModelConfig | None]:
    """Take shape and tokenizer from the checkpoint that the run starts from, if it has one."""
    if config.start is None:
        return config, None
    checkpoint = Checkpoint.open(config.start)
    shape = checkpoint.config
    tokenizer = config.tokenizer or str(checkpoint.tokenizer_path)
    return dataclasses.replace(config, hidden=shape.hidden, intermediate=shape.intermediate,
                               layers=shape.layers, vocab=shape.vocab, tokenizer=tokenizer), shape


def under_way(config: TrainConfig, run: Run) -> tuple[TrainConfig, ModelConfig]:
    """Take from a run what `with_start` took from a checkpoint when it began."""
    if config.start is None:
        return config, run.shape
    sizes = {name: getattr(run.config, name) for name in ("hidden", "intermediate", "layers",
                                                          "vocab")}
    return dataclasses.replace(
        config, tokenizer=config.tokenizer or run.config.tokenizer, **sizes), run.shape


def digests_of_inputs(config: TrainConfig, begins: bool) -> dict[str, str]:
    """SHA-256 of a run's inputs by setting, but of those that it does not need and are gone."""
    inputs = {"data": digest_of, "valid": digest_of, "tokenizer": digest_of,
              "start": digest_of_weights}
    needed = inputs.keys() if begins else {"data", "valid"}
    paths = {name: getattr(config, name) for name in inputs}
    return {name: inputs[name](path) for name, path in paths.items()
            if path is not None and (name in needed or Path(path).exists())}


def with_marks(shape: ModelConfig, tokenizer: bytes) -> ModelConfig:
    """Take the first and the last token of a text from the tokenizer."""
    encoder = tokenizers.Tokenizer.from_buffer(tokenizer)
    begin = encoder.token_to_id("<s>")
    if begin is None:
        raise BadInput("The tokenizer has no token <s> to begin a text with: take another one, or "
                       "none to have one learned.")
    return dataclasses.replace(shape, bos=begin, eos=encoder.token_to_id("</s>"))


def checked_tokenizer(path: Path, vocab: int) -> bytes:
    """Contents of a `tokenizer.json`, all of whose tokens are below `vocab`."""
    try:
        tokenizer = read_input(path, most=MOST_BYTES)
        numbers = tokenizers.Tokenizer.from_buffer(tokenizer).get_vocab().values()
    except BadInput:                    # a `ValueError`, too
        raise
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadInput(f"{path} is not a tokenizer: {error}.") from error
    size = 1 + max(numbers, default=-1)
    if size > vocab:
        raise BadInput(f"{path} has tokens up to number {size - 1}, but the model is to have "
                       f"{vocab}: give --vocab {size}.")
    return tokenizer
