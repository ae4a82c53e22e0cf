"""Which stages a model of a given depth has: the one list that packing and checking go by."""

import dataclasses
from collections.abc import Iterator

from tritstream.image.tape import Bank, Op

__all__ = ["Plan", "plans"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """One stage, apart from its numbers.

    Parameters
    ----------
    name : str
        As messages and metadata call it.
    op : Op
        What it does.
    layer : int
        Which layer's; 0 for the stages that belong to none.
    matrices : tuple of str
        The tensor behind each projection; gate and up are one tensor.
    pre : str or None
        The first of two stacked norms in front of the next stage, if there are two.
    gains : tuple of str
        The norm of each quantiser of the next stage.
    """

    name: str
    op: Op
    layer: int = 0
    matrices: tuple[str, ...] = ()
    pre: str | None = None
    gains: tuple[str, ...] = ()

    @property
    def banks(self) -> Bank:
        """Gain banks that its section has."""
        found = Bank.KEEP if self.op is Op.MLGRU else Bank(0)
        found |= Bank.PRE if self.pre else Bank(0)
        for bank, _ in zip((Bank.GAIN0, Bank.GAIN1, Bank.GAIN2), self.gains, strict=False):
            found |= bank
        return found

    @property
    def norms(self) -> tuple[str, ...]:
        """Names of the gains in the order of their banks."""
        return (*((self.pre,) if self.pre else ()), *self.gains)

    def shape(self, *, hidden: int, intermediate: int, vocab: int) -> tuple[int, int]:
        """Rows and columns of its matrices."""
        rows = {Op.GLU: intermediate, Op.HEAD: vocab}.get(self.op, hidden)
        if not self.matrices:
            return rows, 0
        return rows, intermediate if self.matrices[0].endswith("down_proj") else hidden


def plans(layers: int) -> Iterator[Plan]:
    """Yield the 4 L + 2 stages of a model in the order of the tape."""
    def attention(layer: int) -> dict:
        base = f"model.layers.{layer}"
        return {"pre": f"{base}.attn_norm",
                "gains": tuple(f"{base}.attn.{name}_proj.norm" for name in "ifg")}

    yield Plan(name="embed", op=Op.EMBED, **attention(0))
    for layer in range(layers):
        base, name = f"model.layers.{layer}", f"layers.{layer}"
        last = {"pre": "model.norm", "gains": ("lm_head.norm",)}
        yield Plan(name=f"{name}.mlgru", op=Op.MLGRU, layer=layer,
                   matrices=tuple(f"{base}.attn.{part}_proj" for part in "ifg"),
                   pre=f"{base}.attn.g_norm", gains=(f"{base}.attn.o_proj.norm",))
        yield Plan(name=f"{name}.o", op=Op.RESIDUAL, layer=layer,
                   matrices=(f"{base}.attn.o_proj",),
                   pre=f"{base}.mlp_norm", gains=(f"{base}.mlp.gate_proj.norm",))
        yield Plan(name=f"{name}.glu", op=Op.GLU, layer=layer,
                   matrices=(f"{base}.mlp.gate_proj",) * 2, gains=(f"{base}.mlp.down_proj.norm",))
        yield Plan(name=f"{name}.down", op=Op.RESIDUAL, layer=layer,
                   matrices=(f"{base}.mlp.down_proj",),
                   **(attention(layer + 1) if layer + 1 < layers else last))
    yield Plan(name="head", op=Op.HEAD, matrices=("lm_head",))
