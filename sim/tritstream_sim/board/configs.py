"""Which simulated boards there are, and which one a model needs."""

import dataclasses
import math

from tritstream.build import BuildConfig, usual_element_width, usual_vector_width
from tritstream.errors import BadInput
from tritstream.formats import padded
from tritstream.image.needs import Needs, Residence
from tritstream.stripes import Stripes
from tritstream.support.checks import closest

__all__ = ["BOARDS", "DEFAULT", "board_config", "config_for"]

BOARDS = {f"p{width}": width for width in (1, 2, 4, 8, 16, 32, 64, 128, 256)}
"""Names of the boards, and their bytes per beat."""

DEFAULT = "p16"

PREFETCH_BEATS = 512
"""Beats that a simulated board reads ahead, as a board with a slow memory would."""

_MEBIBYTE = 1 << 20


def board_config(board: str | None = None, **parts: int) -> BuildConfig:
    """Return the build of a simulated board that holds the bundled model.

    Parameters
    ----------
    board : str or None
        One of `BOARDS`; None is `DEFAULT`.
    parts
        What is other than usual: `groups`, `vector_width`, `element_width`, `prefetch_beats`,
        `lanes`, `memory_bytes`.

    Raises
    ------
    BadInput
        There is no such board.
    """
    width = BOARDS.get(DEFAULT if board is None else board)
    if width is None:
        raise BadInput(f"There is no simulated board {board!r}: use sim, one of "
                       f"{', '.join(f'sim:{name}' for name in BOARDS)}, or sim: and one of "
                       f"`tritstream boards`; the closest is sim:{closest(board, BOARDS)}.")
    groups, lanes = parts.get("groups", 1), parts.get("lanes", 1)
    usual = {"vector_width": usual_vector_width(width, groups, lanes),
             "element_width": usual_element_width(width * groups, lanes),
             "prefetch_beats": PREFETCH_BEATS,
             "memory_bytes": _memory_bytes(4 * _MEBIBYTE, Stripes(width, groups))}
    return BuildConfig(beat_bytes=width, **(usual | parts), max_hidden=256, max_intermediate=768,
                       max_vocab=4096, max_state=7 * 256, max_stages=32)


def _memory_bytes(least: int, stripes: Stripes) -> int:
    """Return the size of memories that hold so much: whole mebibytes, and whole units."""
    return padded(least, math.lcm(_MEBIBYTE, stripes.unit_bytes))


def config_for(needs: Needs, board: str | None = None, **parts: int) -> BuildConfig:
    """Return the build of a simulated board that holds a model.

    It is that of `board_config` if the model fits, so that most models share one build. A memory
    of a size that is given has that, whatever of the model it holds.

    Parameters
    ----------
    needs : Needs
        What the model needs.
    board : str or None
        One of `BOARDS`; None is `DEFAULT`.
    parts
        Of `board_config`.

    Raises
    ------
    BadInput
        There is no such board, or no build can hold the model.
    """
    config = board_config(board, **parts)
    given = "memory_bytes" in parts
    holds = given or needs.residence(config.memory_bytes) is Residence.WHOLE
    if needs.lack(config) is None and holds:
        return config
    least = _memory_bytes(needs.memory_bytes, config.stripes)
    return dataclasses.replace(
        config,
        max_hidden=padded(needs.max_hidden),
        max_intermediate=padded(needs.max_intermediate),
        max_state=needs.max_state,
        max_vocab=needs.max_vocab,
        max_stages=needs.max_stages,
        memory_bytes=config.memory_bytes if given else least,
    )
