"""LiteDRAM's controller of a DDR3 SDRAM, as a component."""

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tritstream.ddr3.registers import WORDS
from tritstream.errors import MissingTool, ToolFailed
from tritstream.support.cache import get_or_make
from tritstream.support.tools import complaint, install_command, run_bounded
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_hw.memory.ddr3.registers import RegistersSignature

__all__ = ["CYCLES_PER_BURST", "NAME", "POSTPONED", "CoreSignature", "Ddr3Core", "core_verilog"]

NAME = "ddr3_core"

CYCLES_PER_BURST = 2        # of the controller, which the chip's clock is twice as fast as

# Rows of the page that is read wait in a bank's own queue, some of them behind a refresh.
COMMANDS = 8
# Four refreshes at once, of the eight that may be postponed: rows are closed, and opened again, for
# each four.
POSTPONED = 4

SECONDS = 600.0             # for the generator, which takes two
GENERATOR = "tritstream_hw.memory.ddr3.generator"
SOURCES = pathlib.Path(__file__).parent / "generator"


class CoreSignature(wiring.Signature):
    """Port of the controller, as its user has it.

    Parameters
    ----------
    chip : Ddr3Chip
        What is behind it.

    Members
    -------
    command : :py:`Out(stream.Signature({"write": 1, "burst": ...}))`
        A burst is read or written; commands are carried out in order.
    read : :py:`In(stream.Signature(8 * burst_bytes, always_ready=True))`
        Bursts of all reads, at least `CYCLES_PER_BURST` cycles from one to the next.
    write_data, write_bytes : :py:`Out(8 * burst_bytes)`, :py:`Out(burst_bytes)`
        What a write writes, and which bytes of that.
    write_taken : :py:`In(1)`
        It is taken in this cycle, some cycles after its command.
    """

    def __init__(self, chip: Ddr3Chip):
        size = chip.burst_bytes
        super().__init__({
            "command": Out(stream.Signature(data.StructLayout({
                "write": 1, "burst": exact_log2(chip.bytes // size)}))),
            "read": In(stream.Signature(8 * size, always_ready=True)),
            "write_data": Out(8 * size),
            "write_bytes": Out(size),
            "write_taken": In(1),
        })


class Ddr3Core(wiring.Component):
    """The controller, with what is behind it.

    Refreshes go on whatever else happens, and what is read meanwhile waits.

    Parameters
    ----------
    chip : Ddr3Chip
        The chip, whose clock is twice as fast as the domain.
    members : dict of str to wiring.Member or None
        What there is besides.

    Members
    -------
    user : :py:`In(CoreSignature(chip))`
        Reads and writes.
    registers : :py:`In(RegistersSignature())`
        Those of controller and PHY.
    """

    def __init__(self, chip: Ddr3Chip, members: Mapping[str, wiring.Member] | None = None):
        self.chip = chip
        super().__init__({"user": In(CoreSignature(chip)), "registers": In(RegistersSignature()),
                          **(members or {})})

    def instance(self, reset, **others) -> Instance:
        """Return the module `NAME`, with the ports that all kinds of it have, and others."""
        user, registers = self.user, self.registers
        return Instance(
            NAME,
            i_clk=ClockSignal(), i_rst=reset,
            i_command_valid=user.command.valid, o_command_ready=user.command.ready,
            i_command_write=user.command.p.write, i_command_burst=user.command.p.burst,
            o_write_taken=user.write_taken, i_write_data=user.write_data,
            i_write_bytes=user.write_bytes,
            o_read_valid=user.read.valid, o_read_data=user.read.payload,
            i_register_address=registers.address, i_register_read=registers.read,
            i_register_write=registers.write, i_register_i=registers.i,
            o_register_o=registers.o, **others)


def core_verilog(chip: Ddr3Chip, clock_hz: int, **others) -> str:
    """Return the module `NAME`, which is generated once and kept in the user's cache.

    Parameters
    ----------
    chip : Ddr3Chip
        What is behind it.
    clock_hz : int
        Its frequency, a half of the chip's.
    others
        Of the generator's `Core`: ``simulated``; and how the pads are, if there are any:
        ``command_delay``; how many have the address (``addresses``); which there are not
        (``without``); and the byte lane of which each has the mask, if not its own (``masks``).

    Raises
    ------
    MissingTool
        LiteDRAM is not installed.
    ToolFailed
        It fails.
    """
    return _generated({
        "name": NAME, "chip": dataclasses.asdict(chip) | {"bank_bits": chip.bank_bits},
        "clock_hz": clock_hz, "commands": COMMANDS, "postponed": POSTPONED,
        "registers": list(WORDS), **others})


def _generated(asked: Mapping) -> str:
    """Return what the generator writes, of the cache if it has written the same before."""
    try:
        versions = [importlib.metadata.version(name) for name in ("litedram", "litex", "migen")]
    except importlib.metadata.PackageNotFoundError:
        raise MissingTool("LiteDRAM, of which the controller of a DDR3 memory is made, is not "
                          f"installed; run `{install_command('litedram')}`.") from None
    text = json.dumps(asked, sort_keys=True)
    told = hashlib.sha256(f"{text} {versions}".encode())
    for path in sorted(SOURCES.glob("*.py")):
        told.update(path.read_bytes())
    path = get_or_make("ddr3", f"{told.hexdigest()[:16]}.v",
                       lambda path: path.write_text(_generate(text)))
    return path.read_text()


def _generate(text: str) -> str:
    done = run_bounded([sys.executable, "-m", GENERATOR], SECONDS, text=text,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise ToolFailed(f"LiteDRAM failed: {complaint(done.stderr)}; install it again with "
                         f"`{install_command('litedram')}`.")
    return done.stdout
