"""What goes beside a pipeline, so that it arrives with the result."""

from amaranth import *

__all__ = ["delay"]


def delay(m: Module, value, cycles: int, *, name: str, reset_less: bool = True) -> Value:
    """Return `value` as it was `cycles` cycles ago.

    Parameters
    ----------
    m : Module
        Gets the registers.
    value : ValueLike
        Keeps its shape.
    cycles : int
        At least 0.
    name : str
        Of the registers, before a number.
    reset_less : bool
        False for what says that there is something at all: it is 0 after a reset.
    """
    for n in range(cycles):
        register = Signal.like(value, name=f"{name}_{n}", init=0, reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value
