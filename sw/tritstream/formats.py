"""The number formats that gateware, golden model, image and documents must agree on."""

import dataclasses

__all__ = [
    "ALIGNMENT",
    "FORMATS",
    "HEADER_BYTES",
    "MOST_BEAT_BYTES",
    "MOST_ROWS",
    "NORM_BITS",
    "UNIT",
    "Formats",
    "padded",
]

UNIT = 64
"""Bytes in a unit of an image, in which its headers count. A build of wider beats, or with several
memories, counts in larger ones, see `tritstream.stripes`."""

ALIGNMENT = 64
"""Bytes to whose multiples every part of an image is padded: whole units, and whole beats of up to
as many bytes; for wider ones, the host pads them more."""

HEADER_BYTES = 64
"""Bytes of a section's header, its padding included."""

MOST_BEAT_BYTES = 256
"""Widest beat of one memory, in bytes."""

MOST_ROWS = 65_535
"""Rows and columns of a matrix at most: headers and hardware count them in 16 bits."""

NORM_BITS = 80
"""Width of the squared norm. S1 and S2 are sums of up to 2**16 squares of 32-bit numbers."""


def padded(count: int, alignment: int = ALIGNMENT) -> int:
    """Bytes, or activations of a byte each, that `count` of them take with their padding."""
    return -(-count // alignment) * alignment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Formats:
    """Widths of all numbers in the datapath; `docs/numerics.md` has the argument for each."""

    version: int = 1
    act_bits: int = 8           # quantised activation, -127..127
    trits_per_byte: int = 5     # 3**5 = 243 <= 256
    element_bits: int = 18      # dequantised i, f, g, a, b: one DSP slice's signed operand
    state_bits: int = 24        # recurrent state h
    vector_bits: int = 32       # residual x, gated vector z
    gain_bits: int = 16         # folded norm gains, signed
    mantissa_bits: int = 16     # scalars: unsigned mantissa, the top bit set
    amax_bits: int = 17         # normalised absolute maximum, the top bit set
    sigmoid_bits: int = 16      # fraction bits of a sigmoid
    max_shift: int = 62         # right shift of the dequantiser saturates here: nothing is left
    dequant_up: int = 10        # the dequantiser shifts left by this before it shifts right
    reciprocal_bits: int = 26   # the quantiser's reciprocal is 127 * 2**26 / amax

    @property
    def product_bits(self) -> int:
        """Vector times gain, signed."""
        return self.vector_bits + self.gain_bits

    @property
    def shift_bits(self) -> int:
        """Width of the dequantiser's shift."""
        return self.max_shift.bit_length()

    @property
    def state_extra(self) -> int:
        """Fraction bits that the state has more than an element."""
        return self.state_bits - self.element_bits

    @property
    def state_range(self) -> tuple[int, int]:
        """Least and largest number of a state: what rounds to an element that fits."""
        limit = 1 << self.state_bits - 1
        return -limit, limit - (1 << self.state_extra - 1) - 1


FORMATS = Formats()
