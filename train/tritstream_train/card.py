"""The card of a trained model: what it is, how it was made, and how good it is."""

import re
import shlex
from pathlib import Path

from tritstream.checkpoint import Checkpoint, count_parameters
from tritstream.evaluate import Evaluation
from tritstream.image import Image
from tritstream_train.curve import Curve
from tritstream_train.run import Run

__all__ = ["card"]

HYPER = ("start", "sequence", "batch", "span", "warmup", "schedule", "decay", "final", "optimizer",
         "rate", "vector_rate", "matrix_rate", "weight_decay", "freeze", "beta1", "beta2", "clip",
         "dtype", "seed")

ONLY_WITH = (("matrix_rate", "optimizer", "muon"), ("decay", "schedule", "wsd"))
"""Settings that count only if another one has that value."""


def card(run: Run, evaluations: dict[str, Evaluation], image: Image, *, name: str, machine: str,
         data: str) -> str:
    """Text of a card.

    Parameters
    ----------
    run : Run
        Complete.
    evaluations : dict
        Of the whole validation text, by device.
    image : Image
        The packed model.
    name : str
        Of the model.
    machine : str
        What it was trained on.
    data : str
        One sentence about the text and its rights.
    """
    config, last = run.config, Curve(run.curve).read()[-1]
    shape = Checkpoint.open(run.model).config
    size = count_parameters(shape)
    settings = config.to_json()
    unused = {name for name, other, value in ONLY_WITH if settings[other] != value}
    used = {key: settings[key] for key in HYPER if settings[key] is not None and key not in unused}
    if config.start:
        used["start"] = Path(config.start).name
    lines = [
        f"# {name}", "",
        f"A MatMul-free language model (`hgrn_bit`, arXiv 2406.02528) of {size / 1e6:.2f} M "
        f"parameters: hidden {shape.hidden}, intermediate {shape.intermediate}, {shape.layers} "
        f"layers, {shape.vocab} tokens. Packed: `{name}.trit`, {image.path.stat().st_size:,} "
        f"bytes, digest {image.digest[:16]}.", "",
        "| device | bits per byte | perplexity per token | favourites of float | tokens | bytes |",
        "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {device} | {one.bits_per_byte:.4f} | {one.perplexity:.2f} | "
              f"{one.top1_equal_float:.2%} | {one.tokens:,} | {one.bytes:,} |"
              for device, one in evaluations.items()]
    lines += [
        "", f"`tritstream eval` on the validation text, {Path(config.valid or '-').name} "
        "(measured). `float` computes with the master weights, which are ternary in every product, "
        "`golden` with the image and the arithmetic of the hardware.", "",
        "## Training", "",
        f"{data} Files by SHA-256: "
        + ", ".join(f"`{Path(settings[key]).name}` {digest[:16]}"
                    for key, digest in run.digests.items()) + ".", "",
        f"{run.steps:,} steps, {last.tokens / 1e6:,.0f} M tokens in {last.seconds:.0f} s on "
        f"{machine}: {last.tokens / last.seconds / 1e6:.2f} M tokens per second over all, "
        f"{last.memory / 1e9:.2f} GB at most (measured). Last training loss {last.loss:.4f} nats "
        "per token.", "",
        f"![Loss]({run.picture.name})", "",
        "| setting | value |", "|---|---|",
        *(f"| {key} | {value} |" for key, value in used.items()), "",
        "Started by", "", f"    {_command(run.command)}", ""]
    return "\n".join(lines)


def _command(words: list[str]) -> str:
    """Command line as one would type it: names of files without their directories."""
    program = Path(words[0])
    if program.name == "__main__.py":
        words = [program.parent.name, *words[1:]]
    return shlex.join(re.sub(r"^(--[\w-]+=)?.*/", r"\1", word) for word in words)
