"""ButterStick r1.0 with the 85F: an open board with an ECP5-5G, DDR3 SDRAMs and a USB PHY."""

from amaranth import *
from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from amaranth.lib import io
from amaranth_boards.butterstick import ButterStickPlatform as PublishedPlatform

from tritstream_hw.boards.ecp5 import Ddr3Top, ddr3_resource, ddr3_target
from tritstream_hw.boards.usb_top import HIGH_SPEED_RATE, ClockedHighSpeedUsb
from tritstream_hw.memory.ddr3.chip import DDR3_128MB
from tritstream_hw.phy.supply import Supply

__all__ = ["BUTTERSTICK", "SHARES", "VOLTS", "ButterStickUsb"]

# Two chips share all wires but these of the other one, which is never selected. The board's own
# file has them as one resource.
DDR3 = ddr3_resource(
    rst="E17", clk=("C20", "D19"), clk_en="F18", cs="J20", we="G19", ras="K18", cas="J17",
    a="G16 E19 E20 F16 F19 E16 F17 L20 M20 E18 G18 D18 H18 C18 D17 G20", ba="H16 F20 H20",
    dqs=("T19 N16", "R18 M17"), dm="U20 L18", odt="K20", termination="75",
    dq="U19 T18 U18 R20 P18 P19 P20 N20 L19 L17 L16 R16 N18 R17 N17 P17")
OTHER = Resource(
    "other_ddr3", 0,
    Subsignal("clk_en", Pins("J18", dir="o")),
    Subsignal("cs", PinsN("J16", dir="o")),
    Subsignal("odt", Pins("H17", dir="o")),
    Attrs(IO_TYPE="SSTL135_I"))

# The board's own file has levels of 2.5 V where 1.8 V are asked for.
ULPI = Resource(
    "ulpi", 0,
    Subsignal("data", Pins("B9 C6 A7 E9 A8 D9 C10 C7", dir="io")),
    Subsignal("clk", Pins("B6", dir="o")),
    Subsignal("dir", Pins("A6", dir="i")),
    Subsignal("nxt", Pins("B8", dir="i")),
    Subsignal("stp", Pins("C8", dir="o")),
    Subsignal("rst", PinsN("C9", dir="o")),
    Attrs(IO_TYPE="LVCMOS18", SLEWRATE="FAST"))

# The supply of each SYZYGY port, the last of which is that of the PHY, too, and of its pads. The
# others are in no use here, and as low as such a port may be.
VOLTS = 1.2, 1.2, 1.8
# Schematic of r1.0a: TLV62569 regulates to FEEDBACK at a divider of UPPER and LOWER, to whose
# middle two resistors lead with a capacitor of 0.1 uF between them.
FEEDBACK, HIGH = 0.6, 3.3           # volts
UPPER, LOWER, FILTER = 53_600, 13_000, 2 * 34_000
SETTLE_SECONDS = 0.05               # 15 of the filter's time constants, at least
RISE_SECONDS = 0.01                 # a regulator starts within 1 ms


def _share(volts: float) -> float:
    """Return for how much of the time a pin is high for a regulator to give `volts`."""
    injected = FEEDBACK / LOWER - (volts - FEEDBACK) / UPPER
    return (FEEDBACK + FILTER * injected) / HIGH


SHARES = tuple(map(_share, VOLTS))
"""For how much of the time each pin is high."""


class ButterStickPlatform(PublishedPlatform):
    """The board, with a chip of its memory for itself."""

    resources = [DDR3, OTHER, ULPI, *(resource for resource in PublishedPlatform.resources
                                      if resource.name not in (DDR3.name, "usb"))]


class ButterStickUsb(ClockedHighSpeedUsb):
    """The part of a top with the PHY, and with the supply of its pads."""

    product = "tritstream on ButterStick"

    def _supplied(self, m: Module, platform) -> Value:
        hz = self._config.clock_hz
        m.submodules.supply = supply = Supply(
            SHARES, settle_cycles=int(SETTLE_SECONDS * hz), rise_cycles=int(RISE_SECONDS * hz))
        pins = platform.request("vccio_ctrl", dir="-")
        m.submodules.supply_pulses = pulses = io.Buffer("o", pins.pdm)
        m.submodules.supply_on = on = io.Buffer("o", pins.en)
        m.d.comb += [pulses.o.eq(supply.pulses), on.o.eq(supply.on)]
        return supply.good


class ButterStickTop(ButterStickUsb, Ddr3Top):
    """The design, beside pins that leave the other chip alone."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        other = platform.request("other_ddr3", dir="-")
        for name in ("clk_en", "cs", "odt"):        # 0, or inverted by the resource
            m.submodules[f"other_{name}"] = io.Buffer("o", getattr(other, name))
        return m


# The system reached 90.9 MHz, the memory's controller 98.2, and the domain of the PHY 97.9. The
# loader's numbers are the bootloader's: openFPGALoader has no name for the board.
BUTTERSTICK = ddr3_target(
    ButterStickPlatform, name="butterstick", link="USB, high speed", link_rate=HIGH_SPEED_RATE,
    loader="openFPGALoader --dfu --vid 0x1209 --pid 0x5af1 --altsetting 0", evidence="routed",
    chip=DDR3_128MB, memory_hz=82_500_000, clock_hz=82_500_000, top=ButterStickTop,
    nextpnr_options=("--placer", "static"))
