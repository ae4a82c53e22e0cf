"""Checkpoints of a run: weights, optimiser, and all else that the rest of it depends on.

A checkpoint is one file for any number of processes, whatever their kind of parallelism; a run may
go on with another number than it stopped with.
"""

import dataclasses
import pickle
import re
import zipfile
import zlib
from pathlib import Path

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from tritstream.errors import BadInput
from tritstream.support.files import replacing

__all__ = ["State", "collect", "latest", "read_state", "restore", "step_of", "write_state"]

NAME = re.compile(r"step-(\d{8})\.pt")
KIND = "tritstream training state"
FORMAT = f"{KIND} 3"


@dataclasses.dataclass(kw_only=True)
class State:
    """Contents of a checkpoint.

    Parameters
    ----------
    step : int
        Steps done.
    seconds : float
        Time that they took.
    unlogged : tuple
        Of the steps since the last line of the curve: sum of their losses, number, seconds.
    settings : dict
        Of the run, a `TrainConfig` as JSON.
    model, optimizer : dict
        State of the weights and of the optimiser, by parameter name, on the CPU.
    carried : Tensor or None
        Recurrent state of every row of the batch, [B, L, H].
    """

    step: int
    seconds: float
    unlogged: tuple[float, int, float]
    settings: dict
    model: dict
    optimizer: dict
    carried: torch.Tensor | None


def collect(model: nn.Module, optimizer) -> tuple[dict, dict]:
    """States of weights and optimiser, whole and on the CPU; every process has to call this."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return (get_model_state_dict(model, options=options),
            get_optimizer_state_dict(model, optimizer, options=options))


def restore(state: State, model: nn.Module, optimizer):
    """Put the states of weights and optimiser back; every process has to call this."""
    options = StateDictOptions(full_state_dict=True)
    set_model_state_dict(model, state.model, options=options)
    set_optimizer_state_dict(model, optimizer, state.optimizer, options=options)


def write_state(directory: Path, state: State, keep: int) -> Path:
    """Write a checkpoint, then drop all but the latest `keep`."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{state.step:08}.pt"
    with replacing(path) as aside, open(aside, "wb") as file:
        try:
            torch.save({"format": FORMAT} | vars(state), file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):      # a disk that is full, say
                raise error.__context__ from None
            raise
    for _, old in _all(directory)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def latest(directory: Path) -> Path | None:
    """Return the last complete checkpoint, if there is one."""
    found = _all(directory)
    return found[-1][1] if found else None


def step_of(path: Path) -> int:
    """Steps that a checkpoint has behind it, by its name."""
    return int(NAME.fullmatch(path.name)[1])


def read_state(path: Path) -> State:
    """Read a checkpoint.

    Raises
    ------
    BadInput
        The file is corrupt, or something else.
    """
    advice = ("remove it, and --resume goes on from the checkpoint before it, or from the start if "
              "there is none")
    try:
        # PyTorch reads past wrong checksums.
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("wrong checksum")
        table = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}.") from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, pickle.UnpicklingError,
            zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(f"{path} is a damaged checkpoint; {advice}.") from error
    found = table.pop("format", None) if isinstance(table, dict) else None
    if found != FORMAT and str(found).startswith(KIND):
        raise BadInput(f"{path} is a checkpoint of another version of tritstream ({found}, not "
                       f"{FORMAT}): go on with that version, or start another run.")
    if found != FORMAT:
        raise BadInput(f"{path} is not a checkpoint of a training run; {advice}.")
    try:
        return State(**table)
    except TypeError as error:
        raise BadInput(f"{path} is a damaged checkpoint ({error}); {advice}.") from error


def _all(directory: Path) -> list[tuple[int, Path]]:
    """Return all checkpoints and their steps, the latest last."""
    matches = [(NAME.fullmatch(path.name), path) for path in directory.glob("step-*.pt")]
    return sorted((int(match[1]), path) for match, path in matches if match)
