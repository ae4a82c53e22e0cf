"""What the address of a simulated board says of its build and of its memory."""

from tritstream.build import MOST_GROUPS, MOST_LANES
from tritstream.errors import BadInput
from tritstream.formats import MOST_BEAT_BYTES
from tritstream.transport.address import Address, decimal_number, whole_number

__all__ = [
    "MOST_CYCLES",
    "MOST_RATE",
    "build_parts",
    "check_options",
    "memory_options",
    "read_refresh",
]

MOST_RATE = MOST_BEAT_BYTES * MOST_GROUPS     # bytes per cycle: no port takes more than a beat
MOST_CYCLES = 10 ** 9
MOST_MEMORY = 1 << 32           # bytes, of which only those that are written take any
MOST_PREFETCH = 1 << 16         # beats; they cost the simulation memory, and a board block RAM

BUILD = {"v": ("vector_width", 1, MOST_BEAT_BYTES), "e": ("element_width", 1, MOST_BEAT_BYTES),
         "prefetch": ("prefetch_beats", 0, MOST_PREFETCH), "t": ("lanes", 1, MOST_LANES),
         "g": ("groups", 1, MOST_GROUPS), "memory": ("memory_bytes", 0, MOST_MEMORY)}
"""Options of the build: its parameter, least and most."""


def check_options(address: Address) -> None:
    """Raise `BadInput` for an option that simulated boards do not have."""
    address.check_options("keep", *BUILD, *MEMORY)


def build_parts(address: Address) -> dict[str, int]:
    """Return the parameters of `BuildConfig` that an address gives; `BadInput` as `number` has."""
    return {name: address.number(key, low, low, high)
            for key, (name, low, high) in BUILD.items() if key in address.options}


def memory_options(address: Address) -> dict:
    """Return what an address says of the memory's speed, as `Board` takes it.

    Raises
    ------
    BadInput
        That is no speed of a memory.
    """
    found = {}
    for key, (read, what) in MEMORY.items():
        if (text := address.options.get(key)) is not None:
            found[key] = read(text)
            if found[key] is None:
                raise BadInput(f"{address.text!r} has {key}={text[:20]}: it must be {what}.")
    return found


def read_refresh(text: str) -> tuple[int, int] | None:
    """Return the cycles from one refresh to the next, and those that it takes; None: neither."""
    interval, _, taken = text.partition(":")
    pair = whole_number(interval, 1, MOST_CYCLES), whole_number(taken, 0, MOST_CYCLES)
    return pair if None not in pair and pair[0] > pair[1] else None


MEMORY = {
    "bandwidth": (lambda text: decimal_number(text, MOST_RATE),
                  f"bytes per cycle, above 0 and up to {MOST_RATE}"),
    "latency": (lambda text: whole_number(text, 0, MOST_CYCLES),
                f"a whole number of 0 to {MOST_CYCLES} cycles"),
    "refresh": (read_refresh, "INTERVAL:CYCLES, as 640:16, and leave time to read"),
}
"""Options of the memory: what reads them, and what they must be."""
