"""`tritstream estimate`: the speed of a model on a build, before anything is built."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

from tritstream.analysis.estimate import Estimate, Limit, estimate
from tritstream.analysis.kinds import KINDS, kind_of
from tritstream.build import BuildConfig
from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import output, print_json
from tritstream.cli.gateware import all_targets, find_target
from tritstream.cli.options import Json, open_model
from tritstream.errors import BadInput
from tritstream.formats import FORMATS
from tritstream.image.needs import Needs
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import PRESETS

__all__ = ["estimate_model", "image_estimate"]

DEFAULT_BUILD = "p=16"
MOST_RATE = 1e6             # bytes per cycle; far beyond every memory


def estimate_model(
    model: Annotated[str, typer.Option(
        "-m", "--model", metavar="MODEL|SHAPE",
        help=f"Image, checkpoint directory, bundled model, or a shape: {', '.join(PRESETS)}.",
    )] = DEFAULT_MODEL,
    board: Annotated[str | None, typer.Option("--board", metavar="BOARD",
                                              help="A board with its memory and link.")] = None,
    build: Annotated[str | None, typer.Option(
        "--build", metavar="p=P,v=V,clock=MHZ",
        help=f"A build of any width instead; default: {DEFAULT_BUILD}.")] = None,
    memory: Annotated[float | None, typer.Option(
        "--memory", metavar="BYTES", help="Bytes that the memory delivers per cycle, if fewer than "
        "a beat.")] = None,
    json: Json = False,
):
    """Estimate cycles, tokens per second and what limits them."""
    if board is not None and (build is not None or memory is not None):
        raise BadInput("A board has its own build and memory: leave out --board, or --build and "
                       "--memory.")
    if memory is not None and not 0 < memory <= MOST_RATE:
        raise BadInput(f"--memory must be above 0 and at most {MOST_RATE:,.0f} bytes per cycle, "
                       f"not {memory}.")
    if board is None:
        where = f"a build of {build or DEFAULT_BUILD}"
        found = _free_estimate(model, BuildConfig.parse(build or DEFAULT_BUILD), memory)
    else:
        where, target = board, find_target(board)
        if model in PRESETS:
            raise BadInput(f"{model} is a shape, of which no image says whether it fits {board}: "
                           "give --build, or pack a model of that shape.")
        image = open_model(model).image
        if lack := Needs.of(image).lack(target.config):
            raise BadInput(f"{model} does not fit {board}: its {lack}; {_remedy(image, target)}.")
        found = image_estimate(image, target.config, memory_rate=target.memory_bytes_per_cycle)
    result = {"model": model, "build": where, **describe(found)}
    if json:
        print_json(result)
    else:
        _show(result)


def _free_estimate(model: str, config: BuildConfig, memory: float | None) -> Estimate:
    if model in PRESETS:
        return estimate(PRESETS[model], config, memory_rate=memory)
    image = open_model(model).image
    return estimate(_shape(image), config, wide_rows=_wide(image), memory_rate=memory)


def _remedy(image, target) -> str:
    """Say what a model would fit that does not fit a board."""
    needs = Needs.of(image)
    boards = [name for name, other in all_targets().items() if needs.lack(other.config) is None]
    if boards:
        return f"{', '.join(boards)} would do"
    enough = dataclasses.replace(target.config, max_state=needs.max_state)
    if needs.lack(enough) is None:
        return f"build it with --build state={needs.max_state}"
    return "no board here would do"


def image_estimate(image, config: BuildConfig, *, memory_rate: float | None = None) -> Estimate:
    """Estimate an image on a board that it fits: from its memory, or else over its link.

    Parameters
    ----------
    image : Image
        The model.
    config : BuildConfig
        The board's.
    memory_rate : float or None
        Bytes per cycle that its memory delivers; None: a beat.
    """
    resident = Needs.of(image).resident(config.memory_bytes)
    return estimate(_shape(image), config, wide_rows=_wide(image), streamed=not resident,
                    memory_rate=memory_rate if resident else None)


def _shape(image) -> ModelConfig:
    return ModelConfig(hidden=image.hidden, intermediate=image.intermediate, layers=image.layers,
                       vocab=image.vocab)


def _wide(image) -> bool:
    return bool(image.row(0)[3])


def describe(found: Estimate) -> dict:
    """Return everything that `estimate` tells, ready for JSON."""
    stages = {}
    for stage in found.stages:
        kind = kind_of(stage.name)
        sums = stages.setdefault(kind, {"weights": 0, "beats": 0, "words": 0, "cycles": 0,
                                        "limit": stage.limit})
        for name in ("weights", "beats", "words", "cycles"):
            sums[name] += getattr(stage, name)
    return {
        "tokens_per_second": found.tokens_per_second, "roof": found.roof,
        "cycles_per_token": found.cycles, "core_cycles": found.core_cycles,
        "limit": found.limit, "bytes_per_token": found.tape_bytes,
        "memory_bytes_per_cycle": found.memory_rate, "link_bytes_per_second": found.link_rate,
        "beat_bytes": found.beat_bytes, "clock_hz": found.clock_hz, "stages": stages,
        "evidence": "estimated",
    }


def _show(result: dict) -> None:
    console = output()
    console.print(f"{result['model']} on {result['build']}, {result['clock_hz'] / 1e6:g} MHz "
                  f"({result['evidence']})")
    table = Table(box=None)
    table.add_column("stage (all layers)")
    for name in ("weights", "beats", "cycles", "of the roof"):
        table.add_column(name, justify="right")
    table.add_column("limited by")
    peak = FORMATS.trits_per_byte * result["beat_bytes"]
    total = {"weights": 0, "beats": 0, "cycles": 0}
    for kind, stage in result["stages"].items():
        for name in total:
            total[name] += stage[name]
        table.add_row(KINDS[kind], *_cells(stage, peak), stage["limit"])
    table.add_row("token", *_cells(total, peak), "")
    console.print(table)
    console.print(f"{result['tokens_per_second']:.4g} tok/s, {_share(result)} of the "
                  f"{result['roof']:.4g} tok/s with which the tape could be read; limited by "
                  f"{_LIMITS[result['limit']]}")


def _share(result: dict) -> str:
    return f"{result['tokens_per_second'] / result['roof']:.1%}"


def _cells(stage: dict, peak: int) -> list[str]:
    share = f"{stage['weights'] / peak / stage['cycles']:.1%}" if stage["weights"] else ""
    return [f"{stage['weights']:,}", f"{stage['beats']:,}", f"{stage['cycles']:,}", share]


_LIMITS = {
    Limit.CORE: "the core, which takes a beat per cycle",
    Limit.ELEMENTS: "the element path, which takes a word of rows per cycle",
    Limit.TURNAROUND: "the turnaround from stage to stage",
    Limit.MEMORY: "the memory",
    Limit.LINK: "the link, over which the weights come for every token",
}
