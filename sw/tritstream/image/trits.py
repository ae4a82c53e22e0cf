"""Five trits in a byte: the code of the tape.

3**5 = 243 <= 256, so a byte holds the weights of five consecutive rows in one column, 1.6 bits
each. Any bijection would do on the host; this one is chosen for the decoder in the gateware (16
LUT4, where plain base 3 needs 112). A byte is `r[1:0] q[2:0] p[2:0]`:

=========  =======  ==========  ===============================================================
`r`        `q`      `p`         meaning
=========  =======  ==========  ===============================================================
0, 1, 2    Q        P           pair P = (t0, t1), pair Q = (t2, t3), single R = r = t4
3          0b0RR    P           pair Q is the ninth, (-1, -1); R is in `q[1:0]`
3          0b1QQ    0bQRR       pair P is the ninth; Q is `p[2] q[1:0]`, R is in `p[1:0]`
3          0b1RR    0bx11       both are the ninth; R is in `q[1:0]`
=========  =======  ==========  ===============================================================

A pair counts through (0, +1, -1) with its second member fastest; a single is 0, +1, -1 as 0, 1, 2.
Byte 0 is five zeros. Thirteen bytes mean nothing (`VALID` is false there).
"""

import itertools

import numpy as np

__all__ = ["DECODE", "VALID", "decode", "encode"]

_ORDER = (0, 1, -1)
_PAIRS = tuple(itertools.product(_ORDER, repeat=2))
_ESCAPE = 8


def _encode_one(trits: tuple[int, ...]) -> int:
    p, q = _PAIRS.index(trits[0:2]), _PAIRS.index(trits[2:4])
    r = _ORDER.index(trits[4])
    if p == _ESCAPE and q == _ESCAPE:
        p, q, r = 0b011, 0b100 | r, 3
    elif p == _ESCAPE:
        p, q, r = (q >> 2) << 2 | r, 0b100 | (q & 0b11), 3
    elif q == _ESCAPE:
        q, r = r, 3
    return r << 6 | q << 3 | p


def _tables():
    decode_table = np.zeros((256, 5), np.int8)
    encode_table = np.zeros(243, np.uint8)
    valid = np.zeros(256, bool)
    for trits in itertools.product((-1, 0, 1), repeat=5):
        byte = _encode_one(trits)
        decode_table[byte], valid[byte] = trits, True
        encode_table[sum((t + 1) * 3 ** n for n, t in enumerate(trits))] = byte
    return decode_table, encode_table, valid


DECODE, _ENCODE, VALID = _tables()
for _table in (DECODE, _ENCODE, VALID):
    _table.setflags(write=False)


def encode(trits: np.ndarray) -> np.ndarray:
    """Encode int8 trits of shape `[5, ...]` into bytes of shape `[...]`."""
    index = np.zeros(trits.shape[1:], np.uint8)
    for row in trits[::-1]:
        index = index * np.uint8(3) + (row + 1).astype(np.uint8)
    return _ENCODE[index]


def decode(codes: np.ndarray) -> np.ndarray:
    """Inverse of `encode`: bytes of shape `[...]` to int8 trits of shape `[5, ...]`."""
    return np.moveaxis(DECODE[codes], -1, 0)
