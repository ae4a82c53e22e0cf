"""A DDR3 memory is started and levelled through its registers, whatever its lanes' delays are."""

import random

import pytest

from tritstream.ddr3.levelling import BITSLIPS, DELAYS, LANES, Window, start
from tritstream.ddr3.registers import Control
from tritstream.errors import DeviceError
from tritstream_sim.twin.ddr3 import Ddr3Twin


def drawn(rng: random.Random) -> Window:
    first = rng.randrange(DELAYS)
    return Window(rng.randrange(BITSLIPS), first, rng.randrange(first, DELAYS))


@pytest.mark.parametrize("number", range(20))
def test_each_lane_is_read_in_the_middle_of_its_window(number, seed):
    rng = random.Random(f"{seed} {number}")
    twin = Ddr3Twin([drawn(rng) for _ in range(LANES)])
    windows = start(twin, twin.wait)
    assert list(windows) == twin.windows
    assert [(lane.bitslip, lane.delay) for lane in twin.lanes] == [
        (window.bitslip, (window.first + window.last) // 2) for window in windows]
    assert twin.control == Control.HARDWARE | Control.CKE | Control.ODT | Control.RESET_N


def test_it_is_started_as_its_data_sheet_wants():
    """CAS latency 6, write latency 5, write recovery 5, 34 and 60 ohm; its times, in order."""
    twin = Ddr3Twin([Window(0, 0, 7)] * LANES)
    start(twin, twin.wait)
    assert list(twin.modes.items()) == [(2, 0), (3, 0), (1, 0x006), (0, 0x320)]
    assert 700e-6 <= twin.seconds < 0.1


def test_it_can_be_started_again():
    twin = Ddr3Twin([Window(1, 2, 6), Window(3, 0, 4)])
    assert start(twin, twin.wait) == start(twin, twin.wait)


def test_a_lane_that_reads_nowhere_is_named():
    twin = Ddr3Twin([Window(0, 0, 7), None])
    with pytest.raises(DeviceError, match="Byte lane 1 .* none of 4 bitslips and 8 delays"):
        start(twin, twin.wait)
    assert Control.HARDWARE not in twin.control


def test_a_lane_that_moves_is_named():
    """What it read while it was looked for it does not read behind that."""
    class Moving(Ddr3Twin):
        def _place(self, name):
            super()._place(name)
            if self._words[0] and self._value("dly_sel") == 1:      # a lane alone: it is placed
                self.windows[0] = Window((self.windows[0].bitslip + 1) % BITSLIPS, 0, 7)

    twin = Moving([Window(1, 0, 7)] * LANES)
    with pytest.raises(DeviceError, match="Byte lane 0 .* does not read again"):
        start(twin, twin.wait)
