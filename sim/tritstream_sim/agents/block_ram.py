"""Agent in the place of a block RAM that a component reads."""

from collections.abc import Callable

import cocotb
from cocotb.triggers import RisingEdge

__all__ = ["serve"]


def serve(clk, data, read: Callable[[], int]):
    """Drive `data` with what `read` returned in the cycle before, as a block RAM would.

    `read` is called in every cycle; it looks at the address ports and returns the bits of a word.
    """
    async def run():
        edge = RisingEdge(clk)
        data.value = 0
        while True:
            await edge
            data.value = read()

    return cocotb.start_soon(run())
