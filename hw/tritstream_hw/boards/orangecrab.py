"""OrangeCrab r0.2, a small open board with an ECP5 and a DDR3 SDRAM."""

from amaranth.lib import io
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_85FPlatform

from tritstream_hw.boards.ecp5 import Ddr3Top, ddr3_resource, ddr3_target
from tritstream_hw.boards.usb_top import FULL_SPEED_RATE, FullSpeedUsb
from tritstream_hw.memory.ddr3.chip import DDR3_128MB

__all__ = ["ORANGECRAB_85F"]

# Of the board's own file, the bank's pins are wrong, and pairs of the strobes. A pad of the mask is
# in the group of its byte lane here, as the PHY wants it: the board has crossed these two.
DDR3 = ddr3_resource(
    rst="L18", clk=("J18", "K18"), clk_en="D18", cs="A12", we="B12", ras="C12", cas="D13",
    a="C4 D2 D3 A3 A4 D4 C3 B2 B1 D1 A7 C2 B6 C1 A2 C7", ba="D6 B7 A6",
    dqs=("B15 G18", "A16 H17"), dm="D16 G16", odt="C13", termination="OFF",
    dq="C17 D15 B17 C16 A15 B13 A17 A13 F17 F16 G15 F15 J16 C18 H16 F18")
MASKS = (1, 0)


class OrangeCrabPlatform(OrangeCrabR0_2_85FPlatform):
    """The board, without a loader's file."""

    resources = [DDR3, *(resource for resource in OrangeCrabR0_2_85FPlatform.resources
                         if resource.name != DDR3.name)]
    required_tools = LatticeECP5Platform.required_tools
    command_templates = LatticeECP5Platform.command_templates


class OrangeCrabTop(FullSpeedUsb, Ddr3Top):
    """The design, beside pins that help to supply those of the memory."""

    product = "tritstream on OrangeCrab"

    def elaborate(self, platform):
        m = super().elaborate(platform)
        power = platform.request("ddr3_pseudo_power", dir="-")
        # As they are inverted or not by the board's file, 0 is the level that each has to have.
        m.submodules.vcc = io.Buffer("o", power.vcc_virtual)
        m.submodules.ground = io.Buffer("o", power.gnd_virtual)
        return m


# The other placer's placement was estimated at 73 MHz, with a UART. With this one the system
# reached 92.2 MHz, and the memory's controller 93.9.
ORANGECRAB_85F = ddr3_target(
    OrangeCrabPlatform, name="orangecrab_85f", link="USB, full speed",
    link_rate=FULL_SPEED_RATE, loader="openFPGALoader -b orangeCrab", evidence="routed",
    chip=DDR3_128MB, memory_hz=72_000_000, clock_hz=82_285_714, both_sides=True, masks=MASKS,
    top=OrangeCrabTop, nextpnr_options=("--placer", "static"))
