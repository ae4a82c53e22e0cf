"""What is fixed when a bitstream or a simulator is built, and the widths that follow from it."""

import dataclasses
import hashlib
import json

from tritstream.errors import BadInput
from tritstream.formats import FORMATS, MOST_BEAT_BYTES, MOST_ROWS
from tritstream.stripes import Stripes

__all__ = ["MOST_GROUPS", "MOST_LANES", "BuildConfig", "usual_element_width", "usual_vector_width"]


MOST_LANES = 16
MOST_GROUPS = 64
MOST_ELEMENT_WIDTH = 32
MOST_FLASH_BYTES = (1 << 24) - 1    # an address has 24 bits

CHOICES = {"p": "beat_bytes", "v": "vector_width", "e": "element_width", "t": "lanes",
           "g": "groups",
           "state": "max_state", "memory": "memory_bytes", "clock": "clock_hz"}
"""What a text may say of a build, and how that is called here."""

MAY_BE_NONE = frozenset({"prefetch_beats", "memory_bytes", "memory_registers", "flash_offset",
                         "link_rate"})

_UNITS = {"k": 1 << 10, "M": 1 << 20}


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _number(text: str) -> int | None:
    """Return a number of a few digits, perhaps in k or M; None if it is none."""
    unit = _UNITS.get(text[-1:])
    digits = text[:-1] if unit else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 6):
        return None
    return int(digits) * (unit or 1)


