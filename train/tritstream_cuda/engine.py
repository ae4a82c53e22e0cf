"""A GPU as a device of `tritstream`."""

import numpy as np
import torch

from tritstream.engines.base import Engine, Pass
from tritstream.errors import BadInput, DeviceError
from tritstream.formats import FORMATS
from tritstream.golden import chain
from tritstream.image.image import Image
from tritstream.runtime.sampling import Candidates
from tritstream_cuda.conversations import PASSES, Conversations, Greedy
from tritstream_cuda.model import CudaModel
from tritstream_cuda.reference import FloatReference

__all__ = ["CudaEngine", "find_gpu"]

ROOM = 32 << 20             # bytes beside a model and a quarter of its size


def find_gpu(uri: str, needed: int) -> torch.device:
    """Return the GPU that `cuda` or `cuda:N` names.

    Parameters
    ----------
    uri : str
        What the user wrote.
    needed : int
        Bytes that have to be free on it.

    Raises
    ------
    BadInput
        The number is none.
    DeviceError
        There is no such GPU, or too little of its memory is free.
    """
    _, _, number = uri.partition(":")
    if number and not (number.isascii() and number.isdigit()):
        raise BadInput(f"--device {uri} has no number behind the colon: write cuda or cuda:0.")
    count = torch.cuda.device_count()
    index = int(number or 0)
    if not count:
        raise DeviceError(f"--device {uri} finds no CUDA GPU here: use golden, or run nvidia-smi "
                          "to see whether the driver does.")
    if index >= count:
        raise DeviceError(f"--device {uri} does not exist: there are {count} GPUs here, cuda:0 to "
                          f"cuda:{count - 1}.")
    free, total = torch.cuda.mem_get_info(index)
    if free < needed:
        raise DeviceError(f"--device {uri} has {free / 1e6:.0f} of {total / 1e6:.0f} MB free, and "
                          f"this model needs {needed / 1e6:.0f} MB: stop what else runs there, or "
                          "use another GPU.")
    return torch.device("cuda", index)


class CudaEngine(Engine):
    """The integers of `tritstream.golden`, computed by a GPU.

    Parameters
    ----------
    image : Image
        Packed model.
    device : torch.device or str
        A GPU, or `cuda[:N]`, which is checked first.
    progress : callable or None
        Called with bytes done and bytes in all during the upload.
    """

    name = "cuda"

    def __init__(self, image: Image, device: torch.device | str = "cuda", progress=None):
        if isinstance(device, str):
            device = find_gpu(device, len(image.payload) * 5 // 4 + ROOM)
        self.image = image
        self.vocab = image.vocab
        self.stop_token = image.stop_token
        self._talk = Conversations(CudaModel(image, device, progress), stop=image.stop_token)
        self.start()

    def start(self) -> None:
        self._talk.start()
        self._digest = 0

    @property
    def digest(self) -> int:
        return self._digest

    def feed(self, tokens) -> list[Pass]:
        found = self._talk.feed(np.array([self._check(tokens)]))
        self._digest, = self._talk.digests
        return [Pass(None, digest) for digest, in found]

    def step(self, token: int) -> Pass:
        ((result,),) = self._talk.run(self._check([token]), 1)
        return self._pass(result)

    def run(self, token: int, count: int):
        (token,) = self._check([token])
        while count > 0:
            passes = min(count, PASSES)
            saved = self._talk.state.clone(), self._digest
            taken = [token]
            try:
                for (result,) in self._talk.run([token], passes):
                    token = result.tokens[0]
                    taken.append(token)
                    yield self._pass(result)
                    if token == self.stop_token:
                        return
            finally:
                self._go_back(saved, taken, passes)
            count -= passes

    def _go_back(self, saved, taken: list[int], passes: int) -> None:
        """Leave the conversation behind the last pass that was asked for, if more were made."""
        if len(taken) - 1 < passes and taken[-1] != self.stop_token:
            state, self._talk.digests = saved[0], [saved[1]]
            self._talk.state.copy_(state)
            for token in taken[:-1]:
                self._talk.run([token], 1)
        self._talk.digests = [self._digest]

    def logits(self, tokens) -> np.ndarray:
        parts = [part[0].cpu().numpy() for part in self._talk.logits([self._check(tokens)])]
        self._digest, = self._talk.digests
        return np.concatenate(parts) if parts else np.empty((0, self.vocab), np.float32)

    def score(self, tokens, targets) -> tuple[float, np.ndarray]:
        nats, favourites, start = 0.0, [], 0
        targets = torch.tensor(self._check(targets), device=self._talk.state.device)
        for part in self._talk.logits([self._check(tokens)]):
            logits = part[0].double()
            wanted = targets[start:start + len(logits), None]
            nats += float((logits.logsumexp(1) - logits.gather(1, wanted)[:, 0]).sum())
            favourites.append(logits.argmax(1).cpu().numpy())
            start += len(logits)
        self._digest, = self._talk.digests
        return nats, np.concatenate(favourites) if favourites else np.empty(0, np.int64)

    def reference(self, checkpoint) -> FloatReference:
        return FloatReference(checkpoint, self._talk.model.device)

    def save_state(self) -> np.ndarray:
        return self._talk.state[0].cpu().numpy()

    def restore_state(self, state: np.ndarray) -> None:
        self._talk.state[0].copy_(torch.from_numpy(np.asarray(state, np.int32)))

    def stage_digests(self, tokens, *, head: bool) -> list[int]:
        return self._chained(self._vectors(tokens), head)

    def stage_vector(self, tokens, stage: int) -> np.ndarray:
        vectors = self._vectors(tokens)
        self._chained(vectors, stage == self.image.body_stages)
        return vectors[stage]

    def _chained(self, vectors: list[np.ndarray], head: bool) -> list[int]:
        """Take the stages of a pass into the digest; the running digests after each."""
        digests = []
        for vector in vectors[:None if head else -1]:
            self._digest = chain(vector, self._digest)
            digests.append(self._digest)
        self._talk.digests = [self._digest]
        return digests

    def _vectors(self, tokens) -> list[np.ndarray]:
        """Start afresh, take tokens, and return all stage vectors of the last pass."""
        self.start()
        *before, last = self._check(tokens)
        self.feed(before)
        words = self._talk.vectors(last).cpu().numpy()
        rows = [section.header.rows for section in self.image.sections]
        return np.split(words, np.cumsum(rows)[:-1])

    def _pass(self, result: Greedy) -> Pass:
        self._digest = result.digest
        scale = result.mantissa * 2.0 ** (FORMATS.dequant_up - result.shift)
        return Pass(Candidates(result.tokens, tuple(acc * scale for acc in result.sums)),
                    result.digest)
