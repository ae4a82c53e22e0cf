"""Expected cycles of a head whose logits a chain ranks, against chains that are stepped through."""

import bisect
import statistics

import numpy as np
import pytest

from tritstream.analysis.ranking import contender_cycles

ORDERS = 20


def stepped(logits: list[int], *, width: int, block: int, candidates: int) -> int:
    """Cycles of a word after the other; how its logits are ranked is known `candidates + 1` later.

    As `tritstream_hw.head.contenders` has it: in each cycle the first logit of the word that may be
    among the best leaves, and with the last of these, or at once if there is none, the word.
    """
    begins = sorted({*range(0, len(logits), width), *range(0, len(logits), block)})
    best, known, least, now = [], [], None, 0
    for begin, end in zip(begins, [*begins[1:], len(logits)], strict=True):
        waiting = list(range(begin, end))
        while True:
            while known and known[0][0] <= now:
                _, least = known.pop(0)
            waiting = [row for row in waiting if least is None or logits[row] > least
                       or row == len(logits) - 1]
            now += 1
            if waiting:
                bisect.insort(best, -logits[waiting.pop(0)])
                del best[candidates:]
                if len(best) == candidates:
                    known.append((now + candidates, -best[-1]))
            if not waiting:
                break
    return now


@pytest.mark.parametrize("rows, width, block, candidates", [
    (512, 4, 5, 5), (512, 8, 5, 16), (3000, 2, 5, 16), (3000, 4, 20, 16), (64, 8, 5, 5),
    (2000, 32, 160, 16), (9000, 16, 60, 1), (4000, 32, 160, 255), (6, 4, 5, 16), (1, 2, 5, 16)])
def test_words_of_random_logits(rows, width, block, candidates):
    shape = {"width": width, "block": block, "candidates": candidates}
    found = statistics.mean(
        stepped(np.random.default_rng(seed).permutation(rows).tolist(), **shape)
        for seed in range(ORDERS))
    cycles = contender_cycles(rows, **shape)
    print(f"{rows} rows, {shape}: {found:.1f} cycles, expected {cycles.sum():.1f}")
    assert len(cycles) == -(-rows // block)
    assert abs(cycles.sum() - found) <= 2 + 0.02 * found
