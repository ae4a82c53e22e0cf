"""A simulated board started by hand: ``python -m tritstream_sim.board --help``."""

import argparse
import os
import tempfile

from tritstream.catalog import DEFAULT_MODEL, resolve
from tritstream.cli.process import repair_streams
from tritstream.errors import INTERRUPTED, BadInput, TritstreamError
from tritstream.image.layout import lay_out
from tritstream.image.needs import Needs
from tritstream.transport.address import decimal_number, whole_number
from tritstream_sim.board.build import build
from tritstream_sim.board.configs import BOARDS, DEFAULT, board_config, config_for
from tritstream_sim.board.launch import MOST_KEPT
from tritstream_sim.board.options import MOST_CYCLES, MOST_RATE, read_refresh


def main(argv: list[str] | None = None) -> None:
    """Build the board and become its process."""
    parser, given = _parse(argv)
    try:
        _become(given)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    except OSError as error:
        parser.exit(BadInput.exit_code, f"error: {error.filename or 'The memory of the board'} "
                    f"cannot be used: {error.strerror or error}; make room, or set TMPDIR and "
                    "XDG_CACHE_HOME to other places.\n")
    except KeyboardInterrupt:
        parser.exit(INTERRUPTED, "interrupted\n")


def _become(given: argparse.Namespace) -> None:
    """Build the board that was asked for; this process goes on as it."""
    image = resolve(given.model).image
    stripes = board_config(given.board).stripes
    config = config_for(Needs.of(image, stripes), given.board)
    program = build(config, trace=given.trace is not None)
    command = [str(program), "--memory", str(config.memory_bytes)]
    if not given.empty:
        file = tempfile.TemporaryFile()
        file.write(lay_out(image, stripes).payload)
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        command += ["--preload", f"/dev/fd/{file.fileno()}"]
    for name in ("port", "bandwidth", "latency", "refresh", "max_cycles", "keep", "trace"):
        if (value := getattr(given, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    command += [f"--{name}" for name in ("stats", "quit-on-disconnect")
                if getattr(given, name.replace("-", "_"))]
    os.execv(program, command)


def _parse(argv):
    parser = argparse.ArgumentParser(
        prog="python -m tritstream_sim.board", allow_abbrev=False,
        description="Starts a simulated board with a model in its memory, and prints the TCP port "
                    "that it listens to.",
        epilog="One host is served at a time. One that is silent makes way when another waits: "
               "after 3 s if it has never said anything, after 30 s otherwise.")
    parser.add_argument("--board", default=DEFAULT, choices=BOARDS)
    parser.add_argument("-m", "--model", default=DEFAULT_MODEL, help="what it holds")
    parser.add_argument("--empty", action="store_true", help="its memory holds zeros instead")
    parser.add_argument("--port", type=_whole(0, 65_535), metavar="N", help="default: any")
    parser.add_argument("--keep", type=_whole(1, MOST_KEPT), metavar="SECONDS",
                        help="go to the background, and end when nobody has used it for so long")
    parser.add_argument("--bandwidth", type=_bandwidth, metavar="BYTES",
                        help="of the memory, per cycle; default: a beat")
    parser.add_argument("--latency", type=_whole(0, MOST_CYCLES), metavar="CYCLES",
                        help="of the memory")
    parser.add_argument("--refresh", type=_refresh, metavar="INTERVAL:CYCLES",
                        help="every so many cycles the memory does not read for so many")
    parser.add_argument("--max-cycles", type=_whole(0, 10**18), metavar="N", help="then it ends")
    parser.add_argument("--trace", metavar="FILE.fst", help="record all signals; slower")
    parser.add_argument("--stats", action="store_true", help="print cycles and seconds at the end")
    parser.add_argument("--quit-on-disconnect", action="store_true", help="after the first host")
    return parser, parser.parse_args(argv)


def _whole(low: int, high: int):
    def parse(text: str) -> int:
        if (number := whole_number(text, low, high)) is None:
            raise argparse.ArgumentTypeError(f"it must be a whole number of {low} to {high}")
        return number
    return parse


def _bandwidth(text: str) -> float:
    if (rate := decimal_number(text, MOST_RATE)) is None:
        raise argparse.ArgumentTypeError(f"it must be a number above 0 and up to {MOST_RATE}")
    return rate


def _refresh(text: str) -> str:
    if read_refresh(text) is None:
        raise argparse.ArgumentTypeError("it must be INTERVAL:CYCLES, and leave time to read")
    return text


if __name__ == "__main__":
    repair_streams()                    # the board has them too
    main()
