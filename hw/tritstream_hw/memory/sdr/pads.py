"""Commands of an SDR SDRAM, and its pins as the controller sees them."""

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from tritstream_hw.memory.sdr.chip import SdrChip

__all__ = ["ALL_BANKS", "BURST", "Command", "PadsSignature", "mode_of"]

BURST = 8
"""Words of a read; a write is of one."""

ALL_BANKS = 1 << 10
"""Address of a PRECHARGE of all banks."""


class Command(enum.Enum, shape=3):
    """What /RAS, /CAS and /WE say, the first in the highest bit."""

    MODE = 0b000
    REFRESH = 0b001
    PRECHARGE = 0b010
    ACTIVATE = 0b011
    WRITE = 0b100
    READ = 0b101
    NOTHING = 0b111


def mode_of(chip: SdrChip) -> int:
    """Address of a MODE: reads of eight words in sequence, writes of one."""
    single_writes, sequential_eight = 1 << 9, 3
    return single_writes | chip.cas_latency << 4 | sequential_eight


class PadsSignature(wiring.Signature):
    """To and from the flip-flops of the pads.

    The chip is selected, its clock enabled, and no byte masked, all the time.

    Members
    -------
    command : :py:`Out(Command)`
    bank, address : :py:`Out(2)`, :py:`Out(row_bits)`
    write : :py:`Out(1)`
        The data pins are driven with `o`.
    o, i : :py:`Out(word_bits)`, :py:`In(word_bits)`
    """

    def __init__(self, chip: SdrChip):
        super().__init__({
            "command": Out(Command, init=Command.NOTHING),
            "bank": Out(chip.bank_bits),
            "address": Out(chip.row_bits),
            "write": Out(1),
            "o": Out(chip.word_bits),
            "i": In(chip.word_bits),
        })
