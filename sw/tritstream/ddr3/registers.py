"""Registers of a DDR3 memory's controller, by LiteDRAM's names: the one table of their places."""

import enum
import itertools

__all__ = ["ADDRESS", "WORDS", "Command", "Control"]

_PHASE = {"command": 1, "command_issue": 1, "address": 1, "baddress": 1, "wrdata": 2, "rddata": 2}

WORDS = {
    "dfii_control": 1,
    **{f"dfii_pi{phase}_{name}": words for phase in range(2) for name, words in _PHASE.items()},
    "dly_sel": 1,
    "rdly_dq_rst": 1,
    "rdly_dq_inc": 1,
    "rdly_dq_bitslip_rst": 1,
    "rdly_dq_bitslip": 1,
    "burstdet_clr": 1,
    "burstdet_seen": 1,
}
"""Words of 32 bits that each has, low ones first. Those behind `dly_sel` are of the ECP5's PHY."""

ADDRESS = dict(zip(WORDS, itertools.accumulate(WORDS.values(), initial=0), strict=False))
"""The first word of each."""


class Control(enum.IntFlag):
    """Bits of ``dfii_control``; without `HARDWARE`, the other registers drive the chip."""

    HARDWARE = 1
    CKE = 2
    ODT = 4
    RESET_N = 8


class Command(enum.IntFlag):
    """Bits of ``dfii_pi0_command``: pins that are active, and which way data go.

    A cycle of the controller is two of the chip: its phases 0 and 1 have commands of their own.
    """

    CS = 1
    WE = 2
    CAS = 4
    RAS = 8
    WRITES = 16
    READS = 32

    MODE = CS | WE | CAS | RAS
    ACTIVATE = CS | RAS
    PRECHARGE = CS | RAS | WE
    REFRESH = CS | RAS | CAS
    CALIBRATE = CS | WE
    READ = CS | CAS | READS
    WRITE = CS | CAS | WE | WRITES
