"""What the tops of all boards have in common, whose link is a UART unless they say otherwise."""

from amaranth import *
from amaranth.lib import io, wiring

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.boards.device import BareDevice
from tritstream_hw.boards.serial_device import SerialDevice

__all__ = ["UartTop"]


class UartTop(Elaboratable):
    """A device behind the board's UART; whoever derives from it adds clocks, and a memory.

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

    def _connect(self, m: Module, platform, memory: wiring.Component | None = None
                 ) -> BareDevice:
        """Put the device, with a memory of its own or with `memory`, behind the board's link."""
        device = BareDevice(self._config, self._build_id, Accelerator(self._config), memory)
        self._attach(m, platform, device)
        return device

    def _attach(self, m: Module, platform, device: BareDevice):
        """Put the device behind the UART."""
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.serial = serial = SerialDevice(
            device, clock_hz=self._config.clock_hz, baud=self._baud)
        m.d.comb += [serial.rx.eq(rx.i), tx.o.eq(serial.tx)]
