"""Makes a model to ship of a run: image, configuration, tokenizer, card and loss curve.

``python -m tritstream_train.release RUN -o DIRECTORY`` packs the exported model of a complete run,
evaluates image and float weights on the run's validation text, and writes all into DIRECTORY. The
name of the directory is the model's. If that run went on from another one's model, `--after` tells
of that. With ``--device cuda`` a GPU computes the integers of `golden`; the results are the same.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tritstream.analysis.evaluate import Evaluation
from tritstream.analysis.texts import read_documents
from tritstream.catalog import Model
from tritstream.cli.console import notes
from tritstream.cli.evaluate import score
from tritstream.errors import BadInput, TritstreamError
from tritstream.image.pack import pack
from tritstream.model.checkpoint import Checkpoint
from tritstream.support.files import write_whole
from tritstream_train.card import card, figures
from tritstream_train.data.tokens import digest_of
from tritstream_train.model.export import made_aside
from tritstream_train.model.load import digest_of_weights
from tritstream_train.run.curve import Curve, draw, joined
from tritstream_train.run.directory import Run

__all__ = ["FIGURES", "main", "release"]

FIGURES = "figures.json"
"""File of what can be counted of a model, `tritstream_train.card.figures`."""


def release(directory: Path, target: Path, *, machine: str, data: str, device: str = "golden",
            after: Sequence[Path] = ()) -> dict[str, Evaluation]:
    """Write what is shipped of a run.

    Parameters
    ----------
    directory : Path
        Of a run that is complete.
    target : Path
        Directory for NAME.trit, `config.json`, `tokenizer.json`, `losses.png`, `README.md` and
        `figures.json`, NAME being its own name.
    machine : str
        What the model was trained on.
    data : str
        A sentence or more about the text and its rights, and what else is to be known.
    device : str
        What computes the integers of the image: `golden`, or one with the same digests.
    after : sequence of Path
        Directories of complete runs, each of which went on from the model of the one before, as
        this run did from that of the last.

    Returns
    -------
    dict
        Evaluations of `float` and of `golden`.

    Raises
    ------
    BadInput
        A run is not complete; the released one held no text back to evaluate with, or that has
        changed; one is given twice, or did not start from the model of the one before; or the
        target exists.
    """
    if device == "float":
        raise BadInput("The device float does not compute the integers of the image, which the "
                       "card is to tell of: give golden, or cuda.")
    runs = [Run.open(path) for path in (*after, directory)]
    for run in runs:
        run.check_complete()
    if len({run.directory.resolve() for run in runs}) < len(runs):
        raise BadInput("A run is given twice: name with --after those before, each once.")
    for before, later in itertools.pairwise(runs):
        if later.digests.get("start") != digest_of_weights(before.model):
            raise BadInput(f"{later.directory} did not start from the model in {before.model}: "
                           "name with --after the runs that led to it, oldest first, or none.")
    if run.config.valid is None:
        raise BadInput(f"{directory} held no text back: train with --valid FILE, by which models "
                       "can be compared.")
    if digest_of(run.config.valid) != run.digests["valid"]:
        raise BadInput(f"The contents of {run.config.valid} have changed since the run in "
                       f"{directory} began: bring them back.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadInput(f"{target} exists already: remove it, or give another directory.")
    documents = read_documents(run.config.valid)
    name = target.resolve().name
    with made_aside(target.resolve()) as aside:
        checkpoint = Checkpoint.open(run.model)
        image = pack(checkpoint, aside / f"{name}.trit")
        models = {"float": (Model(name, run.model), "float"),
                  "golden": (Model(name, image.path), device)}
        evaluations = {label: score(model, place, documents)
                       for label, (model, place) in models.items()}
        for file in (run.model / "config.json", checkpoint.tokenizer_path):
            write_whole(aside / file.name, file.read_bytes())
        draw(joined([Curve(run.curve).read() for run in runs]), aside / run.picture.name, name)
        found = figures(runs, evaluations, image, name=name, machine=machine)
        write_whole(aside / FIGURES, (json.dumps(found, indent=1) + "\n").encode())
        write_whole(aside / "README.md", card(runs, found, data=data).encode())
    return evaluations


def main(arguments: list[str] | None = None) -> int:
    """Release a model; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_train.release",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="directory of a complete run")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIRECTORY",
                        help="named as the model is to be")
    parser.add_argument("--after", type=Path, action="append", default=[], metavar="RUN",
                        help="run that it went on from, again for one before that, oldest first")
    parser.add_argument("--machine", required=True, help="what it was trained on")
    parser.add_argument("--data", required=True, help="about the text and its rights")
    parser.add_argument("--device", default="golden", help="golden, or cuda for the same faster")
    options = parser.parse_args(arguments)
    try:
        found = release(options.run, options.output, machine=options.machine, data=options.data,
                        device=options.device, after=options.after)
    except TritstreamError as error:
        notes().print(f"error: {error}")
        return error.exit_code
    except OSError as error:
        notes().print(f"error: {error.filename or 'A file or a device'} cannot be used: "
                      f"{error.strerror or error}; {options.output} was not made: mend that, and "
                      "repeat.")
        return BadInput.exit_code
    for device, one in found.items():
        print(f"{device}: {one.bits_per_byte:.4f} bits per byte")
    return 0


if __name__ == "__main__":
    sys.exit(main())
