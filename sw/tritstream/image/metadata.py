"""The metadata of an image: JSON that is what it should be, or a sentence."""

import json
import math

from tritstream.errors import BadInput
from tritstream.formats import FORMATS, MOST_ROWS
from tritstream.image.stages import Plan, plans
from tritstream.model.chat_template import MOST_TEMPLATE

__all__ = ["MOST_BYTES", "read_metadata"]

MOST_BYTES = 16 << 20
"""Length of the metadata at most; a model of a thousand layers has 1 MB."""

_MOST_FRACTION = 1000       # of a gain: 2.0 ** 1000 is still a number


class _Table:
    """An object of the metadata; each value is asked for by name and type."""

    def __init__(self, table, where: str):
        if not isinstance(table, dict):
            raise BadInput(f"{where} must be an object, not {_shown(table)}; pack the checkpoint "
                           "again.")
        self._table = table
        self._where = where

    def _get(self, name: str, kind: str, accepts):
        if name not in self._table:
            raise BadInput(f"{self._where} has no {name}; pack the checkpoint again.")
        value = self._table[name]
        if not accepts(value):
            raise BadInput(f"{self._where} has {name} {_shown(value)} where {kind} should be; pack "
                           "the checkpoint again.")
        return value

    def integer(self, name: str, low: int, high: int) -> int:
        return self._get(name, f"an integer of {low} to {high}", lambda v: _integer(v, low, high))

    def number(self, name: str, *, zero: bool = False) -> float:
        return self._get(name, "a number of at least 0" if zero else "a positive number",
                         lambda v: _number(v) and (v > 0 or zero and v == 0))

    def truth(self, name: str) -> bool:
        return self._get(name, "true or false", lambda v: isinstance(v, bool))

    def token(self, name: str, vocab: int):
        return self._get(name, f"null or a token below {vocab}",
                         lambda v: v is None or _integer(v, 0, vocab - 1))

    def tokens(self, name: str, vocab: int):
        return self._get(name, f"null or tokens below {vocab}", lambda v: v is None or (
            all(_integer(token, 0, vocab - 1) for token in (v if isinstance(v, list) else [v]))))

    def items(self, name: str, count: int, kind: str, accepts=lambda item: True) -> list:
        return self._get(name, f"a list of {count} {kind}", lambda v: (
            isinstance(v, list) and len(v) == count and all(map(accepts, v))))

    def text(self, name: str, most: int) -> str:
        return self._get(name, f"a text of at most {most:,} letters",
                         lambda v: isinstance(v, str) and len(v) <= most)

    def exactly(self, name: str, value) -> None:
        self._get(name, repr(value), lambda v: v == value)


def read_metadata(data: bytes, where: str) -> dict:
    """Parse metadata and check everything in them that needs no payload.

    Parameters
    ----------
    data : bytes
        JSON.
    where : str
        Whose they are, for messages.

    Raises
    ------
    BadInput
        They are none, or of other number formats; the message names the entry.
    """
    if len(data) > MOST_BYTES:
        raise BadInput(f"{where} has metadata of {len(data)} bytes, more than {MOST_BYTES}; pack "
                       "the checkpoint again.")
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise BadInput(f"{where} has metadata that are no JSON ({reason}); pack the checkpoint "
                       "again.") from None
    meta = _Table(table, f"The metadata of {where}")
    formats = meta.integer("formats", 0, 1 << 31)
    if formats != FORMATS.version:
        raise BadInput(f"{where} has number formats {formats}, this program has "
                       f"{FORMATS.version}; pack the checkpoint again.")
    for name in ("hidden", "intermediate", "vocab"):
        meta.integer(name, 1, MOST_ROWS)
    meta.number("eps")
    meta.truth("use_lower_bound")
    meta.token("bos", table["vocab"])
    meta.tokens("eos", table["vocab"])
    if "chat" in table:
        chat = _Table(table["chat"], f"The chat template in the metadata of {where}")
        for name in ("template", "bos_token", "eos_token"):
            chat.text(name, MOST_TEMPLATE)
    meta.integer("row_units", 1, MOST_ROWS)
    meta.integer("residual_fraction", 0, 60)
    meta.number("residual_bound", zero=True)
    # The list of stages is no longer than the file, and a depth that is not its own ends here.
    layers = meta.integer("layers", 1, MOST_BYTES)
    stages = meta.items("stages", 4 * layers + 2, "stages, 4 for each layer and 2 more,")
    for plan, stage in zip(plans(layers), stages, strict=True):
        _check_stage(_Table(stage, f"Stage {plan.name} in the metadata of {where}"), plan)
    return table


def _check_stage(stage: _Table, plan: Plan) -> None:
    stage.exactly("name", plan.name)
    count = len(plan.matrices)
    matrices = stage.items("matrices", count, "lists of name, scale, zeros and bound", _is_matrix)
    for found, name in zip(matrices, plan.matrices, strict=True):
        _Table({"matrix": found[0]}, stage._where).exactly("matrix", name)
    stage.items("fractions", count, "integers of 0 to 60", lambda v: _integer(v, 0, 60))
    if plan.norms:
        stage.exactly("gains", list(plan.norms))
        stage.integer("vector_fraction", -60, 60)
        stage.items("gain_fractions", len(plan.norms), "integers",
                    lambda v: _integer(v, -_MOST_FRACTION, _MOST_FRACTION))


def _is_matrix(item) -> bool:
    return (isinstance(item, list) and len(item) == 4 and isinstance(item[0], str)
            and all(map(_number, item[1:])) and item[1] > 0)


def _integer(value, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _number(value) -> bool:
    """Whether a value is a number that a float holds."""
    return type(value) in (int, float) and -_LARGEST <= value <= _LARGEST


_LARGEST = math.ldexp(1.0, 1000)


def _shown(value) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
