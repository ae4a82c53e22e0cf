"""Ports between the control and the accelerator."""

import types

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import ReadPort
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tritstream.link.messages import RECORD_WORDS
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.elements.ports import (
    state_read_port,
    state_write_port,
    vector_read_port,
    vector_write_port,
)
from tritstream_hw.gemv.layouts import lanes_layout
from tritstream_hw.memory.port import played_layout

__all__ = [
    "BEATS_BITS",
    "BEST",
    "DONE",
    "PASS_BITS",

    "AcceleratorSignature",
    "ControlledSignature",
    "DebugSignature",
    "PassSignature",
    "part",
    "record_port",
    "start_layout",
    "to_host_layout",
]


PASS_BITS, BEATS_BITS = 48, 56
"""Bits of cycles and beats that are counted: no pass takes three days, not at 1 GHz either, nor all
of them two years."""

DONE = data.StructLayout({"status": 8, "head": 1})
"""End of a pass: a status of `docs/link.md`, and whether the head was played."""

BEST = data.StructLayout({"token": 32, "acc": signed(32), "valid": 1})
"""One of the best logits, if there are that many."""


def start_layout(lanes: int, slots: int) -> data.StructLayout:
    """Layout of the begin of a pass: its tokens, whether the host wants all logits, its stages."""
    return data.StructLayout({"lanes": lanes_layout(lanes, slots), "logits": 1, "stages": 16})


def to_host_layout(lanes: int) -> data.StructLayout:
    """Layout of a logit for the host, of one of `T` tokens."""
    return data.StructLayout({"acc": signed(32), "lane": range(lanes)})


class DebugSignature(wiring.Signature):
    """Ports into the memories of an idle accelerator, as their user has them.

    Parameters
    ----------
    vector_elements, max_state : int
        Elements of the vectors of a token and of a recurrent state.
    max_stages : int
        Stages that have a record.
    lanes, slots : int
        `T`, and states that are kept.

    Members
    -------
    idle : :py:`In(1)`
        No pass runs; else no port may be enabled.
    vectors_read, state_read, records_read : :py:`In(ReadPort.Signature(...))`
        Words; those of vectors and state are signed, those of records come two cycles later.
    vectors_write, state_write : :py:`In(WritePort.Signature(...))`
        The same words.
    """

    def __init__(self, *, vector_elements: int, max_state: int, max_stages: int, lanes: int = 1,
                 slots: int = 1):
        super().__init__({
            "idle": In(1),
            "vectors_read": In(vector_read_port(vector_elements, lanes)),
            "vectors_write": In(vector_write_port(vector_elements, lanes)),
            "state_read": In(state_read_port(max_state, slots)),
            "state_write": In(state_write_port(max_state, slots)),
            "records_read": In(record_port(max_stages)),
        })


class PassSignature(wiring.Signature):
    """What a pass needs of an accelerator, as its user has it.

    Parameters
    ----------
    lanes, slots : int
        `T`, and states that are kept.

    Members
    -------
    start : :py:`Out(stream.Signature(start_layout(T, slots)))`
        Begin of a pass.
    done : :py:`In(stream.Signature(DONE))`
        Its end. Behind a status other than 0, the accelerator has to be reset.
    logits : :py:`In(stream.Signature(to_host_layout(T)))`
        Every logit, if the pass was started so; all are taken before `done` is offered.
    lane : :py:`Out(range(T))`
        The token that is asked about, from `done` on.
    candidate, best : :py:`Out(8)`, :py:`In(BEST)`
        Which of its best logits is wanted; it is there a cycle later.
    scale : :py:`In(SCALE)`
        Of its logits.
    digest : :py:`In(32)`
        Running CRC-32 of all stage vectors in its lane.
    cycles, stalls : :py:`In(PASS_BITS)`
        Of the latest pass.
    """

    def __init__(self, *, lanes: int = 1, slots: int = 1):
        super().__init__({
            "start": Out(stream.Signature(start_layout(lanes, slots))),
            "done": In(stream.Signature(DONE)),
            "logits": In(stream.Signature(to_host_layout(lanes))),
            "lane": Out(range(lanes)),
            "candidate": Out(8),
            "best": In(BEST),
            "scale": In(SCALE),
            "digest": In(32),
            "cycles": In(PASS_BITS),
            "stalls": In(PASS_BITS),
        })


class ControlledSignature(wiring.Signature):
    """What the control needs of an accelerator: all of its ports but the beats.

    Parameters
    ----------
    vector_elements, max_state, max_stages, lanes, slots : int
        See :class:`DebugSignature`.

    Members
    -------
    start, done, ...
        See :class:`PassSignature`.
    clear_digest : :py:`Out(1)`
        Strobe that restarts the digests of all lanes.
    beats_taken : :py:`In(BEATS_BITS)`
        Since reset.
    debug : :py:`Out(DebugSignature(...))`
        The memories, while no pass runs.
    """

    def __init__(self, *, vector_elements: int, max_state: int, max_stages: int, lanes: int = 1,
                 slots: int = 1):
        super().__init__({
            **PassSignature(lanes=lanes, slots=slots).members,
            "clear_digest": Out(1),
            "beats_taken": In(BEATS_BITS),
            "debug": Out(DebugSignature(
                vector_elements=vector_elements, max_state=max_state, max_stages=max_stages,
                lanes=lanes, slots=slots)),
        })


class AcceleratorSignature(wiring.Signature):
    """All ports of an accelerator, as its user has them.

    Parameters
    ----------
    stripe_bytes : int
        `G P`.
    vector_elements, max_state, max_stages, lanes, slots : int
        See :class:`DebugSignature`.

    Members
    -------
    start, done, ...
        See :class:`ControlledSignature`.
    beats : :py:`Out(stream.Signature(played_layout(G P)))`
        What the passes play. A pass that ends before its last beat, or that needs more than it has,
        ends with status `BAD_TAPE`.
    """

    def __init__(self, *, stripe_bytes: int, vector_elements: int, max_state: int,
                 max_stages: int, lanes: int = 1, slots: int = 1):
        controlled = ControlledSignature(
            vector_elements=vector_elements, max_state=max_state, max_stages=max_stages,
            lanes=lanes, slots=slots)
        super().__init__({
            **controlled.members,
            "beats": Out(stream.Signature(played_layout(stripe_bytes))),
        })


def record_port(max_stages: int) -> ReadPort.Signature:
    """Words of the records of stages, two cycles later."""
    return ReadPort.Signature(addr_width=ceil_log2(RECORD_WORDS * max_stages), shape=32)


def part(interface, wanted: wiring.Signature):
    """Return those ports of an interface that `wanted` names, to be connected alone."""
    members = {name: interface.signature.members[name] for name in wanted.members}
    return types.SimpleNamespace(
        signature=wiring.Signature(members), **{name: getattr(interface, name) for name in members})
