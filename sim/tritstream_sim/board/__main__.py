"""A simulated board started by hand: ``python -m tritstream_sim.board --help``."""

import argparse
import os

from tritstream.errors import TritstreamError
from tritstream.image.needs import Needs
from tritstream.model.catalog import DEFAULT_MODEL, resolve
from tritstream_sim.board.build import build
from tritstream_sim.board.configs import BOARDS, DEFAULT, config_for


def main() -> None:
    """Build the board and become its process."""
    parser = argparse.ArgumentParser(
        prog="python -m tritstream_sim.board", allow_abbrev=False,
        description="Starts a simulated board, which prints the TCP port that it listens to.",
        epilog="All other options are the board's own: --port N, --bandwidth BYTES_PER_CYCLE, "
               "--latency CYCLES, --refresh INTERVAL:CYCLES, --max-cycles N, --stats, "
               "--quit-on-disconnect.")
    parser.add_argument("--board", default=DEFAULT, choices=BOARDS)
    parser.add_argument("-m", "--model", default=DEFAULT_MODEL, help="what has to fit")
    parser.add_argument("--trace", metavar="FILE.fst", help="record all signals; slower")
    given, own = parser.parse_known_args()
    try:
        config = config_for(Needs.of(resolve(given.model).image), given.board)
        program = build(config, trace=given.trace is not None)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    if given.trace is not None:
        own += ["--trace", given.trace]
    os.execv(program, [str(program), "--memory", str(config.memory_bytes), *own])


if __name__ == "__main__":
    main()
