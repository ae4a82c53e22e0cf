"""How long a request takes, by this computer's clock and by that of the device."""

import time
from collections.abc import Sequence

from tritstream.engines.state import digest_text
from tritstream.server.residence import Use
from tritstream.server.text import Text

__all__ = ["Clock"]


class Clock:
    """Both clocks, from when it is made.

    Parameters
    ----------
    use : Use
        Of the device, which may do the work of others meanwhile: that takes time, too.
    """

    def __init__(self, use: Use):
        self._scheduler = use.resident.scheduler
        self._load_seconds = use.load_seconds
        self._engine = engine = self._scheduler.engine
        self._began = time.perf_counter()
        self._device = engine.seconds
        self._cycles, self._stalls = engine.cycles, engine.stalls

    def timings(self, texts: Sequence[Text]) -> dict:
        """Return what texts took so far, as a part of a response."""
        engine = self._scheduler.engine
        made = sum(len(text.answer.tokens) for text in texts)
        table = {"tokens": made, **_rate(made, time.perf_counter() - self._began),
                 "evidence": "measured", "device": engine.name,
                 "digests": [digest_text(text.answer.digest) for text in texts]}
        if self._load_seconds is not None:
            table["load_seconds"] = self._load_seconds
        # A device that was opened again counts from its beginning.
        if engine is self._engine and engine.clock_hz is not None:
            table["device_clock"] = {
                **_rate(made, engine.seconds - self._device), "evidence": engine.evidence,
                "clock_hz": engine.clock_hz, "cycles": engine.cycles - self._cycles,
                "stalls": engine.stalls - self._stalls}
        return table


def _rate(tokens: int, seconds: float) -> dict:
    return {"seconds": seconds, "tokens_per_second": tokens / seconds if seconds else None}
