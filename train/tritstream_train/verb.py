"""What the command line has to know of `tritstream train` before it is called."""

from collections.abc import Callable

from tritstream.cli.plugins import Verb

__all__ = ["TRAIN"]


def _train() -> Callable:
    from tritstream_train.command import train

    return train


TRAIN = Verb(_train, "Train a model of one's own, and export it for `pack`.")
