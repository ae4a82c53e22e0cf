"""Ports between the control and the accelerator."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.memory.port import beat_layout

__all__ = ["BEST", "DONE", "SCALE", "START", "AcceleratorSignature", "DebugSignature"]

START = data.StructLayout({"fresh": 1, "logits": 1, "stages": 16})
"""Begin of a pass."""

DONE = data.StructLayout({"status": 8, "head": 1})
"""End of a pass: a status of `docs/link.md`, and whether the head was played."""

BEST = data.StructLayout({"token": 32, "acc": signed(32), "valid": 1})
"""One of the best logits, if there are that many."""

SCALE = data.StructLayout({"mantissa": 16, "shift": 8})
"""Scale of the logits."""


class DebugSignature(wiring.Signature):
    """Port into the memories of an idle accelerator, as its user has it.

    Members
    -------
    space, address : :py:`Out(2)`, :py:`Out(32)`
        Which word; stable from `read` to `data_valid`.
    read, write : :py:`Out(1)`
        Strobes.
    write_data : :py:`Out(32)`
        Word to be written.
    data, data_valid : :py:`In(signed(32))`, :py:`In(1)`
        Word read, and its strobe.
    """

    def __init__(self):
        super().__init__({
            "space": Out(2),
            "address": Out(32),
            "read": Out(1),
            "write": Out(1),
            "write_data": Out(32),
            "data": In(signed(32)),
            "data_valid": In(1),
        })


class AcceleratorSignature(wiring.Signature):
    """All ports of an accelerator, as its user has them.

    Members
    -------
    start, done : :py:`Out(stream.Signature(START))`, :py:`In(stream.Signature(DONE))`
        Begin and end of a pass.
    beats : :py:`Out(stream.Signature(beat_layout(config)))`
        What the pass plays.
    logits : :py:`In(stream.Signature(signed(32)))`
        Every logit, if the pass was started so; all are taken before `done` is offered.
    candidate, best : :py:`Out(8)`, :py:`In(BEST)`
        Which of the best logits is wanted; it is there at most two cycles later.
    scale : :py:`In(SCALE)`
        Of the logits, from `done` on.
    digest, clear_digest : :py:`In(32)`, :py:`Out(1)`
        Running CRC-32 of all stage vectors, and the strobe that restarts it.
    cycles, stalls : :py:`In(64)`
        Of the latest pass.
    beats_taken : :py:`In(64)`
        Since reset.
    memory : :py:`Out(DebugSignature())`
        Debug port.
    """

    def __init__(self, config: BuildConfig):
        super().__init__({
            "start": Out(stream.Signature(START)),
            "done": In(stream.Signature(DONE)),
            "beats": Out(stream.Signature(beat_layout(config))),
            "logits": In(stream.Signature(signed(32))),
            "candidate": Out(8),
            "best": In(BEST),
            "scale": In(SCALE),
            "digest": In(32),
            "clear_digest": Out(1),
            "cycles": In(64),
            "stalls": In(64),
            "beats_taken": In(64),
            "memory": Out(DebugSignature()),
        })
