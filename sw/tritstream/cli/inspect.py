"""`tritstream inspect`: what is in an image."""

import dataclasses
from typing import Annotated

import typer
from rich.table import Table

from tritstream.build import BuildConfig
from tritstream.cli.console import output, print_json, quantity
from tritstream.cli.gateware import all_targets
from tritstream.cli.options import Json, open_model
from tritstream.errors import BadInput, MissingTool
from tritstream.formats import HEADER_BYTES, UNIT
from tritstream.image.image import Image
from tritstream.image.needs import Needs, Residence
from tritstream.image.tape import Op
from tritstream.image.unpack import ImageCheckpoint
from tritstream.model.config import count_parameters

__all__ = ["inspect"]

GLU_PARTS = ("gate", "up")


def inspect(
    name: Annotated[str | None, typer.Argument(
        metavar="[MODEL]", help="Image, checkpoint directory, or a bundled model.")] = None,
    model: Annotated[str | None, typer.Option("-m", "--model", metavar="MODEL",
                                              help="The same as an option.")] = None,
    layers: Annotated[bool, typer.Option(
        "--layers", help="Show the matrices of every layer, not one line for each kind.")] = False,
    json: Json = False,
):
    """Show fitting boards, shapes, scales, zeros, sizes and digest."""
    if (name is None) == (model is None):
        raise BadInput("inspect takes one model: tritstream inspect MODEL.")
    image = open_model(model if name is None else name).image
    table = describe(image)
    if json:
        print_json(table)
    else:
        _show(table, layers)


def describe(image: Image) -> dict:
    """Return everything that `inspect` tells, ready for JSON."""
    matrices = [_matrix(section, index) for section in image.sections
                for index in range(len(section.meta["matrices"]))]
    weights = sum(matrix["rows"] * matrix["columns"] for matrix in matrices)
    sections, needs = _sections(image), Needs.of(image)
    return {
        "path": str(image.path), "digest": image.digest, "formats": image.meta["formats"],
        "hidden": image.hidden, "intermediate": image.intermediate, "layers": image.layers,
        "vocab": image.vocab, "bos": image.start_token, "eos": image.stop_token,
        "tokenizer": image.tokenizer_json is not None, "chat_template": "chat" in image.meta,
        "ternary_weights": weights, "parameters": count_parameters(ImageCheckpoint(image).config),
        "bits_per_weight": 8 * sections["trits"] / weights,
        "zeros": sum(m["zeros"] * m["rows"] * m["columns"] for m in matrices) / weights,
        "residual": {"bound": image.meta["residual_bound"],
                     "fraction_bits": image.meta["residual_fraction"]},
        "bytes": sections,
        "bytes_per_token": needs.token_bytes,
        "matrices": matrices,
        "needs": {name: value for name, value in dataclasses.asdict(needs).items()
                  if name not in ("token_bytes", "row_bytes")},
        "fits": _boards(needs),
    }


def fit(needs: Needs, config: BuildConfig) -> str:
    """Say how a build runs an image, or why it cannot."""
    lack = needs.lack(config)
    if lack:
        return f"no: its {lack}"
    residence = needs.residence(config.memory_bytes, config.lanes)
    if residence is Residence.WHOLE:
        return "yes, in its memory"
    if residence is Residence.TAPE:
        return "yes, in its memory, with embedding rows from the host as they are needed"
    if not config.link_rate:
        return "streamed from the host"
    seconds = needs.token_bytes / config.link_rate
    return f"streamed from the host, {seconds:.3g} s per token at least (estimated)"


def _boards(needs: Needs) -> dict[str, str] | None:
    """How each board runs an image; None where the gateware is not installed."""
    try:
        targets = all_targets()
    except MissingTool:
        return None
    return {name: fit(needs, target.config) for name, target in targets.items()}


def _matrix(section, index: int) -> dict:
    name, scale, zeros, bound = section.meta["matrices"][index][:4]
    part = GLU_PARTS[index] if section.header.op is Op.GLU else None    # halves of one tensor
    return {"stage": section.name, "name": name, "part": part, "rows": section.header.rows,
            "columns": section.header.columns, "scale": scale, "zeros": zeros, "bound": bound,
            "fraction_bits": section.meta["fractions"][index]}


def _sections(image: Image) -> dict[str, int]:
    headers = [section.header for section in image.sections]
    payload = len(image.payload)
    return {
        "preamble": image.path.stat().st_size - payload,
        "embedding": image.tape_unit * UNIT,
        "headers": HEADER_BYTES * len(headers),
        "gains": sum(header.bank_bytes for header in headers),
        "trits": sum(header.body_bytes for header in headers),
        "payload": payload,
    }


def _show(table: dict, layers: bool) -> None:
    """Print everything, the boards last: that is where a reader looks."""
    console = output()
    console.print(f"{table['path']}  digest {table['digest'][:16]}")
    console.print(f"hidden {table['hidden']}, intermediate {table['intermediate']}, layers "
                  f"{table['layers']}, vocabulary {table['vocab']}: "
                  f"{quantity(table['parameters'])} parameters, "
                  f"{quantity(table['ternary_weights'])} of them ternary at "
                  f"{table['bits_per_weight']:.3f} bits, {table['zeros']:.1%} zero")
    console.print(_grid(table["matrices"], layers))
    console.print("bound: no output exceeds it, whatever the text; fraction: bits of the outputs "
                  "behind the binary point, as many as the bound leaves room for")
    for name, count in table["bytes"].items():
        console.print(f"{name:10}{count:14,} bytes")
    needs = table["needs"]
    console.print(f"needs {quantity(needs['memory_bytes'], 'B')} of memory, or "
                  f"{quantity(table['bytes_per_token'], 'B')} with embedding rows over the link, "
                  f"or {quantity(table['bytes_per_token'], 'B')} over the link per token; a build "
                  "with " + ", ".join(f"{name} >= {value}" for name, value in needs.items()
                              if name != "memory_bytes"))
    fits = table["fits"] or {}
    for verdict in dict.fromkeys(fits.values()):
        boards = [board for board, found in fits.items() if found == verdict]
        console.print(f"{', '.join(boards)}: {verdict}")


def _grid(matrices: list[dict], layers: bool) -> Table:
    """Return a line for each kind of matrix, with the range over the layers, or for each matrix."""
    lines = {}
    for matrix in matrices:
        name = ".".join(matrix["name"].rsplit(".", 2)[-2:])
        kind = f"{name}, {matrix['part']}" if matrix["part"] else name
        lines.setdefault((matrix["stage"] if layers else "", kind), []).append(matrix)
    grid = Table(box=None, pad_edge=False)
    if layers:
        grid.add_column("stage", no_wrap=True)
    grid.add_column("matrix", no_wrap=True)
    for column in ("rows", "columns", "scale", "zeros", "bound", "fraction"):
        grid.add_column(column, justify="right", no_wrap=True)
    for (stage, kind), line in lines.items():
        grid.add_row(*[stage] * layers, kind, str(line[0]["rows"]), str(line[0]["columns"]),
                     _range(line, "scale", ".3f"), _range(line, "zeros", ".0%"),
                     _range(line, "bound", ".3g"), _range(line, "fraction_bits", "d"))
    return grid


def _range(matrices: list[dict], name: str, form: str) -> str:
    values = [matrix[name] for matrix in matrices]
    low, high = (format(value, form) for value in (min(values), max(values)))
    return low if low == high else f"{low}-{high}"
