"""What an image must be before anybody computes with it.

The headers are held to the list of stages and to the model's dimensions, and every number to the
range in which golden model and hardware agree. What has passed needs no check afterwards.
"""

import math

import numpy as np

from tritstream.errors import BadInput
from tritstream.formats import FORMATS, NORM_BITS, UNIT, padded
from tritstream.image.bounds import CHECKED_MARGIN, ROUNDING, longest_row, output_bound
from tritstream.image.scales import header_scale_log2
from tritstream.image.stages import Plan
from tritstream.image.tape import (
    MAX_FRACTION,
    ROW_PREFIX,
    WIDE_BYTES,
    Bank,
    Header,
    Op,
    Scalar,
)
from tritstream.image.trits import VALID

__all__ = ["check_payload", "read_header"]

_MOST_EXPONENT = 400            # of a scalar: far beyond any scale that gives an output
_MOST_MULTIPLIER = 2.0 ** 26    # of the dequantiser: it only shifts to the right
_SCALE_ERROR = 2.0 ** -14        # of a logarithm: twice what rounding to 16 bits makes
_ROWS = 1 << 22                 # bytes of embedding rows checked at a time


def read_header(data: bytes, plan: Plan, *, hidden: int, intermediate: int, vocab: int) -> Header:
    """Read the header of a stage, and hold it to what the model's dimensions make of it.

    Parameters
    ----------
    data : bytes
        One unit.
    plan : Plan
        What the stage has to be.
    hidden, intermediate, vocab : int
        Dimensions of the model.

    Raises
    ------
    BadInput
        Which field differs, and from what.
    """
    header = Header.from_bytes(data)
    shape = plan.shape(hidden=hidden, intermediate=intermediate, vocab=vocab)
    state_base = plan.layer * hidden if plan.op is Op.MLGRU else 0
    for field, found, wanted in (
            ("operation", header.op.name, plan.op.name), ("rows", header.rows, shape[0]),
            ("columns", header.columns, shape[1]), ("banks", header.banks.name, plan.banks.name),
            ("state base", header.state_base, state_base)):
        if found != wanted:
            raise BadInput(f"The header has {field} {found}, its place in the model makes "
                           f"{wanted}.")
    if header.to_bytes() != data:
        raise BadInput("The header has a number of units or blocks that its dimensions do not "
                       "make, or bytes behind its last field.")
    _check_fractions(header)
    _check_scalars(header)
    return header


def _check_fractions(header: Header) -> None:
    most = {Op.MLGRU: (MAX_FRACTION, MAX_FRACTION), Op.GLU: (MAX_FRACTION, 0)}.get(
        header.op, (0, 0))
    for found, limit in zip(header.fractions, most, strict=True):
        if found > limit:
            raise BadInput(f"The header has {found} fraction bits where at most {limit} can be.")


def _check_scalars(header: Header) -> None:
    scalars = {"scale": header.scales, "ratio": (header.ratio,), "floor": (header.floor,)}
    for name, several in scalars.items():
        for scalar in several:
            least = 1 if name == "floor" else 1 << FORMATS.mantissa_bits - 1
            if scalar != Scalar() and (scalar.mantissa < least
                                       or abs(scalar.exponent) > _MOST_EXPONENT):
                raise BadInput(f"The header has a {name} of {scalar.mantissa} times 2 to the "
                               f"{scalar.exponent}, beyond what the hardware computes with.")
    if header.op is Op.EMBED and (scalars["scale"] != (Scalar(),) or header.ratio != Scalar()
                                  or header.floor != Scalar()):
        raise BadInput("The header has a scale, which the embedding has not.")


def check_payload(image) -> None:
    """Check every number of an image whose headers are right.

    Raises
    ------
    BadInput
        Which stage or row holds what means nothing or could overflow.
    """
    residual = _check_rows(image)
    gains, before = _Gains(None, ()), None
    for section in image.sections:
        try:
            residual += _check_section(image.payload, section, gains)
            _check_scales(image.payload, section, before, gains)
            gains, before = _read_gains(image.payload, section), section
        except BadInput as error:
            raise BadInput(f"{image.path}, stage {section.name}: {error} Pack the checkpoint "
                           "again.") from None
    limit = (1 << FORMATS.vector_bits - 1) - 2
    if residual > limit:
        raise BadInput(f"{image.path}: the residual can reach {residual:.4g}, more than "
                       f"{FORMATS.vector_bits} bits hold; pack the checkpoint again.")


