"""Which transport an address means.

Transports outside this package join by the entry point group `GROUP`: the name is the scheme, the
object a function ``(Address, Image or None) -> Transport``.
"""

from tritstream.errors import BadInput
from tritstream.link.transport import Transport
from tritstream.support.plugins import plugins
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
    plugin = plugins(GROUP).get(address.scheme)
    if plugin is None:
        raise BadInput(f"{address.text[:200]!r} is not a device: use float, golden, cuda, sim, "
                       "tcp:HOST:PORT or serial:PORT.")
    with plugin.needed(repr(address.scheme)):       # some of that shows only when it is called
        return plugin.entry.load()(address, image)
