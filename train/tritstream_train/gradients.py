"""Loss and gradients of a step, in parts, on one or several processes, or from a recorded graph."""

import torch
from torch import nn

from tritstream_train.distributed import Processes, synchronised
from tritstream_train.settings import TrainConfig

__all__ = ["Gradients"]

WARM = 3                    # passes before a graph is recorded: kernels are compiled in them


class Gradients:
    """What turns windows into gradients.

    Parameters
    ----------
    model : Module
        As `tritstream_train.distributed.wrap` returns it.
    processes : Processes
        This process among the others.
    config : TrainConfig
        The run.

    Attributes
    ----------
    carried : Tensor or None
        Recurrent state of this process's rows, [R, L, H]; None if every window starts afresh.
    """

    def __init__(self, model: nn.Module, processes: Processes, config: TrainConfig):
        self._model = model
        self._device = processes.device
        self._parts = config.accumulate
        self._rows = config.batch // processes.count
        self.carried = None
        if config.span > 1:
            shape = (self._rows, config.layers, config.hidden)
            self.carried = torch.zeros(shape, device=self._device)
        self._graph = None
        if config.graph:
            self._graph = _Graph(self._pass, self._rows, config.sequence, self.carried, model)

    def __call__(self, windows: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
        """Add the gradients of the mean loss to the parameters, and return the loss, a scalar.

        Parameters
        ----------
        windows : Tensor
            int64 [R, sequence + 1].
        fresh : Tensor
            bool [R], rows whose state starts afresh.
        """
        windows = self._moved(windows)
        if self.carried is not None:
            self.carried.masked_fill_(self._moved(fresh)[:, None, None], 0)
        return self._graph(windows) if self._graph else self._pass(windows)

    def _moved(self, values: torch.Tensor) -> torch.Tensor:
        if self._device.type != "cuda":
            return values
        return values.pin_memory().to(self._device, non_blocking=True)

    def _pass(self, windows: torch.Tensor) -> torch.Tensor:
        total = windows.new_zeros((), dtype=torch.float32)
        size = self._rows // self._parts
        for part in range(self._parts):
            rows = slice(part * size, (part + 1) * size)
            extra = {} if self.carried is None else {"state": self.carried[rows]}
            with synchronised(self._model, last=part + 1 == self._parts):
                loss = self._model(windows[rows, :-1], windows[rows, 1:], **extra) / self._parts
                loss.backward()
            total += loss.detach()
        return total


class _Graph:
    """A pass recorded once: replaying it launches all kernels at the cost of one."""

    def __init__(self, run, rows: int, sequence: int, carried: torch.Tensor | None,
                 model: nn.Module):
        self._run = run
        self._carried = carried
        self._parameters = list(model.parameters())
        self._windows = torch.zeros(rows, sequence + 1, dtype=torch.int64, device="cuda")
        self._recorded = None

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self._windows.copy_(windows)
        if self._recorded is None:
            self._record()
        self._recorded.replay()
        return self._loss.clone()

    def _record(self):
        """Record a pass; nothing but the gradients is changed before it is replayed."""
        before = None if self._carried is None else self._carried.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                self._run(self._windows)
                self._clear()
        torch.cuda.current_stream().wait_stream(side)
        if before is not None:
            self._carried.copy_(before)
        self._recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._recorded):
            self._loss = self._run(self._windows)
        # The recorded pass puts gradients into memory of its own, afresh at every replay.

    def _clear(self):
        for parameter in self._parameters:
            parameter.grad = None
