"""What boards with an ECP5 have in common: their clocks, their tops, their targets."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

from amaranth import *
from amaranth.build import Attrs, DiffPairs, Pins, PinsN, Resource, Subsignal
from amaranth.lib import io, wiring
from amaranth.vendor import LatticeECP5Platform

from tritstream.build import BuildConfig
from tritstream.ddr3.registers import WORDS
from tritstream_hw.boards.clocks import Clock, Dividers, Ecp5Clocks
from tritstream_hw.boards.device import BareDevice
from tritstream_hw.boards.target import Target, clocked
from tritstream_hw.boards.toolchains import TRELLIS
from tritstream_hw.boards.uart_top import UartTop
from tritstream_hw.flash.chip import FlashChip
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.ddr3.core import CYCLES_PER_BURST
from tritstream_hw.memory.ddr3.memory import Ddr3Memory
from tritstream_hw.memory.sdr.chip import SDR_32MB
from tritstream_hw.memory.sdr.memory import SdrMemory
from tritstream_hw.phy.ddr3 import Ddr3Phy
from tritstream_hw.phy.flash import FlashPhy
from tritstream_hw.phy.sdr import PAD_CYCLES, SdrPhy

__all__ = ["DDR3_CONFIG", "FLASH", "BlockRamTop", "Ddr3Top", "SdramTop", "block_ram_target",
           "ddr3_resource", "ddr3_target", "request_flash", "sdram_target"]

BAUD = 3_000_000
MEMORY_HZ = 133_333_333     # 25 MHz / 3 x 16
# The chip sees commands half a period after they have left their flip-flops. Its words are there
# 5.4 ns after its clock, and until 2.5 ns after the next: from 9.15 to 13.75 ns after an edge of
# the FPGA's, and the pads take 1.3 to 5.8 ns both ways before that is early or late for the next
# but one, at 15 ns.
CHIP_DEGREES = 180
QUEUE_BEATS = 512           # one block RAM, at P = 4: longer than the core is idle between stages

# P = 4 takes 320 MB/s at the usual clock, the memory brings 261.
CONFIG = BuildConfig(beat_bytes=4, vector_width=2, memory_bytes=SDR_32MB.bytes, max_state=8 * 1024)
CLOCK_HZ = 80_000_000

# Block RAM gives a beat per cycle, however wide.
BLOCK_RAM_CONFIG = dataclasses.replace(CONFIG, beat_bytes=16, vector_width=4)

# A beat is half of a burst of a DDR3 memory: as many bytes per cycle as that brings at the clock of
# its controller.
DDR3_CONFIG = BuildConfig(beat_bytes=8, vector_width=4, max_state=24 * 1024)
DDR3_SHARE = 0.937          # simulated, of the peak: the rest is refresh


_SYNTH = ("-nowidelut",)    # 16 instead of 49 LUTs for a trit decoder
# As `synth_ecp5` goes on, but for what ABC9 thinks that a wire takes: 0.8 ns, as nextpnr finds, and
# not 0.3. What it saves then is LUTs behind each other, of which a path had seven.
WIRE_PICOSECONDS = 800
_MAP_LUTS = "; ".join([
    "techmap -map +/lattice/latches_map.v", f"abc9 -W {WIRE_PICOSECONDS} -maxlut 4", "clean",
    f"synth_ecp5 {' '.join(_SYNTH)} -run map_cells: -top top"])

FLASH = ("spi_flash", "spi_flash_1x")
"""What boards' files call the flash memory, with the pins of SPI that `FlashPhy` drives."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What an FPGA has: LUT4, block RAMs of 18 Kbit, and multipliers of 18 x 18."""

    luts: int
    block_rams: int
    multipliers: int


PARTS = {
    "LFE5U-25F": Part(24_288, 56, 28),
    "LFE5U-45F": Part(43_848, 108, 72),
    "LFE5U-85F": Part(83_640, 208, 156),
    "LFE5UM5G-85F": Part(83_640, 208, 156),
}
"""Parts by their names, as nextpnr counts what they have."""


class _Top(UartTop):
    """A device behind the board's link, and its clocks.

    Attributes
    ----------
    link_clocks : tuple of Clock
        Of the link, from a PLL of their own: the other one's have to suit the system clock.
    """

    link_clocks: tuple[Clock, ...] = ()

    def _clock(self, m: Module, platform, *memory_clocks: Clock) -> Ecp5Clocks:
        """Make the clocks of all domains from that of the board's oscillator."""
        clocks = [*memory_clocks, Clock(domain="sync", hz=self._config.clock_hz)]
        m.domains += [ClockDomain(clock.domain, reset_less=True) for clock in clocks]
        m.submodules.oscillator = oscillator = io.Buffer(
            "i", platform.request(platform.default_clk, dir="-"))
        source = oscillator.i, int(platform.default_clk_frequency)
        if self.link_clocks:
            m.domains += [ClockDomain(clock.domain, reset_less=True) for clock in self.link_clocks]
            m.submodules.link_clocks = Ecp5Clocks(*source, *self.link_clocks)
        m.submodules.clocks = made = Ecp5Clocks(*source, *clocks)
        return made

    def _connect(self, m: Module, platform, memory: wiring.Component | None = None) -> BareDevice:
        """Put the device behind the link, and at its flash memory if it starts from that."""
        device = super()._connect(m, platform, memory)
        if self._config.flash_offset:
            m.submodules.flash = flash = FlashPhy(request_flash(platform))
            wiring.connect(m, device.flash, flash.pads)
        return device


