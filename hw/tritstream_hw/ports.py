"""Ports between the control and the accelerator."""

import types

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import ReadPort, WritePort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tritstream.formats import FORMATS
from tritstream.link.messages import RECORD_WORDS
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.memory.port import played_layout

__all__ = [
    "BEST",
    "DONE",
    "START",
    "AcceleratorSignature",
    "ControlledSignature",
    "DebugSignature",
    "PassSignature",
    "part",
    "record_port",
]

START = data.StructLayout({"fresh": 1, "logits": 1, "stages": 16})
"""Begin of a pass."""

DONE = data.StructLayout({"status": 8, "head": 1})
"""End of a pass: a status of `docs/link.md`, and whether the head was played."""

BEST = data.StructLayout({"token": 32, "acc": signed(32), "valid": 1})
"""One of the best logits, if there are that many."""


class DebugSignature(wiring.Signature):
    """Ports into the memories of an idle accelerator, as their user has them.

    Parameters
    ----------
    vector_elements, max_state : int
        Elements of the vectors and of the recurrent state.
    max_stages : int
        Stages that have a record.

    Members
    -------
    idle : :py:`In(1)`
        No pass runs; else no port may be enabled.
    vectors_read, state_read, records_read : :py:`In(ReadPort.Signature(...))`
        Words; those of vectors and state are signed.
    vectors_write, state_write : :py:`In(WritePort.Signature(...))`
        The same words.
    """

    def __init__(self, *, vector_elements: int, max_state: int, max_stages: int):
        vectors = {"addr_width": ceil_log2(vector_elements), "shape": signed(FORMATS.vector_bits)}
        state = {"addr_width": ceil_log2(max_state), "shape": signed(FORMATS.state_bits)}
        super().__init__({
            "idle": In(1),
            "vectors_read": In(ReadPort.Signature(**vectors)),
            "vectors_write": In(WritePort.Signature(**vectors)),
            "state_read": In(ReadPort.Signature(**state)),
            "state_write": In(WritePort.Signature(**state)),
            "records_read": In(record_port(max_stages)),
        })


class PassSignature(wiring.Signature):
    """What a pass needs of an accelerator, as its user has it.

    Members
    -------
    start, done : :py:`Out(stream.Signature(START))`, :py:`In(stream.Signature(DONE))`
        Begin and end of a pass. Behind a status other than 0, the accelerator has to be reset.
    logits : :py:`In(stream.Signature(signed(32)))`
        Every logit, if the pass was started so; all are taken before `done` is offered.
    candidate, best : :py:`Out(8)`, :py:`In(BEST)`
        Which of the best logits is wanted; it is there a cycle later.
    scale : :py:`In(SCALE)`
        Of the logits, from `done` on.
    digest : :py:`In(32)`
        Running CRC-32 of all stage vectors.
    cycles, stalls : :py:`In(64)`
        Of the latest pass.
    """

    def __init__(self):
        super().__init__({
            "start": Out(stream.Signature(START)),
            "done": In(stream.Signature(DONE)),
            "logits": In(stream.Signature(signed(32))),
            "candidate": Out(8),
            "best": In(BEST),
            "scale": In(SCALE),
            "digest": In(32),
            "cycles": In(64),
            "stalls": In(64),
        })


class ControlledSignature(wiring.Signature):
    """What the control needs of an accelerator: all of its ports but the beats.

    Parameters
    ----------
    vector_elements, max_state, max_stages : int
        See :class:`DebugSignature`.

    Members
    -------
    start, done, ...
        See :class:`PassSignature`.
    clear_digest : :py:`Out(1)`
        Strobe that restarts the digest.
    beats_taken : :py:`In(64)`
        Since reset.
    debug : :py:`Out(DebugSignature(...))`
        The memories, while no pass runs.
    """

    def __init__(self, *, vector_elements: int, max_state: int, max_stages: int):
        super().__init__({
            **PassSignature().members,
            "clear_digest": Out(1),
            "beats_taken": In(64),
            "debug": Out(DebugSignature(
                vector_elements=vector_elements, max_state=max_state, max_stages=max_stages)),
        })


class AcceleratorSignature(wiring.Signature):
    """All ports of an accelerator, as its user has them.

    Parameters
    ----------
    beat_bytes : int
        `P`.
    vector_elements, max_state, max_stages : int
        See :class:`DebugSignature`.

    Members
    -------
    start, done, ...
        See :class:`ControlledSignature`.
    beats : :py:`Out(stream.Signature(played_layout(P)))`
        What the passes play. A pass that ends before its last beat, or that needs more than it has,
        ends with status `BAD_TAPE`.
    """

    def __init__(self, *, beat_bytes: int, vector_elements: int, max_state: int,
                 max_stages: int):
        controlled = ControlledSignature(
            vector_elements=vector_elements, max_state=max_state, max_stages=max_stages)
        super().__init__({
            **controlled.members,
            "beats": Out(stream.Signature(played_layout(beat_bytes))),
        })


def record_port(max_stages: int) -> ReadPort.Signature:
    """Words of the records of stages."""
    return ReadPort.Signature(addr_width=ceil_log2(RECORD_WORDS * max_stages), shape=32)


def part(interface, wanted: wiring.Signature):
    """Return those ports of an interface that `wanted` names, to be connected alone."""
    members = {name: interface.signature.members[name] for name in wanted.members}
    return types.SimpleNamespace(
        signature=wiring.Signature(members), **{name: getattr(interface, name) for name in members})
