"""A board with a memory from pad to pad: upload by its UART, tokens against golden, and its speed.

``python -m tritstream_sim.report.board [-b BOARD] [-m MODEL] [--upload] [--write DIRECTORY]``.
Every bit on the board's lines and every command to its chip is simulated, some 6,000 times slower
than the board; so a chip holds the model from the start, unless `--upload` is given: 100 kB of it
take 0.3 s of the board's time, and minutes of yours. A DDR3 memory is started and levelled first,
which takes 0.14 s of the board's time.
"""

import argparse
import json
import pathlib
import tempfile

from tritstream.catalog import resolve
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import DeviceError, TritstreamError
from tritstream.support.files import write_whole
from tritstream_hw.boards import TARGETS
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_sim.report.boards import DATA
from tritstream_sim.verilate.pads import build_board
from tritstream_sim.verilate.stepped import SteppedTransport

__all__ = ["main", "measure"]

BOARD = "ulx3s_85f"
BUILD_ID = bytes(range(1, 9))
TOKENS = (0, 262, 762)
COUNT = 4


def measure(board: str, name: str, cache: pathlib.Path, *, upload: bool) -> tuple[str, dict]:
    """Load a model, generate from it, and return what was found, in words and as numbers.

    Raises
    ------
    DeviceError
        A token is not that of the golden model.
    """
    target, image = TARGETS[board], resolve(name).image
    executable = build_board(target, BUILD_ID, cache)
    lines = []
    with tempfile.NamedTemporaryFile() as content:
        settings = {}
        if not upload and target.chip is not None:
            content.write(image.payload)
            content.flush()
            ddr3 = isinstance(target.chip, Ddr3Chip)
            settings["ddr3_image" if ddr3 else "sdr_image"] = content.name
        transport = SteppedTransport(executable, baud=target.baud, **settings)
        with Device(transport, build=BUILD_ID, dead_seconds=1e9, patience_seconds=1e9) as device:
            for lane, window in enumerate(device.start_memory()):
                lines.append(f"byte lane {lane} reads at {window}")
            began = transport.clock()
            written = device.load(image)
            took = transport.clock() - began
            _check(device, board, image)
            cycles = sum(record.cycles for record in device.records())
    if written:
        lines.append(f"{written:,} bytes uploaded in {took:.3f} s of the board's time: "
                     f"{written / took / target.config.link_rate:.1%} of the UART's rate")
    rate = target.config.clock_hz / cycles
    tape_rate = image.tape().nbytes * rate
    lines.append(f"{COUNT} tokens of {name} equal golden; {cycles:,} cycles a token, {rate:,.1f} "
                 f"tok/s, {tape_rate / 1e6:.1f} MB/s of tape (simulated)")
    return "\n".join(lines), {"cycles": cycles, "tokens_per_second": round(rate, 3),
                              "tape_rate": round(tape_rate)}


def _check(device: Device, board: str, image) -> None:
    prompt = [token % image.vocab for token in TOKENS]
    golden = GoldenEngine(image).open()
    expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], COUNT)]
    found = list(device.run(prompt, COUNT, fresh=True))
    for number, (result, entry) in enumerate(zip(found, expected, strict=True)):
        if result.digest != entry.digest:
            raise DeviceError(f"Pass {number} on {board} has the digest {result.digest:08x}, not "
                              f"{entry.digest:08x}: compare it with `tritstream verify`.")


def _keep(path: pathlib.Path, board: str, model: str, found: dict) -> None:
    table = json.loads(path.read_text()) if path.exists() else {}
    table.setdefault(board, {})[model] = found
    write_whole(path, (json.dumps(table, indent=2) + "\n").encode())


def main(argv=None) -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.board",
                                     description=__doc__)
    parser.add_argument("-b", "--board", default=BOARD, choices=[
        name for name, target in TARGETS.items() if target.baud],
        help=f"default: {BOARD}")
    parser.add_argument("-m", "--model", default="tiny", help="default: tiny")
    parser.add_argument("--write", type=pathlib.Path, metavar="DIRECTORY",
                        help="a source checkout, where the numbers are kept for `make boards`")
    parser.add_argument("--upload", action="store_true", help="by the UART")
    options = parser.parse_args(argv)
    try:
        text, found = measure(options.board, options.model, pathlib.Path("build/sim"),
                              upload=options.upload)
        print(text)
        if options.write:
            _keep(options.write / DATA, options.board, options.model, found)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


if __name__ == "__main__":
    main()
