"""Speed and memory of the engine: `python train/benchmarks/engine.py`.

The bundled model and dummy models of the published shapes generate greedily, one conversation in a
run and several in steps of the engine, and read prompts. All passes compute their digests, and what
the host does for them is in the time. Beside each figure stands its roof: the time that the trits
of a pass take to be read at the bandwidth of a copy in the GPU's memory, or their products at the
speed of a large int8 matrix product, whichever is longer; both are measured in the same run.
"""

import argparse
import contextlib
import dataclasses
import gc
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tritstream.catalog import DEFAULT_MODEL, resolve
from tritstream.engines import Work
from tritstream.errors import DeviceError, TritstreamError
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.model.dummy import PRESETS, DummyCheckpoint
from tritstream.support.files import write_whole
from tritstream_cuda import CudaEngine

__all__ = ["Measurement", "bandwidth", "measure"]

BATCHES = (1, 2, 4, 8, 16)
PASSES = 128                # of a measurement
PROMPT = 1024               # tokens of the prompt
ROUNDS = 5                  # of a measurement; the median counts
COPIED = 1 << 30            # bytes
SIDE = 8192


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One figure.

    Parameters
    ----------
    model, test : str
        Shape, and `generate` or `prompt`.
    conversations : int
        Side by side.
    speed : float
        Tokens per second, of all conversations together.
    milliseconds : float
        Of a pass; of the whole prompt.
    trit_bytes : int
        Bytes of trits that a pass reads.
    allocated, reserved : float
        Most memory in use, and most that PyTorch had taken for it, 10^6 bytes; weights included.
    roof : float
        Tokens per second if nothing but reading trits or multiplying int8 took time.
    evidence : str
        How the figure was obtained.
    """

    model: str
    test: str
    conversations: int
    speed: float
    milliseconds: float
    trit_bytes: int
    allocated: float
    reserved: float
    roof: float = math.nan
    evidence: str = "measured"

    def under(self, rate: float, speed: float) -> "Measurement":
        """Return it with its roof, at so many bytes and operations per second."""
        tokens = self.conversations if self.test == "generate" else PROMPT
        operations = 2 * 5 * self.trit_bytes * tokens
        roof = tokens / max(self.trit_bytes / rate, operations / speed)
        return dataclasses.replace(self, roof=roof)


def bandwidth() -> float:
    """Bytes per second that a copy within the GPU's memory moves, read and written."""
    source = torch.empty(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = statistics.median(_seconds(lambda: target.copy_(source)) for _ in range(ROUNDS))
    return 2 * COPIED / seconds


def products() -> float:
    """Operations per second of a large int8 matrix product, two for each multiplication."""
    a, b = (torch.randint(-128, 128, (SIDE, SIDE), dtype=torch.int8, device="cuda")
            for _ in range(2))
    seconds = statistics.median(_seconds(lambda: torch._int_mm(a, b.T)) for _ in range(ROUNDS))
    return 2 * SIDE ** 3 / seconds


def _seconds(action) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(name: str, image: Image, conversations) -> list[Measurement]:
    """Measure a model, without roofs.

    Parameters
    ----------
    name : str
        Of its shape.
    image : Image
        The model.
    conversations : iterable of int
        How many side by side.
    """
    engine = CudaEngine(image)
    engine.stop_tokens = ()
    size = sum(section.header.body_bytes for section in image.sections)
    found = []
    for count in conversations:
        seconds, used = _generate(engine, count)
        found.append(Measurement(name, "generate", count, count / seconds, 1e3 * seconds, size,
                                 *used))
    seconds, used = _read(engine)
    found.append(Measurement(name, "prompt", 1, PROMPT / seconds, 1e3 * seconds, size, *used))
    return found


def _generate(engine: CudaEngine, count: int) -> tuple[float, list[float]]:
    """Seconds of a greedy pass of so many conversations, and the memory it takes."""
    conversations = [engine.open() for _ in range(count)]
    tokens = list(range(2, 2 + count))

    def run():
        for _ in conversations[0].run(tokens[0], PASSES):
            pass

    def step():
        for _ in range(PASSES):
            works = [Work(*work) for work in zip(conversations, ([t] for t in tokens), strict=True)]
            tokens[:] = [result.candidates.best for result in engine.step(works)]

    action = run if count == 1 else step
    with _memory() as used:
        action()
        seconds = statistics.median(_seconds(action) for _ in range(ROUNDS))
    return seconds / PASSES, used


def _read(engine: CudaEngine) -> tuple[float, list[float]]:
    """Seconds of a prompt, and the memory it takes."""
    prompt = np.random.default_rng(0).integers(2, engine.vocab, PROMPT).tolist()
    with _memory() as used:
        conversation = engine.open()
        for _ in range(2):
            conversation.feed(prompt)
        seconds = statistics.median(_seconds(lambda: conversation.feed(prompt))
                                    for _ in range(ROUNDS))
    return seconds, used


@contextlib.contextmanager
def _memory():
    """Measure the most memory allocated and reserved meanwhile, 10^6 bytes."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    used = []
    yield used
    used += [torch.cuda.max_memory_allocated() / 1e6, torch.cuda.max_memory_reserved() / 1e6]


def _table(measurements: list[Measurement]) -> str:
    lines = ["| model | test | side by side | tok/s | ms | roof tok/s | of it | MB | reserved MB |",
             "|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for m in measurements:
        lines.append(f"| {m.model} | {m.test} | {m.conversations} | {m.speed:,.0f} | "
                     f"{m.milliseconds:.3f} | {m.roof:,.0f} | {m.speed / m.roof:.1%} | "
                     f"{m.allocated:.1f} | {m.reserved:.1f} |")
    return "\n".join(lines)


def _count(text: str) -> int:
    """A number of conversations on the command line."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, and write the JSON file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python train/benchmarks/engine.py",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=[DEFAULT_MODEL, *PRESETS],
                        default=[DEFAULT_MODEL, *PRESETS], help="the bundled model, or shapes")
    parser.add_argument("--conversations", nargs="+", type=_count, default=list(BATCHES),
                        metavar="N", help="how many side by side")
    parser.add_argument("--images", type=Path, help="where packed models are kept")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    options = parser.parse_args(arguments)
    try:
        _run(options)
    except TritstreamError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _image(name: str, directory: Path) -> Image:
    if name == DEFAULT_MODEL:
        return resolve(name).image
    path = directory / f"{name}.trit"
    return Image(path, check=False) if path.exists() else pack(DummyCheckpoint(PRESETS[name]), path)


def _run(options: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        raise DeviceError("The engine is timed on a CUDA GPU, but PyTorch finds none.")
    measurements = []
    with tempfile.TemporaryDirectory() as directory:
        for name in options.models:
            measurements += measure(name, _image(name, options.images or Path(directory)),
                                    options.conversations)
    gc.collect()
    rate, speed = bandwidth(), products()       # last, for they leave memory behind
    measurements = [measurement.under(rate, speed) for measurement in measurements]
    print(f"{torch.cuda.get_device_name()}, a copy moves {rate / 1e12:.2f} TB/s, int8 products run "
          f"at {speed / 1e12:.0f} TOP/s\n")
    print(_table(measurements))
    if options.output:
        table = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
                 "bytes_per_second": rate, "operations_per_second": speed,
                 "measurements": [dataclasses.asdict(m) for m in measurements]}
        write_whole(options.output, (json.dumps(table, indent=1) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main())
