"""Words of the micro machine, and where everything lies that its program can address.

An instruction is a word of 16 bits. Jumps have the top bit set, their kind and an address::

    1 kind[3] target[12]

and everything else names an operation and one of 512 slots, the machine's variables and constants::

    0 operation[6] slot[9]

Operations on memory take the address from their slot; their code says which way, how wide and
whether the slot is moved behind what was read or written::

    1 store[1] advance[1] width[3]
"""

import enum

__all__ = [
    "ACTIVATIONS",
    "DATA_BYTES",
    "PROGRAM_WORDS",
    "RECEIVED_BYTES",
    "SLOTS",
    "Jump",
    "Op",
    "Place",
    "Region",
    "Width",
    "instruction",
    "jump",
    "memory_op",
]

SLOTS = 512
"""Words of 32 bits: variables, and constants that the bitstream sets."""

PROGRAM_WORDS = 4096
"""Words of 16 bits: instructions, and behind them tables."""

DATA_BYTES = 1 << 17
"""Of the large memory: image, vectors, state, buffers."""

RECEIVED_BYTES = 2048
"""Of the ring of received bytes."""

ACTIVATIONS = 512
"""Quantised activations that are kept."""


class Jump(enum.IntEnum):
    """When a jump is taken; `A` is the accumulator."""

    ALWAYS = 0
    CALL = 1            # A becomes the address behind
    ZERO = 2            # A is 0
    NOT_ZERO = 3
    LESS = 4            # the latest SUB was of a smaller signed number
    NOT_LESS = 5
    CARRY = 6
    NOT_CARRY = 7


class Op(enum.IntEnum):
    """What is done with A and the slot's word X; H is the upper half of a pair with A."""

    LOAD = 0            # A = X
    ADD = 1             # A + X; sets the carry
    ADD_CARRY = 2       # A + X + carry; sets the carry
    SUB = 3             # A - X; carry: A >= X, both unsigned
    AND = 4
    OR = 5
    XOR = 6
    CRC = 7             # CRC-32 register A after the lowest byte of X
    HIGH = 8            # A = H
    STORE = 9           # X = A
    SET_HIGH = 10       # H = X
    RETURN = 11         # jumps to X
    MULTIPLY = 12       # H:A = A * X, signed
    DOT = 13            # five row sums, see `Dot`
    LEFT = 16           # H:A << X[5:0]; the carry is the last bit that went, 0 if none did
    RIGHT = 17          # A >> X[5:0], unsigned
    RIGHT_SIGNED = 18   # A >> X[5:0]
    RIGHT_PAIR = 19     # H:A >> X[5:0], signed

    MEMORY = 32         # and what `memory_op` adds


class Width(enum.IntEnum):
    """What a memory operation moves; addresses are those of bytes, of whole widths."""

    BYTE = 0
    HALF = 1            # 16 bits, unsigned
    HALF_SIGNED = 2
    WORD = 3            # 32 bits

    @property
    def size(self) -> int:
        """Bytes."""
        return (1, 2, 2, 4)[self]


class Region(enum.IntEnum):
    """Bits 19 to 17 of an address."""

    DATA = 0            # the large memory
    PROGRAM = 1         # read, halves
    RECEIVED = 2        # read, bytes: a ring that the link's bytes go around in
    ACTIVATIONS = 3     # written, bytes
    DEVICES = 4         # see `Place`

    @property
    def base(self) -> int:
        """First address."""
        return self << 17


class Place(enum.IntEnum):
    """Addresses in the region of devices, all halves."""

    SUMS = Region.DEVICES << 17             # five, signed: of the latest DOT
    RECEIVED = SUMS + 16                    # where in the ring the next byte will be
    SENDING = SUMS + 18                     # 1 as long as no byte can be sent
    CLOCK = SUMS + 20                       # cycles, a word: the low half is to be read first
    SEND = SUMS                             # written, a byte


def instruction(op: int, slot: int) -> int:
    """Return a word of the program."""
    if not 0 <= slot < SLOTS:
        raise ValueError(f"slot must be 0 to {SLOTS - 1}, not {slot}")
    return op << 9 | slot


def jump(kind: Jump, target: int) -> int:
    """Return a word of the program."""
    if not 0 <= target < PROGRAM_WORDS:
        raise ValueError(f"target must be 0 to {PROGRAM_WORDS - 1}, not {target}")
    return 1 << 15 | kind << 12 | target


def memory_op(width: Width, *, store: bool = False, advance: bool = False) -> int:
    """Return the code of an operation on memory."""
    return Op.MEMORY | store << 4 | advance << 3 | width
