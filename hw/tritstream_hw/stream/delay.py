"""What goes beside a pipeline, so that it arrives with the result."""

from amaranth import *
from amaranth.lib.memory import Memory

__all__ = ["delay"]

_PLACES = 16                # of a small table of any FPGA
_REGISTERS = 5              # so many flip-flops a bit are no more than such a table and its counter


def delay(m: Module, value, cycles: int, *, name: str, reset_less: bool = True) -> Value:
    """Return `value` as it was `cycles` cycles ago.

    Wide values that wait for long stand in small memories that are written and read in turn, and
    not in as many registers.

    Parameters
    ----------
    m : Module
        Gets registers and memories.
    value : ValueLike
        Keeps its shape. May have no bits at all.
    cycles : int
        At least 0.
    name : str
        Of the registers and memories, before a number.
    reset_less : bool
        False for what says that there is something at all: it is 0 after a reset.
    """
    if not len(Value.cast(value)):
        return value
    stage = 0
    while reset_less and len(Value.cast(value)) > _REGISTERS and cycles - stage > _REGISTERS:
        step = min(cycles - stage, _PLACES + 1)
        value = _through_memory(m, value, step, name=f"{name}_{stage}")
        stage += step
    for n in range(stage, cycles):
        register = Signal.like(value, name=f"{name}_{n}", init=0, reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def _through_memory(m: Module, value, cycles: int, *, name: str) -> Value:
    """Return a register that takes, of a memory's places in turn, what was put there before."""
    m.submodules[name] = memory = Memory(shape=Value.cast(value).shape(), depth=cycles - 1, init=[])
    write, read = memory.write_port(), memory.read_port(domain="comb")
    place = Signal(range(cycles - 1), name=f"{name}_place")
    register = Signal.like(value, name=name, reset_less=True)
    m.d.comb += [write.addr.eq(place), write.data.eq(value), write.en.eq(1), read.addr.eq(place)]
    m.d.sync += [
        place.eq(Mux(place == cycles - 2, 0, place + 1)),
        Value.cast(register).eq(read.data),
    ]
    return register
