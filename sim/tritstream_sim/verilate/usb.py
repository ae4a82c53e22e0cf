"""USB ports in Verilator, and what is between them and a host in another process."""

import pathlib
import types

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.link import Link
from tritstream_hw.phy.usb.serial import FULL_SPEED_PACKET, HIGH_SPEED_PACKET, UsbSerial
from tritstream_sim.verilate.compile import compile_model
from tritstream_sim.verilate.export import export

__all__ = ["UsbPorts", "build_usb"]

SOURCE = pathlib.Path(__file__).with_name("usb.cpp")
DOMAINS = "usb_io", "usb", "ulpi"
ACK_CYCLES, RETRY_CYCLES = 2_500, 200_000   # a frame takes some 500 us at full speed


class UsbPorts(wiring.Component):
    """A `UsbSerial` at full speed, at its pads, and one at high speed, at its PHY.

    Clocks come from outside, as of a board: those of the former's domains, and the PHY's.

    Members
    -------
    high : :py:`In(1)`
        Whether the latter is in use.
    linked : :py:`In(1)`
        Behind it is a `Link` that sends back what it hears; else its streams are `o` and `i`.
    """

    def __init__(self):
        members = {"full_dp_i": In(1), "full_dn_i": In(1), "full_dp_o": Out(1),
                   "full_dn_o": Out(1), "full_oe": Out(1), "full_pullup": Out(1),
                   "ulpi_data_i": In(8), "ulpi_data_o": Out(8), "ulpi_oe": Out(1),
                   "ulpi_dir": In(1), "ulpi_nxt": In(1), "ulpi_stp": Out(1)}
        members |= {f"{domain}_clk": In(1) for domain in DOMAINS}
        members |= {"high": In(1), "linked": In(1),
                    "o": Out(stream.Signature(8)), "i": In(stream.Signature(8))}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        for domain in DOMAINS:
            m.domains += ClockDomain(domain)
            m.d.comb += ClockSignal(domain).eq(getattr(self, f"{domain}_clk"))
        pads = types.SimpleNamespace(
            d_p=types.SimpleNamespace(i=self.full_dp_i, o=self.full_dp_o, oe=self.full_oe),
            d_n=types.SimpleNamespace(i=self.full_dn_i, o=self.full_dn_o, oe=Signal()),
            pullup=types.SimpleNamespace(o=self.full_pullup))
        phy = types.SimpleNamespace(
            data=types.SimpleNamespace(i=self.ulpi_data_i, o=self.ulpi_data_o, oe=self.ulpi_oe),
            dir=types.SimpleNamespace(i=self.ulpi_dir), nxt=types.SimpleNamespace(i=self.ulpi_nxt),
            stp=types.SimpleNamespace(o=self.ulpi_stp), rst=types.SimpleNamespace(o=Signal()))
        full = UsbSerial(pads, product="full", packet_bytes=FULL_SPEED_PACKET)
        high = UsbSerial(phy, product="high", packet_bytes=HIGH_SPEED_PACKET)
        m.submodules.full = full
        m.submodules.high = DomainRenamer({"usb": "ulpi"})(high)
        m.submodules.link = link = Link(ack_cycles=ACK_CYCLES, retry_cycles=RETRY_CYCLES)
        wiring.connect(m, link.o, link.i)
        for used, serial in ((~self.high, full), (self.high, high)):
            for linked, o, i in ((~self.linked, self.o, self.i), (self.linked, link.rx, link.tx)):
                with m.If(used & linked):
                    m.d.comb += [pass_on(serial.o, o), pass_on(i, serial.i)]
        return m


def pass_on(source, sink):
    """Return what connects two streams where there is a choice."""
    return [sink.payload.eq(source.payload), sink.valid.eq(source.valid),
            source.ready.eq(sink.ready)]


def build_usb(cache: pathlib.Path) -> pathlib.Path:
    """Compile `UsbPorts` for a `tritstream_sim.agents.usb_line.Line`; return the executable."""
    return compile_model(export(UsbPorts(), "usb_ports"), "usb_ports", cache, sources=[SOURCE])
