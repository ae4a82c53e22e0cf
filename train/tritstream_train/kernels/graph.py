"""Loss and gradients of a small model as one CUDA graph.

A layer is some forty kernels; up to a few hundred channels they finish faster than Python starts
them. A graph starts all of them at once.
"""

import torch

from tritstream_cuda.recorded import recording

__all__ = ["GraphedLoss"]

WARM_UP = 2                 # passes before the capture: kernels are compiled, workspaces allocated


class GraphedLoss:
    """Forward and backward pass of a model for one shape of batch.

    Gradients start at zero and are added up. The graph keeps their addresses: clear them with
    `zero_grad`, never by setting them to None. Parameters may change, by steps of an optimizer or
    by loading others into them. No loss that the model gave before may still be referred to when
    the graph is made.

    Parameters
    ----------
    model : Module
        On a CUDA device; one that is recurrent has `new_state`. A MatMul-free one is fused.
    batch, tokens : int
        Shape of every batch, `B` and `T`.
    scale : float
        Factor of the gradients, for instance one over the batches that a step adds up.
    """

    def __init__(self, model, batch: int, tokens: int, scale: float = 1.0):
        self._model, self._scale = model, scale
        device = next(model.parameters()).device
        self._tokens = torch.zeros(batch, tokens, dtype=torch.int64, device=device)
        self._targets = torch.zeros_like(self._tokens)
        recurrent = hasattr(model, "new_state")
        self._state = model.new_state(batch) if recurrent else None
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._pass()
        torch.cuda.current_stream(device).wait_stream(stream)
        with recording(stream=stream) as self._graph:
            self._loss = self._pass()
        self._gradients = [parameter.grad for parameter in model.parameters()]
        self.zero_grad()

    def _pass(self):
        extra = {} if self._state is None else {"state": self._state}
        loss = self._model(self._tokens, self._targets, **extra)
        (loss * self._scale).backward()
        return loss.detach()

    def zero_grad(self):
        """Clear all gradients."""
        torch._foreach_zero_(self._gradients)

    def __call__(self, tokens, targets, state=None) -> torch.Tensor:
        """Loss of a batch, before the factor; gradients are added to the parameters'.

        Arguments and result are the model's; `state` only where it is recurrent. The result is
        overwritten by the next call.
        """
        self._tokens.copy_(tokens)
        self._targets.copy_(targets)
        if state is not None:
            self._state.copy_(state)
        elif self._state is not None:
            self._state.zero_()
        self._graph.replay()
        if state is not None:
            state.copy_(self._state)
        return self._loss
