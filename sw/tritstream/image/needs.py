"""What an image needs of the device that runs it: whether it fits is said here, and only here."""

import dataclasses

from tritstream.build import BuildConfig, usual_element_width, usual_vector_width
from tritstream.image.layout import lay_out
from tritstream.stripes import PLAIN, Stripes

__all__ = ["Needs"]

_NAMES = {
    "max_hidden": "hidden size",
    "max_intermediate": "intermediate size",
    "max_state": "recurrent state",
    "max_vocab": "vocabulary",
    "max_stages": "number of stages",
}


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
        Size of the payload; a device with less takes the weights with every token.
    token_bytes : int
        What such a device takes for one token.
    """

    max_hidden: int
    max_intermediate: int
    max_state: int
    max_vocab: int
    max_stages: int
    memory_bytes: int
    token_bytes: int

    @classmethod
    def of(cls, image, stripes: Stripes = PLAIN) -> "Needs":
        """Return what an image needs of a build with these stripes."""
        laid = lay_out(image, stripes)
        tape, row, size = laid.tape_units, laid.row_units, stripes.unit_bytes
        return cls(max_hidden=image.hidden, max_intermediate=image.intermediate,
                   max_state=image.layers * image.hidden, max_vocab=image.vocab,
                   max_stages=image.stages, memory_bytes=(laid.tape_unit + tape) * size,
                   token_bytes=(tape + row) * size)

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

    def resident(self, memory_bytes: int) -> bool:
        """Whether a memory of that size holds the weights."""
        return self.memory_bytes <= memory_bytes
