"""A device behind a UART."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.phy.uart import UartReceiver, UartTransmitter
from tritstream_hw.stream.skid import Skid

__all__ = ["SerialDevice"]


class SerialDevice(wiring.Component):
    """A device whose link is a UART.

    Parameters
    ----------
    device : wiring.Component
        With streams of bytes, `rx` and `tx`, as `BareDevice` has them.
    clock_hz : int
        Frequency of the domain ``sync``.
    baud : int
        Rate of the line.

    Members
    -------
    rx, tx : :py:`In(1)`, :py:`Out(1)`
        Lines from and to the host.
    """

    def __init__(self, device: wiring.Component, *, clock_hz: int, baud: int):
        self._device = device
        self._clock_hz = clock_hz
        self._baud = baud
        super().__init__({"rx": In(1), "tx": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.device = device = self._device
        m.submodules.receiver = receiver = UartReceiver(self._clock_hz, self._baud)
        m.submodules.transmitter = transmitter = UartTransmitter(self._clock_hz, self._baud)
        wiring.connect(m, receiver.o, device.rx)
        m.submodules.buffer = buffer = Skid(8)
        wiring.connect(m, device.tx, buffer.i)
        wiring.connect(m, buffer.o, transmitter.i)
        m.d.comb += [receiver.pin.eq(self.rx), self.tx.eq(transmitter.pin)]
        return m
