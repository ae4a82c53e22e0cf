"""ULX3S, an open board with an ECP5 and a USB serial adapter."""

import functools

from amaranth import *
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from tritstream.build import BuildConfig
from tritstream_hw.boards.clocks import Dividers, Ecp5Clock
from tritstream_hw.boards.serial_device import SerialDevice
from tritstream_hw.boards.target import Target, clocked

__all__ = ["ULX3S_85F", "Ulx3sTop"]

BAUD = 3_000_000
SOURCE_HZ = 25_000_000


class Ulx3sTop(Elaboratable):
    """Clock, pads and :class:`SerialDevice`.

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

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain(reset_less=True)
        m.submodules.oscillator = oscillator = io.Buffer("i", platform.request("clk25", dir="-"))
        m.submodules.clock = Ecp5Clock(oscillator.i, SOURCE_HZ, self._config.clock_hz)
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.device = device = SerialDevice(self._config, self._build_id, self._baud)
        m.d.comb += [device.rx.eq(rx.i), tx.o.eq(device.tx)]
        return m


ULX3S_85F = Target(
    name="ulx3s_85f",
    fpga="LFE5U-85F-6BG381C",
    luts=83_640,
    block_rams=208,
    memory="32 KiB block RAM",
    link="UART 3 Mbaud",
    toolchain="Trellis (YoWASP)",
    platform=ULX3S_85F_Platform,
    top=Ulx3sTop,
    check_clock=functools.partial(Dividers.of, SOURCE_HZ),
    baud=BAUD,
    # The UART brings 0.3 MB/s, so P decides only the speed of a model in block RAM. With P = 4 and
    # V = 2 the design is a quarter smaller than with 16 and 8. Block RAM is spread over the whole
    # part, and what is far away is slow: with 128 KiB for the image and 24 Ki words of state the
    # same design was routed at 70 MHz, with these at 80.
    config=clocked(BuildConfig(beat_bytes=4, vector_width=2, memory_bytes=32 * 1024,
                               max_state=8 * 1024), 80_000_000, BAUD),
    nextpnr_options=(),             # router1: with router2, detours made the longest path
    synth_options=("-nowidelut",),  # 16 instead of 49 LUTs for a trit decoder
    evidence="routed",
)
