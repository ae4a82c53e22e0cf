"""The card of a trained model: what it is, how it was made, and how good it is."""

import dataclasses
import re
import shlex
from pathlib import Path

from tritstream.analysis.evaluate import Evaluation
from tritstream.image.image import Image
from tritstream.model.checkpoint import Checkpoint
from tritstream.model.config import count_parameters
from tritstream_train.run.curve import Curve, joined
from tritstream_train.run.directory import Run

__all__ = ["card", "figures"]

HYPER = ("start", "sequence", "batch", "span", "warmup", "rate", "vector_rate", "weight_decay",
         "dropout", "freeze", "beta1", "beta2", "clip", "dtype", "seed")
"""Settings that a card lists."""


def figures(runs: list[Run], evaluations: dict[str, Evaluation], image: Image, *, name: str,
            machine: str) -> dict:
    """What can be counted of a model and its training, for a card and for tables.

    Parameters
    ----------
    runs : list of Run
        All complete; each went on from the model of the one before, and the last is the model's.
    evaluations : dict
        Of the whole validation text, by device.
    image : Image
        The packed model.
    name : str
        Of the model.
    machine : str
        What it was trained on.
    """
    shape = Checkpoint.open(runs[-1].model).config
    curve = joined([Curve(run.curve).read() for run in runs])
    last = curve[-1]
    return {
        "name": name, "parameters": count_parameters(shape), "hidden": shape.hidden,
        "intermediate": shape.intermediate, "layers": shape.layers, "vocab": shape.vocab,
        "image_bytes": image.path.stat().st_size, "digest": image.digest,
        "steps": last.step, "tokens": last.tokens, "seconds": last.seconds,
        "memory": max(record.memory for record in curve), "loss": last.loss, "machine": machine,
        "text": Path(runs[-1].config.valid or "-").name,
        "evaluations": {device: dataclasses.asdict(one) for device, one in evaluations.items()}}


def card(runs: list[Run], found: dict, *, data: str) -> str:
    """Text of a card.

    Parameters
    ----------
    runs : list of Run
        As for `figures`.
    found : dict
        Their `figures`.
    data : str
        A sentence or more about the text and its rights, and what else is to be known.
    """
    name = found["name"]
    lines = [
        f"# {name}", "",
        "A MatMul-free language model (`hgrn_bit`, arXiv 2406.02528) of "
        f"{found['parameters'] / 1e6:.2f} M parameters: hidden {found['hidden']}, intermediate "
        f"{found['intermediate']}, {found['layers']} layers, {found['vocab']} tokens. Packed: "
        f"`{name}.trit`, {found['image_bytes']:,} bytes, digest {found['digest'][:16]}.", "",
        "| device | bits per byte | perplexity per token | favourites of float | tokens | bytes |",
        "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {device} | {one['bits_per_byte']:.4f} | {one['perplexity']:.2f} | "
              f"{one['top1_equal_float']:.2%} | {one['tokens']:,} | {one['bytes']:,} |"
              for device, one in found["evaluations"].items()]
    lines += [
        "", f"`tritstream eval` on the validation text, {found['text']} "
        "(measured). `float` computes with the master weights, which are ternary in every product, "
        "`golden` with the image and the arithmetic of the hardware; its favourites are compared "
        "with those of the image in float.", "",
        "## Training", "",
        f"{data} Files by SHA-256: " + ", ".join(dict.fromkeys(
            f"`{Path(getattr(run.config, key)).name}` {digest[:16]}"
            for run in reversed(runs) for key, digest in run.digests.items())) + ".", "",
        f"![Loss]({runs[-1].picture.name})", ""]
    for number, run in enumerate(runs, 1):
        if len(runs) > 1:
            lines += [f"### Run {number} of {len(runs)}", ""]
        lines += _training(run, found["machine"])
    return "\n".join(lines)


def _training(run: Run, machine: str) -> list[str]:
    last = Curve(run.curve).read()[-1]
    score = "" if last.valid is None else f", {last.valid:.4f} bits per byte"
    return [
        f"{run.config.steps:,} steps, {last.tokens / 1e6:,.0f} M tokens in {last.seconds:.0f} s on "
        f"{machine}: {last.tokens / last.seconds / 1e6:.2f} M tokens per second over all, "
        f"{last.memory / 1e9:.2f} GB at most (measured). Last training loss "
        f"{last.loss:.4f} nats per token{score}.", "",
        "| setting | value |", "|---|---|",
        *(f"| {key} | {value} |" for key, value in _used(run).items()), "",
        "Started by", "", f"    {_command(run.command)}", ""]


def _used(run: Run) -> dict:
    """Settings of a run that count."""
    settings = run.config.to_json()
    if run.config.start:
        settings["start"] = Path(run.config.start).name
    return {key: settings[key] for key in HYPER if settings[key] is not None}


def _command(words: list[str]) -> str:
    """Command line as one would type it: names of files without their directories."""
    program = Path(words[0])
    if program.name == "__main__.py":
        words = [program.parent.name, *words[1:]]
    return shlex.join(re.sub(r"^(--[\w-]+=)?(?:.*/)?([^/]+)/*$", r"\1\2", word)
                      for word in words)
