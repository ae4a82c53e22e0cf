"""Times of the training kernels: `python train/benchmarks/kernels.py`.

Beside each stands what there is to compare it with, on the same machine and in the same run: the
kernel of flash-linear-attention that does most of the same, the products that autograd would use,
and for kernels that go over rows once how many bytes they move, with the speed of a copy. Times are
medians of calls from Python in a tenth of a second, with no operand in the GPU's cache: those of
short kernels are the time that Python takes to start them.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import triton

from engine import bandwidth
from library import Library
from step import PUBLISHED
from tritstream.errors import DeviceError, TritstreamError
from tritstream.model.config import ModelConfig
from tritstream.support.files import write_whole
from tritstream_train.kernels.gates import (
    glu_backward,
    glu_quantise,
    output_gate_backward,
    output_gate_quantise,
)
from tritstream_train.kernels.loss import fused_loss
from tritstream_train.kernels.mlgru import mlgru, mlgru_backward, mlgru_states
from tritstream_train.kernels.norm import norm_backward, norm_quantise
from tritstream_train.kernels.ternary import product
from tritstream_train.model.bitlinear import BitLinear, RMSNorm

__all__ = ["Timing", "elements", "head", "main", "products", "recurrences"]

OURS = "this package"
DTYPE = torch.bfloat16


@dataclasses.dataclass(frozen=True)
class Timing:
    """What one kernel takes.

    Parameters
    ----------
    kernel : str
        What it computes.
    code : str
        Whose it is: `this package`, a function of flash-linear-attention, or of PyTorch.
    shape : list of int
        Sizes that matter, the rows first.
    microseconds : float
        Median.
    moved : int
        Bytes that it has to read and write; 0 where they are not the limit.
    operations : int
        Multiplications and additions; 0 where they are not the limit.
    evidence : str
        How it was obtained.
    """

    kernel: str
    code: str
    shape: list[int]
    microseconds: float
    moved: int = 0
    operations: int = 0
    evidence: str = "measured"


def microseconds(run: Callable) -> float:
    """Median time of a call on the GPU."""
    return 1e3 * triton.testing.do_bench(run, return_mode="median")


def _backward(result, leaves, gradient) -> Callable:
    """Return a call of the backward pass of what autograd has recorded."""
    return lambda: torch.autograd.grad(result, leaves, gradient, retain_graph=True)


def _bytes(*tensors) -> int:
    """Bytes of tensors and of tuples of them."""
    return sum(_bytes(*one) if isinstance(one, tuple | list) else one.nbytes for one in tensors)


def recurrences(library: Library, batch: int, tokens: int, columns: int) -> list[Timing]:
    """Times of the MLGRU with its gates, and of the library's recurrences without.

    Parameters
    ----------
    library : Library
        Theirs.
    batch, tokens, columns : int
        Of the sequences.
    """
    shape = [batch, tokens, columns]
    i, f, dh, di, df = torch.randn(5, *shape).to(DTYPE)
    bound = torch.rand(columns)
    h, carry = mlgru(i, f, bound, None)

    def back():
        states = mlgru_states(i, f, bound, carry)       # which are not kept
        mlgru_backward(i, f, states, dh, bound, carry, di, df)
    found = [Timing("recurrence forward", OURS, shape, microseconds(
                 lambda: mlgru(i, f, bound, None))),
             Timing("recurrence backward", OURS, shape, microseconds(back))]
    forget = f.float().sigmoid()
    x = (i * (1 - forget)).to(DTYPE).requires_grad_()
    g = forget.log().to(DTYPE).requires_grad_()
    for name, function in library.recurrences.items():
        states = function(x, g)[0]
        found += [Timing("recurrence forward", name, shape, microseconds(
                      lambda function=function: function(x, g))),
                  Timing("recurrence backward", name, shape, microseconds(
                      _backward(states, (x, g), dh)))]
    return found


def products(count: int, rows: int, inputs: int, outputs: int) -> list[Timing]:
    """Times of int8 activations times trits, and of PyTorch's products of the same sizes.

    Parameters
    ----------
    count : int
        Of matrices, multiplied at once.
    rows, inputs, outputs : int
        Of each.
    """
    shape, operations = [count, rows, inputs, outputs], 2 * count * rows * inputs * outputs
    x = torch.randint(-127, 128, (count, rows, inputs), dtype=torch.int8)
    codes = torch.randint(-1, 2, (count, outputs, inputs), dtype=torch.int8)
    steps, scales = torch.ones(count, rows), torch.ones(count)
    wide, narrow = x.to(DTYPE), codes.to(DTYPE)
    calls = {OURS: lambda: product(x, steps, codes, scales, DTYPE),
             "torch.bmm, bfloat16": lambda: torch.bmm(wide, narrow.mT)}
    if count == 1:
        calls["torch._int_mm"] = lambda: torch._int_mm(x[0], codes[0].T)
    return [Timing("product", code, shape, microseconds(call), operations=operations)
            for code, call in calls.items()]


def elements(library: Library, rows: int, config: ModelConfig) -> list[Timing]:
    """Times of the kernels that go over rows once.

    Parameters
    ----------
    library : Library
        Theirs, which quantise for one projection or not at all.
    rows : int
        Tokens.
    config : ModelConfig
        Dimensions.
    """
    return [*_norms(library, rows, config, 1, "one projection"),
            *_norms(library, rows, config, 3, "three projections"),
            *_gates(library, rows, config), *_glus(library, rows, config)]


def _pair(kernel: str, shape: list[int], ours: Callable, theirs: Callable, reads) -> list[Timing]:
    """Times of two kernels, and the bytes that ours reads and makes."""
    return [Timing(kernel, OURS, shape, microseconds(ours), _bytes(*reads, ours())),
            Timing(kernel, "fla", shape, microseconds(theirs))]


def _norms(library: Library, rows: int, config: ModelConfig, count: int, name: str
           ) -> list[Timing]:
    """Residual add, norm and quantiser; theirs has one gain, so it runs once a projection."""
    shape, eps = [rows, config.hidden], config.eps
    x, dx = torch.randn(2, *shape)
    delta, dy, scales = torch.randn(shape).to(DTYPE), torch.randn(count, *shape).to(DTYPE), \
        torch.ones(count)
    gain, *gains = torch.rand(1 + count, config.hidden)
    kept = norm_quantise(x, delta, gain, gains, eps, DTYPE)[1]
    _, inverse, total = library.norm_quantise(x, delta, gain, eps)
    return [
        *_pair(f"add, norm, quantise: {name}", shape,
               lambda: norm_quantise(x, delta, gain, gains, eps, DTYPE),
               lambda: [library.norm_quantise(x, delta, one, eps) for one in gains],
               reads=(x, delta)),
        *_pair(f"the same backward: {name}", shape,
               lambda: norm_backward(kept, dy, scales, dx, gain, gains, eps),
               lambda: [library.norm_backward(one, total, gain, inverse, dx) for one in dy],
               reads=(kept, dy, dx))]


def _gates(library: Library, rows: int, config: ModelConfig) -> list[Timing]:
    """The MLGRU's output gate."""
    shape, eps = [rows, config.hidden], config.eps
    g, h, dz, dg = torch.randn(4, *shape).to(DTYPE)
    (weight, gain), scale = torch.rand(2, config.hidden), torch.ones(1)
    leaves = [one.clone().requires_grad_() for one in (g, h, weight)]
    return [
        *_pair("output gate, norm, quantise", shape,
               lambda: output_gate_quantise(g, h, weight, gain, eps),
               lambda: library.gate(g, h, weight, eps), reads=(g, h)),
        *_pair("the same backward: output gate", shape,
               lambda: (dg, output_gate_backward(g, h, dz, scale, weight, gain, eps, dg)),
               _backward(library.gate(*leaves, eps), leaves, dz), reads=(g, h, dz))]


