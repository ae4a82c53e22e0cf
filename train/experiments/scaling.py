"""Tests the paper's claim of scaling: MatMul-free models against transformers of the same size.

``python train/experiments/scaling.py run --data FILE --valid FILE --tokenizer FILE`` trains one
model after another and adds each result to a file as a line of JSON; it goes on where it stopped,
and refuses a file whose results are of other inputs. ``… report`` writes the document and its
picture from that file. Models of both kinds have the same hidden and intermediate sizes, layers and
vocabulary, hence the same matrices, and read the same windows in the same order. The learning rate
of each is tuned alike: from the same first guess in steps of a factor of two, until the best rate
has a worse one on either side. Restless trits freeze, which a transformer does not have.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import torch

import transformer
from tritstream.cli.console import notes
from tritstream.errors import BadInput, TritstreamError
from tritstream.model.tokenizer import Tokenizer, decode_utf8
from tritstream.support.files import write_whole
from tritstream.support.picture import write_picture
from tritstream_train.config import TrainConfig
from tritstream_train.data.tokens import digest_of, read_texts
from tritstream_train.data.validation import Validation
from tritstream_train.model.load import build, load_pretrained
from tritstream_train.run.curve import Curve
from tritstream_train.run.loop import LostLoss, train
from tritstream_train.run.report import reporting

__all__ = ["SIZES", "Case", "Result", "main", "next_rate", "read_results", "tuned",
           "write_report"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "scaling.jsonl"
DOCUMENT = ROOT / "docs" / "scaling.md"

SIZES = {
    "2M": {"hidden": 128, "intermediate": 384, "layers": 4},
    "7M": {"hidden": 256, "intermediate": 768, "layers": 6},
    "28M": {"hidden": 512, "intermediate": 1536, "layers": 7},
}
"""Shapes; with 4,096 tokens of vocabulary the parameters span more than a decade."""

NAMES = {"hgrn_bit": "MatMul-free", "transformer": "Transformer++"}
ARCHITECTURES = {"hgrn_bit": build, "transformer": transformer.build}
"""What makes a model of a run and its shape."""

FIRST_RATE = 4e-3
FACTOR = 2.0                # between rates that are tried
FREEZE = 0.5                # share of the steps
WEIGHT_DECAY = 0.1          # of both
MOST_RATES = 7


@dataclasses.dataclass(frozen=True)
class Case:
    """One training.

    Parameters
    ----------
    arch : str
        Of `ARCHITECTURES`.
    size : str
        Of `SIZES`.
    rate : float
        Peak learning rate.
    tokens : int
        Learned from, as many for every size.
    sequence, batch : int
        Tokens of a window, and windows of a step.
    """

    arch: str
    size: str
    rate: float
    tokens: int
    sequence: int
    batch: int


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a training.

    Parameters
    ----------
    case : Case
        The training.
    parameters : int
        Of the model.
    windowed : float
        Bits per byte, each token behind half a window to a whole one; infinite, like `loss`, if the
        loss was lost.
    carried : float or None
        Bits per byte with the state carried through each text; None without a state.
    loss : float
        At the end of training, nats per token.
    seconds : float
        Spent in training.
    machine : str
        What it was trained on.
    digest : str or None
        Of what results share that are compared, see `digests`; None where it was not kept.
    """

    case: Case
    parameters: int
    windowed: float
    carried: float | None
    loss: float
    seconds: float
    machine: str
    digest: str | None = None


def read_results(path: Path) -> list[Result]:
    """Results so far; none without the file.

    Raises
    ------
    BadInput
        The file cannot be read, or a line is not a result.
    """
    if not path.exists():
        return []
    try:
        text = decode_utf8(path.read_bytes(), str(path))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; give the name of a file with "
                       "--results.") from error
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found.append(_parse(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path}, line {number}, is not a result: remove it, and it is "
                           "computed again.") from error
    return found


