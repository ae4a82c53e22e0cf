"""Where the cycles of a pass go, by the hardware's own counters."""

import dataclasses
from collections.abc import Sequence

from tritstream.engines import Engine
from tritstream.engines.board import DeviceEngine
from tritstream.errors import BadInput
from tritstream.formats import UNIT
from tritstream.image.image import Image
from tritstream.link.messages import StageRecord

__all__ = ["StageProfile", "latest", "profile", "trace"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageProfile:
    """A stage of a pass.

    Parameters
    ----------
    name : str
        As messages call it.
    weights : int
        Ternary weights.
    bytes : int
        Of its section of the tape.
    cycles, stalls : int
        From the end of the stage before to its own; those of them in which the datapath waited for
        weights.
    """

    name: str
    weights: int
    bytes: int
    cycles: int
    stalls: int


def profile(engine, image: Image, tokens: Sequence[int]) -> list[StageProfile]:
    """Take tokens, and return the stages of the last one's pass.

    Raises
    ------
    BadInput
        The engine has no counters.
    """
    _check(engine)
    return _profiles(image, engine.profile(tokens))


def latest(engine: Engine) -> list[StageProfile]:
    """Return the stages as they were last played, in whosever pass; none before the first one.

    Raises
    ------
    BadInput
        The engine has no counters.
    """
    _check(engine)
    records = engine.latest_records()
    return _profiles(engine.image, records) if records else []


def _check(engine: Engine) -> None:
    if not isinstance(engine, DeviceEngine):
        raise BadInput(f"{engine.name} has no clock whose cycles could be counted: use sim, "
                       "tcp:HOST:PORT or serial:PORT.")


def _profiles(image: Image, records: Sequence[StageRecord]) -> list[StageProfile]:
    return [StageProfile(name=section.name, cycles=record.cycles, stalls=record.stalls,
                         weights=section.header.rows * section.header.columns
                         * section.header.op.projections,
                         bytes=section.header.units * UNIT)
            for section, record in zip(image.sections, records, strict=True)]


def trace(stages: Sequence[StageProfile], clock_hz: int, device: str) -> dict:
    """Return the stages as a trace of Chrome's format, which Perfetto shows; times in us."""
    events = [{"name": "process_name", "ph": "M", "pid": 1, "args": {"name": device}},
              {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "stages"}}]
    start = 0
    for stage in stages:
        events.append({
            "name": stage.name, "ph": "X", "pid": 1, "tid": 1, "ts": start * 1e6 / clock_hz,
            "dur": stage.cycles * 1e6 / clock_hz,
            "args": {"cycles": stage.cycles, "stalls": stage.stalls, "weights": stage.weights,
                     "bytes": stage.bytes}})
        start += stage.cycles
    return {"traceEvents": events, "displayTimeUnit": "ms",
            "otherData": {"clock_hz": clock_hz, "cycles": start}}
