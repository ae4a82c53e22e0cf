"""The roofline of a build: what core, memory and link allow, and how near models come."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tritstream.analysis.estimate import Estimate
from tritstream.analysis.stage import Limit
from tritstream.build import MOST_LANES
from tritstream.formats import FORMATS
from tritstream.support.picture import write_picture

__all__ = ["draw_roofline"]

SIZE = (9, 6)               # inches
LEFT, RIGHT = 1.0, 1.6 * MOST_LANES * FORMATS.trits_per_byte     # weights per byte
GIGA = 1e9
COLOURS = {Limit.CORE: "#0072b2", Limit.MEMORY: "#d55e00", Limit.LINK: "#009e73"}
MODELS = [("o", "#222222"), ("s", "#cc79a7"), ("^", "#e69f00"), ("D", "#56b4e9"), ("v", "#999999")]
FAINT, BELOW = "#dddddd", "#f2f6fa"
LONGEST = 40                # letters of a name


def draw_roofline(models: Mapping[str, Estimate], title: str, path: Path):
    """Draw weights per second over weights per byte, on logarithmic axes.

    A token alone takes each byte for five weights; of several that share a pass each does, so the
    byte is worth so many times more, which is what the upper axis says, and so is the core.

    Parameters
    ----------
    models : mapping of Estimate
        By their names, on one build, alone or of tokens that share a pass; at least one.
    title : str
        What the build is.
    path : Path
        PNG or SVG to write.

    Raises
    ------
    BadInput
        The file cannot be written.
    ImportError
        There is no matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "roofline"}):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        rates = {limit: rate / GIGA for found in models.values()
                 for limit, rate in found.rates.items()}
        _frame(axes, title, _limits(rates, models.values()))
        _roofs(axes, rates, sorted({found.tokens for found in models.values()}))
        for (name, found), (marker, colour) in zip(models.items(), itertools.cycle(MODELS),
                                                   strict=False):
            axes.plot(found.tokens * _weights(found) / found.tape_bytes, _performance(found),
                      marker, markeredgecolor=colour, markeredgewidth=2, markersize=10,
                      markerfacecolor="none", zorder=4, label=_label(name, found))
        figure.legend(loc="outside lower center", frameon=False, fontsize=10)
        write_picture(figure, path)


def _weights(found: Estimate) -> int:
    return sum(stage.weights for stage in found.stages)


def _performance(found: Estimate) -> float:
    return _weights(found) * found.tokens_per_second / GIGA


def _label(name: str, found: Estimate) -> str:
    name = name if len(name) <= LONGEST else f"…{name[1 - LONGEST:]}"
    name = name.encode(errors="replace").decode().replace("$", r"\$")
    speed = found.tokens_per_second
    return (f"{speed:{',.0f' if speed >= 1000 else '.4g'}} tok/s of {name}: "
            f"{speed / found.roof:.1%} of its roof, limited by the {found.limit}")


def _limits(rates: Mapping[Limit, float], models: Iterable[Estimate]) -> tuple[float, float]:
    """Lowest and highest weights per second that are shown."""
    slopes = [rate for limit, rate in rates.items() if limit is not Limit.CORE]
    models = list(models)
    return (min([*slopes, *map(_performance, models)]) / 2,
            3 * max(found.tokens for found in models) * FORMATS.trits_per_byte
            * rates[Limit.CORE])


def _frame(axes, title: str, limits: tuple[float, float]) -> None:
    axes.set(xscale="log", yscale="log", xlim=(LEFT, RIGHT), ylim=limits,
             xlabel="ternary weights for each byte that is read",
             ylabel="billion ternary weights per second")
    axes.set_title(title, parse_math=False, loc="left", fontweight="bold", pad=12)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axis.set_minor_formatter(lambda value, _: "")
    upper = axes.secondary_xaxis("top", functions=(
        lambda weights: weights / FORMATS.trits_per_byte,
        lambda lanes: lanes * FORMATS.trits_per_byte))
    upper.set_xlabel("tokens that share a pass")
    lanes = [1 << bit for bit in range(MOST_LANES.bit_length())]
    upper.set_xticks(lanes, [str(lane) for lane in lanes])
    upper.minorticks_off()


def _roofs(axes, rates: Mapping[Limit, float], tokens: Sequence[int]) -> None:
    """Draw the core's roofs, flat, and those of what brings bytes, which rise with their worth.

    The core has a roof for each number of tokens that share a pass.
    """
    peaks = [FORMATS.trits_per_byte * rates[Limit.CORE] * count for count in tokens]
    slopes = {limit: rate for limit, rate in rates.items() if limit is not Limit.CORE}
    ridge = max(LEFT, peaks[-1] / max(slopes.values(), default=peaks[-1]))
    axes.fill_between([LEFT, ridge, RIGHT], [peaks[-1] * LEFT / ridge, peaks[-1], peaks[-1]],
                      axes.get_ylim()[0], color=BELOW, zorder=0)
    for count, peak in zip(tokens, peaks, strict=True):
        axes.plot([LEFT, RIGHT], [peak, peak], color=COLOURS[Limit.CORE], linewidth=2, zorder=3)
        of = f", {count} tokens together" if count > 1 else ""
        axes.annotate(f"{Limit.CORE}{of}: {_rate(rates[Limit.CORE])}, {peak:,.3g} billion weights "
                      "per second", (RIGHT, peak), (-6, 4),
                      textcoords="offset points", ha="right", va="bottom", fontweight="bold",
                      color=COLOURS[Limit.CORE])
    for limit, rate in slopes.items():
        end = min(RIGHT, peaks[-1] / rate)
        if end <= LEFT:
            continue                    # far above all that the core can do
        axes.plot([LEFT, end], [rate * LEFT, rate * end], color=COLOURS[limit], linewidth=2,
                  solid_capstyle="butt")
        of = " (of weights that are not in the memory)" if limit is Limit.LINK else ""
        _along(axes, f"{limit}: {_rate(rate)}{of}", 1.25 * LEFT, rate, COLOURS[limit])


def _along(axes, text: str, where: float, rate: float, colour: str) -> None:
    """Write above a line that rises by `rate`."""
    rate *= 1.12
    axes.text(where, rate * where, text, color=colour, fontweight="bold", va="bottom",
              rotation=math.degrees(math.atan(rate)), rotation_mode="anchor",
              transform_rotates_text=True)


def _rate(rate: float) -> str:
    """Write billions of bytes per second."""
    for unit in ("GB/s", "MB/s"):
        if rate >= 1:
            return f"{rate:,.3g} {unit}"
        rate *= 1000
    return f"{rate:.3g} kB/s"
