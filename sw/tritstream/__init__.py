"""MatMul-free language models on FPGAs, on their golden model, and on a GPU.

>>> with tritstream.load("demo") as model:
...     for piece in model.generate("It was a dark night, and", max_tokens=16):
...         print(piece, end="", flush=True)

`docs/python.md` describes the interface. Importing the package costs nothing: what is needed is
imported when it is used.
"""

from typing import TYPE_CHECKING

from tritstream.errors import (
    BadInput,
    DeviceBusy,
    DeviceError,
    FitError,
    Mismatch,
    MissingTool,
    TritstreamError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tritstream.catalog import Model
    from tritstream.engines.conversation import Conversation
    from tritstream.engines.state import State
    from tritstream.runtime.generate import Generation
    from tritstream.runtime.language_model import LanguageModel

__all__ = [
    "BadInput",
    "Conversation",
    "DeviceBusy",
    "DeviceError",
    "FitError",
    "Generation",
    "LanguageModel",
    "Mismatch",
    "MissingTool",
    "State",
    "TritstreamError",
    "load",
]


def load(model: "str | Path | Model" = "demo", device: str = "golden", *,
         progress: "Callable[[int, int], None] | None" = None, **options) -> "LanguageModel":
    """Open a model on a device.

    Parameters
    ----------
    model : str, Path or Model
        An image, a checkpoint directory, or a bundled model.
    device : str
        ``float``, ``golden``, ``cuda[:N]``, ``sim[:pN]``, ``tcp:HOST:PORT`` or
        ``serial:PORT[?baud=N]``.
    progress : callable or None
        Called with bytes done and bytes in all while the model is uploaded.
    options
        Of a board: `dead_seconds` and `patience_seconds` bound how long it may be silent, or not
        get on; `record` names a file for all its traffic.

    Returns
    -------
    LanguageModel
        To be closed, best by ``with``.

    Raises
    ------
    BadInput
        There is no such model, device or option, or the model does not fit the device.
    DeviceError
        The device is absent, or not what it should be.
    MissingTool
        What the device needs is not installed.
    """
    from tritstream.runtime.language_model import LanguageModel

    return LanguageModel.load(model, device, progress=progress, **options)


def __getattr__(name: str):
    match name:
        case "Conversation":
            from tritstream.engines.conversation import Conversation as found
        case "Generation":
            from tritstream.runtime.generate import Generation as found
        case "LanguageModel":
            from tritstream.runtime.language_model import LanguageModel as found
        case "State":
            from tritstream.engines.state import State as found
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
