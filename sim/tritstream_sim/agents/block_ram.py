"""Agent in the place of a block RAM that a component reads."""

import collections
from collections.abc import Callable

import cocotb
from cocotb.triggers import RisingEdge

__all__ = ["serve"]


def serve(clk, data, read: Callable[[], int], *, cycles: int = 1):
    """Drive `data` with what `read` returned so many cycles before, as a block RAM would.

    `read` is called in every cycle; it looks at the address ports and returns the bits of a word.
    """
    async def run():
        edge = RisingEdge(clk)
        data.value = 0
        words = collections.deque([0] * (cycles - 1))
        while True:
            await edge
            words.append(read())
            data.value = words.popleft()

    return cocotb.start_soon(run())
