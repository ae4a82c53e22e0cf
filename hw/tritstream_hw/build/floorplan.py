"""A picture of a placed design: which block is where."""

import collections
import re
from collections.abc import Iterable

__all__ = ["draw", "read_places"]

CONTAINERS = ("serial", "device", "soc", "accelerator")     # whose parts are told apart
OTHER = "others"
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99",
           "#bbcc33", "#ffaabb", "#99ddff", "#777777")      # Paul Tol's, for all eyes
OTHER_COLOUR = "#cccccc"
TILE = 6                    # pixels, as what follows: a side of a tile
LEGEND, LINE = 170, 18      # width of the legend, and height of its lines

Places = dict[str, tuple[int, int]]


def read_places(lines: Iterable[str]) -> Places:
    """Return the tile of each cell, from the lines of what nextpnr writes with ``--write``.

    Read line by line: it is as large as all routes are, and these are not wanted.
    """
    cell, places = "", {}
    for line in lines:
        if line.startswith('        "') and line.endswith('": {\n'):
            cell = line.split('"')[1]
        elif found := re.search(r'"NEXTPNR_BEL": "X(\d+)/?Y(\d+)/', line):
            places[cell] = int(found[1]), int(found[2])
    return places


def draw(places: Places) -> str:
    """Return an SVG: a tile has the colour of the block that has most cells there."""
    tiles = collections.defaultdict(collections.Counter)
    for cell, tile in places.items():
        tiles[tile][_block(cell)] += 1
    cells = sum(tiles.values(), collections.Counter())
    largest = [block for block, _ in cells.most_common() if block != OTHER][:len(COLOURS)]
    colours = dict(zip(largest, COLOURS, strict=False)) | {OTHER: OTHER_COLOUR}
    paths, sizes = collections.defaultdict(str), collections.Counter()
    for (x, y), counts in sorted(tiles.items()):
        (most, _), = counts.most_common(1)
        paths[_shown(most, colours)] += f"M{x} {y}h1v1h-1z"
    for block, count in cells.items():
        sizes[_shown(block, colours)] += count

    width, height = (TILE * (max(tile[axis] for tile in tiles) + 1) for axis in (0, 1))
    height = max(height, LINE * (len(colours) + 1))
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + LEGEND} {height}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             f'<rect width="{width}" height="{height}" fill="#f4f4f4"/>']
    for number, (block, colour) in enumerate(colours.items()):
        left, top = width + 12, LINE * (number + 1)
        lines += [f'<path fill="{colour}" transform="scale({TILE})" d="{paths[block]}"/>',
                  f'<rect x="{left}" y="{top - 10}" width="10" height="10" fill="{colour}"/>',
                  f'<text x="{left + 16}" y="{top}">{block}: {sizes[block]:,} cells</text>']
    return "\n".join([*lines, "</svg>"]) + "\n"


def _shown(block: str, colours: dict[str, str]) -> str:
    return block if block in colours else OTHER


def _block(cell: str) -> str:
    """Return the part of the design that a cell is in, by its path."""
    *path, _ = cell.split(".")
    return next((name for name in path if name not in CONTAINERS), OTHER)
