"""Sums and differences are right in every part's way to make them, proved."""

import subprocess

import pytest
from amaranth import *
from amaranth.back import rtlil
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from tritstream.support.tools import find_yosys
from tritstream_hw.arithmetic.add_subtract import AddSubtract
from tritstream_hw.boards import TARGETS

WIDTHS = [(1, 1, 1), (1, 1, 2), (8, 8, 9), (11, 11, 12), (20, 12, 20), (5, 9, 10)]
PROOF = ("read_rtlil top.il; read_verilog -sv -nooverwrite +/lattice/cells_sim_ecp5.v; "
         "prep -flatten -top top; async2sync; chformal -lower; sat -verify -prove-asserts")


class Claims(wiring.Component):
    """Adders of `WIDTHS`, and what each of them claims."""

    a: In(signed(max(WIDTHS)[0]))
    b: In(signed(max(WIDTHS)[0]))
    subtract: In(1)

    def elaborate(self, platform):
        m = Module()
        for a_bits, b_bits, bits in WIDTHS:
            m.submodules += (adder := AddSubtract(a_bits=a_bits, b_bits=b_bits, bits=bits))
            a, b = self.a[:a_bits].as_signed(), self.b[:b_bits].as_signed()
            m.d.comb += [
                adder.a.eq(a), adder.b.eq(b), adder.subtract.eq(self.subtract),
                Assert(adder.total == Mux(self.subtract, a - b, a + b)[:bits].as_signed()),
            ]
        return m


@pytest.mark.parametrize("board, has_cells", [("ulx3s_85f", True), ("tang_nano_20k", False)])
def test_totals(tmp_path, board, has_cells):
    design = rtlil.convert(Claims(), name="top", platform=TARGETS[board].platform())
    assert ("CCU2C" in design) == has_cells
    (tmp_path / "top.il").write_text(design)
    done = subprocess.run([find_yosys(), "-p", PROOF], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0 and "SUCCESS!" in done.stdout, done.stdout[-2000:]
