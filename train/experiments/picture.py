"""Draws speed and memory of training as bars."""

from pathlib import Path

from rows import CODES
from tritstream.support.picture import write_picture

__all__ = ["draw_speed"]

PANELS = {"k tokens per second": "more is better", "GB": "less is better"}
COLOURS = dict(zip(CODES.values(), ("#0072b2", "#56b4e9", "#bdd7e7", "#d55e00"), strict=True))
GROUP = 0.8                 # width of one, of the distance between two


def draw_speed(rows: list[dict], path: Path):
    """Draw one group of bars for each model, and one panel each for speed and memory.

    A group has bars of the codes of `rows` that have a row of its model.

    Parameters
    ----------
    rows : list of dict
        Objects of one run with `model`, `code` and the quantities, numbers as text.
    path : Path
        PNG to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    models = list(dict.fromkeys(row["model"] for row in rows))
    codes = [code for code in CODES.values() if any(row["code"] == code for row in rows)]
    width = GROUP / max(len(codes), 1)
    for axes, (quantity, sense) in zip(figure.subplots(1, len(PANELS)), PANELS.items(),
                                       strict=True):
        for index, code in enumerate(codes):
            bars = {place: row[quantity] for place, model in enumerate(models)
                    if (row := _first(rows, model, code))}
            shift = (index - (len(codes) - 1) / 2) * width
            drawn = axes.bar([place + shift for place in bars], [*map(float, bars.values())],
                             0.9 * width, color=COLOURS[code], label=code)
            axes.bar_label(drawn, [*map(str, bars.values())], fontsize=7, padding=1)
        axes.set(xticks=range(len(models)), xticklabels=models, title=f"{quantity}: {sense}")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  fontsize=8, frameon=False)
    write_picture(figure, path)


def _first(rows: list[dict], model: str, code: str) -> dict | None:
    return next((row for row in rows if (row["model"], row["code"]) == (model, code)), None)
