"""A GPU as a device of `tritstream`."""

from collections.abc import Iterator

import numpy as np
import torch

from tritstream.catalog import Model
from tritstream.engines.base import Engine, Pass
from tritstream.engines.candidates import Candidates
from tritstream.errors import BadInput, DeviceError
from tritstream.formats import FORMATS
from tritstream.golden import chain
from tritstream.image.image import Image
from tritstream.transport import Address
from tritstream.transport.address import whole_number
from tritstream_cuda.conversations import PASSES, Conversations, Greedy
from tritstream_cuda.model import CudaModel
from tritstream_cuda.reference import FloatReference

__all__ = ["CudaEngine", "find_gpu", "open_engine"]

ROOM = 32 << 20             # bytes beside a model and a quarter of its size
MOST_NUMBER = 999_999       # of a GPU, far beyond any machine's


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
    index = whole_number(number or "0", 0, MOST_NUMBER)
    if index is None:
        raise BadInput(f"--device {uri[:40]} has no number behind the colon: write cuda or cuda:0.")
    count = torch.cuda.device_count()
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


def open_engine(address: Address, model: Model, progress) -> "CudaEngine":
    """Open what ``cuda`` or ``cuda:N`` names: the entry point of `tritstream.engines`."""
    address.check_options()
    return CudaEngine(model.image, address.text, progress)


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
    runs_ahead = True

    def __init__(self, image: Image, device: torch.device | str = "cuda", progress=None):
        if isinstance(device, str):
            device = find_gpu(device, len(image.payload) * 5 // 4 + ROOM)
        super().__init__()
        self.image = image
        self.model = image.digest
        self.shape = image.layers, image.hidden
        self.vocab = image.vocab
        self.stop_tokens = image.stop_tokens
        self._talk = Conversations(CudaModel(image, device, progress), stop=image.stop_token)

    @property
    def _digest(self) -> int:
        (digest,) = self._talk.digests
        return digest

    def _put(self, values) -> None:
        self._talk.start()
        if values is not None:
            self._talk.state[0].copy_(torch.from_numpy(np.array(values, np.int32)))

    def _go_on_from(self, digest: int) -> None:
        self._talk.digests = [digest]

    def _values(self) -> np.ndarray:
        return self._talk.state[0].cpu().numpy().copy()

    def _feed(self, tokens) -> list[Pass]:
        return [Pass(None, digest) for digest, in self._talk.feed(np.array([tokens]))]

    def _step(self, token: int) -> Pass:
        ((result,),) = self._talk.run([token], 1)
        return _pass(result)

    def _run(self, token: int, count: int) -> Iterator[Pass]:
        for start in range(0, count, PASSES):
            for (result,) in self._talk.run([token], min(PASSES, count - start)):
                yield _pass(result)
                token = result.tokens[0]
                if token == self.stop_token:
                    return

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = np.concatenate([part[0].cpu().numpy() for part in self._talk.logits([tokens])])
        return rows, self._digest

    def _score(self, tokens, targets) -> tuple[float, np.ndarray, int]:
        nats, favourites, start = 0.0, [], 0
        targets = torch.tensor(targets, device=self._talk.state.device)
        for part in self._talk.logits([tokens]):
            logits = part[0].double()
            wanted = targets[start:start + len(logits), None]
            nats += float((logits.logsumexp(1) - logits.gather(1, wanted)[:, 0]).sum())
            favourites.append(logits.argmax(1).cpu().numpy())
            start += len(logits)
        return nats, np.concatenate(favourites), self._digest

    def reference(self, checkpoint) -> FloatReference:
        return FloatReference(checkpoint, self._talk.model.device)

    def _stage_digests(self, tokens, head: bool) -> list[int]:
        vectors = self._vectors(tokens)
        digest, digests = self._digest, []
        for vector in vectors[:None if head else -1]:
            digest = chain(vector, digest)
            digests.append(digest)
        return digests

    def _stage_vector(self, tokens, stage: int) -> np.ndarray:
        return self._vectors(tokens)[stage]

    def _vectors(self, tokens) -> list[np.ndarray]:
        """Take tokens, and return all stage vectors of the last pass."""
        *before, last = tokens
        if before:
            self._feed(before)
        words = self._talk.vectors(last).cpu().numpy()
        rows = [section.header.rows for section in self.image.sections]
        return np.split(words, np.cumsum(rows)[:-1])


def _pass(result: Greedy) -> Pass:
    scale = result.mantissa * 2.0 ** (FORMATS.dequant_up - result.shift)
    return Pass(Candidates(result.tokens, tuple(acc * scale for acc in result.sums)),
                result.digest)
