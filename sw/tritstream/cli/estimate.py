"""`tritstream estimate`: the speed of a model on a build, before anything is built."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.bar import Bar
from rich.table import Table

from tritstream.analysis.estimate import Estimate, estimate
from tritstream.analysis.kinds import KINDS, kind_of
from tritstream.analysis.roofline import draw_roofline
from tritstream.analysis.stage import Limit
from tritstream.analysis.swap import link_seconds, memory_seconds
from tritstream.build import BuildConfig
from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import output, print_json, speed
from tritstream.cli.gateware import all_targets, find_target
from tritstream.cli.options import Json, open_model
from tritstream.errors import BadInput, MissingTool
from tritstream.formats import FORMATS
from tritstream.image.needs import Needs, Residence
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS
from tritstream.support import picture

__all__ = ["estimate_model", "image_estimate"]

DEFAULT_BUILD = "p=16"
LEAST_RATE, MOST_RATE = 1e-6, 1e6       # bytes per cycle; no memory is near to either
BAR = 40                    # columns of the highest roof


def estimate_model(
    model: Annotated[str, typer.Option(
        "-m", "--model", metavar="MODEL|SHAPE",
        help=f"Image, checkpoint directory, bundled model, or a shape: {', '.join(PRESETS)}.",
    )] = DEFAULT_MODEL,
    board: Annotated[str | None, typer.Option("--board", metavar="BOARD",
                                              help="A board with its memory and link.")] = None,
    build: Annotated[str | None, typer.Option(
        "--build", metavar="p=P,g=G,v=V,t=T,clock=MHZ",
        help=f"A build of any width instead; default: {DEFAULT_BUILD}.")] = None,
    memory: Annotated[float | None, typer.Option(
        "--memory", metavar="BYTES", help="Bytes that the memory delivers per cycle, if fewer than "
        "a beat.")] = None,
    beside: Annotated[list[str] | None, typer.Option(
        "--beside", metavar="MODEL|SHAPE", help="Another model, to compare; may be repeated.",
    )] = None,
    plot: Annotated[Path | None, typer.Option(
        "--plot", metavar="FILE", help="Draw the roofline with the models on it, as PNG or SVG.",
    )] = None,
    json: Json = False,
):
    """Estimate cycles, tokens per second and what limits them."""
    if board is not None and (build is not None or memory is not None):
        raise BadInput("A board has its own build and memory: leave out --board, or --build and "
                       "--memory.")
    if memory is not None and not LEAST_RATE <= memory <= MOST_RATE:
        raise BadInput(f"--memory must be {LEAST_RATE:f} to {MOST_RATE:,.0f} bytes per cycle, "
                       f"not {memory}.")
    if plot is not None and plot.suffix.lower() not in picture.FORMATS:
        raise BadInput(f"--plot {plot} is no picture: give a file whose name ends in "
                       f"{' or '.join(picture.FORMATS)}.")
    names = dict.fromkeys([model, *(beside or [])])
    if board is None:
        where = f"a build of {build or DEFAULT_BUILD}"
        config = BuildConfig.parse(build or DEFAULT_BUILD)
        models = {name: _Passes.of(config.lanes, _free_estimate(name, config, memory))
                  for name in names}
        states = dict.fromkeys(names, {})
    else:
        where, target = board, find_target(board)
        models = {name: _Passes.of(target.config.lanes, _board_estimate(name, target))
                  for name in names}
        states = {name: _states(open_model(name).image, target) for name in names}
    result, *others = ({"model": name, "build": where, **describe(passes), **states[name]}
                       for name, passes in models.items())
    roofs = {what: found for name, passes in models.items()
             for what, found in passes.shown(name).items()}
    if plot is not None:
        _plot(roofs, where, plot)
    if json:
        print_json({**result, "beside": others})
    else:
        _show(result)
        _show_roofs(roofs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Passes:
    """What a build takes through a pass.

    Parameters
    ----------
    one : Estimate
        A token of one conversation.
    together : Estimate
        A token of as many conversations as there are lanes.
    prompt : Estimate
        As many tokens of a prompt, without the head.
    """

    one: Estimate
    together: Estimate
    prompt: Estimate

    @classmethod
    def of(cls, lanes: int, estimate_pass: Callable[..., Estimate]) -> "_Passes":
        return cls(one=estimate_pass(), together=estimate_pass(tokens=lanes),
                   prompt=estimate_pass(tokens=lanes, consecutive=True, head=False))

    def shown(self, name: str) -> dict[str, Estimate]:
        """What is drawn and shown of a model of this name."""
        if self.together.tokens == 1:
            return {name: self.one}
        return {name: self.one, f"{name}, {self.together.tokens} together": self.together}


def _plot(roofs: Mapping[str, Estimate], where: str, path: Path) -> None:
    clock_hz = next(iter(roofs.values())).clock_hz
    try:
        draw_roofline(roofs, f"Roofline of {where}, {clock_hz / 1e6:.4g} MHz (estimated)", path)
    except ImportError as error:
        raise MissingTool(f"What draws is not installed ({error}): run `pip install "
                          "'tritstream[plot]'`.") from error


def _board_estimate(model: str, target) -> Callable[..., Estimate]:
    if model in PRESETS:
        raise BadInput(f"{model} is a shape, of which no image says whether it fits "
                       f"{target.name}: give --build, or pack a model of that shape.")
    image = open_model(model).image
    if lack := Needs.of(image).lack(target.config):
        raise BadInput(f"{model} does not fit {target.name}: its {lack}; "
                       f"{_remedy(image, target)}.")
    if target.stage_of and _residence(image, target.config) is Residence.NOTHING:
        raise BadInput(f"{model} does not fit the memory of {target.name}, and of weights that are "
                       "sent to that board there is no estimate; choose a smaller model.")
    return functools.partial(image_estimate, image, target.config,
                             memory_rate=target.memory_bytes_per_cycle, stage_of=target.stage_of)


def _free_estimate(model: str, config: BuildConfig,
                   memory: float | None) -> Callable[..., Estimate]:
    if model in PRESETS:
        return functools.partial(estimate, PRESETS[model], config, memory_rate=memory)
    image = open_model(model).image
    return functools.partial(estimate, _shape(image), config, wide_rows=image.wide_rows,
                             memory_rate=memory)


def _remedy(image, target) -> str:
    """Say what a model would fit that does not fit a board."""
    needs = Needs.of(image)
    boards = [name for name, other in all_targets().items() if needs.lack(other.config) is None]
    remedies = [f"{', '.join(boards)} would do"] if boards else []
    enough = dataclasses.replace(target.config, max_state=needs.max_state)
    if needs.lack(enough) is None:
        remedies.append(f"build it with --build state={needs.max_state}")
    return ", or ".join(remedies) or "no board here would do"


def image_estimate(image, config: BuildConfig, *, memory_rate: float | None = None,
                   **tokens) -> Estimate:
    """Estimate an image on a board that it fits: from its memory, or else over its link.

    Parameters
    ----------
    image : Image
        The model.
    config : BuildConfig
        The board's.
    memory_rate : float or None
        Bytes per cycle that its memory delivers; None: a beat.
    tokens
        What `estimate` takes of the tokens of a pass; one alone if nothing is said.
    """
    residence = _residence(image, config)
    streamed = residence is Residence.NOTHING
    return estimate(_shape(image), config, wide_rows=image.wide_rows, streamed=streamed,
                    rows_sent=residence is Residence.TAPE,
                    memory_rate=None if streamed else memory_rate, **tokens)


def _states(image, target) -> dict:
    """Say of how many conversations a board keeps the states, and how long two change places."""
    config, needs = target.config, Needs.of(image, target.config.stripes)
    shelves = needs.states_beside(config.memory_bytes, config.stripes, config.lanes)
    # Of a board whose program moves them there is no estimate.
    known = shelves and not target.stage_of
    return {"slots": config.lanes + max(0, shelves - 1),
            "swap_seconds": memory_seconds(needs.max_state, config, target.memory_bytes_per_cycle)
            if known else None,
            "link_swap_seconds": link_seconds(needs.max_state, config)}


def _residence(image, config: BuildConfig) -> Residence:
    return Needs.of(image, config.stripes).residence(config.memory_bytes, config.lanes)


def _shape(image) -> ModelConfig:
    return ModelConfig(hidden=image.hidden, intermediate=image.intermediate, layers=image.layers,
                       vocab=image.vocab)


def describe(passes: _Passes) -> dict:
    """Return everything that `estimate` tells, ready for JSON."""
    found = passes.one
    return {
        "tokens_per_second": found.tokens_per_second, "roof": found.roof,
        "cycles_per_token": found.cycles, "core_cycles": found.core_cycles,
        "limit": found.limit, "bytes_per_token": found.tape_bytes,
        "memory_bytes_per_cycle": found.memory_rate,
        "link_bytes_per_second": found.link_rate or None, "streamed": found.streamed,
        "row_bytes": found.row_bytes, "answer_bytes": found.answer_bytes,
        "roofs": _roofs(found), "stripe_bytes": found.stripe_bytes, "clock_hz": found.clock_hz,
        "lanes": passes.together.tokens, "stages": _stages(found),
        "together": _describe_pass(passes.together), "prompt": _describe_pass(passes.prompt),
        "evidence": "estimated",
    }


def _describe_pass(found: Estimate) -> dict:
    return {"tokens": found.tokens, "tokens_per_second": found.tokens_per_second,
            "roof": found.roof, "cycles_per_pass": found.cycles, "limit": found.limit,
            "stages": _stages(found)}


def _stages(found: Estimate) -> dict:
    """Sums over the layers, by kind of stage."""
    stages = {}
    for stage in found.stages:
        kind = kind_of(stage.name)
        sums = stages.setdefault(kind, {"weights": 0, "beats": 0, "words": 0, "cycles": 0,
                                        "limit": stage.limit})
        for name in ("weights", "beats", "words", "cycles"):
            sums[name] += getattr(stage, name)
    return stages


def _roofs(found: Estimate) -> dict[Limit, float]:
    """Tokens per second that core, memory and link allow, each for itself."""
    return {limit: found.reads(rate) for limit, rate in found.rates.items()}


def _show(result: dict) -> None:
    console = output()
    console.print(f"{result['model']} on {result['build']}, {result['clock_hz'] / 1e6:g} MHz "
                  f"({result['evidence']})")
    together, prompt = result["together"], result["prompt"]
    limits = {**_LIMITS, Limit.LINK: _carried(result)}
    peak = FORMATS.trits_per_byte * result["stripe_bytes"]
    console.print(_table(result["stages"], peak, "token"))
    console.print(f"{_speed_of_roof(result)} with which the tape could be read; limited by "
                  f"{limits[result['limit']]}")
    if result["lanes"] > 1:
        console.print(_table(together["stages"], peak, f"{together['tokens']} together"))
        times = together["tokens_per_second"] / result["tokens_per_second"]
        console.print(f"{together['tokens']} conversations together: {_speed_of_roof(together)}, "
                      f"{times:.2f} times one; limited by {limits[together['limit']]}")
    if result["row_bytes"]:
        console.print(f"the memory has no room for all embedding rows: the time that the link "
                      f"takes for one of {result['row_bytes']:,} bytes is counted for each token")
    share = f", {prompt['tokens']} tokens share a pass" if result["lanes"] > 1 else ""
    console.print(f"prompts: {speed(prompt['tokens_per_second'])} tok/s{share}")
    if "slots" in result:
        console.print(f"conversations: the board keeps the states of {result['slots']:,}"
                      f"{_swap(result)}")


def _swap(result: dict) -> str:
    """Say how long it takes that another conversation has its turn."""
    ways = [f"{1e3 * result[name]:.3g} ms {where}"
            for name, where in (("swap_seconds", "in its memory"),
                                ("link_swap_seconds", "over the link")) if result[name]]
    return f"; that two change places takes {', '.join(ways)}" if ways else ""


def _carried(result: dict) -> str:
    """Say what the link is there for."""
    if result["streamed"]:
        return "the link, over which the weights come for every pass"
    if result["row_bytes"]:
        return "the link, over which embedding rows come, and the answers go to the host"
    return "the link, over which the answers go to the host"


def _table(stages: Mapping[str, dict], peak: int, of: str) -> Table:
    """Stages of a pass, and their share of the weights that the core could take in that time."""
    table = Table(box=None)
    table.add_column("stage (all layers)")
    for name in ("weights", "beats", "cycles", "of the roof"):
        table.add_column(name, justify="right")
    table.add_column("limited by")
    total = {"weights": 0, "beats": 0, "cycles": 0}
    for kind, stage in stages.items():
        for name in total:
            total[name] += stage[name]
        table.add_row(KINDS[kind], *_cells(stage, peak), stage["limit"])
    table.add_row(of, *_cells(total, peak), "")
    return table


def _cells(stage: Mapping[str, int], peak: int) -> list[str]:
    share = f"{stage['weights'] / peak / stage['cycles']:.1%}" if stage["weights"] else ""
    return [f"{stage['weights']:,}", f"{stage['beats']:,}", f"{stage['cycles']:,}", share]


def _show_roofs(models: Mapping[str, Estimate]) -> None:
    """Show what `--plot` draws: tokens per second that each roof allows, and what a model has."""
    for name, found in models.items():
        table = Table(box=None, title=f"roofs of {name}", title_justify="left")
        table.add_column("tok/s", justify="right")
        for _ in range(3):
            table.add_column("")
        speeds = {**_roofs(found), name: found.tokens_per_second}
        for what, rate in speeds.items():
            table.add_row(speed(rate), what, Bar(speeds[Limit.CORE], 0, rate, width=BAR),
                          "" if what in found.rates else f"limited by the {found.limit}")
        output().print(table)


def _speed_of_roof(found: dict) -> str:
    share = found["tokens_per_second"] / found["roof"]
    return (f"{speed(found['tokens_per_second'])} tok/s, {share:.1%} of the "
            f"{speed(found['roof'])} tok/s")


_LIMITS = {
    Limit.CORE: "the core, which takes a beat per cycle",
    Limit.ELEMENTS: "the element path, which takes a word of rows per cycle",
    Limit.PROGRAM: "the program, which does everything but the trits",
    Limit.TURNAROUND: "the turnaround from stage to stage",
    Limit.MEMORY: "the memory",
}
