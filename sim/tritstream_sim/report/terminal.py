"""A session of `tritstream chat` as a terminal shows it; writes the picture of docs/serving.md.

``python -m tritstream_sim.report.terminal [--write docs/images]``. The program runs at a
pseudoterminal, where lines are typed once it asks for them; what it writes becomes an SVG.
"""

import argparse
import contextlib
import fcntl
import io
import os
import pathlib
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.text import Text

from tritstream.catalog import DEFAULT_MODEL
from tritstream.errors import DeviceError, TritstreamError

__all__ = ["main", "picture", "session"]

COLUMNS, ROWS = 100, 40
LINES = ("Once upon a time", "", "/fork 5", " lived a king", "/switch 1", "/stats", "/quit")
LINE_SECONDS = 120.0        # in which the program asks for the next line
_ASKS = re.compile(rb"(?:^|\n)(?:\x1b\[[\d;?]*[a-z])*> $")
# rich's frame has its font from another host.
_FRAME = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def session(model: str, device: str, lines) -> str:
    """Return all that the terminal gets, escape sequences included.

    Raises
    ------
    DeviceError
        The program does not ask for the next line, or ends before it.
    """
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "tritstream", "chat", "-m", model, "--device", device, "-n",
               "24"]
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal,
                          start_new_session=True,
                          env=os.environ | {"TERM": "xterm-256color"}) as running:
        os.close(terminal)
        try:
            said = f"\x1b[1m$ tritstream {' '.join(command[3:])}\x1b[0m\n".encode()
            for line in lines:
                said += _until_asked(screen)
                os.write(screen, line.encode() + b"\n")
            return (said + _read(screen, lambda found: False)).decode()
        finally:
            running.kill()
            os.close(screen)


def _until_asked(screen: int) -> bytes:
    found = _read(screen, _ASKS.search)
    if not _ASKS.search(found):
        raise DeviceError(f"The program ends early: {found.decode(errors='replace')[-200:]}")
    return found


def _read(screen: int, enough) -> bytes:
    """Read until it is enough, or the program has ended."""
    found, ends = b"", time.monotonic() + LINE_SECONDS
    while not enough(found):
        ready, _, _ = select.select([screen], [], [], max(0.0, ends - time.monotonic()))
        if not ready:
            raise DeviceError(f"The program is silent for {LINE_SECONDS:g} s.")
        chunk = b""
        with contextlib.suppress(OSError):      # the other end is closed
            chunk = os.read(screen, 1 << 16)
        if not chunk:
            break
        found += chunk
    return found


def picture(said: str) -> str:
    """Return what a terminal shows as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(said.replace("\r", "").rstrip()))
    return console.export_svg(title="tritstream chat", code_format=_FRAME, unique_id="chat")


def main(argv=None) -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.terminal",
                                     description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="golden")
    parser.add_argument("--write", type=pathlib.Path, default=pathlib.Path(),
                        help="directory of the picture")
    options = parser.parse_args(argv)
    try:
        said = session(options.model, options.device, LINES)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    (options.write / "chat.svg").write_text(picture(said))


if __name__ == "__main__":
    main()
