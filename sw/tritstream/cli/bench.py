"""`tritstream bench`: speed, in the columns of llama-bench."""

import csv
import io
import json as json_module
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer

from tritstream.analysis.bench import Speed, SpeedTest, measure
from tritstream.catalog import DEFAULT_MODEL, Model
from tritstream.cli.console import notes, progress, quantity, write
from tritstream.cli.options import JsonArray, ModelName, open_device, open_model
from tritstream.engines import DEVICES, Engine
from tritstream.errors import BadInput
from tritstream.model.config import count_parameters
from tritstream.transport.address import whole_number

__all__ = ["bench"]

DEFAULT_DEVICE = "sim"
EVERY_DEVICE = "float,golden,sim"
MOST = 1_000_000            # of tokens, lanes and repetitions

USUAL = {"prompt": "512", "count": "128", "repetitions": "3"}
SIMULATED = {"prompt": "64", "count": "32", "repetitions": "1"}
"""Where a token takes its time, and the same tokens take the same cycles."""


def bench(
    model: ModelName = DEFAULT_MODEL,
    prompt: Annotated[str | None, typer.Option(
        "-p", "--prompt", metavar="N,…", help="Tokens of the prompt tests; 0: none; default: "
        f"{USUAL['prompt']}, simulated {SIMULATED['prompt']}.")] = None,
    count: Annotated[str | None, typer.Option(
        "-n", "--count", metavar="N,…", help="Tokens of the generation tests; 0: none; default: "
        f"{USUAL['count']}, simulated {SIMULATED['count']}.")] = None,
    lanes: Annotated[str, typer.Option("--lanes", metavar="N,…",
                                       help="Conversations side by side.")] = "1",
    device: Annotated[str | None, typer.Option(
        "--device", metavar="DEVICE,…",
        help=f"One or more of {DEVICES}; default: {DEFAULT_DEVICE}.")] = None,
    full: Annotated[bool, typer.Option("--full", help=f"On {EVERY_DEVICE}.")] = False,
    repetitions: Annotated[str | None, typer.Option(
        "-r", "--repetitions", metavar="N", help="Of each test; default: "
        f"{USUAL['repetitions']}, simulated {SIMULATED['repetitions']}.")] = None,
    form: Annotated[str | None, typer.Option(
        "-o", "--output", metavar="FORMAT", help="md, csv, json or jsonl; default: md.")] = None,
    json: JsonArray = False,
):
    """Measure the speed of prompts (pp) and of generation (tg)."""
    if json and form not in (None, "json"):
        raise BadInput(f"--json means -o json: leave out --json or -o {form}.")
    form = "json" if json else form or "md"
    if form not in WRITERS:
        raise BadInput(f"-o {form} is not a format: give {', '.join(WRITERS)}.")
    if full and device is not None:
        raise BadInput(f"--full measures on {EVERY_DEVICE}: leave out --full or --device {device}.")
    given = {"prompt": prompt, "count": count, "repetitions": repetitions}
    given = {name: value for name, value in given.items() if value is not None}
    plans = {simulated: _Plan.of(lanes=lanes, **(usual | given))
             for simulated, usual in ((False, USUAL), (True, SIMULATED))}
    devices = EVERY_DEVICE if full else DEFAULT_DEVICE if device is None else device
    opened = open_model(model)
    rows = []
    for uri in devices.split(","):
        with open_device(uri, opened) as loaded:
            simulated = loaded.engine.evidence == "simulated"
            if simulated and len(given) < len(SIMULATED):
                notes().print(f"{uri} is simulated: {plans[True].text}; -p, -n and -r give others.")
            rows += _rows(opened, uri, loaded.engine, plans[simulated])
    write(f"{WRITERS[form](rows)}\n")


class _Plan(NamedTuple):
    """What is measured on a device, and how often."""

    tests: list[SpeedTest]
    repetitions: int

    @classmethod
    def of(cls, *, prompt: str, count: str, lanes: str, repetitions: str) -> "_Plan":
        """Read the options of these names."""
        sizes = [(size, 0) for size in _numbers("-p", prompt, 0) if size]
        sizes += [(0, size) for size in _numbers("-n", count, 0) if size]
        if not sizes:
            raise BadInput("-p 0 and -n 0 leave nothing to measure: one of them must be at least "
                           "1.")
        (often,) = _numbers("-r", repetitions, 1, several=False)
        return cls([SpeedTest(*size, together) for together in _numbers("--lanes", lanes, 1)
                    for size in sizes], often)

    @property
    def text(self) -> str:
        """For a note."""
        times = "once" if self.repetitions == 1 else f"{self.repetitions} times"
        return f"{', '.join(dict.fromkeys(test.name for test in self.tests))}, {times}"


def _numbers(option: str, text: str, least: int, *, several: bool = True) -> list[int]:
    """Read numbers with commas between them, or one, each at least `least`."""
    parts = text.split(",") if several else [text]
    numbers = [whole_number(part.strip(), least, MOST) for part in parts]
    if None in numbers:
        more = ", or several such numbers with commas between them" if several else ""
        raise BadInput(f"{option} must be {least} to {MOST:,}{more}, not {text[:40]!r}.")
    return list(dict.fromkeys(numbers))


def _rows(model: Model, uri: str, engine: Engine, plan: _Plan) -> Iterator[dict]:
    for test in plan.tests:
        with progress(f"{engine.name} {test.name}") as show:
            speed = measure(engine, test, plan.repetitions, show)
        yield _row(model, uri, engine, test, speed)


def _row(model: Model, uri: str, engine: Engine, test: SpeedTest, speed: Speed) -> dict:
    return {
        "model": model.name, "model_size": len(model.image.payload),
        "model_n_params": count_parameters(model.config),
        "device": uri, "build": engine.build, "clock_hz": engine.clock_hz,
        "test": test.name, "n_prompt": test.n_prompt, "n_gen": test.n_gen, "lanes": test.lanes,
        "tokens_per_second": speed.tokens_per_second,
        "tokens_per_second_deviation": speed.deviation,
        "cycles_per_token": speed.cycles_per_token, "stalls": speed.stalls,
        "evidence": engine.evidence,
    }


def _markdown(rows: list[dict]) -> str:
    lines = ["| model | size | params | device | lanes | test | t/s | cycles/token | stalls | "
             "evidence |", "|---|---:|---:|---|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        cycles, stalls = ("" if row[name] is None else f"{row[name]:,.0f}"
                          for name in ("cycles_per_token", "stalls"))
        lines.append(
            f"| {row['model']} | {quantity(row['model_size'], 'B')} | "
            f"{quantity(row['model_n_params'])} | {row['device']} | {row['lanes']} | "
            f"{row['test']} | {row['tokens_per_second']:.2f} ± "
            f"{row['tokens_per_second_deviation']:.2f} | {cycles} | {stalls} | "
            f"{row['evidence']} |")
    return "\n".join(lines)


def _csv(rows: list[dict]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


WRITERS = {
    "md": _markdown,
    "csv": _csv,
    "json": lambda rows: json_module.dumps(rows, indent=2),
    "jsonl": lambda rows: "\n".join(map(json_module.dumps, rows)),
}
