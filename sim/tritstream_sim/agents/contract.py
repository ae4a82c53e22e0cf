"""Proofs without a bound on time, with nothing but Yosys: its SAT solver, by induction."""

import pathlib
import subprocess

from amaranth import *
from amaranth.back import rtlil

from tritstream.support.tools import find_yosys

__all__ = ["NotProved", "held_until_taken", "prove"]


class NotProved(AssertionError):
    """An assertion can fail, or induction does not reach it at this depth."""


def held_until_taken(m: Module, stream, claim):
    """Claim that an offer on `stream` stands: valid stays, and the payload, until ready.

    Parameters
    ----------
    m : Module
        Gets the logic.
    stream
        The interface, seen from inside the component that holds the proof.
    claim
        ``Assert`` for what the device promises, ``Assume`` for what its neighbours do.
    """
    offered = Signal()
    payload = Signal.like(Value.cast(stream.payload))
    m.d.sync += offered.eq(stream.valid & ~stream.ready)
    m.d.sync += payload.eq(stream.payload)
    with m.If(offered):
        m.d.comb += claim(stream.valid)
        m.d.comb += claim(Value.cast(stream.payload) == payload)


def prove(component, directory: pathlib.Path, *, depth: int = 20):
    """Prove every ``Assert`` in `component`, from the initial state on.

    The reset is held inactive. Memories become registers: use small ones.

    Raises
    ------
    NotProved
        With the counterexample, or the end of Yosys' output.
    """
    (directory / "top.il").write_text(rtlil.convert(component, name="top"))
    script = ("read_rtlil top.il; prep -flatten -top top; memory_map; opt -full; async2sync; "
              "chformal -lower; dffunmap; "
              f"sat -tempinduct -maxsteps {depth} -prove-asserts -set-assumes -set-init-zero "
              "-set rst 0 -show-ports -verify")
    done = subprocess.run([find_yosys(), "-p", script], cwd=directory, capture_output=True,
                          text=True)
    if done.returncode:
        raise NotProved(f"not proved within {depth} steps:\n"
                        f"{done.stdout[-4000:]}{done.stderr[-2000:]}")
