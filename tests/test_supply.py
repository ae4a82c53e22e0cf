"""Regulators whose voltages are set by how long pins are high."""

import pytest

from tritstream_hw.boards.butterstick import SHARES, VOLTS
from tritstream_hw.phy.supply import PERIOD, Supply
from tritstream_sim.agents.pysim import run


@pytest.mark.parametrize("share, volts", [*zip(SHARES, VOLTS, strict=True)])
def test_currents_into_a_feedback_pin_are_balanced_at_the_voltages_of_a_board(share, volts):
    through_filter, through_divider = (3.3 * share - 0.6) / 68e3, (volts - 0.6) / 53.6e3
    assert through_filter + through_divider == pytest.approx(0.6 / 13e3, rel=1e-9)


def test_pulses_come_first_then_the_regulators_and_then_what_they_give():
    shares, settle, rise = (0.0, 0.25, 1.0), 3 * PERIOD, PERIOD // 2
    dut = Supply(shares, settle_cycles=settle, rise_cycles=rise)
    seen = []

    async def watch(ctx):
        for _ in range(settle + rise + 5):
            await ctx.tick()
            seen.append((ctx.get(dut.pulses), ctx.get(dut.on), ctx.get(dut.good)))

    run(dut, watch)
    for pin, share in enumerate(shares):
        highs = [pulses >> pin & 1 for pulses, _, _ in seen]
        assert {sum(highs[n:n + PERIOD]) for n in range(settle - PERIOD)} == {share * PERIOD}
    assert [on for _, on, _ in seen].index(1) + 1 == settle
    assert [good for *_, good in seen].index(1) + 1 == settle + rise
    assert seen[-1][1:] == (1, 1)
