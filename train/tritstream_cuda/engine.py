"""A GPU as a device of `tritstream`."""

import itertools
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import torch

from tritstream.catalog import Model
from tritstream.engines.base import Engine, Pass, Work
from tritstream.engines.candidates import Candidates
from tritstream.engines.conversation import Conversation
from tritstream.engines.places import Places
from tritstream.errors import BadInput, DeviceError
from tritstream.golden import chain
from tritstream.image.image import Image
from tritstream.transport import Address
from tritstream.transport.address import whole_number
from tritstream_cuda.lanes import LANES, PASSES, Lanes, Outcome
from tritstream_cuda.model import CudaModel
from tritstream_cuda.prompts import Prompts
from tritstream_cuda.reference import FloatReference
from tritstream_cuda.states import States

__all__ = ["CudaEngine", "find_gpu", "open_engine"]

ROOM = 64 << 20             # bytes beside a model and a quarter of its size
PLACES = 64                 # for states of conversations
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

    States of conversations stay in its memory, each in a place, as long as there are places; the
    one whose turn was longest ago goes to the host for a new one.

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
    lanes = LANES
    uniform = False             # each number of tokens of a prompt is a graph of its own
    prepares = tuple(1 << n for n in range(LANES.bit_length()))    # each is a program of its own
    prefill = 256               # takes less time than a few passes
    quantum = ahead = PASSES    # between runs of so many, the GPU waits for the host

    def __init__(self, image: Image, device: torch.device | str = "cuda", progress=None):
        if isinstance(device, str):
            device = find_gpu(device, len(image.payload) * 5 // 4 + ROOM)
        super().__init__()
        self.image = image
        self.model = image.digest
        self.shape = image.layers, image.hidden
        self.vocab = image.vocab
        self.stop_tokens = image.stop_tokens
        self._cuda = CudaModel(image, device, progress)
        self._states = States(PLACES, self.shape, device)
        self._lanes = Lanes(self._cuda, self._states)
        self._prompts = Prompts(self._cuda, self._states)
        self._places = Places(PLACES)
        self.slots = PLACES
        self._place = self._states.nobody
        self._digest = 0

    @property
    def beyond(self) -> int:
        return self._lanes.beyond

    # Conversations keep their places when others have their turn.

    def _enter(self, conversation: Conversation) -> None:
        self._leave()
        place = self._places.find(conversation)
        if place is None:
            place = self._admit(conversation)
        self._place, self._digest = place, conversation.digest
        self._current = weakref.ref(conversation)

    def _admit(self, conversation: Conversation) -> int:
        """Give a conversation a place, and put its state there."""
        oldest = self._places.oldest()
        if oldest is not None:
            oldest._keep(self._states.read(self._places.find(oldest)))
            self._places.drop(oldest)
        self._place = self._places.take(conversation)
        try:
            self._states.write(self._place, conversation._values)
            if conversation._since:
                self._feed(conversation._since)
        except BaseException:
            self._places.drop(conversation)
            raise
        return self._place

    def _leave(self) -> None:
        super()._lose()
        self._place = self._states.nobody

    def _lose(self) -> None:
        current = self._current()
        if current is not None:
            self._places.drop(current)
        self._leave()

    def _forget(self, conversation: Conversation) -> None:
        self._places.drop(conversation)

    def _put(self, values) -> None:
        self._states.write(self._place, values)
        self._digest = 0

    def _go_on_from(self, digest: int) -> None:
        self._digest = digest

    def _values(self) -> np.ndarray:
        return self._states.read(self._place)

    def _feed(self, tokens) -> list[Pass]:
        passes = []
        for body in self._prompts.feed(self._place, tokens):
            self._digest = self._cuda.body_chain(self._digest, body)
            passes.append(Pass(None, self._digest))
        return passes

    def _step(self, token: int) -> Pass:
        (outcome,) = self._lanes.step([(self._place, [token])])
        return self._pass(outcome)

    def _pass(self, outcome: Outcome) -> Pass:
        """Go on by an outcome; what it is to whoever asked."""
        self._digest = self._cuda.chain(self._digest, outcome.whole)
        return Pass(_candidates(outcome), self._digest)

    def _together(self, works: list[Work]) -> list[Pass]:
        self._leave()
        results: list[Pass | None] = [None] * len(works)
        for pieces in self._packed(works):
            outcomes = iter(self._lanes.step([piece[1:3] for piece in pieces]))
            for index, _, tokens, last in pieces:
                results[index] = self._took(works[index], tokens, last, outcomes)
        return results

    def _packed(self, works: list[Work]) -> Iterator[list[tuple[int, int, list[int], bool]]]:
        """Yield what each pass takes: indices of works, their places, tokens, whether the last.

        What comes before the last token of a long text is taken here, many tokens at a time.
        """
        pieces, room = [], LANES
        for index, (conversation, tokens, *_) in enumerate(works):
            place = self._places.find(conversation)
            if place is None or len(tokens) > LANES:
                self._enter(conversation)
                place = self._place
                if len(tokens) > LANES:
                    conversation._took(tokens[:-1], self._feed(tokens[:-1])[-1].digest, heads=0)
                    tokens = tokens[-1:]
                self._leave()
            while tokens:
                if not room:
                    yield pieces
                    pieces, room = [], LANES
                some, tokens = tokens[:room], tokens[room:]
                pieces.append((index, place, some, not tokens))
                room -= len(some)
        if pieces:
            yield pieces

    def _took(self, work: Work, tokens: list[int], last: bool, outcomes: Iterator[Outcome]) -> Pass:
        """Note in a conversation that it took tokens of its work; what the last one gave."""
        conversation = work.conversation
        digest, head = conversation.digest, work.head and last
        for outcome in itertools.islice(outcomes, len(tokens) - 1):
            digest = self._cuda.body_chain(digest, outcome.body)
        outcome, found = next(outcomes), None
        if head:
            digest, found = self._cuda.chain(digest, outcome.whole), _candidates(outcome)
        else:
            digest = self._cuda.body_chain(digest, outcome.body)
        conversation._took(tokens, digest, heads=int(head))
        return Pass(found, digest)

    def _chain(self, totals: list[list[int]]) -> None:
        """Go on by the digest's terms of some tokens and their heads."""
        for body, head in totals:
            digest = self._cuda.body_chain(self._digest, body)
            self._digest = self._cuda.head_chain(digest, head)

    def _run(self, token: int, count: int, candidates: bool,
             enough: Callable[[], bool] | None = None) -> Iterator[Pass]:
        while count:
            for outcome, in self._lanes.run([(self._place, token)], min(PASSES, count),
                                            self.stop_token, candidates=candidates, enough=enough):
                result = self._pass(outcome)
                count -= 1
                yield result
                token = result.candidates.best
            if token == self.stop_token or enough and enough():
                return

    def _run_together(self, works: list[Work], count: int,
                      enough: Callable[[], bool] | None) -> Iterator[list[Pass]]:
        if not 1 < len(works) <= LANES:
            yield from super()._run_together(works, count, enough)
            return
        conversations = [work.conversation for work in works]
        places = list(map(self._placed, conversations))
        tokens = [token for work in works for token in work.tokens]
        while count:
            texts = list(zip(places, tokens, strict=True))
            for outcomes in self._lanes.run(texts, min(PASSES, count), self.stop_token,
                                            enough=enough):
                count -= 1
                yield list(map(self._went_on, conversations, tokens, outcomes))
                tokens = [outcome.tokens[0] for outcome in outcomes]
            if self.stop_token in tokens or enough and enough():
                return

    def _went_on(self, conversation: Conversation, token: int, outcome: Outcome) -> Pass:
        """Note a token that a conversation took with the head; what that gave."""
        digest = self._cuda.chain(conversation.digest, outcome.whole)
        conversation._took_one(token, digest)
        return Pass(_candidates(outcome), digest)

    def _placed(self, conversation: Conversation) -> int:
        """Return a conversation's place, which it is given if it has none."""
        place = self._places.find(conversation)
        if place is None:
            self._enter(conversation)
            place = self._place
        self._leave()
        return place

    def _logits(self, tokens) -> tuple[np.ndarray, int]:
        rows = []
        for part, totals in self._prompts.logits(self._place, tokens):
            rows.append(part.cpu().numpy())
            self._chain(totals)
        return np.concatenate(rows), self._digest

    def _score(self, tokens, targets) -> tuple[float, np.ndarray, int]:
        nats, favourites, start = 0.0, [], 0
        targets = torch.tensor(targets, device=self._cuda.device)
        for part, totals in self._prompts.logits(self._place, tokens):
            logits = part.double()
            wanted = targets[start:start + len(logits), None]
            nats += float((logits.logsumexp(1) - logits.gather(1, wanted)[:, 0]).sum())
            favourites.append(logits.argmax(1).cpu().numpy())
            start += len(logits)
            self._chain(totals)
        return nats, np.concatenate(favourites), self._digest

    def reference(self, checkpoint) -> FloatReference:
        return FloatReference(checkpoint, self._cuda.device)

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
        words = self._lanes.vectors(self._place, last)
        rows = [section.header.rows for section in self.image.sections]
        return np.split(words, np.cumsum(rows)[:-1])



def _candidates(outcome: Outcome) -> Candidates:
    return Candidates(tuple(outcome.tokens), tuple(outcome.scores))
