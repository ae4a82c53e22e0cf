"""`tritstream bench`: speed, in the columns of llama-bench."""

import csv
import io
import json as json_module
import random
import statistics
from typing import Annotated

import typer

from tritstream.catalog import DEFAULT_MODEL, Model
from tritstream.cli.console import progress, quantity, write
from tritstream.cli.options import JsonArray, ModelName, check_count, open_device, open_model
from tritstream.engines import DEVICES, Conversation, Engine
from tritstream.errors import BadInput
from tritstream.model.config import count_parameters

__all__ = ["bench"]

DEFAULT_DEVICE = "sim"
EVERY_DEVICE = "float,golden,sim"


def bench(
    model: ModelName = DEFAULT_MODEL,
    prompt: Annotated[int, typer.Option("-p", "--prompt", metavar="N",
                                        help="Tokens of the prompt test; 0: none.")] = 16,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N",
                                       help="Tokens of the generation test; 0: none.")] = 16,
    device: Annotated[str | None, typer.Option(
        "--device", metavar="DEVICE,…",
        help=f"One or more of {DEVICES}; default: {DEFAULT_DEVICE}.")] = None,
    full: Annotated[bool, typer.Option("--full", help=f"On {EVERY_DEVICE}.")] = False,
    repetitions: Annotated[int, typer.Option("-r", "--repetitions", metavar="N",
                                             help="Of each test.")] = 3,
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
    check_count("-p", prompt, least=0)
    check_count("-n", count, least=0)
    check_count("-r", repetitions)
    if prompt + count == 0:
        raise BadInput("-p 0 and -n 0 leave nothing to measure: one of them must be at least 1.")
    if full and device is not None:
        raise BadInput(f"--full measures on {EVERY_DEVICE}: leave out --full or --device {device}.")
    devices = EVERY_DEVICE if full else DEFAULT_DEVICE if device is None else device
    opened = open_model(model)
    rows = []
    for uri in devices.split(","):
        with open_device(uri, opened) as loaded:
            engine = loaded.engine
            for test, amount in (("pp", prompt), ("tg", count)):
                if amount:
                    rates = _rates(engine, test, amount, repetitions)
                    rows.append(_row(opened, uri, engine, test, amount, rates))
    write(f"{WRITERS[form](rows)}\n")


def _rates(engine: Engine, test: str, amount: int, repetitions: int) -> list[float]:
    draw = random.Random(0)
    tokens = [draw.randrange(engine.vocab) for _ in range(amount)]
    rates = []
    with engine.open() as conversation:
        conversation.step(tokens[0])    # what is done only once is not what is measured
    with progress(f"{engine.name} {test}{amount}") as show:
        for done in range(repetitions):
            show(done, repetitions)
            with engine.open() as conversation:
                began = engine.seconds
                if test == "pp":
                    conversation.feed(tokens)
                else:
                    _generate(conversation, tokens[0], amount)
                rates.append(amount / (engine.seconds - began))
    return rates


def _generate(conversation: Conversation, token: int, amount: int) -> None:
    """Play passes greedily; where a text ends, another begins."""
    while amount > 0:
        amount -= sum(1 for _ in conversation.run(token, amount))


def _row(model: Model, uri: str, engine: Engine, test: str, amount: int,
         rates: list[float]) -> dict:
    return {
        "model": model.name, "model_size": len(model.image.payload),
        "model_n_params": count_parameters(model.config),
        "device": uri, "test": f"{test}{amount}", "n_prompt": amount if test == "pp" else 0,
        "n_gen": amount if test == "tg" else 0, "avg_ts": statistics.fmean(rates),
        "stddev_ts": statistics.stdev(rates) if len(rates) > 1 else 0.0,
        "clock_hz": engine.clock_hz, "evidence": engine.evidence,
    }


def _markdown(rows: list[dict]) -> str:
    lines = ["| model | size | params | device | test | t/s | evidence |",
             "|---|---:|---:|---|---:|---:|---|"]
    for row in rows:
        lines.append(
            f"| {row['model']} | {quantity(row['model_size'], 'B')} | "
            f"{quantity(row['model_n_params'])} | {row['device']} | {row['test']} | "
            f"{row['avg_ts']:.2f} ± {row['stddev_ts']:.2f} | {row['evidence']} |")
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
