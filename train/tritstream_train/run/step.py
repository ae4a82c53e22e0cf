"""Loss and gradients of a step, in parts, on one or several processes, or by a CUDA graph."""

import torch
from torch import nn

from tritstream.errors import BadInput
from tritstream_train.config import TrainConfig
from tritstream_train.kernels.graph import GraphedLoss
from tritstream_train.run.distributed import Processes, synchronised

__all__ = ["Gradients"]


class Gradients:
    """What turns windows into gradients.

    Parameters
    ----------
    model : Module
        As `tritstream_train.run.distributed.wrap` returns it.
    processes : Processes
        This process among the others.
    config : TrainConfig
        The run.

    Attributes
    ----------
    carried : Tensor or None
        Recurrent state of this process's rows, [R, L, H]; None if every window starts afresh.

    Raises
    ------
    BadInput
        A graph is asked for with several processes, or the rows of this one cannot be computed in
        as many equal parts.
    """

    def __init__(self, model: nn.Module, processes: Processes, config: TrainConfig):
        self._model = model
        self._device = processes.device
        self._parts = config.accumulate
        self._rows = config.batch // processes.count
        if self._rows % self._parts:
            raise BadInput(f"The {self._rows} windows of one process cannot be computed in "
                           f"accumulate = {self._parts} equal parts: make batch a multiple of "
                           f"{processes.count * self._parts}, or change accumulate.")
        self.carried = None
        if config.span > 1:
            shape = (self._rows, config.layers, config.hidden)
            self.carried = torch.zeros(shape, device=self._device)
        self._graph = None
        if config.graph:
            if processes.count > 1:
                raise BadInput("A CUDA graph does not exchange gradients: leave --graph out with "
                               "several processes.")
            self._graph = GraphedLoss(model, self._rows // self._parts, config.sequence,
                                      1 / self._parts)

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
        total = windows.new_zeros((), dtype=torch.float32)
        size = self._rows // self._parts
        for part in range(self._parts):
            rows = slice(part * size, (part + 1) * size)
            state = None if self.carried is None else self.carried[rows]
            total += self._part(windows[rows], state, last=part + 1 == self._parts)
        return total / self._parts

    def clear(self):
        """Drop the gradients, once they have been used."""
        if self._graph is not None:
            self._graph.zero_grad()
        else:
            self._model.zero_grad(set_to_none=True)

    def _part(self, windows: torch.Tensor, state: torch.Tensor | None, last: bool) -> torch.Tensor:
        inputs, targets = windows[:, :-1], windows[:, 1:]
        if self._graph is not None:
            return self._graph(inputs, targets, state)
        extra = {} if state is None else {"state": state}
        with synchronised(self._model, last):
            loss = self._model(inputs, targets, **extra)
            (loss / self._parts).backward()
        return loss.detach()

    def _moved(self, values: torch.Tensor) -> torch.Tensor:
        if self._device.type != "cuda":
            return values
        return values.pin_memory().to(self._device, non_blocking=True)
