"""Everything below the pins of a board whose link is a UART and whose memory is block RAM."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.boards.on_chip import OnChipDevice
from tritstream_hw.phy.uart import UartReceiver, UartTransmitter
from tritstream_hw.stream.skid import Skid

__all__ = ["SerialDevice"]


class SerialDevice(wiring.Component):
    """`OnChipDevice` with the accelerator, behind a UART.

    Parameters
    ----------
    config : :class:`BuildConfig`
        What to build; `clock_hz` has to be the frequency of the domain ``sync``.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    baud : int
        Rate of the line.

    Members
    -------
    rx, tx : :py:`In(1)`, :py:`Out(1)`
        Lines from and to the host.
    """

    def __init__(self, config: BuildConfig, build_id: bytes, baud: int):
        self._config = config
        self._build_id = build_id
        self._baud = baud
        super().__init__({"rx": In(1), "tx": Out(1)})

    def elaborate(self, platform):
        m = Module()
        config = self._config
        m.submodules.device = device = OnChipDevice(config, self._build_id, Accelerator(config))
        m.submodules.receiver = receiver = UartReceiver(config.clock_hz, self._baud)
        m.submodules.transmitter = transmitter = UartTransmitter(config.clock_hz, self._baud)
        wiring.connect(m, receiver.o, device.rx)
        m.submodules.buffer = buffer = Skid(8)
        wiring.connect(m, device.tx, buffer.i)
        wiring.connect(m, buffer.o, transmitter.i)
        m.d.comb += [receiver.pin.eq(self.rx), self.tx.eq(transmitter.pin)]
        return m
