"""Which tokens a step learns from: a function of seed, step and row, with nothing to remember."""

import functools

import numpy as np

from tritstream.errors import BadInput

__all__ = ["Windows"]


class Windows:
    """Windows of a token stream in a random order, each once per epoch.

    The stream is a ring, cut at a new random place for every epoch into stretches of `span`
    consecutive windows. Row `r` of a batch walks through a stretch window by window and then takes
    the next; rows begin at different places of their stretch, so that few of them change at a time.

    Parameters
    ----------
    tokens : ndarray of uint
        [N]
    batch : int
        Rows of all processes together.
    sequence : int
        Tokens of a window.
    span : int
        Windows of a stretch.
    seed : int
        Of the order.

    Raises
    ------
    BadInput
        The stream is too short for one stretch.
    """

    def __init__(self, tokens: np.ndarray, *, batch: int, sequence: int, span: int = 1,
                 seed: int = 0):
        self._tokens = tokens
        self._batch = batch
        self._sequence = sequence
        self._span = span
        self._seed = seed
        needed = span * sequence + 1
        if len(tokens) < needed:
            raise BadInput(f"The text has {len(tokens)} tokens, but {span} windows of {sequence} "
                           f"need {needed}: give more text, or a smaller sequence or span.")
        self.stretches = len(tokens) // (span * sequence)

    def rows(self, step: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows `start` to `stop` of the batch of a step.

        Returns
        -------
        windows : ndarray
            int64 [R, sequence + 1]: a row's inputs are all but its last, its targets all but its
            first token.
        fresh : ndarray
            bool [R], where a stretch begins.
        """
        rows = np.arange(start, stop)
        tick = step + rows % self._span
        begins = np.array([self._begin(tick_ // self._span, row)
                           for tick_, row in zip(tick.tolist(), rows.tolist(), strict=True)])
        begins += tick % self._span * self._sequence
        places = (begins[:, None] + np.arange(self._sequence + 1)) % len(self._tokens)
        return self._tokens[places].astype(np.int64), tick % self._span == 0

    def _begin(self, turn: int, row: int) -> int:
        """Where the stretch begins that a row takes in a turn."""
        epoch, place = divmod(turn * self._batch + row, self.stretches)
        order, cut = _epoch(self._seed, epoch, self.stretches, len(self._tokens))
        return cut + int(order[place]) * self._span * self._sequence


@functools.lru_cache(maxsize=4)
def _epoch(seed: int, epoch: int, stretches: int, length: int) -> tuple[np.ndarray, int]:
    """Order of the stretches of an epoch, and where the ring is cut."""
    rng = np.random.default_rng([seed, epoch])
    return rng.permutation(stretches), int(rng.integers(length))
