"""cocotb agent for the registers of a DDR3 memory."""

from tritstream.ddr3.registers import ADDRESS, WORDS, Command
from tritstream_hw.memory.access import REGISTER
from tritstream_sim.agents.stream import Sink, Source

__all__ = ["Registers"]


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

    async def write(self, name: str, value: int):
        """Write a register, word by word."""
        self._requests.send({"address": ADDRESS[name] + word, "write": 1,
                             "data": value >> 32 * word & 0xFFFF_FFFF}
                            for word in range(WORDS[name]))
        await self._requests.sent()

    async def read(self, name: str) -> int:
        """Read a register."""
        self._requests.send({"address": ADDRESS[name] + word, "write": 0, "data": 0}
                            for word in range(WORDS[name]))
        words = await self._words.take(WORDS[name])
        return sum(value << 32 * word for word, value in enumerate(words))

    async def issue(self, phase: int, command: Command, *, bank: int, address: int = 0):
        """Give the chip a command; the next one comes later than its times are."""
        for register, value in {"address": address, "baddress": bank, "command": command,
                                "command_issue": 1}.items():
            await self.write(f"dfii_pi{phase}_{register}", value)
