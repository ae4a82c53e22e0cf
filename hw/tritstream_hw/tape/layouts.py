"""Layouts of the tape, and how many beats its parts take."""

from amaranth import *
from amaranth.lib import data
from amaranth.utils import exact_log2

from tritstream.formats import ALIGNMENT
from tritstream.image.tape import HEADER_FIELDS

__all__ = ["HEADER_LAYOUT", "padded_beats"]

HEADER_LAYOUT = data.StructLayout({
    name: signed(bits) if is_signed else unsigned(bits) for name, bits, is_signed in HEADER_FIELDS})
"""Layout of a section's header; what is left of `HEADER_BYTES` is padding."""


def padded_beats(count: Value, bits: int, beat_bytes: int) -> Value:
    """Beats of `beat_bytes` bytes that `count` numbers of `bits` bits take with their padding."""
    alignment = max(ALIGNMENT, beat_bytes)
    numbers = 8 * alignment // bits
    return ((count + numbers - 1) >> exact_log2(numbers)) << exact_log2(alignment // beat_bytes)
