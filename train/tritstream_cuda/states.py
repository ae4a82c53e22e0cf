"""Recurrent states of conversations in a GPU's memory."""

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
        self._cleared: list[int] = []   # places whose state counts as zeros, and may not be so yet
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
        if values is None:
            self._take_back()
            self._cleared.append(place)         # with others: each call waits for other threads
            return
        self.settle()
        # Both sides: to look which one counts would be to wait for the GPU.
        self.memory[place].copy_(torch.from_numpy(np.array(values, np.int32)))

    def copy(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what is in some places, which the GPU knows, for `put_back`."""
        return self.memory[places], self.sides[places]

    def put_back(self, places: torch.Tensor, found: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Have some places as they were when they were copied."""
        self.memory[places], self.sides[places] = found

    def settle(self) -> None:
        """Let all states be there, without the tokens that nobody has asked for."""
        self._take_back()
        if self._cleared:
            places = torch.tensor(self._cleared, device=self.sides.device)
            self._cleared = []
            self.memory.index_fill_(0, places, 0)

    def _take_back(self) -> None:
        if self.ahead:
            places = torch.tensor(self.ahead, device=self.sides.device)
            self.ahead = []
            self.sides[places] = 1 - self.sides[places]

    def _own(self, place: int) -> torch.Tensor:
        return self.memory[place, int(self.sides[place])]
