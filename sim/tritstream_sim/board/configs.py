"""Which simulated boards there are, and which one a model needs."""

import dataclasses

from tritstream.build import BuildConfig
from tritstream.errors import BadInput
from tritstream.formats import padded

__all__ = ["BOARDS", "DEFAULT", "board_config", "config_for"]

BOARDS = {f"p{width}": width for width in (1, 2, 4, 8, 16, 32, 64)}
"""Names of the boards, and their bytes per beat."""

DEFAULT = "p16"

_MEBIBYTE = 1 << 20
_ELEMENTS = 8           # V of every board whose beats are wide enough


def board_config(board: str | None = None) -> BuildConfig:
    """Return the build of a simulated board that holds the bundled model.

    Parameters
    ----------
    board : str or None
        One of `BOARDS`; None is `DEFAULT`.

    Raises
    ------
    BadInput
        There is no such board.
    """
    width = BOARDS.get(DEFAULT if board is None else board)
    if width is None:
        raise BadInput(f"There is no simulated board {board!r}: use sim, or one of "
                       f"{', '.join(f'sim:{name}' for name in BOARDS)}.")
    return BuildConfig(beat_bytes=width, elements=min(width, _ELEMENTS), max_hidden=256,
                       max_intermediate=768, max_vocab=4096, max_state=7 * 256, max_stages=32,
                       memory_bytes=4 * _MEBIBYTE)


def config_for(image, board: str | None = None) -> BuildConfig:
    """Return the build of a simulated board that holds `image`.

    It is that of `board_config` if the image fits, so that most models share one build.

    Parameters
    ----------
    image : Image
        The model.
    board : str or None
        One of `BOARDS`; None is `DEFAULT`.

    Raises
    ------
    BadInput
        There is no such board, or no build can hold the model.
    """
    config = board_config(board)
    needed = {
        "max_hidden": padded(image.hidden),
        "max_intermediate": padded(image.intermediate),
        "max_vocab": image.vocab,
        "max_state": image.layers * image.hidden,
        "max_stages": image.stages,
        "memory_bytes": -(-len(image.payload) // _MEBIBYTE) * _MEBIBYTE,
    }
    if all(value <= getattr(config, name) for name, value in needed.items()):
        return config
    return dataclasses.replace(config, **needed)