def _glus(library: Library, rows: int, config: ModelConfig) -> list[Timing]:
    """The channel mixer's gate."""
    shape = [rows, config.intermediate]
    ab, dy = torch.randn(rows, 2 * config.intermediate).to(DTYPE), torch.randn(shape).to(DTYPE)
    gain, scale = torch.rand(config.intermediate), torch.ones(1)
    leaves = [part.clone().requires_grad_() for part in ab.chunk(2, -1)]
    return [
        *_pair("GLU, norm, quantise", shape, lambda: glu_quantise(ab, gain),
               lambda: library.swiglu(*ab.chunk(2, -1)), reads=(ab,)),
        *_pair("the same backward: GLU", shape, lambda: glu_backward(ab, dy, scale, gain),
               _backward(library.swiglu(*leaves), leaves, dy), reads=(ab, dy))]


def head(library: Library, rows: int, config: ModelConfig) -> list[Timing]:
    """Times of the head with the cross entropy, forward and backward.

    Parameters
    ----------
    library : Library
        Theirs, with a bfloat16 head and without norm and quantisers.
    rows : int
        Tokens.
    config : ModelConfig
        Dimensions.
    """
    shape = [rows, config.hidden, config.vocab]
    x = torch.randn(rows, config.hidden, requires_grad=True)
    delta = torch.randn(rows, config.hidden).to(DTYPE).requires_grad_()
    targets = torch.randint(config.vocab, (rows,))
    norm, linear = RMSNorm(config.hidden, config.eps), BitLinear(config.hidden, config.vocab)
    torch.nn.init.normal_(linear.weight)
    weights = [norm.weight, linear.norm.weight, linear.weight]
    y = torch.randn(rows, config.hidden).to(DTYPE).requires_grad_()
    weight = linear.weight.detach().to(DTYPE).requires_grad_()
    return [
        Timing("head and cross entropy", OURS, shape, microseconds(lambda: torch.autograd.grad(
            fused_loss(x, delta, norm, linear, targets, DTYPE), [x, delta, *weights]))),
        Timing("head and cross entropy", "fla", shape, microseconds(lambda: torch.autograd.grad(
            library.loss(y, targets, weight), [y, weight])))]


