"""Kinds of stages, in whose sums tables show a pass."""

__all__ = ["KINDS", "kind_of"]

KINDS = {"embed": "embedding row", "mlgru": "i, f, g and MLGRU", "o": "o and residual",
         "glu": "gate, up and GLU", "down": "down and residual", "head": "head and top-k"}
"""What a stage of a kind does, in the order of the tape."""


def kind_of(stage: str) -> str:
    """Kind of the stage of this name, whatever its layer."""
    return stage.rsplit(".", 1)[-1]