class _Gains:
    """What the norms in front of a stage multiply with: int64 [K] each, `pre` or None."""

    def __init__(self, pre: np.ndarray | None, gains: tuple[np.ndarray, ...]):
        self.pre = pre
        self.gains = gains

    def inner(self, index: int) -> np.ndarray:
        """Gain of a quantiser's own norm, float64 [K]."""
        total = self.gains[index].astype(np.float64)
        if self.pre is None:
            return total
        if total[self.pre == 0].any():
            raise BadInput("The section has a gain behind a first gain of 0, which nothing bounds.")
        one = float(1 << FORMATS.gain_bits - 1)
        return np.divide(total * one, self.pre, out=np.zeros_like(total), where=self.pre != 0)


def _read_gains(payload: np.ndarray, section) -> _Gains:
    header, found = section.header, {}
    size = padded(2 * header.rows)
    data = payload[section.banks_start:section.body_start].reshape(-1, size)
    if data[:, 2 * header.rows:].any():
        raise BadInput("The section has bytes other than 0 behind a gain bank.")
    for bank, row in zip((bank for bank in Bank if bank in header.banks), data, strict=True):
        found[bank] = row[:2 * header.rows].view("<i2").astype(np.int64)
    gains = tuple(found[bank] for bank in (Bank.GAIN0, Bank.GAIN1, Bank.GAIN2) if bank in found)
    return _Gains(found.get(Bank.PRE), gains)


def _check_section(payload: np.ndarray, section, source: _Gains) -> float:
    """Check a stage whose input's norms are `source`; return what it adds to the residual."""
    header = section.header
    if header.op is Op.EMBED:
        return 0.0
    _check_norm(header, source)
    body = payload[section.body_start:section.end]
    groups = body.reshape(-1, header.op.projections, header.group_bytes)
    if groups[..., header.columns:].any():
        raise BadInput("The section has bytes other than 0 behind a row group.")
    bits = FORMATS.vector_bits if header.op is Op.RESIDUAL else FORMATS.element_bits
    limit = float((1 << bits - 1) - 1)
    bounds = []
    for index in range(header.op.projections):
        codes = section.codes(payload, index)
        _check_trits(codes)
        gain = source.inner(index if header.op.vectors > 1 else 0)
        # What adds to the residual is summed up, and has to be known as well as `pack` knew it.
        enough = 0.0 if header.op is Op.RESIDUAL else limit
        bounds.append(_bound(codes, header.scales[index], gain, source.pre is not None, enough))
        if bounds[-1] > limit:
            raise BadInput(f"The section has outputs of up to {bounds[-1]:.4g} in projection "
                           f"{index}, more than {bits} bits hold.")
    return bounds[0] if header.op is Op.RESIDUAL else 0.0


def _check_scales(payload: np.ndarray, section, before, source: _Gains) -> None:
    """Hold the metadata's scales, with which the float reference computes, to the header's."""
    header, names = section.header, {}
    for index, (name, told, *_) in enumerate(section.meta["matrices"]):
        found = header.scales[index]
        wanted = header_scale_log2(section.meta, before.meta, index, columns=header.columns,
                                   vectors=header.op.vectors, stacked=source.pre is not None)
        if found == Scalar():           # so `pack` writes what only gives zeros
            codes = section.codes(payload, index)
            gain = source.inner(index if header.op.vectors > 1 else 0)
            same = longest_row(codes, gain)[0] == 0
        else:
            same = abs(math.log2(found.mantissa) + found.exponent - wanted) <= _SCALE_ERROR
        if not same or names.setdefault(name, told) != told:
            raise BadInput(f"The metadata have a scale of {told:.6g} for projection {index}, which "
                           f"is not that of the header, {_real(found):.6g} in its format.")


