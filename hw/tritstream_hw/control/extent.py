"""Checks of what a command addresses."""

from amaranth import *

from tritstream.build import BuildConfig
from tritstream.formats import UNIT
from tritstream.link.protocol import Status

__all__ = ["extent_status"]


def extent_status(extent, config: BuildConfig) -> Value:
    """Return the status of a command on `units` units from `unit` on."""
    units = config.memory_bytes // UNIT
    if units == 0:
        return C(Status.NO_MEMORY, 8)
    return Mux(extent.unit + extent.units > units, C(Status.OUT_OF_RANGE, 8), C(Status.OK, 8))