class SdramTop(_Top):
    """The image lies in the SDRAM."""

    def elaborate(self, platform):
        m = Module()
        self._clock(m, platform, Clock(domain="memory", hz=MEMORY_HZ),
                    Clock(domain="chip", hz=MEMORY_HZ, degrees=CHIP_DEGREES))
        memory = SdrMemory(chip=SDR_32MB, clock_hz=MEMORY_HZ, beat_bytes=self._config.beat_bytes,
                           beats=QUEUE_BEATS, read_cycles=SDR_32MB.cas_latency + PAD_CYCLES)
        self._connect(m, platform, memory)
        m.submodules.phy = phy = SdrPhy(SDR_32MB, platform.request("sdram", dir="-"))
        wiring.connect(m, memory.pads, phy.pads)
        return m


class Ddr3Top(_Top):
    """The image lies in a DDR3 SDRAM.

    Parameters
    ----------
    config, build_id, baud
        As of `SdramTop`.
    chip : Ddr3Chip
        What is behind the resource ``ddr3``.
    clocks : sequence of Clock
        Of the pads, and of their start: the domains ``edge`` and ``init``.
    masks : sequence of int or None
        See `Ddr3Phy`.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, baud: int | None, *, chip: Ddr3Chip,
                 clocks: Sequence[Clock], masks: Sequence[int] | None = None):
        self._chip = chip
        self._clocks = clocks
        self._masks = masks
        super().__init__(config, build_id, baud)

    def elaborate(self, platform):
        m = Module()
        m.domains.memory = ClockDomain(reset_less=True)
        clocks = self._clock(m, platform, *self._clocks)
        phy = Ddr3Phy(self._chip, self._clocks[0].hz // 2, platform.request("ddr3", dir="-"),
                      masks=self._masks)
        m.d.comb += clocks.stop.eq(phy.stop)
        self._connect(m, platform, Ddr3Memory(
            phy, beat_bytes=self._config.beat_bytes, beats=QUEUE_BEATS))
        return m


class BlockRamTop(_Top):
    """The image lies in block RAM."""

    def elaborate(self, platform):
        m = Module()
        self._clock(m, platform)
        self._connect(m, platform)
        return m


def request_flash(platform: LatticeECP5Platform):
    """Return the pads of the flash memory, with no direction."""
    name = next(name for name in FLASH if (name, 0) in platform.resources)
    return platform.request(name, dir="-")


def sdram_target(platform: Callable[[], LatticeECP5Platform], *, clock_hz: int = CLOCK_HZ,
                 flash: FlashChip | None = None, **board) -> Target:
    """Return the target of a board whose resource ``sdram`` is a chip as `SDR_32MB`.

    Parameters
    ----------
    platform : callable
        Makes the platform: a class of `amaranth_boards` that has ``sdram`` and ``uart``.
    clock_hz : int
        Of everything but the memory.
    flash : FlashChip or None
        What is behind the resource of `FLASH`, if the board can start with a model from it.
    board
        What else `Target` wants to know: ``name``, ``link``, ``loader``, ``evidence``.
    """
    config = CONFIG
    if flash is not None:
        config = dataclasses.replace(CONFIG, flash_offset=flash.offset)
    return _target(
        platform, SdramTop, (MEMORY_HZ,), config=clocked(config, clock_hz, BAUD),
        memory="32 MiB SDRAM at 133 MHz",
        chip=SDR_32MB, flash=flash,
        memory_rate=261_000_000,        # simulated: 98 % of two bytes per cycle
        # The other placer scatters the few cells of the memory's clock: one design was routed at
        # 117 MHz, and so at 166. With router2 instead of router1, detours made the longest path.
        nextpnr_options=("--placer", "static"), **board)


def ddr3_target(platform: Callable[[], LatticeECP5Platform], *, chip: Ddr3Chip, memory_hz: int,
                clock_hz: int, config: BuildConfig = DDR3_CONFIG, both_sides: bool = False,
                masks: Sequence[int] | None = None, top: type[Ddr3Top] = Ddr3Top,
                link_rate: int | None = None, **board) -> Target:
    """Return the target of a board with a DDR3 SDRAM behind its resource ``ddr3``.

    Parameters
    ----------
    platform, board
        As of `sdram_target`.
    chip : Ddr3Chip
        What is there.
    memory_hz : int
        Of the memory's controller: half of the chip's, a quarter of the words per second.
    clock_hz : int
        Of everything else.
    config : BuildConfig
        What is built, but for what follows from all this.
    both_sides : bool
        Whether its pads are at both sides of the FPGA.
    masks : sequence of int or None
        See `Ddr3Phy`.
    top : type of Ddr3Top
        The design.
    link_rate : int or None
        Bytes per second of its link, if that is no UART.
    """
    config = dataclasses.replace(
        config, memory_bytes=chip.bytes, memory_registers=sum(WORDS.values()),
        link_rate=link_rate or 0)
    baud = None if link_rate else BAUD
    peak = memory_hz * chip.burst_bytes // CYCLES_PER_BURST
    # The start of the pads may have any clock that is slow: one that the PLL always can make.
    clocks = (Clock(domain="edge", hz=2 * memory_hz, edge=True, both_sides=both_sides),
              Clock(domain="init", hz=memory_hz // 4))
    return _target(
        platform, functools.partial(top, chip=chip, clocks=clocks, masks=masks),
        tuple(clock.hz for clock in clocks),
        config=clocked(config, clock_hz, baud), baud=baud, chip=chip,
        memory=f"{chip.bytes >> 20} MiB DDR3 at {2 * memory_hz / 1e6:.4g} MHz",
        memory_rate=int(DDR3_SHARE * peak), **board)


def ddr3_resource(*, rst: str, clk: tuple[str, str], clk_en: str, cs: str, we: str, ras: str,
                  cas: str, a: str, ba: str, dqs: tuple[str, str], dq: str, dm: str, odt: str,
                  termination: str) -> Resource:
    """Return the resource ``ddr3`` of a board whose own file has none that can be used.

    Parameters
    ----------
    rst, clk_en, cs, we, ras, cas, a, ba, dq, dm, odt : str
        Pins of the signals, the lowest first; those that are low when active included.
    clk, dqs : tuple of str
        Pins of pairs, the positive ones first.
    termination : str
        Ohms at the FPGA's end of the data lines, or ``OFF``.
    """
    return Resource(
        "ddr3", 0,
        Subsignal("rst", PinsN(rst, dir="o")),
        Subsignal("clk", DiffPairs(*clk, dir="o"), Attrs(IO_TYPE="SSTL135D_I")),
        Subsignal("clk_en", Pins(clk_en, dir="o")),
        Subsignal("cs", PinsN(cs, dir="o")),
        Subsignal("we", PinsN(we, dir="o")),
        Subsignal("ras", PinsN(ras, dir="o")),
        Subsignal("cas", PinsN(cas, dir="o")),
        Subsignal("a", Pins(a, dir="o")),
        Subsignal("ba", Pins(ba, dir="o")),
        Subsignal("dqs", DiffPairs(*dqs, dir="io"),
                  Attrs(IO_TYPE="SSTL135D_I", TERMINATION="OFF", DIFFRESISTOR="100")),
        Subsignal("dq", Pins(dq, dir="io"), Attrs(TERMINATION=termination)),
        Subsignal("dm", Pins(dm, dir="o")),
        Subsignal("odt", Pins(odt, dir="o")),
        Attrs(IO_TYPE="SSTL135_I", SLEWRATE="FAST"))


def block_ram_target(platform: Callable[[], LatticeECP5Platform], *, clock_hz: int,
                     memory_bytes: int, **board) -> Target:
    """Return the target of a board that keeps small models in block RAM.

    Parameters
    ----------
    platform, board
        As of `sdram_target`.
    clock_hz : int
        Of everything.
    memory_bytes : int
        Block RAM for the image.
    """
    config = dataclasses.replace(BLOCK_RAM_CONFIG, memory_bytes=memory_bytes)
    return _target(platform, BlockRamTop, (), config=clocked(config, clock_hz, BAUD),
                   memory=f"{memory_bytes >> 10} KiB block RAM",
                   nextpnr_options=("--placer", "static"), **board)


def _target(platform: Callable[[], LatticeECP5Platform], top, memory_clocks: tuple[int, ...], *,
            baud: int | None = BAUD, **board) -> Target:
    pins, part = platform(), PARTS[platform.device]
    source_hz = int(pins.default_clk_frequency)

    def check_clock(clock_hz: int) -> None:
        Dividers.of(source_hz, *memory_clocks, clock_hz)

    return Target(
        fpga=f"{pins.device}-{pins.speed}{pins.package}C", luts=part.luts,
        block_rams=part.block_rams, toolchain=TRELLIS, platform=platform, top=top,
        check_clock=check_clock, baud=baud,
        synth_options=(*_SYNTH, "-run", "begin:map_luts"), after_synth=_MAP_LUTS,
        **board)
