"""Bench of an `Accelerator` whose lanes have tokens of one or several conversations."""

import cocotb
import numpy as np

from tritstream.golden import chain
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
        bodies = np.flatnonzero(rng.integers(0, 2, count)).tolist() if number % 3 else []
        await bench.together(works, logits=number % 2 == 0, bodies=bodies)
        rng.shuffle(conversations)
        leaver = conversations.pop()
        conversations.append(bench.open(leaver.slot))
    await bench.logits.nothing_more()


@cocotb.test
async def a_pass_begins_as_soon_as_the_one_before_has_ended(dut):
    """What a short pass needs is not still made for the one before, which had more tokens."""
    bench = await begin(dut, dummy(cocotb.RANDOM_SEED, **SHAPES["narrow"]))
    image, conversation = bench.image, bench.open(0)
    for count in (CONFIG.lanes, 1, CONFIG.lanes, 1, 1):
        tokens = [n % image.vocab for n in range(count)]
        for n, token in enumerate(tokens):
            vectors = []
            bench.golden.forward([[token]], conversation.state, stages=image.body_stages,
                                 observe=lambda stage, vector, of=vectors: of.append(vector[0, 0]))
            for vector in vectors:
                bench.digests[n] = chain(vector, bench.digests[n])
        bench.play(tokens, image.body_stages)
        bench.start([{"slot": 0, "fresh": conversation.fresh and n == 0, "follows": n > 0}
                     for n in range(count)], image.body_stages)
        conversation.fresh = False
    await bench.done.take(5, patience=300_000)
    await bench.compare_digests()
