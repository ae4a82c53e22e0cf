"""cocotb agent for the registers of a DDR3 memory."""

from cocotb.triggers import RisingEdge

from tritstream.ddr3.registers import ADDRESS, WORDS, Command

__all__ = ["Registers"]


class Registers:
    """The registers of a memory, one access at a time.

    Parameters
    ----------
    dut, name
        Handle of the top module, and name of the port.
    """

    def __init__(self, dut, name: str):
        self._edge = RisingEdge(dut.clk)
        self._ports = {port: dut[f"{name}__{port}"]
                       for port in ("address", "write", "i", "read", "o")}
        self._ports["write"].value = self._ports["read"].value = 0

    async def write(self, name: str, value: int):
        """Write a register, word by word."""
        for word in range(WORDS[name]):
            self._ports["address"].value = ADDRESS[name] + word
            self._ports["i"].value = value >> 32 * word & 0xFFFF_FFFF
            self._ports["write"].value = 1
            await self._edge
        self._ports["write"].value = 0

    async def read(self, name: str) -> int:
        """Read a register."""
        value = 0
        for word in range(WORDS[name]):
            self._ports["address"].value = ADDRESS[name] + word
            self._ports["read"].value = 1
            await self._edge
            await self._edge
            value |= int(self._ports["o"].value) << 32 * word
        self._ports["read"].value = 0
        return value

    async def issue(self, phase: int, command: Command, *, bank: int, address: int = 0):
        """Give the chip a command, and wait until what it does is done."""
        for register, value in {"address": address, "baddress": bank, "command": command,
                                "command_issue": 1}.items():
            await self.write(f"dfii_pi{phase}_{register}", value)
        for _ in range(30):
            await self._edge
