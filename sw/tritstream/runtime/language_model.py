"""A model on a device, with its tokenizer: the Python interface of the package."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tritstream.catalog import DEFAULT_MODEL, Model, resolve
from tritstream.engines import Conversation, Engine, open_engine
from tritstream.engines.candidates import CANDIDATES
from tritstream.engines.state import State
from tritstream.model.tokenizer import Tokenizer
from tritstream.runtime.generate import Generation
from tritstream.runtime.sampling import Sampler

__all__ = ["LanguageModel"]


class LanguageModel:
    """A model that is open on a device; `tritstream.load` makes one.

    Parameters
    ----------
    source : Model
        Image, checkpoint and tokenizer.
    engine : Engine
        The device with the image in it; it is closed with the model.
    opener : callable
        Opens the device once more; called with no arguments.
    load_seconds : float
        How long that took.
    """

    def __init__(self, source: Model, engine: Engine, opener: Callable[[], Engine],
                 load_seconds: float = 0.0):
        self.source = source
        self.engine = engine
        self.load_seconds = load_seconds
        self._opener = opener

    @classmethod
    def load(cls, model: str | Path | Model = DEFAULT_MODEL, device: str = "golden", *,
             progress: Callable[[int, int], None] | None = None, **options) -> "LanguageModel":
        """Open a model on a device; see `tritstream.load`."""
        source = model if isinstance(model, Model) else resolve(str(model))
        began = time.perf_counter()
        engine = open_engine(device, source, progress=progress, **options)
        return cls(source, engine, lambda: open_engine(device, source, **options),
                   time.perf_counter() - began)

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens and back; `BadInput` if the model was packed without it."""
        return self.source.tokenizer

    def generate(self, prompt: str | Sequence[int], max_tokens: int = 64,
                 temperature: float = 0.0, top_k: int = CANDIDATES, top_p: float = 1.0,
                 seed: int = 0, *, stop: str | Sequence[str] = (),
                 progress: Callable[[int, int], None] | None = None, candidates: bool = False,
                 **sampling) -> Generation:
        """Go on from a prompt.

        Parameters
        ----------
        prompt : str or sequence of int
            Text, or tokens; tokens need no tokenizer, and without one there is no text.
        max_tokens : int
            Tokens to make; a stop token ends the text earlier.
        temperature : float
            Divides the logits; 0 always takes the best token.
        top_k : int
            How many of the best candidates take part, of those that the device reports.
        top_p : float
            Of these, the fewest whose probabilities add up to at least this take part.
        seed : int
            Repeats the text.
        stop : str or sequence of str
            Texts that end the text, which does not have them.
        progress : callable or None
            Called with the tokens of the prompt that are done, and with all, while it is read.
        candidates : bool
            Whether what each token was chosen from is kept, in `Generation.candidates`.
        sampling
            `min_p`, `repetition_penalty`, `presence_penalty`, `frequency_penalty`, `logit_bias`,
            see `tritstream.runtime.sampling.Sampler`.

        Returns
        -------
        Generation
            An iterator of pieces of text, which is being made while it is read.

        Raises
        ------
        BadInput
            An argument cannot be used.
        """
        sampler = Sampler(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, **sampling)
        tokens = self.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        generation = Generation(self.open(), self.engine, tokens, max_tokens, sampler,
                                tokenizer=self.source.tokenizer_if_any,
                                stop=(stop,) if isinstance(stop, str) else stop, progress=progress,
                                candidates=candidates)
        generation.timings.load_seconds = self.load_seconds
        return generation

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """All logits after each of some tokens, the first of a text: float32 [T, V]."""
        with self.open() as conversation:
            return conversation.logits(tokens)

    def open(self, state: State | None = None) -> Conversation:
        """Begin a conversation, or go on from a saved state."""
        return self.engine.open(state)

    def reopen(self) -> Engine:
        """Open the device again after it has failed; its conversations have ended.

        Raises
        ------
        DeviceError
            It is still not there.
        """
        self.engine.close()
        self.engine = self._opener()
        return self.engine

    def close(self) -> None:
        """End all conversations, and leave the device idle and free."""
        self.engine.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
