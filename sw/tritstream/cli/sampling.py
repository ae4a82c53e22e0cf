"""Options that say how tokens are chosen."""

from typing import Annotated

import typer

from tritstream.engines.candidates import CANDIDATES
from tritstream.errors import BadInput

__all__ = [
    "FrequencyPenalty",
    "LogitBias",
    "LogProbabilities",
    "MinP",
    "PresencePenalty",
    "RepeatPenalty",
    "Seed",
    "Stop",
    "Temperature",
    "TopK",
    "TopP",
    "parse_bias",
]

Temperature = Annotated[float, typer.Option(
    "--temp", help="Divides the logits; 0 always takes the best token.")]
TopK = Annotated[int, typer.Option(
    help=f"Best candidates that take part, of the {CANDIDATES} that a device reports.")]
TopP = Annotated[float, typer.Option(help="Probability that suffices.")]
LogProbabilities = Annotated[int, typer.Option(
    "--logprobs", min=0, max=CANDIDATES, help="With --json: log probabilities of the tokens, among "
    "the candidates, and of so many of the best of these.")]
MinP = Annotated[float, typer.Option(
    help="Share of the best one's probability that a candidate needs.")]
RepeatPenalty = Annotated[float, typer.Option(
    "--repeat-penalty", help="Divides the logits of tokens of prompt and text; 1: none.")]
PresencePenalty = Annotated[float, typer.Option(
    help="Subtracted from the logits of tokens of the text.")]
FrequencyPenalty = Annotated[float, typer.Option(help="The same, for each time.")]
LogitBias = Annotated[str | None, typer.Option(
    metavar="TOKEN=BIAS,…", help="Added to the logits of tokens, -100 to 100.")]
Stop = Annotated[list[str] | None, typer.Option(
    metavar="TEXT", help="Ends the text, which does not have it; may be given again.")]
Seed = Annotated[int, typer.Option("-s", "--seed", help="Repeats the text.")]


def parse_bias(text: str | None) -> dict[int, float]:
    """Read biases of tokens such as ``5=-100,17=2.5``."""
    biases = {}
    for part in text.split(",") if text else ():
        token, _, bias = part.strip().partition("=")
        try:
            biases[int(token)] = float(bias)
        except ValueError:
            raise BadInput(f"--logit-bias has {part[:40]!r}: write tokens and numbers, as in "
                           "5=-100,17=2.5.") from None
    return biases
