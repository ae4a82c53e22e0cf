"""Recurrent states of conversations in a GPU's memory."""

from collections.abc import Sequence

import numpy as np
import torch

__all__ = ["States"]


class States:
    """Places for states, each with a second side: where the state behind the next token goes.

    A token of a lane reads one side and writes the other, so it can be taken back. The place
    `nobody`, behind the last one, is for what belongs to no conversation.

    Parameters
    ----------
    count : int
        Places.
    shape : tuple of int
        Layers and hidden size.
    device : torch.device
        Whose memory.
    """

    def __init__(self, count: int, shape: tuple[int, int], device: torch.device):
        layers, hidden = shape
        self.nobody = count
        self.ahead: list[int] = []      # places with a token that nobody has asked for yet
        self.memory = torch.zeros(count + 1, 2, layers, hidden, dtype=torch.int32, device=device)
        self.sides = torch.zeros(count + 1, dtype=torch.int32, device=device)
        self.size = layers * hidden

    def layer(self, index: int) -> torch.Tensor:
        """View of one layer of all places, for kernels."""
        return self.memory[:, :, index]

    def read(self, place: int) -> np.ndarray:
        """Return a copy of a state, int32 [L, H]."""
        self.settle()
        return self._own(place).cpu().numpy().copy()

    def write(self, place: int, values: np.ndarray | None) -> None:
        """Put a state into a place; None: zeros."""
        self.settle()
        own = self._own(place)
        if values is None:
            own.zero_()
        else:
            own.copy_(torch.from_numpy(np.array(values, np.int32)))

    def copy(self, places: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is in some places, for `put_back`."""
        index = torch.tensor(places, device=self.sides.device)
        return self.memory[index], self.sides[index]

    def put_back(self, places: Sequence[int], found: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Have some places as they were when they were copied."""
        index = torch.tensor(places, device=self.sides.device)
        self.memory[index], self.sides[index] = found

    def settle(self) -> None:
        """Take back the tokens that nobody has asked for."""
        if self.ahead:
            places = torch.tensor(self.ahead, device=self.sides.device)
            self.ahead = []
            self.sides[places] = 1 - self.sides[places]

    def _own(self, place: int) -> torch.Tensor:
        return self.memory[place, int(self.sides[place])]