def _parse(table: dict) -> Result:
    numbers = {name: math.inf if table[name] is None else float(table[name])
               for name in ("windowed", "loss")}
    return Result(**table | numbers | {"case": Case(**table["case"])})


def _line(result: Result) -> str:
    """Inverse of `_parse`; JSON has no numbers that are not finite, and they become null."""
    table = {name: None if isinstance(value, float) and not math.isfinite(value) else value
             for name, value in dataclasses.asdict(result).items()}
    return json.dumps(table, allow_nan=False) + "\n"


def next_rate(results: Iterable[Result]) -> float | None:
    """Rate to try next for one architecture and size; None when enough were.

    Parameters
    ----------
    results : iterable of Result
        Of that architecture and size.
    """
    scores = {result.case.rate: result.windowed for result in results}
    if not scores:
        return FIRST_RATE
    best = min(scores, key=scores.get)
    around = [best * FACTOR, best / FACTOR]
    if math.isinf(scores[best]):
        around = [min(scores) / FACTOR]
    new = [rate for rate in around if not any(math.isclose(rate, other) for other in scores)]
    return new[0] if new and len(scores) < MOST_RATES else None


def tuned(results: Iterable[Result]) -> Result | None:
    """Return the best result of one architecture and size, if its rate has worse ones around it."""
    results = list(results)
    best = min(results, key=lambda result: result.windowed, default=None)
    if best is None or math.isinf(best.windowed):
        return None
    around = (best.case.rate * FACTOR, best.case.rate / FACTOR)
    found = all(any(math.isclose(rate, one.case.rate) for one in results) for rate in around)
    return best if found else None


def select(results: Iterable[Result], like: Case) -> list[Result]:
    """Results of cases that differ from one in nothing but the rate."""
    return [result for result in results
            if dataclasses.replace(result.case, rate=like.rate) == like]


def digests(settings: dict) -> dict[str, str]:
    """Short digest of everything that a result depends on beside its case, for each of `SIZES`.

    Parameters
    ----------
    settings : dict
        Of all trainings; files count by their contents.
    """
    shared = {name: digest_of(settings[name]) for name in ("data", "valid", "tokenizer")}
    shared |= {name: settings[name] for name in ("vocab", "warmup", "dtype")}
    shared |= {"weight_decay": WEIGHT_DECAY, "freeze": FREEZE}
    return {size: hashlib.sha256(json.dumps(shared | shape, sort_keys=True).encode()
                                 ).hexdigest()[:16] for size, shape in SIZES.items()}


def check_same(results: Iterable[Result], expected: dict[str, str], path: Path):
    """Raise `BadInput` unless the results in a file have the digests that are expected."""
    for number, result in enumerate(results, 1):
        digest = expected.get(result.case.size)
        if result.digest is None or result.digest != digest:
            raise BadInput(f"{path}, line {number}, is of other data, validation text, tokenizer "
                           f"or settings (digest {result.digest}, not {digest}): give those, or "
                           "another --results and another --directory.")


