"""The `tritstream` program, also `python -m tritstream`."""

import os
import signal
import sys

from tritstream.errors import INTERRUPTED

__all__ = ["main"]


def main() -> None:
    """Run the command line in a process of its own, and end that."""
    # Until the verbs are loaded there is nothing to clean up, and no one to tell Ctrl-C to.
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from tritstream.cli.process import run_process

    run_process(sys.argv[1:], before)


if __name__ == "__main__":
    main()
