"""ULX3S, an open board with an ECP5, an SDR SDRAM and a USB serial adapter."""

import functools

from amaranth import *
from amaranth.lib import io, wiring
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.boards.clocks import Clock, Dividers, Ecp5Clocks
from tritstream_hw.boards.on_chip import OnChipDevice
from tritstream_hw.boards.sdr_device import SdrDevice
from tritstream_hw.boards.serial_device import SerialDevice
from tritstream_hw.boards.target import Target, clocked
from tritstream_hw.memory.sdr.chip import SDR_32MB
from tritstream_hw.phy.sdr import SdrPhy

__all__ = ["ULX3S_85F", "ULX3S_85F_BRAM", "Ulx3sBramTop", "Ulx3sTop"]

BAUD = 3_000_000
SOURCE_HZ = 25_000_000
MEMORY_HZ = 133_333_333     # 25 MHz / 3 x 16
# The chip sees commands half a period after they have left their flip-flops. Its words are there
# 5.4 ns after its clock, and until 2.5 ns after the next: from 9.15 to 13.75 ns after an edge of
# the FPGA's, and the pads take 1.3 to 5.8 ns both ways before that is early or late for the next
# but one, at 15 ns.
CHIP_DEGREES = 180


def _oscillator(m: Module, platform) -> Value:
    """Return the clock of the board's oscillator."""
    m.submodules.oscillator = oscillator = io.Buffer("i", platform.request("clk25", dir="-"))
    return oscillator.i


def _serial(m: Module, platform, device, config: BuildConfig, baud: int):
    """Put a device behind the board's UART."""
    uart = platform.request("uart", dir="-")
    m.submodules.rx = rx = io.Buffer("i", uart.rx)
    m.submodules.tx = tx = io.Buffer("o", uart.tx)
    m.submodules.serial = serial = SerialDevice(device, clock_hz=config.clock_hz, baud=baud)
    m.d.comb += [serial.rx.eq(rx.i), tx.o.eq(serial.tx)]


class _Top(Elaboratable):
    """What is built for a board.

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


class Ulx3sTop(_Top):
    """Clocks, pads, and a device whose image lies in the SDRAM."""

    def elaborate(self, platform):
        m = Module()
        for domain in ("sync", "memory", "chip"):
            m.domains += ClockDomain(domain, reset_less=True)
        m.submodules.clocks = Ecp5Clocks(
            _oscillator(m, platform), SOURCE_HZ,
            Clock(domain="memory", hz=MEMORY_HZ),
            Clock(domain="chip", hz=MEMORY_HZ, degrees=CHIP_DEGREES),
            Clock(domain="sync", hz=self._config.clock_hz))
        device = SdrDevice(self._config, self._build_id, chip=SDR_32MB, memory_hz=MEMORY_HZ)
        _serial(m, platform, device, self._config, self._baud)
        m.submodules.phy = phy = SdrPhy(SDR_32MB, platform.request("sdram", dir="-"))
        wiring.connect(m, device.pads, phy.pads)
        return m


class Ulx3sBramTop(_Top):
    """Clock, pads, and a device whose image lies in block RAM."""

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.clocks = Ecp5Clocks(_oscillator(m, platform), SOURCE_HZ,
                                         Clock(domain="sync", hz=self._config.clock_hz))
        device = OnChipDevice(self._config, self._build_id, Accelerator(self._config))
        _serial(m, platform, device, self._config, self._baud)
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
    platform=ULX3S_85F_Platform,
    top=Ulx3sTop,
    check_clock=functools.partial(Dividers.of, SOURCE_HZ, MEMORY_HZ),
    baud=BAUD,
    # P = 4 takes 333 MB/s, the memory brings 261.
    config=clocked(BuildConfig(beat_bytes=4, vector_width=2, memory_bytes=SDR_32MB.bytes,
                               max_state=8 * 1024), 83_333_333, BAUD),
    nextpnr_options=(),             # router1: with router2, detours made the longest path
    synth_options=("-nowidelut",),  # 16 instead of 49 LUTs for a trit decoder
    evidence="simulated",       # routed at 125 MHz of the memory's 133 so far
)

ULX3S_85F_BRAM = Target(
    name="ulx3s_85f_bram",
    fpga="LFE5U-85F-6BG381C",
    luts=83_640,
    block_rams=208,
    memory="32 KiB block RAM",
    link="UART 3 Mbaud",
    toolchain="Trellis (YoWASP)",
    platform=ULX3S_85F_Platform,
    top=Ulx3sBramTop,
    check_clock=functools.partial(Dividers.of, SOURCE_HZ),
    baud=BAUD,
    # The UART brings 0.3 MB/s, so P decides only the speed of a model in block RAM. With P = 4 and
    # V = 2 the design is a quarter smaller than with 16 and 8. Block RAM is spread over the whole
    # part, and what is far away is slow: with 128 KiB for the image and 24 Ki words of state the
    # same design was routed at 70 MHz, with these at 80.
    config=clocked(BuildConfig(beat_bytes=4, vector_width=2, memory_bytes=32 * 1024,
                               max_state=8 * 1024), 80_000_000, BAUD),
    nextpnr_options=(),
    synth_options=("-nowidelut",),
    evidence="routed",
)