def usual_vector_width(width: int, groups: int = 1, lanes: int = 1) -> int:
    """Return the `V` that keeps quantiser and gains off the critical path of a wide build.

    With many tokens in a pass, each of which is quantised, it is as wide as it may be.
    """
    return width if lanes > 8 else min(width, max(8, width * groups // 2))


def usual_element_width(width: int, lanes: int = 1) -> int:
    """Return the `E` that keeps the elements of small models off the path of a wide build.

    With several tokens in a pass, of each of which there are elements, it does so for large models.
    """
    wanted = max(1, min(4, width // 32), min(8, width * lanes // 128), width // 128)
    return 1 << min(MOST_ELEMENT_WIDTH, width, wanted).bit_length() - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Everything that is fixed when a bitstream or a simulator is built.

    The dimensions of a model come with its image, up to the maxima given here.

    Parameters
    ----------
    beat_bytes : int
        `P`, bytes per beat of a memory: a power of two, 1 to 256. A core does 5 P trits per cycle.
    groups : int
        `G`, row groups side by side, 1 to 64: cores with a memory each, which deliver a beat each
        in the same cycle.
    vector_width : int
        `V`, elements per cycle of the quantise pass and gains per cycle of the gain loader: a power
        of two, at most `P`.
    element_width : int
        `E`, rows per cycle of the element path and of the head: a power of two up to 32, at most
        `V`.
    prefetch_beats : int
        Beats that are read from the memory ahead of their use, and wait in block RAM; 0: none.
    lanes : int
        `T`, tokens that share a pass, 1 to 16.
    candidates : int
        Best logits kept by the top-k unit.
    max_hidden, max_intermediate, max_vocab : int
        Largest model; at most 65,535 each.
    max_state : int
        Elements of recurrent state, layers times hidden.
    max_stages : int
        Stages of a tape that are recorded, 4 layers + 2.
    memory_bytes : int
        Size of the memory behind the source; 0 if weights are streamed by the host.
    memory_registers : int
        Words of the registers by which the host starts the memory; 0: it needs no start.
    flash_offset : int
        Byte of the flash memory from which on there may be a model that the memory is filled with
        when the board starts; 0: nobody looks.
    clock_hz : int
        System clock, for reports and the UART's divider.
    link_rate : int
        Bytes per second of the link; 0 if unknown.
    ack_cycles, retry_cycles : int
        Timers of the link, see `docs/link.md`.
    """

    beat_bytes: int = 16
    groups: int = 1
    vector_width: int = 8
    element_width: int = 1
    prefetch_beats: int = 0
    lanes: int = 1
    candidates: int = 16
    max_hidden: int = 1024
    max_intermediate: int = 2816
    max_vocab: int = 32000
    max_state: int = 24 * 1024
    max_stages: int = 256
    memory_bytes: int = 0
    memory_registers: int = 0
    flash_offset: int = 0
    clock_hz: int = 80_000_000
    link_rate: int = 0
    ack_cycles: int = 2_000
    retry_cycles: int = 100_000

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            low = 0 if field.name in MAY_BE_NONE else 1
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise BadInput(f"{field.name} must be an integer of at least {low}, not {value!r}.")
        for name in ("beat_bytes", "vector_width", "element_width"):
            if not _power_of_two(getattr(self, name)):
                raise BadInput(f"{name} must be a power of two, not {getattr(self, name)}.")
        if self.beat_bytes > MOST_BEAT_BYTES:
            raise BadInput(f"beat_bytes must be at most {MOST_BEAT_BYTES}, not {self.beat_bytes}.")
        if self.vector_width > self.beat_bytes:
            raise BadInput(f"vector_width must be at most beat_bytes = {self.beat_bytes}, "
                           f"not {self.vector_width}.")
        if self.element_width > min(MOST_ELEMENT_WIDTH, self.vector_width):
            raise BadInput(f"element_width must be at most {MOST_ELEMENT_WIDTH}, and at most "
                           f"vector_width = {self.vector_width}, not {self.element_width}.")
        if self.groups > MOST_GROUPS:
            raise BadInput(f"groups must be at most {MOST_GROUPS}, not {self.groups}.")
        if self.lanes > MOST_LANES:
            raise BadInput(f"lanes must be at most {MOST_LANES}, not {self.lanes}.")
        if self.candidates > 255:
            raise BadInput(f"candidates must be at most 255, not {self.candidates}.")
        for name in ("max_hidden", "max_intermediate", "max_vocab"):
            if getattr(self, name) > MOST_ROWS:
                raise BadInput(f"{name} must be at most {MOST_ROWS}, not {getattr(self, name)}.")
        if self.flash_offset > MOST_FLASH_BYTES:
            raise BadInput(f"flash_offset must be at most {MOST_FLASH_BYTES}, not "
                           f"{self.flash_offset}.")
        unit = self.stripes.unit_bytes
        if self.memory_bytes % unit:
            raise BadInput(f"memory_bytes must be a multiple of {unit}, not {self.memory_bytes}.")

    @property
    def stripes(self) -> Stripes:
        """How the tape lies in the memories."""
        return Stripes(self.beat_bytes, self.groups)

    @property
    def stripe_bytes(self) -> int:
        """Bytes of a beat of each memory."""
        return self.stripes.stripe_bytes

    @property
    def flat_bytes(self) -> int:
        """Bytes of a stripe that headers, gains and embedding rows fill."""
        return self.stripes.flat_bytes

    @property
    def memory_units(self) -> int:
        """Size of all memories together."""
        return self.memory_bytes // self.stripes.unit_bytes

    @property
    def max_columns(self) -> int:
        """Longest input vector of a GEMV, padded as on the tape."""
        return self.stripes.padded_columns(max(self.max_hidden, self.max_intermediate))

    @property
    def column_beats(self) -> int:
        """Beats of the longest row group."""
        return self.stripes.group_stripes(self.max_columns)

    @property
    def column_words(self) -> int:
        """Words of `V` elements of the longest input vector of a GEMV."""
        return self.max_columns // self.vector_width

    @property
    def gain_beats(self) -> int:
        """Stripes of the longest gain bank."""
        size = FORMATS.gain_bits // 8 * self.max_columns
        return self.stripes.flat_units(size) * self.stripes.unit_stripes

    @property
    def gain_chunks(self) -> int:
        """Parts of a stripe of gains that are loaded one after the other, `V` gains each."""
        return max(1, self.flat_bytes // (FORMATS.gain_bits // 8 * self.vector_width))

    @property
    def vector_elements(self) -> int:
        """Elements of the vector memory: x, then z, each padded."""
        return self.z_base + self.max_columns

    @property
    def z_base(self) -> int:
        """Address of z in the vector memory."""
        return self.stripes.padded_columns(self.max_hidden)

    @property
    def slots(self) -> int:
        """States that are kept between passes: one for each lane."""
        return self.lanes

    @property
    def acc_bits(self) -> int:
        """Width of a signed row sum: every activation at 127, every trit the same."""
        return (127 * self.max_columns).bit_length() + 1

    @property
    def narrow(self) -> bool:
        """Whether what is beside the core shares its units: a core as wide with `V` = 1 has time.

        With 40 trits per cycle, a block of rows with 160 columns is long enough to hide that.
        """
        return self.stripe_bytes < 8 or self.vector_width == 1

    @property
    def element_cycles(self) -> int:
        """Cycles from a word of rows to the next, in which narrow builds share their multipliers.

        A block of five rows takes 20 cycles then, and its trits `columns / P` at least.
        """
        return 4 if self.narrow and self.lanes == 1 else 1

    @property
    def whole_words(self) -> bool:
        """Whether rows of tokens leave the core in whole words, those of several blocks joined.

        It pays where a word has more rows than a block, and tokens share the way.
        """
        return (self.lanes > 1 and self.groups == 1
                and self.element_width > FORMATS.trits_per_byte)

    @property
    def scalar_units(self) -> int:
        """Units that make reciprocals and scales: one in a narrow build, or one a projection."""
        return 1 if self.narrow else 3

    @property
    def root_units(self) -> int:
        """Units that make the norms of a pass's tokens, which of many take longer than scales."""
        return 2 if self.lanes > 4 and self.scalar_units > 1 else 1

    @property
    def digit_bits(self) -> int:
        """Bits per cycle of the quotients between two stages, which a wide build cannot hide."""
        return 1 if self.stripe_bytes < 16 else 2

    @property
    def token_bits(self) -> int:
        """Width of a token number."""
        return self.max_vocab.bit_length()

    @classmethod
    def parse(cls, text: str) -> "BuildConfig":
        """Return the build that a text such as ``p=64,v=32,clock=300`` describes, see `changed`."""
        return cls().changed(text)

    def changed(self, text: str) -> "BuildConfig":
        """Return the build with what a text says, as in ``p=16,v=8,state=24k,memory=128k``.

        The clock is in MHz. With ``p``, what is left out of ``v`` and ``e`` is usual at that width.

        Raises
        ------
        BadInput
            The text names something else, or there is no such build.
        """
        numbers = {}
        for part in text.split(","):
            name, _, value = part.strip().partition("=")
            number = _number(value)
            if name not in CHOICES or name in numbers or number is None:
                raise BadInput(f"The build {text[:60]!r} has {part[:40]!r}: write whole numbers, "
                               "each once, as in p=64,v=32,e=2,state=24k,memory=128k,clock=300 "
                               "(bytes per beat, elements per cycle, rows per cycle, elements of "
                               "state, bytes, MHz).")
            numbers[name] = number
        if "p" in numbers:
            groups, lanes = numbers.get("g", 1), numbers.get("t", 1)
            numbers.setdefault("v", usual_vector_width(numbers["p"], groups, lanes))
            numbers.setdefault("e", min(numbers["v"], usual_element_width(
                numbers["p"] * groups, lanes)))
        if "clock" in numbers:
            numbers["clock"] *= 1_000_000
        return dataclasses.replace(self, **{CHOICES[name]: number
                                            for name, number in numbers.items()})

    def to_json(self) -> str:
        """Return all parameters as a JSON object."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "BuildConfig":
        """Inverse of `to_json`."""
        return cls(**json.loads(text))

    def digest(self) -> bytes:
        """Eight bytes that differ when any parameter or number format does."""
        text = self.to_json() + json.dumps(dataclasses.asdict(FORMATS), sort_keys=True)
        return hashlib.sha256(text.encode()).digest()[:8]
