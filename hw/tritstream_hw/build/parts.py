"""Parts of AMD's that are on boards for which this project has no place and route."""

import dataclasses

__all__ = ["PARTS", "Part"]


@dataclasses.dataclass(frozen=True)
class Part:
    """What there is in a part, by its data sheet.

    Parameters
    ----------
    board, name : str
        On which board it is, and what it is called.
    family : str
        As Yosys calls it.
    luts, flip_flops, dsps, tiles, urams : int
        `tiles` are block RAMs of 36 Kbit.
    """

    board: str
    name: str
    family: str
    luts: int
    flip_flops: int
    dsps: int
    tiles: int
    urams: int


PARTS = (
    Part("KV260", "XCK26", "xcup", 117_120, 234_240, 1_248, 144, 64),               # DS987
    Part("Arty A7-100", "XC7A100T", "xc7", 63_400, 126_800, 240, 135, 0),           # DS180
    Part("Alveo U250", "XCU250", "xcup", 1_728_000, 3_456_000, 12_288, 2_688, 1_280),   # DS962
    Part("Alveo U280", "XCU280", "xcup", 1_303_680, 2_607_360, 9_024, 2_016, 960),      # DS963
)
"""The whole part; what a vendor's shell takes of it is not left out."""
