"""What there is to know about a board before its bitstream is built."""

import dataclasses
from collections.abc import Callable

from amaranth.hdl import Elaboratable

from tritstream.config import BuildConfig

__all__ = ["Target"]

RETRIES_PER_SECOND = 8      # of the link; a USB adapter's own latency is 1/60 s
MAX_FRAME = 523             # bytes on the line
BITS_PER_BYTE = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """A board, and what is built for it.

    Parameters
    ----------
    name : str
        By which users call it.
    fpga : str
        Part number with speed grade.
    luts, block_rams : int
        What the part has; of block RAM, pieces of 18 Kbit.
    memory, link : str
        Where an image lies and how the host is connected, in a few words.
    toolchain : str
        What places and routes.
    platform : callable
        Makes the platform, on which a plan is prepared once.
    top : callable
        Makes the design: ``top(config, build_id, baud)``.
    source_hz : int
        The board's oscillator.
    baud : int
        Of the UART.
    config : BuildConfig
        What is built unless the user wants another clock.
    nextpnr_options, synth_options : tuple of str
        What was found to help, see the comments of each target.
    evidence : str
        How sure it is that the board works: ``routed``, ``measured-silicon``.
    """

    name: str
    fpga: str
    luts: int
    block_rams: int
    memory: str
    link: str
    toolchain: str
    platform: Callable[[], object]
    top: Callable[[BuildConfig, bytes, int], Elaboratable]
    source_hz: int
    baud: int
    config: BuildConfig
    nextpnr_options: tuple[str, ...] = ()
    synth_options: tuple[str, ...] = ()
    evidence: str

    def at(self, clock_hz: int) -> "Target":
        """Return the target with another system clock; the link's timers stay what they are."""
        return dataclasses.replace(self, config=clocked(self.config, clock_hz, self.baud))


def clocked(config: BuildConfig, clock_hz: int, baud: int) -> BuildConfig:
    """Return `config` with a clock, and with the link's timers for a UART at that clock.

    An acknowledgement waits for as long as three of the longest frames take: each frame of the
    host's stream then brings its own on the way, and none is sent alone while frames flow.
    """
    return dataclasses.replace(
        config, clock_hz=clock_hz, link_rate=baud // BITS_PER_BYTE,
        ack_cycles=3 * MAX_FRAME * BITS_PER_BYTE * clock_hz // baud,
        retry_cycles=clock_hz // RETRIES_PER_SECOND)
