"""Kernels launched together."""

import contextlib
import gc
from collections.abc import Callable, Iterator

import torch

__all__ = ["Recorded", "recording"]


@contextlib.contextmanager
def recording(**options) -> Iterator[torch.cuda.CUDAGraph]:
    """Yield a graph that records what is launched; options are those of `torch.cuda.graph`.

    Python's collector waits: what it frees in the middle, an older graph for one, would break the
    recording off.
    """
    graph = torch.cuda.CUDAGraph()
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with torch.cuda.graph(graph, **options):
            yield graph
    finally:
        if collects:
            gc.enable()


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
            with recording() as graph:
                self._work()
            self._graph = graph
        if self._graph is None:
            self._work()
            self._compiled = True
        else:
            self._graph.replay()
