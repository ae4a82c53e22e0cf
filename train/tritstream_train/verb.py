"""What the command line has to know of `tritstream train` before it is called."""

from tritstream.cli.plugins import Verb

__all__ = ["TRAIN"]

TRAIN = Verb("tritstream_train.command", "train",
             "Train a model of one's own, and export it for `pack`.")
