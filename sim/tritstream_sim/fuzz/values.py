"""Numbers and JSON that are odd in the ways in which files are odd."""

import copy
import random

__all__ = ["mutated_json", "odd_integer", "odd_value"]

_NUMBERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 1 << 31, -(1 << 31),
            1 << 32, 10**9, 1 << 63, 10**400)
_VALUES = (None, True, False, "", "x", "\ufeff", "∞", 0.5, -1e300, 1e-320, 1e308, [], {}, [[]],
           [None], {"a": 1})


def odd_integer(rng: random.Random, bits: int) -> int:
    """Return a number of so many bits, most often one at an edge."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.getrandbits(bits)
    if kind == 1:
        return (1 << rng.randrange(bits)) - rng.randrange(2)
    return (rng.choice(_NUMBERS) if kind == 2 else rng.randrange(-3, 4)) % (1 << bits)


def odd_value(rng: random.Random):
    """Return something that JSON can hold."""
    return copy.deepcopy(rng.choice(_NUMBERS if rng.randrange(2) else _VALUES))


def mutated_json(rng: random.Random, table):
    """Return a copy of a JSON value with one place of it changed."""
    table = copy.deepcopy(table)
    places = list(_places(table))
    if not places:
        return odd_value(rng)
    owner, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        del owner[key]
    elif kind == 1:                     # what another place has
        other, place = rng.choice(places)
        owner[key] = copy.deepcopy(other[place])
    elif kind == 2 and isinstance(owner, list):
        owner.insert(rng.randrange(len(owner) + 1), copy.deepcopy(owner[key]))
    elif kind == 3 and type(owner[key]) is int:
        owner[key] += rng.choice((-1, 1, 64, -64))
    else:
        owner[key] = odd_value(rng)
    return table


def _places(value):
    """Yield every place of a JSON value, as its owner and the key in that."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])
