"""A Verilated board top behind two wires, and the host's UART at their other end."""

import pathlib

from tritstream_sim.verilate.compile import compile_model, export
from tritstream_sim.verilate.stepped import SteppedTransport

__all__ = ["LineTransport", "build_line"]


def build_line(device, name: str, cache: pathlib.Path) -> pathlib.Path:
    """Compile a component whose ports are the lines `rx` and `tx`; return the executable."""
    source = pathlib.Path(__file__).with_name("line.cpp")
    return compile_model(export(device, name), name, cache, sources=[source])


class LineTransport(SteppedTransport):
    """Bytes through the host's UART, bit by bit, to a device that runs in lockstep.

    Parameters
    ----------
    executable : path
        From `build_line`.
    cycles_per_bit : float
        Of the device's clock; need not be whole.
    stall : int
        Percentage of bytes before which the host pauses.
    seed : int
        Of the pauses.
    """

    def __init__(self, executable: pathlib.Path, cycles_per_bit: float, *, stall: int = 0,
                 seed: int = 1):
        super().__init__(executable, cycles_per_bit, stall=stall, seed=seed)
