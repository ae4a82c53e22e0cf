"""ULX3S, an open board with an ECP5, an SDR SDRAM and a USB serial adapter."""

import dataclasses
import functools

from amaranth import *
from amaranth.lib import io, wiring
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.boards.clocks import Clock, Dividers, Ecp5Clocks
from tritstream_hw.boards.device import BareDevice
from tritstream_hw.boards.serial_device import SerialDevice
from tritstream_hw.boards.target import Target, clocked
from tritstream_hw.memory.sdr.chip import SDR_32MB
from tritstream_hw.memory.sdr.memory import SdrMemory
from tritstream_hw.phy.sdr import PAD_CYCLES, SdrPhy

__all__ = ["ULX3S_85F", "ULX3S_85F_BRAM", "Ulx3sBramTop", "Ulx3sTop"]

BAUD = 3_000_000
SOURCE_HZ = 25_000_000
MEMORY_HZ = 133_333_333     # 25 MHz / 3 x 16
# The chip sees commands half a period after they have left their flip-flops. Its words are there
# 5.4 ns after its clock, and until 2.5 ns after the next: from 9.15 to 13.75 ns after an edge of
# the FPGA's, and the pads take 1.3 to 5.8 ns both ways before that is early or late for the next
# but one, at 15 ns.
CHIP_DEGREES = 180
QUEUE_BEATS = 512           # one block RAM, at P = 4: longer than the core is idle between stages


class _Top(Elaboratable):
    """Clocks, pads, and a device behind the board's UART.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    baud : int
        Rate of the UART.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, baud: int):
        self._config = config
        self._build_id = build_id
        self._baud = baud

    def _clock(self, m: Module, platform, *memory_clocks: Clock):
        """Make the clocks of all domains from that of the board's oscillator."""
        clocks = [*memory_clocks, Clock(domain="sync", hz=self._config.clock_hz)]
        m.domains += [ClockDomain(clock.domain, reset_less=True) for clock in clocks]
        m.submodules.oscillator = oscillator = io.Buffer("i", platform.request("clk25", dir="-"))
        m.submodules.clocks = Ecp5Clocks(oscillator.i, SOURCE_HZ, *clocks)

    def _connect(self, m: Module, platform, memory: wiring.Component | None = None):
        """Put the device, with a memory of its own or with `memory`, behind the UART."""
        config = self._config
        device = BareDevice(config, self._build_id, Accelerator(config), memory)
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.serial = serial = SerialDevice(device, clock_hz=config.clock_hz,
                                                    baud=self._baud)
        m.d.comb += [serial.rx.eq(rx.i), tx.o.eq(serial.tx)]


class Ulx3sTop(_Top):
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


class Ulx3sBramTop(_Top):
    """The image lies in block RAM."""

    def elaborate(self, platform):
        m = Module()
        self._clock(m, platform)
        self._connect(m, platform)
        return m


ULX3S_85F = Target(
    name="ulx3s_85f",
    fpga="LFE5U-85F-6BG381C",
    luts=83_640,
    block_rams=208,
    memory="32 MiB SDRAM at 133 MHz",
    link="UART 3 Mbaud",
    chip=SDR_32MB,
    memory_rate=261_000_000,        # simulated: 98 % of two bytes per cycle
    toolchain="Trellis (YoWASP)",
    loader="openFPGALoader -b ulx3s",
    platform=ULX3S_85F_Platform,
    top=Ulx3sTop,
    check_clock=functools.partial(Dividers.of, SOURCE_HZ, MEMORY_HZ),
    baud=BAUD,
    # P = 4 takes 333 MB/s, the memory brings 261.
    config=clocked(BuildConfig(beat_bytes=4, vector_width=2, memory_bytes=SDR_32MB.bytes,
                               max_state=8 * 1024), 83_333_333, BAUD),
    # The other placer scatters the few cells of the memory's clock: one design was routed at 117
    # MHz, and so at 166. With router2 instead of router1, detours made the longest path.
    nextpnr_options=("--placer", "static"),
    synth_options=("-nowidelut",),  # 16 instead of 49 LUTs for a trit decoder
    evidence="routed",
)

ULX3S_85F_BRAM = dataclasses.replace(
    ULX3S_85F,
    name="ulx3s_85f_bram",
    memory="32 KiB block RAM",
    chip=None,
    memory_rate=None,
    top=Ulx3sBramTop,
    check_clock=functools.partial(Dividers.of, SOURCE_HZ),
    # The UART brings 0.3 MB/s, so P decides only the speed of a model in block RAM. With P = 4 and
    # V = 2 the design is a quarter smaller than with 16 and 8. Block RAM is spread over the whole
    # part, and what is far away is slow: with 128 KiB for the image and 24 Ki words of state the
    # same design was routed at 70 MHz, with these at 80.
    config=clocked(dataclasses.replace(ULX3S_85F.config, memory_bytes=32 * 1024), 80_000_000, BAUD),
    nextpnr_options=(),
)
