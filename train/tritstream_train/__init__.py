"""Quantisation-aware training of the models that tritstream runs: `train` and its `TrainConfig`."""

from tritstream_train.config import TrainConfig

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str):
    # Settings and the command line's help have to be there without PyTorch.
    if name == "train":
        from tritstream_train.run.loop import train
        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
