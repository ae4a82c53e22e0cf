"""Tops of boards whose link is their own USB port, see `tritstream_hw.phy.usb`."""

import types

from amaranth import *
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from tritstream_hw.boards.clocks import Clock
from tritstream_hw.boards.device import BareDevice
from tritstream_hw.phy.usb.serial import FULL_SPEED_PACKET, HIGH_SPEED_PACKET, UsbSerial

__all__ = ["FULL_SPEED_RATE", "HIGH_SPEED_RATE", "ClockedHighSpeedUsb", "FullSpeedUsb",
           "HighSpeedUsb"]

FULL_SPEED_RATE = 1_000_000
"""Bytes per second: a host fits up to 19 packets of 64 bytes into a millisecond, and few do."""

HIGH_SPEED_RATE = 4_000_000
"""Bytes per second: the 4 KiB that the link lets a host send ahead, each millisecond."""

ULPI_HZ = 60_000_000
RESET_CYCLES = 256      # of the system clock: the PHY wants a microsecond


class FullSpeedUsb:
    """The part of a top with the resource ``usb``: two pads, and a resistor that pulls one up.

    LUNA samples the line four times per bit, in the domain ``usb_io``; it wants the edges of the
    domain ``usb`` where every fourth of that has its own.
    """

    product: str
    link_clocks = Clock(domain="usb_io", hz=48_000_000), Clock(domain="usb", hz=12_000_000)

    def _attach(self, m: Module, platform, device: BareDevice):
        """Put the device behind the port."""
        ports = platform.request("usb", dir="-")
        pins = {"d_p": io.Buffer("io", ports.d_p), "d_n": io.Buffer("io", ports.d_n),
                "pullup": io.Buffer("o", ports.pullup)}
        _attach(m, device, pins, self.product, FULL_SPEED_PACKET)


class HighSpeedUsb:
    """The part of a top with the resource ``ulpi``: a PHY that makes the domain ``usb``'s clock.

    What a bitstream before has set the PHY to is unknown, so it is reset; meanwhile its clock
    stands still.
    """

    product: str

    def _attach(self, m: Module, platform, device: BareDevice):
        """Put the device behind the PHY."""
        ports = platform.request("ulpi", dir="-")
        pins = {name: io.Buffer(direction, getattr(ports, name)) for name, direction in {
            "data": "io", "dir": "i", "nxt": "i", "stp": "o"}.items()}
        m.domains.usb = usb = ClockDomain()
        self._share_clock(m, platform, ports.clk, usb)

        supplied = self._supplied(m, platform)
        waits, waiting = Signal(range(RESET_CYCLES), init=RESET_CYCLES - 1), Signal(init=1)
        m.d.sync += [waits.eq(waits - (waiting & supplied)), waiting.eq(waits != 0)]
        m.submodules.domain_reset = ResetSynchronizer(waiting, domain="usb")
        m.submodules.reset = reset = io.Buffer("o", ports.rst)
        m.d.comb += reset.o.eq(waiting)
        # The PHY's clock may need this pin, so it is not LUNA's, which only waits a while for it.
        _attach(m, device, pins, self.product, HIGH_SPEED_PACKET,
                rst=types.SimpleNamespace(o=Signal()))

    def _share_clock(self, m: Module, platform, port, usb: ClockDomain):
        """Have the PHY and the domain ``usb`` run at one clock: the PHY's."""
        m.submodules.usb_clk = clock = io.Buffer("i", port)
        m.d.comb += usb.clk.eq(clock.i)
        platform.add_clock_constraint(port.io, ULPI_HZ)

    def _supplied(self, m: Module, platform) -> Value:
        """Return whether the PHY's pads have their voltage, after having seen to that."""
        return C(1)


class ClockedHighSpeedUsb(HighSpeedUsb):
    """Likewise, of a PHY to which the board gives no clock: it gets the FPGA's.

    Both ways have more than half of a period: it answers within 6 ns, and wants what it is told
    3 ns ahead of the next edge. What leaves a flip-flop of ``usb`` is later than this clock, whose
    flip-flop is at the pad.
    """

    link_clocks = (Clock(domain="phy", hz=ULPI_HZ),)

    def _share_clock(self, m: Module, platform, port, usb: ClockDomain):
        m.d.comb += usb.clk.eq(ClockSignal("phy"))
        m.submodules.usb_clk = clock = io.DDRBuffer("o", port, o_domain="phy")
        m.d.comb += [clock.o[0].eq(1), clock.o[1].eq(0)]


def _attach(m: Module, device: BareDevice, pins: dict[str, io.Buffer], product: str,
            packet_bytes: int, **others):
    for name, buffer in pins.items():
        m.submodules[f"usb_{name}"] = buffer
    m.submodules.device = device
    m.submodules.usb = usb = UsbSerial(
        types.SimpleNamespace(**pins, **others), product=product, packet_bytes=packet_bytes)
    wiring.connect(m, usb.o, device.rx)
    wiring.connect(m, device.tx, usb.i)
