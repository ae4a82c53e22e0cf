"""`tritstream generate`: text from a prompt."""

import contextlib
from typing import Annotated

import typer

from tritstream.cli.app import INTERRUPTED
from tritstream.cli.console import notes, print_json, progress, quantity, write
from tritstream.cli.options import Device, Json, ModelName, Prompt, open_device, open_model
from tritstream.model.catalog import DEFAULT_MODEL
from tritstream.model.tokenizer import Detokenizer
from tritstream.runtime.generate import Generation, Timings
from tritstream.runtime.sampling import CANDIDATES, Sampler

__all__ = ["generate"]

def generate(
    prompt: Prompt,
    model: ModelName = DEFAULT_MODEL,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", help="Tokens to make.")] = 64,
    device: Device = "golden",
    temperature: Annotated[float, typer.Option(
        "--temp", help="Divides the logits; 0 always takes the best token.")] = 0.0,
    top_k: Annotated[int, typer.Option(
        help=f"Best candidates that take part, of the {CANDIDATES} that a device reports.",
    )] = CANDIDATES,
    top_p: Annotated[float, typer.Option(help="Probability that suffices.")] = 1.0,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Repeats the text.")] = 0,
    json: Json = False,
):
    """Go on from a prompt; the text appears as it is made."""
    sampler = Sampler(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    opened = open_model(model)
    tokens = opened.tokenizer.encode(prompt)
    with open_device(device, opened) as (engine, load_seconds):
        generation = Generation(engine, tokens, count, sampler)
        generation.timings.load_seconds = load_seconds
        writer = _Writer(opened.tokenizer, tokens, quiet=json)
        interrupted = False
        try:
            _run(generation, writer, prompt)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            writer.finish()
    if json:
        print_json({"text": writer.text, "tokens": generation.tokens,
                    "digest": digest_text(generation.digest),
                    "timings": generation.timings.to_json()})
    else:
        _report(generation, device, interrupted)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _run(generation: Generation, writer: "_Writer", prompt: str) -> None:
    """Write the prompt and go on from it; while a long prompt is read, a bar has its place."""
    with contextlib.ExitStack() as reading:
        if len(generation.prompt) > generation.engine.piece:
            show = reading.enter_context(progress("reading the prompt"))
            reading.callback(writer.begin, prompt)
        else:
            show = None
            writer.begin(prompt)

        def push(token: int) -> None:
            reading.close()
            writer.push(token)

        generation.run(push, show)


def digest_text(digest: int | None) -> str | None:
    """Write a digest as eight hexadecimal digits."""
    return None if digest is None else f"{digest:08x}"


class _Writer:
    """Text of the tokens, written to the output piece by piece unless `quiet`."""

    def __init__(self, tokenizer, prompt, *, quiet: bool):
        self._detokenizer = Detokenizer(tokenizer, prompt)
        self._quiet = quiet
        self.text = ""

    def begin(self, prompt: str) -> None:
        if not self._quiet:
            write(prompt.encode("utf-8", "replace").decode("utf-8"), dim=True)

    def push(self, token: int) -> None:
        self._write(self._detokenizer.push(token))

    def finish(self) -> None:
        self._write(self._detokenizer.finish())
        if not self._quiet:
            write("\n")

    def _write(self, piece: str) -> None:
        self.text += piece
        if piece and not self._quiet:
            write(piece)


def _report(generation: Generation, device: str, interrupted: bool) -> None:
    timings, console = generation.timings, notes()
    if interrupted:
        console.print(f"interrupted after {timings.generated_tokens} of {generation.count} tokens")
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
