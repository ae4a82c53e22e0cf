"""Several processes, one for each GPU, started by torchrun: DDP and FSDP2 of PyTorch itself."""

import contextlib
import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from tritstream.cli.console import notes
from tritstream.errors import BadInput, DeviceError
from tritstream_train.run.signals import Stopped

__all__ = ["Processes", "clip_gradients", "synchronised", "unwrap", "wrap"]

NORM_FLOOR = 1e-6           # added to a norm that is divided by, as PyTorch's own clipping does
# Threads of gloo drop the tensors of a collective after they have said that it is done. If Python
# ends before, up to 3.13 it ends such a thread inside a destructor, and that aborts the process.
# Nothing tells when they are idle, so they get many times what they need.
GLOO_S = 0.2
PATIENCE_S = 12.0           # for the checkpoint of a run told to end; torchrun kills it after 30


@dataclasses.dataclass(frozen=True)
class Processes:
    """A process among all of a run.

    Parameters
    ----------
    rank, count : int
        Its number, and how many there are.
    device : torch.device
        What it computes on.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    @contextlib.contextmanager
    def join(cls, device: str) -> Iterator["Processes"]:
        """Join the other processes that torchrun started, if it did; leave them at the end.

        Raises
        ------
        DeviceError
            There is no GPU, or fewer than processes on this machine.
        """
        place = int(os.environ.get("LOCAL_RANK", 0))
        if device == "cuda":
            found = torch.cuda.device_count()
            if not found:
                raise DeviceError("PyTorch finds no GPU for --device cuda: install a driver and a "
                                  "PyTorch built for it, or give --device cpu.")
            if place >= found:
                raise DeviceError(f"Process {place} of this machine has no GPU, of which PyTorch "
                                  f"finds {found}: give --nproc-per-node {found} to torchrun.")
            torch.cuda.set_device(place)
        chosen = torch.device(device, place) if device == "cuda" else torch.device("cpu")
        if "WORLD_SIZE" not in os.environ:
            yield cls(0, 1, chosen)
            return
        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            device_id=chosen if device == "cuda" else None)
        processes = cls(distributed.get_rank(), distributed.get_world_size(), chosen)
        stopped = None
        with processes._heeding_torchrun() if processes.count > 1 else contextlib.nullcontext():
            try:
                yield processes
            except Stopped as error:            # together with all others, as at the end
                stopped = error
        distributed.destroy_process_group()     # after an error it would wait for the others
        if device == "cpu":
            time.sleep(GLOO_S)
        if stopped is not None:
            raise stopped

    @contextlib.contextmanager
    def _heeding_torchrun(self) -> Iterator[None]:
        """Say why this process ends when torchrun ends it, as it does once another one is lost.

        A thread says so: the main one may wait for the GPU, and the GPU for the process lost. If
        all are there, the run ends before, behind a checkpoint.
        """
        left = threading.Event()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.set_wakeup_fd(writer)

        def listen():
            while number := os.read(reader, 1):
                if signal.SIGTERM in number and not left.wait(PATIENCE_S):
                    error = self.lost()
                    notes().print(f"error: {error}")
                    os._exit(error.exit_code)
            os.close(reader)

        threading.Thread(target=listen, daemon=True).start()
        yield
        # Not after an error: this process may be told to end before it has said what is wrong.
        left.set()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
        os.close(writer)

    def lost(self) -> DeviceError:
        """Return the error of a run that another process has left."""
        return DeviceError(f"Process {self.rank} of {self.count} lost another one: start them "
                           "again with -o and --resume alone, and the run goes on from its last "
                           "checkpoint.")

    @property
    def first(self) -> bool:
        """Whether this one writes files and speaks for all."""
        return self.rank == 0

    def share(self, rows: int) -> tuple[int, int]:
        """Rows of a batch that are this process's: from, to.

        Raises
        ------
        BadInput
            The rows cannot be shared evenly.
        """
        if rows % self.count:
            raise BadInput(f"A batch of {rows} windows cannot be shared by {self.count} processes: "
                           f"make it a multiple of {self.count}.")
        own = rows // self.count
        return self.rank * own, (self.rank + 1) * own

    def first_s(self, make: Callable[[], bytes | None]) -> bytes | None:
        """Return what the first process makes, in every process."""
        if self.count == 1:
            return make()
        box = [make() if self.first else None]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def wait(self):
        """Wait until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def mean(self, value: torch.Tensor) -> float:
        """Mean of a number over all processes."""
        value = value.detach().clone()
        if self.count > 1:
            distributed.all_reduce(value)
        return float(value) / self.count

    def any(self, holds: bool) -> bool:
        """Whether something holds in any of the processes."""
        if self.count == 1:
            return holds
        return self.mean(torch.tensor(float(holds), device=self.device)) > 0

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of all processes, in the order of their numbers."""
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)


def wrap(model: nn.Module, processes: Processes, parallel: str) -> nn.Module:
    """Return the model as all processes train it together.

    `ddp` keeps it whole in each and averages gradients; `fsdp` (FSDP2) also shares out weights,
    gradients and optimiser states, block by block. Weights gathered for the forward pass stay until
    the backward pass has used them: at the sizes that fit one GPU's activations they are the small
    part, and gathering them twice would cost more than it saves.
    """
    if processes.count == 1:
        return model
    if parallel == "ddp":
        return DistributedDataParallel(
            model, device_ids=[processes.device.index] if processes.device.type == "cuda" else None)
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    blocks = [fully_shard(block, mesh=mesh, reshard_after_forward=False)
              for block in model.model.layers]
    model = fully_shard(model, mesh=mesh, reshard_after_forward=False)
    # The next block's weights travel while a block computes, however late Python gets to that one.
    for module, following in zip([model, *blocks], blocks, strict=False):
        module.set_modules_to_forward_prefetch([following])
    return model


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside a DDP, or itself."""
    return model.module if isinstance(model, DistributedDataParallel) else model


@contextlib.contextmanager
def synchronised(model: nn.Module, last: bool) -> Iterator[None]:
    """Exchange gradients of a backward pass only if it is the last one of a step.

    Until then FSDP2's weights, which are the same in all parts of a step, stay gathered too.
    """
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        model.set_reshard_after_backward(last)
        yield
    elif isinstance(model, DistributedDataParallel) and not last:
        with model.no_sync():
            yield
    else:
        yield


def clip_gradients(model: nn.Module, limit: float) -> torch.Tensor:
    """Scale all gradients down so that their norm is at most `limit`.

    Summed up in float64, the norm is the same float32 whatever way the gradients are shared out.
    That matters: where a last bit differs, some weight is soon rounded to another trit, and two
    trainings that began alike differ visibly within a few steps.

    Parameters
    ----------
    model : Module
        As `wrap` returns it; every process has to call this.
    limit : float
        Largest norm.

    Returns
    -------
    Tensor
        The norm before, over all processes, a float32 scalar.
    """
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    parts = [grad.to_local() if isinstance(grad, DTensor) else grad for grad in gradients]
    squares = torch.stack(torch._foreach_norm(parts, dtype=torch.float64)).square().sum()
    if isinstance(model, FSDPModule):
        distributed.all_reduce(squares)
    norm = squares.sqrt().float()
    torch._foreach_mul_(parts, (limit / (norm + NORM_FLOOR)).clamp(max=1))
    return norm
