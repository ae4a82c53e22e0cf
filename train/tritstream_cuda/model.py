"""A packed model on a GPU, for any number of tokens at once."""

import contextlib
import math

import numpy as np
import torch
import triton

from tritstream.formats import padded
from tritstream.image.image import Image
from tritstream.image.tape import Op
from tritstream.support.crc import Chain, powers
from tritstream_cuda import batch, decode, digest
from tritstream_cuda.states import States
from tritstream_cuda.weights import Stage, Weights

__all__ = ["CudaModel", "Rows", "aligned"]

ALIGNMENT = 256             # bytes
DIGEST_BLOCK = 1024         # words of a program, of up to
DIGEST_ROWS = 16            # so many rows
GATE_BLOCK = 512            # elements
SCAN_BLOCK = 32             # elements of a program of the recurrence
WARP_ELEMENTS = 64          # elements that a warp quantises

# Row groups and rows of a program, parts of the columns, and warps, up to how many rows.
TILES = [(16, (16, 16, 4, 4)), (None, (16, 32, 4, 4))]


class CudaModel:
    """The weights, and the kernels that play the tape over them.

    Parameters
    ----------
    image : Image
        Packed model.
    device : torch.device
        Where it goes. A CPU works if Triton interprets its kernels, which serves the tests.
    progress : callable or None
        Called with bytes done and bytes in all.
    """

    def __init__(self, image: Image, device: torch.device, progress=None):
        self.image = image
        self.device = device
        with self.selected():
            self.weights = Weights(image, device, progress)
            self.powers = torch.from_numpy(powers(self.weights.words).view(np.int32)).to(device)
        self.body_words = self.weights.words - image.vocab
        self.body_chain = Chain(self.body_words)
        self.head_chain = Chain(image.vocab)
        self.chain = Chain(self.weights.words)

    def selected(self) -> contextlib.AbstractContextManager:
        """Make the model's device the current one, which is where Triton launches."""
        if self.device.type == "cuda":
            return torch.cuda.device(self.device)
        return contextlib.nullcontext()

    def empty(self, *shape: int, dtype=torch.int32) -> torch.Tensor:
        """Memory on the model's device."""
        return torch.empty(shape, dtype=dtype, device=self.device)

    def zeros(self, *shape: int, dtype=torch.int32) -> torch.Tensor:
        """Zeros on the model's device."""
        return torch.zeros(shape, dtype=dtype, device=self.device)

    def play(self, rows: "Rows", states: States, place: torch.Tensor, *, head: bool) -> None:
        """Run `rows.tokens` through all stages, the head only if it is asked for.

        Parameters
        ----------
        rows : Rows
            Tokens, and room; has logits and digest terms afterwards.
        states : States
            Where the conversation's is, which goes on by all tokens.
        place : Tensor
            int32 [1], its place.
        head : bool
            Whether the head is played.
        """
        stages = self.weights.stages if head else self.weights.stages[:-1]
        rows.totals.zero_()
        self._embed(rows)
        for before, stage in zip(stages, stages[1:], strict=False):
            self._quantise(rows, before, stage)
            self._multiply(rows, stage)
            if stage.op is Op.MLGRU:
                self._recur(rows, stage, states, place)
        if head:
            self.add_terms(rows.logits, 0, self.image.vocab, rows.totals)
        else:
            self._grow(rows, stages[-1])
            self.add_terms(rows.x, self.image.hidden, 0, rows.totals)

    def add_terms(self, vectors: torch.Tensor, body: int, head: int, totals: torch.Tensor) -> None:
        """Add the digest's terms of int32 `vectors` [rows, n], words of the body and the head."""
        count = len(vectors)
        together = min(triton.next_power_of_2(count), DIGEST_ROWS)
        block = DIGEST_BLOCK // together
        blocks = triton.cdiv(body, block)
        grid = blocks + triton.cdiv(head, block), triton.cdiv(count, together)
        digest.add_terms[grid](vectors, vectors.stride(0), self.powers, body, head, blocks, count,
                               totals, ROWS=together, BLOCK=block)

    def _embed(self, rows: "Rows") -> None:
        weights, hidden = self.weights, self.image.hidden
        batch.embed_rows[(rows.count,)](
            weights.rows, weights.row_bytes, rows.tokens, rows.x, hidden,
            WIDE=weights.element_bytes > 1, BLOCK=triton.next_power_of_2(hidden))

    def _quantise(self, rows: "Rows", before: Stage, stage: Stage) -> None:
        source = {Op.EMBED: batch.EMBEDDING, Op.MLGRU: batch.HIDDEN, Op.GLU: batch.PAIR}.get(
            before.op, batch.SUMS)
        length = stage.words * 4
        block = triton.next_power_of_2(length)
        warps = min(max(block // WARP_ELEMENTS, 1), 16)
        batch.quantise_rows[(rows.count,)](
            rows.planes[0], rows.planes[2 if before.op is Op.MLGRU else 1], rows.x,
            rows.factors_of(before), before.gains if before.pre is None else before.pre,
            before.gains, before.stride, before.parameters, stage.parameters, self.weights.table,
            rows.acts, length, rows.acts[0].numel(), rows.factors_of(stage), self.powers,
            self.body_words - before.offset - before.rows, rows.totals, stage.columns,
            SOURCE=source.value, VECTORS=stage.op.vectors, BLOCK=block, num_warps=warps)

    def _multiply(self, rows: "Rows", stage: Stage) -> None:
        groups, tokens, parts, warps = next(
            tile for limit, tile in TILES if limit is None or rows.count <= limit)
        length = stage.words * 4
        out = rows.logits if stage.op is Op.HEAD else rows.planes
        projections = stage.op.projections
        grid = (triton.cdiv(stage.groups, groups), triton.cdiv(rows.count, tokens), projections)
        batch.matmul[grid](
            stage.body.view(torch.int8), rows.acts, length, rows.acts[0].numel(), out,
            rows.planes[0].numel(), rows.count, stage.rows, stage.groups, length, P=projections,
            VECTORS=stage.op.vectors, GROUPS=groups, COUNT=tokens, PARTS=parts, num_warps=warps)

    def _recur(self, rows: "Rows", stage: Stage, states: States, place: torch.Tensor) -> None:
        plane = rows.planes[0].numel()
        batch.open_gates[(triton.cdiv(stage.rows, GATE_BLOCK), rows.count)](
            rows.planes, plane, rows.factors_of(stage), stage.keep, stage.parameters,
            self.weights.table, stage.rows, BLOCK=GATE_BLOCK)
        batch.scan[(triton.cdiv(stage.rows, SCAN_BLOCK),)](
            rows.planes, plane, states.layer(stage.layer), states.size, states.sides, place,
            rows.count, stage.rows, BLOCK=SCAN_BLOCK, num_warps=1)

    def _grow(self, rows: "Rows", stage: Stage) -> None:
        batch.add_residual[(rows.count,)](rows.x, rows.planes, rows.factors_of(stage), stage.rows,
                                          BLOCK=triton.next_power_of_2(stage.rows))


class Rows:
    """Room for some tokens on their way through the stages.

    Parameters
    ----------
    model : CudaModel
        Whose.
    count : int
        Tokens.
    head : bool
        Whether there is room for logits.
    memory : Tensor or None
        Bytes to take the room from, at least `Rows.size`.
    """

    def __init__(self, model: CudaModel, count: int, *, head: bool, memory=None):
        shapes = self._shapes(model.image, count, head)
        if memory is None:
            memory = model.empty(self.size(model.image, count, head=head), dtype=torch.uint8)
        self.count = count
        tensors, start = {}, 0
        for name, (dtype, *shape) in shapes.items():
            size = math.prod(shape) * dtype.itemsize
            tensors[name] = memory[start:start + size].view(dtype).view(shape)
            start += aligned(size)
        self.tokens, self.totals = tensors["tokens"], tensors["totals"]
        self.x, self.planes, self.acts = tensors["x"], tensors["planes"], tensors["acts"]
        self.logits = tensors.get("logits")
        self._factors = tensors["factors"]
        self.factors = self.factors_of(model.weights.stages[-1])

    @staticmethod
    def _shapes(image: Image, count: int, head: bool) -> dict[str, tuple]:
        widest = max(image.hidden, image.intermediate)
        shapes = {
            "tokens": (torch.int32, count),
            "totals": (torch.int32, count, 2),          # terms of the digest, of body and head
            "x": (torch.int32, count, image.hidden),
            "planes": (torch.int32, 3, count, widest),  # row sums of up to three projections
            "acts": (torch.int8, 3, count, padded(widest)),
            "factors": (torch.int64, 2, count, 8),
        }
        return shapes | ({"logits": (torch.int32, count, image.vocab)} if head else {})

    @classmethod
    def size(cls, image: Image, count: int, *, head: bool) -> int:
        """Bytes that so many tokens need."""
        return sum(aligned(math.prod(shape) * dtype.itemsize)
                   for dtype, *shape in cls._shapes(image, count, head).values())

    def factors_of(self, stage: Stage) -> torch.Tensor:
        """Mantissas, from 4 on shifts, of a stage's dequantisers, int64 [count, 8].

        They are needed until the next stage has its own.
        """
        return self._factors[stage.index % 2]

    def steps(self) -> torch.Tensor:
        """Return what a unit of each row's logits is worth, float64 [count, 1]."""
        mantissa, shift = self.factors[:, 0:1], self.factors[:, 4:5]
        return torch.ldexp(mantissa.double(), (decode.UP - shift).to(torch.int32))


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
