"""Draws speed and memory of training as bars, and losses of several runs in one picture."""

import re
from pathlib import Path

from tritstream_train.curve import Record, late_limits, write_picture

__all__ = ["draw_losses", "draw_speed"]

PANELS = {"k tokens per second": "more is better", "GB": "less is better"}
COLOURS = {"this package, fused": "#0072b2", "this package, plain": "#9ecae1",
           "the authors', fused": "#d55e00", "the authors', unfused": "#fdbe85"}


def draw_speed(rows: list[dict], path: Path):
    """Draw one group of bars for each model, and one panel each for speed and memory.

    Parameters
    ----------
    rows : list of dict
        Objects with `model`, `code` and the quantities; of several runs of the same the first
        counts. A quantity is a number, or a text such as `29 to 34`, which is drawn at its middle.
    path : Path
        PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    models = list(dict.fromkeys(row["model"] for row in rows))
    for axes, (quantity, sense) in zip(figure.subplots(1, len(PANELS)), PANELS.items(),
                                       strict=True):
        for index, (code, colour) in enumerate(COLOURS.items()):
            bars = [_first(rows, model, code)[quantity] for model in models]
            places = [place + (index - 1.5) / 5 for place in range(len(models))]
            drawn = axes.bar(places, [_middle(bar) for bar in bars], 0.18, color=colour, label=code)
            axes.bar_label(drawn, [str(bar) for bar in bars], fontsize=7, padding=1)
        axes.set(xticks=range(len(models)), xticklabels=models, title=f"{quantity}: {sense}")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  fontsize=8, frameon=False)
    write_picture(figure, path)


def draw_losses(curves: dict[str, list[Record]], path: Path):
    """Draw the training losses of runs on the same tokens over their steps.

    The first twentieth, in which they fall steeply, may leave the picture at its top.

    Parameters
    ----------
    curves : dict
        Records of each run, by its name.
    path : Path
        PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for name, records in curves.items():
        axes.plot([100 * record.step / records[-1].step for record in records],
                  [record.loss for record in records], linewidth=1, label=name)
    lows, highs = zip(*map(late_limits, curves.values()), strict=True)
    axes.set(xlabel="% of the steps", ylabel="training loss, nats/token",
             ylim=(min(lows), max(highs)))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    write_picture(figure, path)


def _first(rows: list[dict], model: str, code: str) -> dict:
    return next(row for row in rows if (row["model"], row["code"]) == (model, code))


def _middle(value) -> float:
    numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", str(value))]
    return sum(numbers) / len(numbers)
