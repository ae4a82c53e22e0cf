"""cocotb agent for the registers of a DDR3 memory."""

from cocotb.task import resume
from cocotb.triggers import ClockCycles

from tritstream.ddr3.registers import ADDRESS, WORDS, Command
from tritstream_hw.memory.access import REGISTER
from tritstream_sim.agents.stream import Sink, Source

__all__ = ["LINK_CYCLES", "BlockingAccess", "Registers"]

LINK_CYCLES = 30            # between two accesses, at least: longer than a memory takes to read


class Registers:
    """The registers of a memory, one access at a time.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the port.
    """

    def __init__(self, dut, name: str):
        self._requests = Source(dut, f"{name}__request", REGISTER)
        self._words = Sink(dut, f"{name}__word")

    async def store(self, address: int, words: list[int]):
        """Write consecutive words."""
        self._requests.send({"address": place, "write": 1, "data": word}
                            for place, word in enumerate(words, address))
        await self._requests.sent()

    async def load(self, address: int, words: int) -> list[int]:
        """Read consecutive words."""
        self._requests.send({"address": place, "write": 0, "data": 0}
                            for place in range(address, address + words))
        return await self._words.take(words)

    async def write(self, name: str, value: int):
        """Write a register."""
        await self.store(ADDRESS[name], [value >> 32 * word & 0xFFFF_FFFF
                                         for word in range(WORDS[name])])

    async def read(self, name: str) -> int:
        """Read a register."""
        words = await self.load(ADDRESS[name], WORDS[name])
        return sum(value << 32 * word for word, value in enumerate(words))

    async def issue(self, phase: int, command: Command, *, bank: int, address: int = 0):
        """Give the chip a command; the next one comes later than its times are."""
        for register, value in {"address": address, "baddress": bank, "command": command,
                                "command_issue": 1}.items():
            await self.write(f"dfii_pi{phase}_{register}", value)


class BlockingAccess:
    """What the host's program calls an access, for a thread that `cocotb.task.bridge` has begun.

    Parameters
    ----------
    registers : Registers
        What it reaches.
    clk
        Handle of their clock.
    """

    def __init__(self, registers: Registers, clk):
        async def store(address, words):
            await registers.store(address, words)
            await ClockCycles(clk, LINK_CYCLES)

        self.read = resume(registers.load)
        self.store = resume(store)