def run_case(case: Case, settings: dict, directory: Path) -> Result:
    """Train a model, or finish training it, and score it.

    A rate so high that the loss is lost counts as a score of infinity.
    """
    config = TrainConfig(**SIZES[case.size] | settings | {
        "rate": case.rate, "sequence": case.sequence, "batch": case.batch,
        "weight_decay": WEIGHT_DECAY,
        "freeze": FREEZE if case.arch == "hgrn_bit" else 0.0,
        "graph": settings["device"] == "cuda",
        "steps": case.tokens // (case.batch * case.sequence)})
    run = directory / (f"{case.arch}-{case.size}-{case.rate:g}-{case.tokens}-"
                       f"{case.batch}x{case.sequence}")
    with reporting(False) as report:
        report.say(f"{NAMES[case.arch]}, {case.size}, rate {case.rate:g}")
        try:
            summary = train(config, run, resume=(run / "run.json").exists(), report=report,
                            build=ARCHITECTURES[case.arch])
        except LostLoss:
            records = Curve(run / "losses.csv").read()
            return Result(case, 0, math.inf, None, math.inf,
                          records[-1].seconds if records else 0.0, _machine(config.device))
    windowed, carried = summary.valid, None
    if case.arch == "hgrn_bit":
        windowed, carried = _windowed(config, Path(summary.model)), summary.valid
    return Result(case, summary.parameters, windowed, carried, summary.loss, summary.seconds,
                  _machine(config.device))


def _windowed(config: TrainConfig, exported: Path) -> float:
    device = torch.device(config.device)
    model = load_pretrained(exported, fused=config.device == "cuda",
                            dtype=getattr(torch, config.dtype)).to(device)
    tokenizer = Tokenizer.open(exported / "tokenizer.json", model.config)
    validation = Validation(read_texts(config.valid), tokenizer, config.sequence)
    return validation.bits_per_byte(model, device, windowed=True)


def _machine(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} CPU"


def run_all(arguments: argparse.Namespace, architectures: Iterable[str], sizes: Iterable[str]):
    """Run what is missing, smallest first, until everything is there or the time is over."""
    deadline = time.monotonic() + 60 * arguments.minutes
    for name in ("tokens", "sequence", "batch"):
        if getattr(arguments, name) < 1:
            raise BadInput(f"--{name} must be at least 1, not {getattr(arguments, name)}.")
    if arguments.tokens < arguments.batch * arguments.sequence:
        raise BadInput(f"--tokens {arguments.tokens} is less than a step of {arguments.batch} x "
                       f"{arguments.sequence} tokens: give more.")
    _directory_of(arguments.results)
    settings = {
        "data": arguments.data, "valid": arguments.valid, "tokenizer": arguments.tokenizer,
        "vocab": arguments.vocab, "warmup": arguments.warmup,
        "device": arguments.device,
        "dtype": "bfloat16" if arguments.device == "cuda" else "float32"}
    digest = digests(settings)
    check_same(read_results(arguments.results), digest, arguments.results)
    for size in sizes:
        for arch in architectures:
            case = Case(arch, size, FIRST_RATE, arguments.tokens, arguments.sequence,
                        arguments.batch)
            while time.monotonic() < deadline:
                rate = next_rate(select(read_results(arguments.results), case))
                if rate is None:
                    break
                result = run_case(dataclasses.replace(case, rate=rate), settings,
                                  arguments.directory)
                with open(arguments.results, "a", encoding="utf-8") as file:
                    file.write(_line(dataclasses.replace(result, digest=digest[size])))


def _directory_of(path: Path) -> Path:
    """Make the directory that a file is to be in."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{path.parent} cannot be made: {error.strerror}.") from error
    return path.parent


def write_report(results: list[Result], document: Path):
    """Write the document and, beside it, its picture.

    Raises
    ------
    BadInput
        There is no size at which both architectures are tuned.
    """
    longest = max((result.case for result in results), key=lambda case: case.tokens, default=None)
    chosen = {(arch, size): select(results, dataclasses.replace(longest, arch=arch, size=size))
              for size in SIZES for arch in ARCHITECTURES if longest}
    best = {key: result for key, found in chosen.items() if (result := tuned(found))}
    sizes = [size for size in SIZES if all((arch, size) in best for arch in ARCHITECTURES)]
    if not sizes:
        raise BadInput("There is no size of which both architectures are tuned: go on with "
                       "`python train/experiments/scaling.py run`.")
    picture = document.parent / "images" / "scaling.png"
    _directory_of(picture)
    _draw([best["hgrn_bit", size] for size in sizes],
          [best["transformer", size] for size in sizes], longest.tokens, picture)
    machines = ", ".join(sorted({result.machine for result in best.values()}))
    lines = [
        "# Scaling: MatMul-free models against transformers", "",
        "Written by `python train/experiments/scaling.py report`; its docstring says how the "
        "models are made equal and tuned.", "",
        f"{longest.tokens / 1e6:.0f} M tokens for every model, {longest.batch} windows of "
        f"{longest.sequence} tokens a step, measured on {machines}. Bits per byte on "
        "the validation books; *windows*: every token behind half a window to a whole one, the "
        "measure to compare by; *carried*: the state carried through each book, which only the "
        "MatMul-free model has.", "",
        "| size | model | parameters | best rate | rates tried | windows | carried |",
        "|---|---|---:|---:|---|---:|---:|"]
    for size in sizes:
        for arch in ARCHITECTURES:
            result, tried = best[arch, size], chosen[arch, size]
            rates = " ".join(f"{rate:g}" for rate in sorted(one.case.rate for one in tried))
            carried = "" if result.carried is None else f"{result.carried:.4f}"
            lines.append(f"| {size} | {NAMES[arch]} | {result.parameters / 1e6:.2f} M | "
                         f"{result.case.rate:g} | {rates} | {result.windowed:.4f} | {carried} |")
    gaps = [(best["hgrn_bit", size].windowed / best["transformer", size].windowed - 1)
            for size in sizes]
    lines += ["", "MatMul-free relative to Transformer++, in windows: "
              + ", ".join(f"{gap:+.1%} at {size}" for gap, size in zip(gaps, sizes, strict=True))
              + ".", "", "![Bits per byte over parameters](images/scaling.png)", ""]
    write_whole(document, "\n".join(lines).encode())


def _draw(ours: list[Result], theirs: list[Result], tokens: int, path: Path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for results, marker in ((ours, "o"), (theirs, "s")):
        axes.plot([result.parameters for result in results],
                  [result.windowed for result in results], marker=marker,
                  label=NAMES[results[0].case.arch])
    axes.set(xscale="log", xlabel="parameters", ylabel="bits per byte, windows",
             title=f"{tokens / 1e6:.0f} M tokens each")
    axes.set_xticks([result.parameters for result in ours],
                    [f"{result.parameters / 1e6:.1f} M" for result in ours])
    axes.tick_params(axis="x", which="minor", bottom=False, labelbottom=False)
    axes.grid(alpha=0.3)
    axes.legend()
    write_picture(figure, path)


def main(arguments: list[str] | None = None) -> int:
    """Run or report; return the exit code."""
    parser = argparse.ArgumentParser(prog="python train/experiments/scaling.py",
                                     description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    run = steps.add_parser("run", help="train what is missing")
    run.add_argument("--data", required=True)
    run.add_argument("--valid", required=True)
    run.add_argument("--tokenizer", required=True)
    run.add_argument("--vocab", type=int, default=4096)
    run.add_argument("--tokens", type=int, default=100_000_000)
    run.add_argument("--sequence", type=int, default=512)
    run.add_argument("--batch", type=int, default=64)
    run.add_argument("--warmup", type=int, default=200)
    run.add_argument("--arch", choices=ARCHITECTURES, help="only this one")
    run.add_argument("--size", choices=SIZES, help="only this one")
    run.add_argument("--minutes", type=float, default=math.inf,
                     help="begin no training after so long")
    run.add_argument("--device", choices=["cuda", "cpu"],
                     default="cuda" if torch.cuda.is_available() else "cpu")
    run.add_argument("--directory", type=Path, default=Path("build/scaling"))
    report = steps.add_parser("report", help="write the document")
    report.add_argument("--output", type=Path, default=DOCUMENT)
    for step in (run, report):
        step.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    try:
        if options.step == "run":
            run_all(options, [options.arch] if options.arch else ARCHITECTURES,
                    [options.size] if options.size else SIZES)
        else:
            write_report(read_results(options.results), options.output)
    except TritstreamError as error:
        notes().print(f"error: {error}")
        return error.exit_code
    except OSError as error:
        notes().print(f"error: {error.filename or 'A file'} cannot be used: "
                      f"{error.strerror or error}; mend that, and repeat the command.")
        return BadInput.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
