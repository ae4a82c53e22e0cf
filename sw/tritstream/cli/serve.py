"""`tritstream serve`: a model behind OpenAI's interface."""

import contextlib
import re
import socket
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tritstream.catalog import DEFAULT_MODEL
from tritstream.cli.console import notes
from tritstream.cli.options import Device, open_device, open_model
from tritstream.errors import BadInput, MissingTool
from tritstream.support.checks import is_loopback

__all__ = ["serve"]

LEAST_KEY = 8               # letters of a key
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?|https?://\[[0-9a-f:]+\](:[0-9]+)?")


def serve(
    model: Annotated[list[str], typer.Option(
        "-m", "--model", metavar="MODEL", help="Image, checkpoint directory, or a bundled model; "
        "of several the first is loaded, and another in its place when it is asked for.")] = (
            DEFAULT_MODEL,),
    device: Device = "golden",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any that is free.")] = 8080,
    api_key_file: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Has the key that clients need, in its first line.")] = None,
    slots: Annotated[int, typer.Option(help="Texts that are made side by side.")] = 64,
    conversations: Annotated[Path | None, typer.Option(
        metavar="DIR", help="Keeps conversations when the server ends.")] = None,
    allow_origin: Annotated[list[str] | None, typer.Option(
        metavar="ORIGIN", help="Pages of this server, as https://example.org, may use this one; "
        "may be given again.")] = None,
):
    """Serve models to clients of OpenAI's interface, and on a page."""
    try:
        from tritstream.server.app import application
        from tritstream.server.process import BACKLOG, run
        from tritstream.server.residence import Residence
        from tritstream.server.store import Store
    except ImportError as error:
        raise MissingTool(f"What `tritstream serve` needs is not installed ({error}): run "
                          "`pip install 'tritstream[serve]'`.") from error

    key = None if api_key_file is None else _read_key(api_key_file)
    if key is None and not is_loopback(host):
        raise BadInput(f"Others could use a server at {host}: give --api-key-file FILE, or listen "
                       "at 127.0.0.1.")
    if not 0 <= port <= 65_535:
        raise BadInput(f"--port must be 0 to 65535, not {port}.")
    for origin in allow_origin or ():
        if not ORIGIN.fullmatch(origin):
            raise BadInput(f"--allow-origin {origin[:100]} is not how browsers name a server: "
                           "write it as https://example.org, with its port if it has one.")
    opened = [open_model(name) for name in model]
    listener = _listen(host, port, BACKLOG)
    with contextlib.ExitStack() as stack:
        stack.enter_context(listener)
        if conversations is None:
            conversations = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        residence = stack.enter_context(Residence(
            opened, lambda source: open_device(device, source), active=slots,
            announce=notes().print))
        store = stack.enter_context(Store(conversations, residence.served.values()))
        stack.callback(residence.close)     # before the store, which keeps what texts have come to
        where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        notes().print(f"{', '.join(residence.served)} on {device} at {where}/v1 and, as a page, at "
                      f"{where} (Ctrl-C ends it)")
        run(application(residence, store, key=key, origins=allow_origin or ()), listener)


def _read_key(path: Path) -> str:
    from tritstream.analysis.texts import read_text

    lines = read_text(path).splitlines()
    key = lines[0].strip() if lines else ""
    if len(key) < LEAST_KEY:
        raise BadInput(f"{path} has a key of {len(key)} letters in its first line: give at least "
                       f"{LEAST_KEY}.")
    if not (key.isascii() and key.isprintable()):
        raise BadInput(f"{path} has a key with letters that a header of HTTP cannot have: give one "
                       "of letters and digits of ASCII.")
    return key


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=backlog)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{host[:100]}:{port} cannot be listened at ({reason}): give another --host "
                       "or --port.") from error
