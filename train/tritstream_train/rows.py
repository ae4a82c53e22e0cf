"""Rows of the tables in the documents, made of what the benchmarks and releases have written."""

import statistics

from tritstream_train.benchmark import PUBLISHED
from tritstream_train.curve import Record

__all__ = ["CODES", "element_rows", "engine_rows", "model_rows", "parallel_rows", "preset_rows",
           "product_rows", "recurrence_rows", "step_rows"]

CODES = {"fused": "this package, fused", "graphed": "the same as a CUDA graph",
         "plain": "this package, plain", "authors": "the authors', fused"}
"""Names of the paths of `tritstream_train.benchmark`."""

OURS = "this package"
RUNS = {"one": "one, two parts a step", "ddp": "two, DDP", "fsdp": "two, FSDP2"}
"""Curves of the same training on one and two GPUs, by the name of their file."""


def step_rows(found: dict) -> list[dict]:
    """Rows of the table `speed`, of what `tritstream_train.benchmark` has written."""
    return [{"model": one["model"], "code": CODES[one["path"]],
             "sequences x tokens": f"{one['batch']} x {one['tokens']}",
             "ms a step": f"{one['milliseconds']:.1f}",
             "k tokens per second": f"{one['speed'] / 1e3:.1f}",
             "of the products' peak": f"{one['share']:.0%}", "GB": f"{one['gigabytes']:.2f}"}
            for one in found["results"] if one["model"] in PUBLISHED]


def preset_rows(found: dict) -> list[dict]:
    """Rows of the table `small`, of the same."""
    speeds = {(one["model"], one["path"]): f"{one['speed'] / 1e6:.2f}" for one in found["results"]}
    sizes = {one["model"]: f"{one['batch']} x {one['tokens']}" for one in found["results"]
             if one["model"] not in PUBLISHED}
    return [{"model": model, "sequences x tokens": size}
            | {CODES[path]: speeds.get((model, path), "") for path in CODES}
            for model, size in sizes.items()]


def recurrence_rows(found: dict) -> list[dict]:
    """Rows of the table `recurrence`, of what `tritstream_train.kernel_benchmark` has written."""
    rows: dict[str, dict] = {}
    for one in found["timings"]:
        if one["kernel"].startswith("recurrence "):
            row = rows.setdefault(one["code"], {"kernel": f"fla-core, {one['code']}: recurrence "
                                  "alone" if one["code"] != OURS else
                                  f"{OURS}: gates and recurrence"})
            pass_ = one["kernel"].removeprefix("recurrence ")
            row[f"{one['shape'][-1]}: {pass_}, us"] = round(one["microseconds"])
    return list(rows.values())


def product_rows(found: dict) -> list[dict]:
    """Rows of the table `products`, of the same: 10^12 operations per second."""
    timings = [one for one in found["timings"] if one["kernel"] == "product"]
    codes = list(dict.fromkeys(one["code"] for one in timings))
    rows: dict[str, dict] = {}
    for one in timings:
        count, *sizes = one["shape"]
        name = (f"{count} of " if count > 1 else "") + " x ".join(map(str, sizes))
        row = rows.setdefault(name, {"rows x inputs x outputs": name} | dict.fromkeys(codes, ""))
        row[one["code"]] = f"{one['operations'] / one['microseconds'] / 1e6:.0f}"
    return [{key.replace(OURS, "int8 x ternary"): value for key, value in row.items()}
            for row in rows.values()]


def element_rows(found: dict) -> list[dict]:
    """Rows of the table `elementwise`, of the same; the floor is a copy of as many bytes."""
    theirs = {one["kernel"]: one["microseconds"] for one in found["timings"]
              if one["code"] == "fla"}
    return [{"kernel": one["kernel"], "us": round(one["microseconds"]),
             "floor, us": round(1e6 * one["moved"] / found["bytes_per_second"])
             if one["moved"] else "", "fla-core, us": round(theirs[one["kernel"]])}
            for one in found["timings"] if one["code"] == OURS and one["kernel"] in theirs]


def parallel_rows(curves: dict[str, list[Record]]) -> list[dict]:
    """Rows of the table `parallel`.

    Parameters
    ----------
    curves : dict
        The curve of each of `RUNS`, their lines after as many steps; the first line has the time
        of compilation in it, and is left out of the speed.
    """
    speeds = {name: statistics.median(record.speed for record in curve[1:])
              for name, curve in curves.items()}
    return [{"GPUs": label, "k tokens per second": f"{speeds[name] / 1e3:.1f}",
             "of as many times one": f"{speeds[name] / speeds['one'] / (1 + (name != 'one')):.1%}",
             "GB on each": f"{curves[name][-1].memory / 1e9:.1f}"}
            | {f"loss at step {record.step}": f"{record.loss:.6f}" for record in curves[name]}
            for name, label in RUNS.items() if name in curves]


def engine_rows(found: dict) -> list[dict]:
    """Rows of the table `engine`, of what `tritstream_train.engine.benchmark` has written."""
    return [{"model": one["model"], "test": f"generate, {one['conversations']} at a time"
             if one["test"] == "generate" else
             f"prompt of {one['speed'] * one['milliseconds'] / 1e3:,.0f} tokens",
             "tokens per second": round(one["speed"]), "ms": f"{one['milliseconds']:.3f}",
             "GB": f"{one['allocated'] / 1e3:.3f}", "roof, tokens per second": round(one["roof"]),
             "of the roof": f"{one['speed'] / one['roof']:.1%}"}
            for one in found["measurements"]]


def model_rows(found: list[dict]) -> list[dict]:
    """Rows of the table `models`.

    Parameters
    ----------
    found : list of dict
        The `tritstream_train.card.figures` of each model.
    """
    return [{"model": one["name"], "M parameters": round(one["parameters"] / 1e6, 2),
             "hidden, GLU, layers, vocabulary": f"{one['hidden']}, {one['intermediate']}, "
             f"{one['layers']}, {one['vocab']}", "bytes of the image": f"{one['image_bytes']:,}",
             "M tokens": f"{one['tokens'] / 1e6:,.0f}", "seconds": f"{one['seconds']:,.0f}",
             **{f"bits per byte, {device}": f"{score['bits_per_byte']:.4f}"
                for device, score in one["evaluations"].items()},
             "trained on": one["machine"]}
            for one in sorted(found, key=lambda one: one["parameters"])]
