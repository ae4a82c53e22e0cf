"""The contract of a stream, and its proof without a bound on time.

It is checked by hardware, the same in a proof and in a simulation. Proofs need nothing but Yosys:
its SAT solver, by induction.
"""

import pathlib
import subprocess

from amaranth import *
from amaranth.back import rtlil

from tritstream.support.tools import find_yosys, run_bounded

__all__ = ["NotProved", "held_until_taken", "prove", "stands"]


PROOF_SECONDS = 3600.0      # the longest proof takes two minutes


class NotProved(AssertionError):
    """An assertion can fail, or induction does not reach it at this depth."""


def stands(m: Module, stream) -> Value:
    """Whether an offer on `stream` stands: valid stays, and the payload, until ready.

    Parameters
    ----------
    m : Module
        Gets the logic.
    stream
        The interface, seen from inside the component that holds the check. A reset ends an offer.
    """
    offered = Signal()
    payload = Signal.like(Value.cast(stream.payload))
    m.d.sync += offered.eq(stream.valid & ~stream.ready)
    m.d.sync += payload.eq(stream.payload)
    return ~offered | (stream.valid & (Value.cast(stream.payload) == payload))


def held_until_taken(m: Module, stream, claim):
    """Claim in a proof that an offer on `stream` stands.

    Parameters
    ----------
    m : Module
        Gets the logic.
    stream
        See `stands`.
    claim
        ``Assert`` for what the device promises, ``Assume`` for what its neighbours do.
    """
    m.d.comb += claim(stands(m, stream))


def prove(component, directory: pathlib.Path, *, depth: int = 20):
    """Prove every ``Assert`` in `component`, from the initial state on.

    The reset is held inactive. Memories become registers: use small ones.

    Raises
    ------
    NotProved
        With the counterexample, or the end of Yosys' output.
    ToolFailed
        Yosys has not ended within an hour.
    """
    (directory / "top.il").write_text(rtlil.convert(component, name="top"))
    script = ("read_rtlil top.il; prep -flatten -top top; memory_map; opt -full; async2sync; "
              "chformal -lower; dffunmap; "
              f"sat -tempinduct -maxsteps {depth} -prove-asserts -set-assumes -set-init-zero "
              "-set rst 0 -show-ports -verify")
    done = run_bounded([find_yosys(), "-p", script], PROOF_SECONDS, cwd=directory,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise NotProved(f"not proved within {depth} steps:\n"
                        f"{done.stdout[-4000:]}{done.stderr[-2000:]}")
