"""Expected cycles of the ranking of logits: how many have to be sorted in depends on their order.

Of logits in random order the n-th is among the best k so far with a chance of k / n, and is then
sorted into a list, a place per cycle. That is what `estimate` expects; logits that tend to rise
with the number of their token, as those of a small vocabulary may, take longer.
"""

import numpy as np

from tritstream.formats import FORMATS

__all__ = ["ranking_cycles"]

ROWS = FORMATS.trits_per_byte
UNEVEN = 1.2            # mean square of a sorting's cycles, over the square of their mean


def ranking_cycles(rows: int, words: np.ndarray, *, candidates: int,
                   tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cycles that each block of a head takes with its ranking, and their variance.

    Parameters
    ----------
    rows : int
        Logits of a token.
    words : array of int
        Words of rows of each block of five, of all tokens; a word takes at least a cycle.
    candidates : int
        How many logits are ranked.
    tokens : int
        That share the pass, each with a list of its own; there is one logit sorted in at a time.
    """
    row = np.arange(1, ROWS * len(words) + 1)
    chance = np.minimum(1, candidates / row) * (row <= rows)
    # One cycle to be taken, one to be put down, and one for each entry that moves: half of them.
    sorting = 2 + np.minimum(row - 1, candidates - 1) / 2

    def of_blocks(each):
        return tokens * each.reshape(-1, ROWS).sum(axis=1)

    # Words pass while few are sorted in, and wait for these when there are many: as at a queue of
    # four places, where arrivals and services are random.
    load = of_blocks(chance * sorting) / words
    cycles = words * (1 + load**4 / (1 + load + load**2 + load**3))
    return cycles, of_blocks(chance * (1 - chance) * sorting**2 * UNEVEN)
