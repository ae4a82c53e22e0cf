"""What there is to know about a board before its bitstream is built."""

import dataclasses
from collections.abc import Callable

from amaranth.hdl import Elaboratable

from tritstream.analysis.stage import StageEstimate
from tritstream.build import BuildConfig
from tritstream.errors import BadInput
from tritstream.formats import FORMATS
from tritstream.link.frames import MAX_FRAME
from tritstream.transport.serial import BITS_PER_BYTE
from tritstream_hw.boards.toolchains import Toolchain
from tritstream_hw.flash.chip import FlashChip
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.sdr.chip import SdrChip
from tritstream_hw.phy.uart import SLOWEST

__all__ = ["Target"]

BLOCK_RAM_BYTES = 18 * 1024 // 8
RETRIES_PER_SECOND = 8      # of the link; a USB adapter's own latency is 1/60 s


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
        What the part has; of block RAM, pieces of 18 Kbit, or of 4 Kbit of an iCE40.
    memory, link : str
        Where an image lies and how the host is connected, in a few words.
    chip : SdrChip, Ddr3Chip or None
        What is behind the resource ``sdram`` or ``ddr3``, if that is used.
    flash : FlashChip or None
        Where a model may be for the board to start with; None: it starts empty.
    memory_rate : int or None
        Bytes per second that the memory delivers in the long run; None: a beat per cycle.
    toolchain : Toolchain
        What makes the bitstream.
    loader : str
        The command that a bitstream's name is put behind to load it.
    platform : callable
        Makes the platform, on which a plan is prepared once.
    top : callable
        Makes the design: ``top(config, build_id, baud)``.
    check_clock : callable
        Called with a frequency in Hz; raises `BadInput` if the board cannot make that clock.
    baud : int or None
        Of the UART; None: the link is another one.
    config : BuildConfig
        What is built unless the user wants another clock, or another build.
    fixed : bool
        Whether there is no other build than `config`, at any clock.
    stage_of : callable or None
        Estimates a stage of it, where that is not the accelerator of other boards.
    nextpnr_options, synth_options : tuple of str
        What was found to help, see the comments of each target.
    after_synth : str
        Commands of Yosys behind its synthesis, of which `synth_options` may leave out the end.
    evidence : str
        How sure it is that the board works: ``estimated``, ``simulated``, ``routed``,
        ``measured-silicon``.
    """

    name: str
    fpga: str
    luts: int
    block_rams: int
    memory: str
    link: str
    chip: SdrChip | Ddr3Chip | None = None
    flash: FlashChip | None = None
    memory_rate: int | None = None
    toolchain: Toolchain
    loader: str
    platform: Callable[[], object]
    top: Callable[[BuildConfig, bytes, int | None], Elaboratable]
    check_clock: Callable[[int], object]
    baud: int | None
    config: BuildConfig
    fixed: bool = False
    stage_of: Callable[..., StageEstimate] | None = None
    nextpnr_options: tuple[str, ...] = ()
    synth_options: tuple[str, ...] = ()
    after_synth: str = ""
    evidence: str

    @property
    def memory_bytes_per_cycle(self) -> float | None:
        """What the memory delivers per cycle of the system clock; None: a beat."""
        return self.memory_rate and self.memory_rate / self.config.clock_hz

    def at(self, clock_hz: int) -> "Target":
        """Return the target with another system clock; the link's timers stay what they are.

        Raises
        ------
        BadInput
            The clock is too slow for the UART, or the board cannot make it.
        """
        config = clocked(self.config, clock_hz, self.baud)
        self.check_clock(clock_hz)
        return dataclasses.replace(self, config=config)

    def built(self, text: str) -> "Target":
        """Return the target with another build, as in ``p=16,v=8,state=24k,memory=128k``.

        Raises
        ------
        BadInput
            There is no such build, or no other than the target's own, its clock is not the
            target's, or its memory is not what the board has.
        """
        if self.fixed:
            raise BadInput(f"The build of {self.name} is a program for its part, and has one size: "
                           "leave out --build.")
        config = self.config.changed(text)
        if config.clock_hz != self.config.clock_hz:
            raise BadInput(f"The build {text[:60]!r} has a clock: choose that with --freq.")
        if self.chip is not None:
            self._check_chip(config)
        self._check_block_ram(config)
        return dataclasses.replace(self, config=config)

    def _check_chip(self, config: BuildConfig):
        if config.memory_bytes != self.chip.bytes:
            raise BadInput(f"The memory of {self.name} is a chip of {self.chip.bytes} bytes, not "
                           f"{config.memory_bytes}: leave it out of --build.")
        if config.groups > 1:
            raise BadInput(f"{self.name} has one memory, and g={config.groups} needs as many: "
                           "leave it out of --build.")
        beats = self.chip.beat_bytes
        if config.beat_bytes not in beats:
            raise BadInput(f"The memory of {self.name} gives {beats[0]} to {beats[-1]} bytes at a "
                           f"time, not p={config.beat_bytes}: choose that in --build.")

    def _check_block_ram(self, config: BuildConfig):
        """Refuse what could never be placed, before it is made: that takes memory, and time."""
        needed = config.max_state * FORMATS.state_bits // 8
        needed += 0 if self.chip is not None else config.memory_bytes
        if needed > self.block_rams * BLOCK_RAM_BYTES:
            raise BadInput(f"{self.name} has block RAM of {self.block_rams * BLOCK_RAM_BYTES} "
                           f"bytes, and state and memory of this build take {needed}: choose "
                           "less in --build.")


def clocked(config: BuildConfig, clock_hz: int, baud: int | None) -> BuildConfig:
    """Return `config` with a clock, and with the link's timers at that clock.

    An acknowledgement waits for as long as three of the longest frames take: each frame of the
    host's stream then brings its own on the way, and none is sent alone while frames flow.

    Parameters
    ----------
    config : BuildConfig
        The rest, and the rate of the link if that is no UART.
    clock_hz : int
        Of the clock.
    baud : int or None
        Of the UART; None: there is none.

    Raises
    ------
    BadInput
        The clock is too slow for the UART.
    """
    if baud is not None and clock_hz < SLOWEST * baud:
        raise BadInput(f"A UART of {baud} baud needs a clock of {SLOWEST * baud / 1e6:g} MHz or "
                       f"more, not {clock_hz / 1e6:g} MHz: choose a higher --freq.")
    rate = config.link_rate if baud is None else baud // BITS_PER_BYTE
    return dataclasses.replace(
        config, clock_hz=clock_hz, link_rate=rate, ack_cycles=3 * MAX_FRAME * clock_hz // rate,
        retry_cycles=clock_hz // RETRIES_PER_SECOND)
