"""How the scale that a header has for a projection follows from the scale of its matrix."""

import math

from tritstream.formats import FORMATS

__all__ = ["header_scale_log2", "scale_power"]


def scale_power(*, fraction: int, gain_fraction: int, pre_fraction: int | None) -> int:
    """Power of two by which the binary points move a projection's scale.

    Parameters
    ----------
    fraction : int
        Fraction bits of its outputs.
    gain_fraction : int
        Those of the gain in front of its quantiser.
    pre_fraction : int or None
        Those of the gain of the first of two stacked norms; None if there is one norm.
    """
    inner = 0 if pre_fraction is None else pre_fraction - (FORMATS.gain_bits - 1)
    return inner - gain_fraction + fraction


def header_scale_log2(stage: dict, before: dict, index: int, *, columns: int, vectors: int,
                      stacked: bool) -> float:
    """Binary logarithm of what a header has to have as a scale, by the metadata.

    Parameters
    ----------
    stage, before : dict
        Metadata of the stage, and of the one in front of it.
    index : int
        Which projection.
    columns : int
        Of its matrix.
    vectors : int
        Quantisers of the stage.
    stacked : bool
        Whether two norms are in front of it.
    """
    fractions = before["gain_fractions"]
    pre, gains = (fractions[0], fractions[1:]) if stacked else (None, fractions)
    power = scale_power(fraction=stage["fractions"][index], pre_fraction=pre,
                        gain_fraction=gains[index if vectors > 1 else 0])
    return math.log2(stage["matrices"][index][1]) + math.log2(columns) / 2 - math.log2(127) + power
