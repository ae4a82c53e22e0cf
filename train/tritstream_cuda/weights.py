"""A packed model in a GPU's memory: the payload of its image, and where each stage finds its parts.

The bytes of five trits are exchanged for those of `ternary`, one for one; nothing grows.
"""

import dataclasses

import numpy as np
import torch

from tritstream.formats import padded
from tritstream.image.image import Image, Section
from tritstream.image.tape import Bank, Op
from tritstream_cuda.elements import SIGMOID_TABLE
from tritstream_cuda.statistics import ROW
from tritstream_cuda.ternary import FRACTIONS

__all__ = ["Stage", "Weights"]

LOW_BITS = 40               # of the lower word of a pair, see `scalars`


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the kernels of one stage are given.

    Parameters
    ----------
    index : int
        On the tape.
    op : Op
        What it does.
    columns, rows : int
        Elements of the input vector, and of the output vector.
    body : Tensor or None
        Words of four bytes of trits, int32 [row groups, projections, words].
    parameters : Tensor
        int64 [16]: mantissas of the scales from 0 on, their exponents from 4 on, ratio and its
        exponent at 8, floor as a pair at 10, fraction bits of i or a and of f at 12.
    keep, pre : Tensor or None
        Banks, int16 [rows].
    gains : Tensor or None
        Gain banks, int16 [n * stride], the n-th from `n * stride` on.
    stride : int
        Elements from one bank to the next; 0 if there is one.
    layer : int
        Of the state.
    offset : int
        Words of all stage vectors in front of this one's.
    """

    index: int
    op: Op
    columns: int
    rows: int
    body: torch.Tensor | None
    parameters: torch.Tensor
    keep: torch.Tensor | None
    pre: torch.Tensor | None
    gains: torch.Tensor | None
    stride: int
    layer: int
    offset: int

    @property
    def groups(self) -> int:
        """Row groups of each projection."""
        return -(-self.rows // 5)

    @property
    def words(self) -> int:
        """Words of a row group."""
        return padded(self.columns) // 4


class Weights:
    """The payload on a device.

    Parameters
    ----------
    image : Image
        Packed model.
    device : torch.device
        Where to.
    progress : callable or None
        Called with bytes done and bytes in all.
    """

    def __init__(self, image: Image, device: torch.device, progress=None):
        progress = progress or (lambda done, total: None)
        total = len(image.payload)
        self.payload = torch.empty(total, dtype=torch.uint8, device=device)
        rows_end = image.vocab * image.row_units * 64
        self._copy(image.payload[:rows_end], 0)
        for section in image.sections:
            self._copy(image.payload[section.start:section.body_start], section.start)
            codes = image.payload[section.body_start:section.end]
            self._copy(FRACTIONS[codes].view(np.uint8), section.body_start)
            progress(section.end, total)
        self.rows = self.payload[:rows_end]
        self.row_bytes = image.row_units * 64
        self.element_bytes = 3 if image.payload[3] else 1
        self.table = torch.from_numpy(SIGMOID_TABLE).to(device)
        self.parameters = torch.from_numpy(
            np.array([_parameters(section) for section in image.sections])).to(device)
        self.stages = []
        offset = 0
        for section in image.sections:
            self.stages.append(self._stage(section, image.hidden, offset))
            offset += section.header.rows
        self.words = offset

    def _copy(self, data: np.ndarray, start: int) -> None:
        if len(data):
            self.payload[start:start + len(data)].copy_(torch.from_numpy(np.array(data)))

    def _stage(self, section: Section, hidden: int, offset: int) -> Stage:
        header = section.header
        step = padded(2 * header.rows)
        banks = {}
        for bank in Bank:
            if bank in header.banks:
                banks[bank] = section.banks_start + len(banks) * step
        gains = banks.get(Bank.GAIN0)
        body = self.payload[section.body_start:section.end].view(torch.int32)
        return Stage(
            index=section.index, op=header.op, columns=header.columns, rows=header.rows,
            body=body if len(body) else None, parameters=self.parameters[section.index],
            keep=self._bank(banks.get(Bank.KEEP), section),
            pre=self._bank(banks.get(Bank.PRE), section), gains=self._bank(gains, section),
            stride=step // 2 if Bank.GAIN1 in banks else 0,
            layer=header.state_base // hidden, offset=offset)

    def _bank(self, start: int | None, section: Section) -> torch.Tensor | None:
        """View from the start of a bank to the end of all banks of its section."""
        return None if start is None else self.payload[start:section.body_start].view(torch.int16)


def _parameters(section: Section) -> list[int]:
    header = section.header
    scales = [(scalar.mantissa, scalar.exponent) for scalar in header.scales]
    scales += [(0, 0)] * (4 - len(scales))
    mantissas, exponents = zip(*scales, strict=True)
    floor = header.floor.mantissa << header.floor.exponent
    row = [*mantissas, *exponents, header.ratio.mantissa, header.ratio.exponent,
           floor >> LOW_BITS, floor & (1 << LOW_BITS) - 1, *header.fractions]
    return row + [0] * (ROW.value - len(row))
