"""Rows of the tables in the documents, made of what the benchmarks and releases have written."""

import statistics

__all__ = ["CODES", "engine_rows", "lanes_rows", "library_rows", "model_rows", "parallel_rows",
           "step_rows"]

CODES = {"fused": "this package, fused", "graphed": "the same as a CUDA graph",
         "plain": "this package, plain", "authors": "the authors', fused"}
"""Names of the paths of `train/benchmarks/step.py`."""

PUBLISHED = ("370M", "1.3B")
"""Shapes whose steps stand in a table and in the picture."""
OURS = "this package"
RUNS = {"one": "one, two parts a step", "ddp": "two, DDP", "fsdp": "two, FSDP2"}
"""Curves of the same training on one and two GPUs, by the name of their file."""
GPUS = {"one": 1, "ddp": 2, "fsdp": 2}


def step_rows(found: dict) -> list[dict]:
    """Rows of the table `speed`: the published shapes that `train/benchmarks/step.py` timed."""
    return [{"model": one["model"], "code": CODES[one["path"]],
             "sequences x tokens": f"{one['batch']} x {one['tokens']}",
             "ms a step": f"{one['milliseconds']:.1f}",
             "k tokens per second": f"{one['speed'] / 1e3:.1f}", "GB": f"{one['gigabytes']:.2f}"}
            for one in found["results"] if one["model"] in PUBLISHED]


def library_rows(found: dict) -> list[dict]:
    """Rows of the table `library`, of what `train/benchmarks/kernels.py` has written."""
    theirs = {one["kernel"]: one["microseconds"] for one in found["timings"]
              if one["code"] == "fla"}
    return [{"kernel": one["kernel"], "this package, us": round(one["microseconds"]),
             "fla-core, us": round(theirs[one["kernel"]])}
            for one in found["timings"] if one["code"] == OURS and one["kernel"] in theirs]


def parallel_rows(curves: dict[str, list[dict]]) -> list[dict]:
    """Rows of the table `parallel`.

    Parameters
    ----------
    curves : dict
        Lines of a run's `losses.csv` by the name of the run, one of `RUNS`. The first has the time
        of compilation in it, and is left out of the speed.
    """
    speeds = {name: statistics.median(float(line["speed"]) for line in curve[1:])
              for name, curve in curves.items()}
    return [{"GPUs": label, "k tokens per second": f"{speeds[name] / 1e3:.1f}",
             "of as many times one": f"{speeds[name] / speeds['one'] / GPUS[name]:.1%}",
             "GB on each": f"{int(curves[name][-1]['memory']) / 1e9:.1f}"}
            | {f"loss at step {line['step']}": f"{float(line['loss']):.6f}"
               for line in curves[name][::2]}
            for name, label in RUNS.items() if name in curves]


def engine_rows(found: dict) -> list[dict]:
    """Rows of the table `engine`: one conversation, timed by `train/benchmarks/engine.py`."""
    return [{"model": one["model"], "test": "generate" if one["test"] == "generate" else
             f"prompt of {one['speed'] * one['milliseconds'] / 1e3:,.0f} tokens",
             "tokens per second": round(one["speed"]), "ms": f"{one['milliseconds']:.3f}",
             "GB": f"{one['allocated'] / 1e3:.3f}", "roof, tokens per second": round(one["roof"]),
             "of the roof": f"{one['speed'] / one['roof']:.1%}"}
            for one in found["measurements"] if one["conversations"] == 1]


def lanes_rows(found: dict) -> list[dict]:
    """Rows of the table `lanes`: conversations side by side, beside one of the same model."""
    speeds = [one for one in found["measurements"] if one["test"] == "generate"]
    alone = {one["model"]: one["speed"] for one in speeds if one["conversations"] == 1}
    return [{"model": one["model"], "conversations": one["conversations"],
             "tokens per second, in all": round(one["speed"]), "ms": f"{one['milliseconds']:.3f}",
             "times one": f"{one['speed'] / alone[one['model']]:.2f}"} for one in speeds]


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
