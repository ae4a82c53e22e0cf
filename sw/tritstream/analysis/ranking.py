"""Expected cycles of the ranking of logits: how many have to be sorted in depends on their order.

Of logits in random order the n-th is among the best k so far with a chance of k / n, and is then
sorted into a list, a place per cycle. That is what `estimate` expects; logits that tend to rise
with the number of their token, as those of a small vocabulary may, take longer.
"""

import numpy as np

__all__ = ["contender_cycles", "ranking_cycles"]

LATE = 8                # cycles until what was ranked decides which logits are contenders
RARE = 64               # of so many times as many logits as are ranked, hardly any is a contender
UNEVEN = 1.2            # mean square of a sorting's cycles, over the square of their mean


def ranking_cycles(rows: int, words: np.ndarray, *, block: int, candidates: int,
                   tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cycles that each block of a head takes with its ranking, and their variance.

    Parameters
    ----------
    rows : int
        Logits of a token.
    words : array of int
        Words of rows of each block, of all tokens; a word takes at least a cycle.
    block : int
        Rows of a block.
    candidates : int
        How many logits are ranked.
    tokens : int
        That share the pass, each with a list of its own; there is one logit sorted in at a time.
    """
    row = np.arange(1, block * len(words) + 1)
    chance = np.minimum(1, candidates / row) * (row <= rows)
    # One cycle to be taken, one to be put down, and one for each entry that moves: half of them.
    sorting = 2 + np.minimum(row - 1, candidates - 1) / 2

    def of_blocks(each):
        return tokens * each.reshape(-1, block).sum(axis=1)

    # Words pass while few are sorted in, and wait for these when there are many: as at a queue of
    # four places, where arrivals and services are random.
    load = of_blocks(chance * sorting) / words
    cycles = words * (1 + load**4 / (1 + load + load**2 + load**3))
    return cycles, of_blocks(chance * (1 - chance) * sorting**2 * UNEVEN)


def contender_cycles(rows: int, *, width: int, block: int, candidates: int) -> float:
    """Return the cycles beyond one each that words of a head take where they come one per cycle.

    Of a word of several logits, those that may be among the best are ranked one after the other.

    Parameters
    ----------
    rows : int
        Logits of the only token.
    width : int
        Logits of a word.
    block : int
        Rows of a block; a word that lies in two comes twice, with the rows of each.
    candidates : int
        How many logits are ranked.
    """
    cycles = more = 0.0
    begin, passed = 0, [(0.0, 0)]           # cycles, and logits until then
    while begin < min(rows, RARE * candidates):
        ends = (begin // width + 1) * width, (begin // block + 1) * block, rows
        count = min(ends) - begin
        while len(passed) > 1 and passed[1][0] <= cycles - LATE:
            del passed[0]
        chance = min(1.0, candidates / max(1, passed[0][1]))
        taken = max(1.0, count * chance + (1 - chance) ** count)
        cycles, more, begin = cycles + taken, more + taken - 1, begin + count
        passed.append((cycles, begin))
    return more
