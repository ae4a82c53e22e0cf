"""Cycles per token by stage, from the counters of the simulated board; writes the README's table.

``python -m tritstream_sim.report.cycles [--readme README.md] [P …]`` runs a few tokens of the model
`demo` on one board per beat width. The cycles are the hardware's: the simulation is cycle-accurate.
"""

import argparse
import collections
import pathlib

from tritstream.analysis.kinds import KINDS, kind_of
from tritstream.catalog import DEFAULT_MODEL, resolve
from tritstream.driver import Device
from tritstream.errors import TritstreamError
from tritstream.image.image import Image
from tritstream_sim.board import launch
from tritstream_sim.report.marked import write_between

__all__ = ["main", "measure", "table"]

TOKENS = (0, 262, 762)
MARKS = "<!-- cycles: written by `make cycles` -->", "<!-- end of cycles -->"


def weights(image: Image) -> dict[str, int]:
    """Ternary weights by kind of stage."""
    count = collections.Counter()
    for section in image.sections:
        header = section.header
        count[kind_of(section.name)] += header.rows * header.columns * header.op.projections
    return count


def measure(image: Image, width: int) -> dict[str, int]:
    """Cycles of the last of some tokens by kind of stage, on a board with `width` bytes a beat."""
    with Device(launch(f"sim:p{width}", image)) as device:
        device.load(image)
        for _ in device.run([token % image.vocab for token in TOKENS], fresh=True):
            pass
        cycles = collections.Counter()
        for section, record in zip(image.sections, device.records(), strict=True):
            cycles[kind_of(section.name)] += record.cycles
    return cycles


def table(image: Image, widths) -> str:
    """Markdown table of cycles and of their share of the roof, trits / 5 P; and the bytes read."""
    trits = weights(image)
    columns = {width: measure(image, width) for width in widths}
    rows = [
        "| stage (all layers) | ternary weights | "
        + " | ".join(f"P = {w}: cycles | of the roof" for w in widths) + " |",
        "|---|---:|" + "---:|---:|" * len(widths),
    ]
    for key, what in [*KINDS.items(), (None, "**token**")]:
        count = sum(trits.values()) if key is None else trits[key]
        cells = []
        for width, cycles in columns.items():
            spent = sum(cycles.values()) if key is None else cycles[key]
            cells += [f"{spent:,}", f"{count / (5 * width) / spent:.1%}" if count else ""]
        rows.append(f"| {what} | {count:,} | " + " | ".join(cells) + " |")
    read = image.tape().nbytes
    return "\n".join([*rows, "", f"A token of this model reads {read / 1e6:.2f} MB of tape."])


def main(argv=None) -> None:
    """Print the table, or put it where it belongs."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.cycles",
                                     description=__doc__)
    parser.add_argument("widths", nargs="*", type=int, default=[4, 16, 64], metavar="P")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--readme", type=pathlib.Path, help="file whose table is replaced")
    options = parser.parse_args(argv)
    try:
        text = table(resolve(options.model).image, options.widths)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    print(text)
    if options.readme:
        write_between(options.readme, MARKS, text)


if __name__ == "__main__":
    main()
