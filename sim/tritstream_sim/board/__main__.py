"""A simulated board started by hand: ``python -m tritstream_sim.board [OPTIONS] [-- ITS OWN]``."""

import argparse
import os

from tritstream.models import resolve
from tritstream_sim.board.build import build
from tritstream_sim.board.configs import BOARDS, DEFAULT, config_for


def main() -> None:
    """Build the board and become its process."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.board", description="""
        Starts a simulated board, which prints the TCP port that it listens to.
        Options behind -- are its own; `-- --help` lists them.""")
    parser.add_argument("board", nargs="?", default=DEFAULT, choices=BOARDS)
    parser.add_argument("-m", "--model", default="classics-7m", help="what has to fit")
    parser.add_argument("--waves", action="store_true", help="allow --trace FILE.fst; slower")
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    config = config_for(resolve(given.model).image, given.board)
    program = build(config, trace=given.waves)
    os.execv(program, [str(program), "--memory", str(config.memory_bytes), *given.options])


if __name__ == "__main__":
    main()
