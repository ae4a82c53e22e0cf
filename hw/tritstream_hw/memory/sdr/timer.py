"""Time between two commands."""

from amaranth import *

__all__ = ["Timer"]


class Timer:
    """Counts down behind a command.

    It starts in the cycle after that in which the command was decided on, and that it is over is
    heeded a cycle later: three cycles at least.

    Parameters
    ----------
    m : Module
        Gets the counter.
    name : str
        Of that.
    most : int
        Longest time, in cycles.
    init : int
        Cycles that it has to go when the clock starts.
    """

    def __init__(self, m: Module, name: str, *, most: int, init: int = -1):
        self._count = Signal(range(-1, most), init=init, name=name)
        self.over = self._count < 0
        with m.If(~self.over):
            m.d.sync += self._count.eq(self._count - 1)

    def start(self, m: Module, cycles: int):
        """The next command is `cycles` cycles behind the one that was decided on."""
        m.d.sync += self._count.eq(max(cycles - 4, -1))
