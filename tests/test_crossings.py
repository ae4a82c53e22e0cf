"""What passes from one clock to another in a board, in Amaranth's own netlist of its whole top."""

import pathlib

from amaranth import *
from amaranth.hdl import Fragment, _ir, _nir
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from tritstream_hw.boards import TARGETS
from tritstream_hw.boards.butterstick import ButterStickUsb
from tritstream_hw.boards.ecp5 import BlockRamTop
from tritstream_hw.boards.usb_top import FullSpeedUsb, HighSpeedUsb
from tritstream_hw.stream.skid import Skid

# Clock pins of the vendor's flip-flops, and of LiteDRAM's controller, which counts as one; other
# cells of the vendor's have no clock.
CLOCK_PINS = ("SCLK", "CK", "clk")

SYNCHRONISER = "cdc.py"                             # a flip-flop of Amaranth's FFSynchronizer
LOGIC = f"logic before {SYNCHRONISER}"
STANDS = "handoff.py"                               # a payload that stands while it is taken
CORE = "core.py"                                    # LiteDRAM's controller
QUEUE = "crossing_queue.py"                         # a word that was written long before
MEMORY = "memory.py"                                # likewise, if it is a number


class Netlist:
    """A flat design: its storage, and what each input of that comes from."""

    def __init__(self, top, platform=None, ports=()):
        fragment = Fragment.get(top, platform)
        self._netlist = _ir.build_netlist(fragment, ports=ports)
        self._sources = {}

    def crossings(self) -> set[tuple[str, str]]:
        """Return the files of the storage on both sides, whose clocks are not the same.

        Logic in front of a synchroniser is told, too: it could glitch.
        """
        found = set()
        for cell in self._netlist.cells:
            clock = self._clock(cell)
            if clock is None:
                continue
            sources = set().union(*map(self._storage, cell.input_nets() - {clock}))
            if isinstance(cell, _nir.SyncReadPort):
                sources |= {number for number, other in enumerate(self._netlist.cells)
                            if isinstance(other, _nir.SyncWritePort)
                            and other.memory == cell.memory}
            for number in sources:
                source = self._netlist.cells[number]
                if self._clock(source) != clock:
                    direct = {net.cell for net in cell.input_nets() if not net.is_const}
                    logic = self._file(cell) == SYNCHRONISER and number not in direct
                    found.add((self._file(source), LOGIC if logic else self._file(cell)))
        return found

    def _clock(self, cell):
        if isinstance(cell, _nir.Instance):
            pins = [cell.ports_i[name] for name in CLOCK_PINS if name in cell.ports_i]
            return pins[0][0] if pins else None
        return getattr(cell, "clk", None)

    def _file(self, cell) -> str:
        return pathlib.Path(cell.src_loc[0]).name if cell.src_loc else type(cell).__name__

    def _storage(self, net) -> frozenset[int]:
        """Return the numbers of the storage cells on which a net depends."""
        waiting = [net]
        while waiting:
            net = waiting[-1]
            edges = self._edges(net)
            if missing := [edge for edge in edges if edge not in self._sources]:
                waiting += missing
                continue
            waiting.pop()
            if net not in self._sources:
                own = {net.cell} if self._stores(net) else set()
                self._sources[net] = frozenset(own).union(*(self._sources[e] for e in edges))
        return self._sources[net]

    def _stores(self, net) -> bool:
        return not net.is_const and self._clock(self._netlist.cells[net.cell]) is not None

    def _edges(self, net) -> list:
        if net.is_const or net.cell == 0 or self._stores(net):
            return []
        cell = self._netlist.cells[net.cell]
        if isinstance(cell, _nir.Instance | _nir.IOBuffer):
            return []
        return [edge for edge, _ in cell.comb_edges_to(net.bit)]


def crossings(target):
    platform = target.platform()
    top = target.top(target.config, bytes(8), target.baud)
    return Netlist(top, platform).crossings()


def test_clocks_are_crossed_by_what_is_made_for_it():
    assert crossings(TARGETS["ulx3s_85f"]) == {
        ("handoff.py", SYNCHRONISER), ("crossing_queue.py", SYNCHRONISER),
        (STANDS, "skid.py"), (QUEUE, QUEUE)}


def test_clocks_of_a_ddr3_memory_are_crossed_by_what_is_made_for_it():
    """So are its registers, and the reset of the DLL, whose own clock that is."""
    assert crossings(TARGETS["ecpix5_85f"]) == {
        ("handoff.py", SYNCHRONISER), ("crossing_queue.py", SYNCHRONISER),
        (STANDS, "skid.py"), (STANDS, "spaces.py"), (STANDS, CORE), (QUEUE, QUEUE),
        ("ddr3.py", CORE)}


class Loop(wiring.Component):
    """A device that says what it hears."""

    rx: In(stream.Signature(8))
    tx: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.skid = skid = Skid(8)
        wiring.connect(m, wiring.flipped(self.rx), skid.i)
        wiring.connect(m, skid.o, wiring.flipped(self.tx))
        return m


class Port(BlockRamTop):
    """A board with its link alone."""

    product = ""

    def _connect(self, m, platform):
        self._attach(m, platform, Loop())


def port(target, link: type) -> Port:
    """Return the link of a board."""
    return type("UsbPort", (link, Port), {})(target.config, bytes(8), None)


def port_crossings(name: str, link: type):
    target = TARGETS[name]
    return Netlist(port(target, link), target.platform()).crossings()


USB_QUEUES = {(QUEUE, SYNCHRONISER), (MEMORY, MEMORY)}


def test_the_clock_of_a_usb_phy_is_crossed_by_what_is_made_for_it():
    """So is the reset of its domain."""
    for name, link in {"ecpix5_85f_usb": HighSpeedUsb, "butterstick": ButterStickUsb}.items():
        assert port_crossings(name, link) == USB_QUEUES | {("usb_top.py", SYNCHRONISER)}


def test_clocks_of_a_usb_port_are_crossed_by_what_is_made_for_it():
    """Inside LUNA's PHY, logic is before synchronisers: between two clocks whose edges are one."""
    assert port_crossings("orangecrab_85f", FullSpeedUsb) == USB_QUEUES | {
        ("fifo.py", SYNCHRONISER), ("fifo.py", LOGIC), ("transmitter.py", LOGIC),
        ("contextlib.py", LOGIC)}


def test_place_and_route_is_told_of_the_clock_of_a_usb_phy():
    """That of two pads comes from a PLL, of which it knows."""
    target = TARGETS["ecpix5_85f_usb"]
    plan = target.platform().prepare(port(target, HighSpeedUsb), "top", emit_src=False)
    assert 'FREQUENCY PORT "ulpi_0__clk__io" 60000000.0 HZ;' in plan.files["top.lpf"]


def test_another_way_is_found():
    m = Module()
    sync, other = (ClockDomain(name, reset_less=True) for name in ("sync", "other"))
    m.domains += [sync, other]
    a, b, c, d, e = (Signal(name=name) for name in "abcde")
    m.d.sync += [a.eq(~a), b.eq(~b)]
    m.d.other += c.eq(a)
    m.submodules += [FFSynchronizer(a, d, o_domain="other"),
                     FFSynchronizer(a & b, e, o_domain="other")]
    here = pathlib.Path(__file__).name
    found = Netlist(m, ports=[sync.clk, other.clk, c, d, e]).crossings()
    assert found == {(here, here), (here, SYNCHRONISER), (here, LOGIC)}
