"""What a server counts, in the text format of Prometheus."""

import threading
import time

__all__ = ["Metrics"]

_HELP = {
    "requests": "Requests for texts.",
    "prompt_tokens": "Tokens of their prompts.",
    "tokens": "Tokens that were made.",
}


class Metrics:
    """Counters since the server started."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(_HELP, 0)
        self._began = time.monotonic()

    def count(self, **amounts: int) -> None:
        """Add amounts to counters, by their names."""
        with self._lock:
            for name, amount in amounts.items():
                self._counts[name] += amount

    def text(self, **gauges: float) -> str:
        """Return all counters, and gauges by their names."""
        gauges["uptime_seconds"] = time.monotonic() - self._began
        with self._lock:
            counts = dict(self._counts)
        lines = []
        for name, value in counts.items():
            lines += [f"# HELP tritstream_{name}_total {_HELP[name]}",
                      f"# TYPE tritstream_{name}_total counter",
                      f"tritstream_{name}_total {value}"]
        for name, value in gauges.items():
            lines += [f"# TYPE tritstream_{name} gauge", f"tritstream_{name} {value:.15g}"]
        return "\n".join(lines) + "\n"
