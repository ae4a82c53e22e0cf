"""The `tritstream` program, also `python -m tritstream`."""

import os
import signal
import sys

__all__ = ["main"]

INTERRUPTED = 130           # as a shell reports Ctrl-C


def main() -> None:
    """Run the command line in a process of its own, and end that."""
    # Until the verbs are loaded there is nothing to clean up, and no one to tell Ctrl-C to.
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from tritstream.cli.process import run_process

    signal.signal(signal.SIGINT, before)
    run_process(sys.argv[1:])


if __name__ == "__main__":
    main()
