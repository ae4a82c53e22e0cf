"""The card of a trained model: what it is, how it was made, and how good it is.

``python -m tritstream_train.card RUN --float FILE --golden FILE`` writes `README.md` into the
exported model of a run. The files are what ``tritstream eval --json`` printed with
``--device float`` and ``--device golden``.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

from tritstream.checkpoint import Checkpoint, tensor_shapes
from tritstream.console import notes
from tritstream.errors import BadInput, TritstreamError
from tritstream.files import write_whole
from tritstream_train.curve import Curve
from tritstream_train.run import Run

__all__ = ["card", "main"]

HYPER = ("sequence", "batch", "span", "warmup", "schedule", "optimizer", "rate", "vector_rate",
         "matrix_rate", "weight_decay", "beta1", "beta2", "clip", "dtype", "seed")


def card(directory: Path, evaluations: dict[str, dict], machine: str, *, name: str, data: str
         ) -> str:
    """Text of a card.

    Parameters
    ----------
    directory : Path
        Of a run that is complete.
    evaluations : dict
        Results of `tritstream eval --json` on the validation text, by device.
    machine : str
        What the model was trained on.
    name : str
        Of the model.
    data : str
        One sentence about the text and its rights.

    Raises
    ------
    BadInput
        The run is not complete.
    """
    run = Run.open(directory)
    config, records = run.config, Curve(run.curve).read()
    if not records or records[-1].step != run.steps:
        raise BadInput(f"{directory} is at step {records[-1].step if records else 0} of "
                       f"{run.steps}: finish the run with --resume first.")
    last, shape = records[-1], Checkpoint.open(run.model).config
    size = sum(_elements(shape_) for shape_ in tensor_shapes(shape).values())
    settings = config.to_json()
    used = {key: settings[key] for key in HYPER if settings[key] is not None
            and (key != "matrix_rate" or config.optimizer == "muon")}
    lines = [
        f"# {name}", "",
        f"A MatMul-free language model (`hgrn_bit`, arXiv 2406.02528) of {size / 1e6:.2f} M "
        f"parameters: hidden {shape.hidden}, intermediate {shape.intermediate}, {shape.layers} "
        f"layers, {shape.vocab} tokens. Master weights, which `tritstream pack` makes ternary.", "",
        "| device | bits per byte | perplexity per token | tokens | bytes |",
        "|---|---:|---:|---:|---:|"]
    lines += [f"| {device} | {one['bits_per_byte']:.4f} | {one['perplexity']:.2f} | "
              f"{one['tokens']:,} | {one['bytes']:,} |" for device, one in evaluations.items()]
    lines += [
        "", f"`tritstream eval` on the validation text, {Path(config.valid or '-').name} "
        "(measured). `golden` is the arithmetic of the hardware.", "",
        "## Training", "",
        f"{data} Files by SHA-256: "
        + ", ".join(f"`{Path(settings[key]).name}` {digest[:16]}"
                    for key, digest in run.digests.items()) + ".", "",
        f"{run.steps:,} steps, {last.tokens / 1e6:,.0f} M tokens in {last.seconds:.0f} s on "
        f"{machine}: {last.tokens / last.seconds / 1e6:.2f} M tokens per second over all, "
        f"{last.memory / 1e9:.2f} GB at most (measured). Last training loss {last.loss:.4f} nats "
        "per token.", "",
        "| setting | value |", "|---|---|",
        *(f"| {key} | {value} |" for key, value in used.items()), "",
        "Started by", "", f"    {_command(run.command)}", ""]
    return "\n".join(lines)


def _elements(shape: tuple[int, ...]) -> int:
    return shape[0] * (shape[1] if len(shape) > 1 else 1)


def _command(words: list[str]) -> str:
    """Command line as one would type it: names of files without their directories."""
    shown = ["tritstream", *words[1:]]
    return shlex.join(Path(word).name if "/" in word else word for word in shown)


def main(arguments: list[str] | None = None) -> int:
    """Write a card; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_train.card",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--float", type=Path, required=True, help="of eval --json --device float")
    parser.add_argument("--golden", type=Path, required=True, help="of eval --json --device golden")
    parser.add_argument("--machine", required=True, help="what it was trained on")
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", required=True, help="one sentence about the text and its rights")
    options = parser.parse_args(arguments)
    try:
        found = {device: _evaluation(path) for device, path in (("float", options.float),
                                                                ("golden", options.golden))}
        text = card(options.run, found, options.machine, name=options.name, data=options.data)
        write_whole(Run.open(options.run).model / "README.md", text.encode())
    except TritstreamError as error:
        notes().print(f"error: {error}")
        return error.exit_code
    return 0


def _evaluation(path: Path) -> dict:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {key: table[key] for key in ("bits_per_byte", "perplexity", "tokens", "bytes")}
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} is not what `tritstream eval --json` prints: {error!r}.") from error


if __name__ == "__main__":
    sys.exit(main())
