"""What an image needs of the device that runs it: whether it fits is said here, and only here."""

import dataclasses
import enum

from tritstream.build import BuildConfig, usual_element_width, usual_vector_width
from tritstream.image.layout import lay_out
from tritstream.stripes import PLAIN, Stripes

__all__ = ["Needs", "Residence"]

_NAMES = {
    "max_hidden": "hidden size",
    "max_intermediate": "intermediate size",
    "max_state": "recurrent state",
    "max_vocab": "vocabulary",
    "max_stages": "number of stages",
}


MOST_STATES = 1 << 16
"""States in a memory: more than anybody has conversations."""


class Residence(enum.Enum):
    """What of an image lies in a device's memory."""

    WHOLE = "all of it"
    TAPE = "the tape, and embedding rows as they are needed"
    NOTHING = "nothing: the host sends the tape with every token"

    def content(self, layout):
        """Return what that memory has from its first byte on, bytes-like; None: nothing.

        Parameters
        ----------
        layout : Image or Layout
            From `tritstream.image.layout.lay_out`.
        """
        if self is Residence.NOTHING:
            return None
        return layout.payload if self is Residence.WHOLE else layout.tape(layout.tape_units)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """The least that a device must have, in the names of `tritstream.build.BuildConfig`.

    Parameters
    ----------
    max_hidden, max_intermediate, max_vocab : int
        Dimensions of the model.
    max_state : int
        Elements of its recurrent state, layers x hidden.
    max_stages : int
        Stages of a pass.
    memory_bytes : int
        Size of the payload.
    row_bytes : int
        Size of an embedding row. A device without the room for all has the tape in its memory, and
        rows as they are needed.
    token_bytes : int
        Size of the tape and a row: what a device without the room for that takes for each token.
    """

    max_hidden: int
    max_intermediate: int
    max_state: int
    max_vocab: int
    max_stages: int
    memory_bytes: int
    row_bytes: int
    token_bytes: int

    @classmethod
    def of(cls, image, stripes: Stripes = PLAIN) -> "Needs":
        """Return what an image needs of a build with these stripes."""
        laid = lay_out(image, stripes)
        tape, row, size = laid.tape_units, laid.row_units, stripes.unit_bytes
        return cls(max_hidden=image.hidden, max_intermediate=image.intermediate,
                   max_state=image.layers * image.hidden, max_vocab=image.vocab,
                   max_stages=image.stages, memory_bytes=(laid.tape_unit + tape) * size,
                   row_bytes=row * size, token_bytes=(tape + row) * size)

    def lack(self, limits) -> str | None:
        """Say what is too large for a device, as in ``hidden size of 65 exceeds 64``.

        Parameters
        ----------
        limits : BuildConfig or Identity
            The device; what an identity does not tell is not compared.
        """
        for field, name in _NAMES.items():
            needed, most = getattr(self, field), getattr(limits, field, None)
            if most is not None and needed > most:
                return f"{name} of {needed} exceeds {most}"
        return None

    def least_build(self, beat_bytes: int, lanes: int = 1) -> BuildConfig:
        """Return a build of the usual widths that holds just this image, its memory apart."""
        return BuildConfig(
            beat_bytes=beat_bytes, lanes=lanes,
            vector_width=usual_vector_width(beat_bytes, lanes=lanes),
            element_width=usual_element_width(beat_bytes, lanes),
            **{field: getattr(self, field) for field in _NAMES})

    def least_memory(self, lanes: int = 1) -> int:
        """Return the bytes of the tape, and of a row for each token that shares a pass."""
        return self.token_bytes + (lanes - 1) * self.row_bytes

    def residence(self, memory_bytes: int, lanes: int = 1) -> Residence:
        """Return what of the image a memory of that size holds, on a device with so many lanes."""
        if self.memory_bytes <= memory_bytes:
            return Residence.WHOLE
        fits = self.least_memory(lanes) <= memory_bytes
        return Residence.TAPE if fits else Residence.NOTHING

    def state_units(self, stripes: Stripes = PLAIN) -> int:
        """Return how many units of a device's memory a recurrent state takes, of 32-bit words."""
        return -(-4 * self.max_state // stripes.unit_bytes)

    def states_beside(self, memory_bytes: int, stripes: Stripes = PLAIN, lanes: int = 1,
                      residence: Residence | None = None) -> int:
        """Return how many states a memory of that size has room for beside the image.

        Where it has none for all embedding rows, a quarter of what the tape leaves is for states,
        which are as large as many rows, but seldom come and go.

        Parameters
        ----------
        memory_bytes : int
            Size of the memory.
        stripes : Stripes
            Of the device.
        lanes : int
            Tokens that share a pass of it.
        residence : Residence or None
            What of the image is there; None: as much as there can be.
        """
        residence = self.residence(memory_bytes, lanes) if residence is None else residence
        free = {
            Residence.WHOLE: memory_bytes - self.memory_bytes,
            Residence.TAPE: (memory_bytes - self.least_memory(lanes)) // 4,
            Residence.NOTHING: memory_bytes,
        }[residence]
        return min(MOST_STATES, free // (self.state_units(stripes) * stripes.unit_bytes))

    def rows_beside(self, memory_bytes: int) -> int:
        """Return how many embedding rows a memory of that size has room for beside the tape."""
        return max(0, memory_bytes - self.token_bytes + self.row_bytes) // self.row_bytes
