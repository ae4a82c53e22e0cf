"""Which transport an address means.

Transports outside this package join by the entry point group `GROUP`: the name is the scheme, the
object a function ``(Address, Image or None) -> Transport``. What it needs besides is, by
convention, the extra of the same name.
"""

import importlib.metadata

from tritstream.errors import BadInput, MissingTool
from tritstream.link.transport import Transport
from tritstream.transport.address import Address
from tritstream.transport.replay import ReplayTransport
from tritstream.transport.serial import SerialTransport
from tritstream.transport.tcp import TcpTransport

__all__ = ["GROUP", "open_transport"]

GROUP = "tritstream.transports"

_BUILT_IN = {
    "tcp": TcpTransport.open,
    "serial": SerialTransport.open,
    "replay": ReplayTransport.open,
}


def open_transport(address: Address | str, image=None) -> Transport:
    """Open what an address names.

    Parameters
    ----------
    address : Address or str
        ``tcp:HOST:PORT``, ``serial:PORT[?baud=N]``, ``replay:FILE``, or of a scheme that another
        package brings, as ``sim[:BOARD]``.
    image : Image or None
        The model that is going to be loaded, for a device that is made to measure, and may hold it
        from the start.

    Raises
    ------
    BadInput
        The address cannot be understood.
    DeviceError
        Nothing answers there.
    MissingTool
        What the transport needs is not installed.
    """
    if isinstance(address, str):
        address = Address.parse(address)
    if address.scheme in _BUILT_IN:
        return _BUILT_IN[address.scheme](address, image)
    return _by_plugin(address, image)


def _by_plugin(address: Address, image) -> Transport:
    found = importlib.metadata.entry_points(group=GROUP, name=address.scheme)
    for entry_point in found:
        try:
            return entry_point.load()(address, image)
        except ImportError as error:
            raise MissingTool(f"What {address.scheme!r} needs is not installed ({error}): run `pip "
                              f"install '{_distribution(entry_point)}[{address.scheme}]'`."
                              ) from error
    raise BadInput(f"{address.text[:200]!r} is not a device: use float, golden, cuda, sim, "
                   "tcp:HOST:PORT or serial:PORT.")


def _distribution(entry_point) -> str:
    return "tritstream" if entry_point.dist is None else entry_point.dist.name
