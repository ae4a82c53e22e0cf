"""Passes through a Verilated accelerator at the speed of C++, every beat at its known time."""

import dataclasses
import pathlib
import struct
import subprocess
from collections.abc import Sequence

import numpy as np

from tritstream.image.image import Image
from tritstream.image.layout import lay_out
from tritstream.link.messages import RECORD_WORDS, StageRecord, stage_records
from tritstream.stripes import PLAIN, Stripes
from tritstream.support.tools import end_process
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.ports import DONE
from tritstream_sim.verilate.compile import compile_model
from tritstream_sim.verilate.export import export

__all__ = ["Pass", "Passes", "pass_bytes"]

WORD = (1 << 64) - 1


def pass_bytes(image: Image, tokens: Sequence[int], stages: int,
               stripes: Stripes = PLAIN) -> bytes:
    """Return what is played for a pass: the lead of the tape, the tokens' rows, the rest."""
    laid = lay_out(image, stripes)
    tape = laid.tape(laid.units_before(stages)).tobytes()
    lead = stripes.unit_bytes * laid.lead_units
    return tape[:lead] + b"".join(map(laid.row, tokens)) + tape[lead:]


@dataclasses.dataclass(frozen=True)
class Pass:
    """What a pass leaves behind."""

    status: int
    head: bool
    beats: int                  # taken
    digests: list[int]          # by lane
    records: list[StageRecord]


class Passes:
    """An accelerator in a process of its own, which keeps its state from pass to pass.

    Parameters
    ----------
    accelerator : Accelerator
        Built if it is not in the cache.
    cache : path
        Where builds are kept, see `compile_model`.
    optimise : str
        Level of optimisation of the C++ compiler; what pays depends on the length of the passes.

    Attributes
    ----------
    digests : list of int
        Of the lanes, as the last pass has left them.
    """

    def __init__(self, accelerator: Accelerator, cache: pathlib.Path, *, optimise: str = "-O1"):
        source = pathlib.Path(__file__).with_name("passes.cpp")
        program = compile_model(export(accelerator, "passes"), "passes", cache, sources=[source],
                                arguments=["-O3", "--x-assign", "fast", "--noassert"],
                                optimise=optimise)
        self.stripes = accelerator.stripes
        self._lanes = len(accelerator.start.p.lanes.table)
        self._start = accelerator.start.p.shape()
        self.digests = [0] * self._lanes
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE)

    def play(self, data: bytes, *, stages: int, lanes: Sequence[dict[str, int]] = ({},),
             gaps: dict[int, int] | None = None) -> Pass:
        """Play a pass of so many stages.

        Parameters
        ----------
        data : bytes
            All that is played, whole beats.
        stages : int
            Of the pass; their records are read back.
        lanes : sequence of dict
            What `lanes_layout` has in its table, of each token of the pass.
        gaps : dict
            Cycles for which a beat is withheld after the one before was taken, by its number. All
            other beats are offered at once.

        Raises
        ------
        TimeoutError
            The accelerator neither takes a beat nor ends.
        """
        gaps = gaps or {}
        start = self._start.const({
            "lanes": {"last": len(lanes) - 1, "table": lanes}, "stages": stages}).as_bits()
        words = RECORD_WORDS * stages
        request = [start & WORD, start >> 64 & WORD, start >> 128, self._lanes, words, len(gaps),
                   len(data) // self.stripes.stripe_bytes, self.stripes.stripe_bytes,
                   *(number for gap in gaps.items() for number in gap)]
        self._process.stdin.write(struct.pack(f"<{len(request)}Q", *request))
        self._process.stdin.write(data)
        self._process.stdin.flush()
        head = 16 + 4 * self._lanes
        answer = self._process.stdout.read(head + 4 * words)
        if len(answer) < head + 4 * words:
            raise TimeoutError(self._process.stderr.read().decode())
        bits, beats = struct.unpack_from("<QQ", answer)
        done = DONE.from_bits(bits)
        self.digests = np.frombuffer(answer, "<u4", offset=16, count=self._lanes).tolist()
        records = stage_records(np.frombuffer(answer, "<i4", offset=head))
        return Pass(done.status, bool(done.head), beats, self.digests, records)

    def close(self) -> None:
        """End the process."""
        end_process(self._process)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