def _measure(library: Library) -> list[Timing]:
    found = []
    for config, batch, tokens in PUBLISHED.values():
        rows, hidden, wide = batch * tokens, config.hidden, config.intermediate
        found += recurrences(library, batch, tokens, hidden)
        for sizes in ((3, rows, hidden, hidden), (1, rows, hidden, 2 * wide),
                      (1, rows, wide, hidden)):
            found += products(*sizes)
    config, batch, tokens = PUBLISHED["370M"]
    return found + elements(library, batch * tokens, config) + head(library, batch * tokens, config)


def main(arguments: list[str] | None = None) -> int:
    """Print the times, and write them as JSON; return the exit code."""
    parser = argparse.ArgumentParser(prog="python train/benchmarks/kernels.py",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    try:
        if not torch.cuda.is_available():
            raise DeviceError("The kernels are timed on a CUDA GPU, but PyTorch finds none.")
        library = Library()
        torch.manual_seed(0)
        with torch.device("cuda"):
            found = _measure(library)
        for one in found:
            print(f"{one.kernel:<30} {one.code:<22} {'x'.join(map(str, one.shape)):<22} "
                  f"{one.microseconds:>9.1f} us")
        if options.output:
            table = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
                     "triton": triton.__version__, "fla": library.version,
                     "bytes_per_second": bandwidth(),
                     "timings": [dataclasses.asdict(one) for one in found]}
            write_whole(options.output, (json.dumps(table, indent=1) + "\n").encode())
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
