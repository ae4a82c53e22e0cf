"""Writes the Verilog of a DDR3 controller, made of LiteDRAM's parts, to its standard output.

Its standard input holds what to write, as JSON: the arguments of `Core`, which
`tritstream_hw.memory.ddr3.core` gives.
"""

import json
import re
import sys

from litedram.common import PhySettings
from litedram.core import LiteDRAMCore
from litedram.core.controller import ControllerSettings
from litedram.modules import DDR3Module
from litedram.phy.ecp5ddrphy import ECP5DDRPHY, ECP5DDRPHYInit
from litedram.phy.model import SDRAMPHYModel
from litex.build.lattice.common import lattice_ecp5_special_overrides
from litex.gen.fhdl import verilog
from litex.soc.interconnect import csr_bus
from migen import Cat, ClockDomain, ClockDomainsRenamer, Instance, Module, Record, Signal

from tritstream_hw.memory.ddr3.generator.lanes import Lanes

PHASES = 2                  # cycles of the chip in one of the controller
ADDRESS_BITS = 10           # of the registers


class Core(Module):
    """Controller and PHY of a chip, or of LiteDRAM's model of one, and every port of them.

    The reset is that of the PHY, whose cells begin together; or, with the model, of all. A model
    with pads stands in a board's design: it has the same ports and is started in the same way, but
    nothing passes its pads, and a run says what it is like, see `ddr3.v`.
    """

    def __init__(self, *, name: str, chip: dict, clock_hz: int, commands: int, postponed: int,
                 registers: list[str], simulated: bool = False, command_delay: int = 0,
                 addresses: int | None = None, without: list[str] = (),
                 masks: list[int] | None = None):
        self.ports = []
        clock, reset = self._port("clk"), self._port("rst")
        self._add_clock("sys", clock, reset if simulated else None)
        module = _module(chip)(clock_hz, f"1:{PHASES}")
        module.timing_settings.tREFI = int(chip["refi"] * clock_hz // 1e9)      # not more seldom
        if simulated:
            self.submodules.model = model = SDRAMPHYModel(
                module, _settings(chip), clk_freq=clock_hz)
            self.submodules.phy = phy = Lanes(model, chip["word_bits"] // 8)
            if addresses is None:
                self._show_commands(model.dfi.phases)
                self.comb += phy.windows.eq(self._port("windows", len(phy.windows)))
            else:
                self._pads(chip, addresses, without)
                self._add_start(ECP5DDRPHYInit())
                self.specials += Instance("ddr3", p_LANES=chip["word_bits"] // 8,
                                          o_windows=phy.windows, o_stuck=phy.stuck)
        else:
            self._add_clock("phy", clock, reset)
            self.submodules.phy = phy = ClockDomainsRenamer("phy")(ECP5DDRPHY(
                self._pads(chip, addresses, without), clock_hz, cl=chip["cas_latency"],
                cwl=chip["write_latency"], cmd_delay=command_delay,
                dm_remapping=dict(enumerate(masks or ()))))
            self._add_start(phy.init)
        self.submodules.sdram = LiteDRAMCore(
            phy, module.geom_settings, module.timing_settings, clock_hz,
            controller_settings=ControllerSettings(
                cmd_buffer_depth=commands, refresh_postponing=postponed))
        self._add_user(self.sdram.crossbar.get_port())
        found = self.sdram.get_csrs() + phy.get_csrs()
        self._add_registers(sorted(found, key=lambda csr: registers.index(csr.name)))

    def _port(self, name: str, width: int = 1) -> Signal:
        signal = Signal(width, name_override=name)
        self.ports.append(signal)
        return signal

    def _add_clock(self, domain: str, clock: Signal, reset: Signal | None = None):
        made = ClockDomain(domain, reset_less=reset is None)
        self.clock_domains += made
        made.clk = clock
        if reset is not None:
            made.rst = reset

    def _add_start(self, init: ECP5DDRPHYInit):
        self.submodules.init = init
        self._add_clock("sys2x", self._port("fast_clk"))
        self._add_clock("init", self._port("init_clk"), self._port("init_rst"))
        self.comb += [self._port("stop").eq(init.stop), self._port("restart").eq(init.reset)]

    def _pads(self, chip: dict, addresses: int, without: list[str]) -> Record:
        lanes = chip["word_bits"] // 8
        widths = {"clk_p": 1, "cke": 1, "odt": 1, "reset_n": 1, "cs_n": 1, "ras_n": 1, "cas_n": 1,
                  "we_n": 1, "ba": chip["bank_bits"], "a": addresses, "dm": lanes,
                  "dqs_p": lanes, "dq": chip["word_bits"]}
        for pad in without:
            del widths[pad]
        pads = Record(list(widths.items()))
        for pad in widths:
            setattr(pads, pad, self._port(f"pad_{pad}", widths[pad]))
        return pads

    def _show_commands(self, phases):
        pins = Cat(*(Cat(phase.we_n, phase.cas_n, phase.ras_n, phase.cs_n, phase.bank,
                         phase.address) for phase in phases))
        self.comb += self._port("commands", len(pins)).eq(pins)

    def _add_user(self, user):
        """A burst for each command; its data come, and are taken, at times of their own."""
        size = user.data_width
        self.comb += [
            user.cmd.valid.eq(self._port("command_valid")),
            self._port("command_ready").eq(user.cmd.ready),
            user.cmd.we.eq(self._port("command_write")),
            user.cmd.addr.eq(self._port("command_burst", user.address_width)),
            user.wdata.valid.eq(1),
            self._port("write_taken").eq(user.wdata.ready),
            user.wdata.data.eq(self._port("write_data", size)),
            user.wdata.we.eq(self._port("write_bytes", size // 8)),
            user.rdata.ready.eq(1),
            self._port("read_valid").eq(user.rdata.valid),
            self._port("read_data", size).eq(user.rdata.data),
        ]

    def _add_registers(self, registers: list):
        bus = csr_bus.Interface(data_width=32, address_width=ADDRESS_BITS)
        self.submodules.bank = csr_bus.CSRBank(registers, bus=bus, ordering="little")
        self.comb += [
            bus.adr.eq(self._port("register_address", ADDRESS_BITS)),
            bus.re.eq(self._port("register_read")),
            bus.we.eq(self._port("register_write")),
            bus.dat_w.eq(self._port("register_i", 32)),
            self._port("register_o", 32).eq(bus.dat_r),
        ]


def _module(chip: dict) -> type[DDR3Module]:
    """Return a chip as LiteDRAM knows them: times are nanoseconds, or cycles and those."""
    return type("Chip", (DDR3Module,), {
        "nbanks": 1 << chip["bank_bits"], "nrows": 1 << chip["row_bits"],
        "ncols": 1 << chip["column_bits"],
        "tRP": chip["rp"], "tRCD": chip["rcd"], "tRAS": chip["ras"], "tWR": chip["wr"],
        "tREFI": chip["refi"], "tRFC": (None, chip["rfc"]), "tFAW": (None, chip["faw"]),
        "tRRD": tuple(chip["rrd"]), "tWTR": tuple(chip["wtr"]), "tZQCS": tuple(chip["zqcs"]),
        "tCCD": (chip["ccd_cycles"], None)})


def _settings(chip: dict) -> PhySettings:
    """Return what `ECP5DDRPHY` says of itself, for the model in its place."""
    read, write = (-(-chip[latency] // PHASES) for latency in ("cas_latency", "write_latency"))
    return PhySettings(
        phytype="SDRAMPHYModel", memtype="DDR3", databits=chip["word_bits"],
        dfi_databits=4 * chip["word_bits"], nphases=PHASES,
        rdphase=read * PHASES - chip["cas_latency"], wrphase=write * PHASES - chip["write_latency"],
        cl=chip["cas_latency"], cwl=chip["write_latency"], read_latency=read + 10,
        write_latency=write)


# Of the modelled chip a bank has a memory of bursts, at every second address.
CONTENT = """integer file, n;
reg [{bits}:0] burst;
string path;
initial if ($value$plusargs("ddr3_image=%s", path)) begin
    file = $fopen(path, "rb");
    for (n = 0; $fread(burst, file) != 0; n = n + 1)
        case ({bank})
{cases}
        endcase
    $fclose(file);
end
endmodule"""


def _with_content(text: str, chip: dict) -> str:
    """Have a modelled chip hold from the start what a file has that a run names."""
    columns, banks = chip["column_bits"] - 3, chip["bank_bits"]     # of bursts
    memories = re.findall(r"assign \w*bankmodel(\d+)_read_port_dat_r = (\w+)\[", text)
    place = f"(n >> {columns + banks} << {columns} | n & {(1 << columns) - 1}) << 1"
    content = CONTENT.format(
        bits=8 * chip["word_bits"] - 1, bank=f"n >> {columns} & {(1 << banks) - 1}",
        cases="\n".join(f"            {bank}: {memory}[{place}] = {{<<8{{burst}}}};"
                        for bank, memory in memories))
    return re.sub(r"endmodule\s*$", lambda _: content, text)


def main():
    """Write what standard input asks for."""
    asked = json.load(sys.stdin)
    core = Core(**asked)
    text = str(verilog.convert(core, set(core.ports), asked["name"],
                               special_overrides=lattice_ecp5_special_overrides))
    # Comments tell the time of day, and the directive would be for all that is read behind it.
    text = "\n".join(line for line in text.splitlines()
                     if line.strip() and not line.lstrip().startswith(("//", "`timescale")))
    modelled = asked.get("simulated") and asked.get("addresses") is not None
    print(_with_content(text, asked["chip"]) if modelled else text)


if __name__ == "__main__":
    main()
