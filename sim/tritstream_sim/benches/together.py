"""Bench of an `Accelerator` whose lanes have tokens of one or several conversations."""

import cocotb
import numpy as np

from tritstream_sim.agents.stream import stall
from tritstream_sim.benches.accelerator import CONFIG, SHAPES, begin, dummy


@cocotb.test
@cocotb.parametrize(shape=["plain", "odd", "narrow", "bulky", "unbounded"], burst=[0, 1, 16])
async def tokens_together_equal_golden(dut, shape, burst):
    """Conversations that join and leave between passes, with one token each or several."""
    bench = await begin(dut, dummy(cocotb.RANDOM_SEED + burst, **SHAPES[shape]))
    bench.beats.stall = stall(0.4, burst) if burst else None
    bench.logits.stall = stall(0.6, burst) if burst else None
    rng = np.random.default_rng(cocotb.RANDOM_SEED + burst)
    slots = rng.permutation(CONFIG.slots).tolist()
    conversations = [bench.open(slot) for slot in slots]
    for number in range(5):
        # Parts of the lanes for some of the conversations, all lanes or fewer.
        count = CONFIG.lanes if number < 2 else int(rng.integers(1, CONFIG.lanes + 1))
        parts = np.bincount(rng.integers(0, count, count)) if number else [count]
        lengths = [int(part) for part in parts if part]
        works = [(conversation, rng.integers(0, bench.image.vocab, length).tolist())
                 for conversation, length in zip(conversations, lengths, strict=False)]
        await bench.together(works, logits=number % 2 == 0)
        rng.shuffle(conversations)
        leaver = conversations.pop()
        conversations.append(bench.open(leaver.slot))
    await bench.logits.nothing_more()