def _check_norm(header: Header, source: _Gains) -> None:
    """Check that the squared norm of the input is never 0, and never more than its width."""
    if source.pre is None and header.ratio != Scalar():
        raise BadInput("The header has a ratio, but a single norm in front of it.")
    floor = _real(header.floor)
    if header.floor.exponent < 0 or floor < header.columns:
        raise BadInput(f"The header has a floor of {floor:.4g} under its norm, less than one for "
                       f"each of its {header.columns} columns.")
    s1_bits = FORMATS.element_bits if header.op.reads_z else FORMATS.vector_bits
    largest = floor + header.columns * (4.0 ** (FORMATS.vector_bits - 1)
                                        + 4.0 ** (s1_bits - 1) * _real(header.ratio))
    if largest >= 2.0 ** NORM_BITS:
        raise BadInput(f"The section has a squared norm of up to {largest:.4g}, more than "
                       f"{NORM_BITS} bits hold.")


def _check_trits(codes: np.ndarray) -> None:
    for chunk in np.array_split(codes, -(-codes.size // (1 << 22))):
        valid = VALID[chunk]
        if not valid.all():
            block, column = np.argwhere(~valid)[0]
            raise BadInput(f"The section has byte 0x{chunk[block, column]:02x} in column "
                           f"{column}, which is the code of no five trits.")


def _bound(codes: np.ndarray, scalar: Scalar, gain: np.ndarray, stacked: bool,
           enough: float) -> float:
    """Bound of a projection's outputs; a coarse one if that is at most `enough`."""
    margin = CHECKED_MARGIN * (ROUNDING if stacked else 1.0)
    peak = float(np.abs(gain).max())
    scale = _real(scalar)
    if margin * scale * peak >= _MOST_MULTIPLIER:
        raise BadInput(f"The header has a scale of {scale:.4g}, with which the dequantiser would "
                       "have to shift to the left.")
    # As if no trit were zero: that is enough for three projections in four, and takes no time.
    coarse = margin * output_bound(scale=scale, length=math.sqrt(float(gain @ gain)),
                                   filled=len(gain), peak=peak)
    if coarse <= enough:
        return coarse
    length, filled = longest_row(codes, gain)
    return margin * output_bound(scale=scale, length=length, filled=filled, peak=peak)


def _check_rows(image) -> float:
    """Check the embedding rows; return the largest element in the residual's format."""
    wide = image.payload[3]
    size = WIDE_BYTES if wide else 1
    end = ROW_PREFIX + image.hidden * size
    if image.row_units * UNIT != padded(end):
        raise BadInput(f"{image.path} has embedding rows of {image.row_units} units, its hidden "
                       f"size makes {padded(end) // UNIT}; pack the checkpoint again.")
    table = image.payload[:padded(end) * image.vocab].reshape(image.vocab, -1)
    largest, step = 0.0, max(1, _ROWS // table.shape[1])
    for start in range(0, image.vocab, step):
        rows = table[start:start + step]
        wrong = ((rows[:, 2] > FORMATS.max_shift) | (rows[:, 3] > 1) | (rows[:, 3] != wide)
                 | rows[:, end:].any(axis=1))
        if wrong.any():
            raise BadInput(f"{image.path}: the embedding row of token {start + wrong.argmax()} has "
                           "a shift, a width or padding that no row has; pack the checkpoint "
                           "again.")
        elements = rows[:, ROW_PREFIX:end]
        # Of a wide element the top byte alone bounds the magnitude well enough.
        top = elements[:, size - 1::size].view(np.int8).astype(np.int16)
        peak = np.maximum(top.max(axis=1) + (size > 1), -top.min(axis=1)) * 256.0 ** (size - 1)
        mantissa = np.ascontiguousarray(rows[:, 0:2]).view("<u2")[:, 0]
        scale = mantissa * 2.0 ** (FORMATS.dequant_up - rows[:, 2].astype(np.int64))
        largest = max(largest, float((peak * scale).max()))
    return largest


def _real(scalar: Scalar) -> float:
    return math.ldexp(scalar.mantissa, scalar.exponent)
