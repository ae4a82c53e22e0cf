"""`tritstream generate`: text from a prompt."""

import contextlib

import typer

from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import notes, print_json, progress, quantity, write
from tritstream.cli.options import (
    Count,
    Device,
    Json,
    ModelName,
    Prompt,
    PromptFile,
    TokenList,
    check_count,
    open_device,
    open_model,
    read_prompt,
    result_of,
)
from tritstream.cli.sampling import (
    FrequencyPenalty,
    LogitBias,
    LogProbabilities,
    MinP,
    PresencePenalty,
    RepeatPenalty,
    Seed,
    Stop,
    Temperature,
    TopK,
    TopP,
    parse_bias,
)
from tritstream.engines.candidates import CANDIDATES
from tritstream.engines.state import digest_text
from tritstream.errors import INTERRUPTED, BadInput
from tritstream.runtime.generate import Generation, Timings
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.stop import StopTexts

__all__ = ["generate"]


def generate(
    prompt: Prompt = None,
    file: PromptFile = None,
    tokens: TokenList = None,
    model: ModelName = DEFAULT_MODEL,
    count: Count = 64,
    device: Device = "golden",
    temperature: Temperature = 0.0,
    top_k: TopK = CANDIDATES,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: RepeatPenalty = 1.0,
    presence_penalty: PresencePenalty = 0.0,
    frequency_penalty: FrequencyPenalty = 0.0,
    logit_bias: LogitBias = None,
    stop: Stop = None,
    seed: Seed = 0,
    logprobs: LogProbabilities = 0,
    json: Json = False,
):
    """Go on from a prompt; the text appears as it is made."""
    check_count("-n", count)
    # What no device can do is refused before one is opened.
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed,
                "min_p": min_p, "repetition_penalty": repetition_penalty,
                "presence_penalty": presence_penalty, "frequency_penalty": frequency_penalty,
                "logit_bias": parse_bias(logit_bias)}
    stop = stop or []
    Sampler(**sampling)
    StopTexts(stop)
    if logprobs and not json:
        raise BadInput("--logprobs are told with --json; add it.")
    opened = open_model(model)
    text, numbers = read_prompt(opened, prompt, file, tokens)
    speaks = opened.tokenizer_if_any is not None
    writer = _Writer(text, quiet=json)
    interrupted = False
    with open_device(device, opened) as loaded, contextlib.ExitStack() as reading:
        long = len(numbers) > loaded.engine.piece
        show = reading.enter_context(progress("reading the prompt")) if long else None
        generation = loaded.generate(numbers, count, stop=stop, progress=show,
                                     candidates=bool(logprobs), **sampling)
        try:
            if not long:
                writer.begin()
            for piece in generation:
                reading.close()         # the bar has its place while a long prompt is read
                writer.write(piece if speaks else f"{generation.tokens[-1]} ")
        except KeyboardInterrupt:
            interrupted = True
        finally:
            reading.close()
            generation.close()
            writer.finish(generation.text)
    if json:
        settings = {"count": count, "stop": stop, **sampling}
        table = _log_probabilities(generation, logprobs, loaded.engine.kept) if logprobs else {}
        print_json(result_of(opened, device, settings, {
            "text": generation.text if speaks else None, "tokens": generation.tokens, **table,
            "finish_reason": generation.finish_reason,
            "digest": digest_text(generation.digest), "timings": generation.timings.to_json()}))
    else:
        _report(generation, device, interrupted)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _log_probabilities(generation: Generation, count: int, kept: int) -> dict:
    """Of each token, and of so many of the best ones that it was chosen from."""
    pairs = [list(zip(candidates.tokens, candidates.log_probabilities, strict=True))
             for candidates in generation.candidates]
    return {"logprobs_among": f"{kept} candidates",
            "logprobs": [dict(best)[token]
                         for token, best in zip(generation.tokens, pairs, strict=True)],
            "top_logprobs": [best[:count] for best in pairs]}


class _Writer:
    """A prompt and the text behind it, written to the output piece by piece unless `quiet`."""

    def __init__(self, prompt: str, *, quiet: bool):
        self._prompt = prompt.encode("utf-8", "replace").decode("utf-8")
        self._quiet = quiet
        self._written = 0               # letters of the text; the prompt counts none

    def begin(self) -> None:
        if self._prompt and not self._quiet:
            write(self._prompt, dim=True)
        self._prompt = ""

    def write(self, piece: str) -> None:
        self.begin()
        self._written += len(piece)
        if piece and not self._quiet:
            write(piece)

    def finish(self, text: str) -> None:
        """Write what is left of the whole text, and end the line."""
        self.write(text[self._written:])
        if not self._quiet:
            write("\n")


def _report(generation: Generation, device: str, interrupted: bool) -> None:
    timings, console = generation.timings, notes()
    if interrupted:
        console.print(f"interrupted after {timings.generated_tokens} of {generation.max_tokens} "
                      "tokens")
    for what, tokens, seconds, rate in (
            ("prompt", timings.prompt_tokens, timings.prompt_seconds, timings.prompt_rate),
            ("generated", timings.generated_tokens, timings.generated_seconds, timings.rate)):
        speed = "-" if rate is None else f"{rate:.2f}"
        console.print(f"{what:9} {tokens:6} tokens {seconds:9.3f} s {speed:>9} tok/s  "
                      f"{timings.evidence}")
    if timings.cycles is not None:
        console.print(_cycles(timings))
    tokens = timings.prompt_tokens + timings.generated_tokens
    speed = f", {tokens / timings.wall_seconds:.2f} tok/s in all" if timings.wall_seconds else ""
    console.print(f"wall clock {timings.wall_seconds:.3f} s{speed}; loading "
                  f"{timings.load_seconds:.3f} s  measured")
    if generation.digest is not None:
        console.print(f"digest {digest_text(generation.digest)} on {device}")


def _cycles(timings: Timings) -> str:
    share = timings.stalls / timings.cycles if timings.cycles else 0.0
    return (f"{timings.cycles} cycles at {quantity(timings.clock_hz, 'Hz')}, {share:.1%} of them "
            f"waiting for weights  {timings.evidence}")
