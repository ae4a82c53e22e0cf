"""Expected cycles of the ranking of logits: how many have to be sorted in depends on their order.

Of logits in random order the n-th is among the best k so far with a chance of k / n, and is then
sorted into a list, a place per cycle, or into a chain, a logit per cycle. That is what `estimate`
expects; logits that tend to rise with the number of their token, as those of a small vocabulary
may, take longer.
"""

import numpy as np

__all__ = ["contender_cycles", "ranking_cycles"]

RARE = 16               # of so many times as many words as are ranked, few have two contenders
UNEVEN = 1.2            # mean square of a sorting's cycles, over the square of their mean


def ranking_cycles(rows: int, words: np.ndarray, *, block: int, candidates: int, tokens: int,
                   at_once: bool = False) -> tuple[np.ndarray, np.ndarray]:
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
    at_once : bool
        Whether that takes a cycle, and not one for each entry that moves.
    """
    row = np.arange(1, block * len(words) + 1)
    chance = np.minimum(1, candidates / row) * (row <= rows)
    # One cycle to be taken, one to be put down, and one for each entry that moves: half of them.
    sorting = np.ones(len(row)) if at_once else 2 + np.minimum(row - 1, candidates - 1) / 2

    def of_blocks(each):
        return tokens * each.reshape(-1, block).sum(axis=1)

    # Words pass while few are sorted in, and wait for these when there are many: as at a queue of
    # four places, where arrivals and services are random.
    load = of_blocks(chance * sorting) / words
    cycles = words * (1 + load**4 / (1 + load + load**2 + load**3))
    return cycles, of_blocks(chance * (1 - chance) * sorting**2 * UNEVEN)


def contender_cycles(rows: int, *, width: int, block: int, candidates: int) -> np.ndarray:
    """Return the cycles that words of each block of a head take, where a chain ranks their logits.

    A word takes a cycle, and one for each logit that may be among the best but for the first. Which
    these are is known by the ranking of all that were taken some cycles before: a chain has a cell
    for each candidate, and its last one has the least of them.

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
    begins = np.union1d(np.arange(0, rows, width), np.arange(0, rows, block))
    counts = np.diff(begins, append=rows)
    chance = np.minimum(1, candidates / (1 + begins))
    cycles = np.maximum(1, counts * chance + (1 - chance) ** counts)
    late = candidates + 1
    now, ranked, taken = 0.0, 0, [(0.0, 0)]     # cycles, and logits that were taken until then
    for word, (begin, count) in enumerate(zip(begins, counts, strict=True)):
        if begin > RARE * width * candidates:
            break
        none, since = 1.0, now
        for row in range(begin + 1, begin + count + 1):
            while ranked + 1 < len(taken) and taken[ranked + 1][0] <= now - late:
                ranked += 1
            chance = min(1.0, candidates / (1 + taken[ranked][1]))
            none, now = none * (1 - chance), now + chance
            taken.append((now, row))
        now += none
        cycles[word] = now - since
    return np.add.reduceat(cycles, np.searchsorted(begins, np.arange(0, rows, block)))
