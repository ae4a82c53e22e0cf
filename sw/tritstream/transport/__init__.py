"""Ways in which bytes reach a device, and the names by which a user calls them."""

import importlib

from tritstream.errors import BadInput, MissingTool
from tritstream.transport.base import Transport
from tritstream.transport.faulty import Faults, FaultyTransport
from tritstream.transport.replay import RecordingTransport, ReplayTransport
from tritstream.transport.serial import SerialTransport
from tritstream.transport.tcp import TcpTransport

__all__ = [
    "FaultyTransport",
    "Faults",
    "RecordingTransport",
    "ReplayTransport",
    "SerialTransport",
    "TcpTransport",
    "Transport",
    "launch_board",
    "open_transport",
]


def launch_board(board: str | None, image=None) -> Transport:
    """Start the simulated board `board` (None: the default one) and return its open transport.

    It is made large enough for `image`. Closing the transport ends the board. The board comes from
    `tritstream_sim`, which a host that talks to real boards need not have: `MissingTool` says so
    when it is not there.
    """
    try:
        module = importlib.import_module("tritstream_sim.board")
    except ImportError as error:
        raise MissingTool(f"The simulated board is not installed ({error}): run "
                          "'pip install tritstream[sim]'.") from error
    return module.launch(board, image)


def open_transport(uri: str, image=None) -> Transport:
    """Open the device that `uri` names.

    Parameters
    ----------
    uri : str
        ``sim[:BOARD]``, ``tcp:HOST:PORT``, ``serial:PORT[?baud=N]`` or ``replay:FILE``.
    image : Image or None
        The model that a simulated board has to hold; others are as large as they are.

    Raises
    ------
    BadInput
        The name cannot be understood.
    DeviceError
        Nothing answers by this name.
    MissingTool
        What the transport needs is not installed.
    """
    scheme, colon, rest = uri.partition(":")
    if scheme == "sim":
        return launch_board(rest if colon else None, image)
    if scheme == "tcp":
        return TcpTransport.connect(rest)
    if scheme == "serial":
        return SerialTransport(rest)
    if scheme == "replay":
        return ReplayTransport(rest)
    raise BadInput(f"{uri!r} is not a device: use float, golden, cuda, sim, tcp:HOST:PORT or "
                   "serial:PORT.")
