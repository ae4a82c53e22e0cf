"""Kernels launched together."""

from collections.abc import Callable

import torch

__all__ = ["Recorded"]


class Recorded:
    """Work for a GPU that is always the same, launched as one CUDA graph.

    The first call does it kernel by kernel, which compiles what has to be; the second records it.
    On a CPU every call is like the first.

    Parameters
    ----------
    work : callable
        Launches kernels; takes and returns nothing, and its tensors stay where they are.
    device : torch.device
        Where.
    """

    def __init__(self, work: Callable[[], None], device: torch.device):
        self._work = work
        self._device = device
        self._compiled = False
        self._graph = None

    def __call__(self) -> None:
        """Do the work, or have it done."""
        if self._graph is None and self._compiled and self._device.type == "cuda":
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._work()
        if self._graph is None:
            self._work()
            self._compiled = True
        else:
            self._graph.replay()
