"""Devices by the names that a user gives them.

Engines outside this package join by the entry point group `GROUP`: the name is the scheme, the
object a function ``(Address, Model, progress) -> Engine``. Any other scheme is that of a transport
to a board, see `tritstream.transport.registry`.
"""

from tritstream.engines.base import Engine
from tritstream.errors import BadInput
from tritstream.support.plugins import plugins
from tritstream.transport import Address

__all__ = ["DEVICES", "GROUP", "open_engine"]

DEVICES = ("float, golden, cuda[:N], sim[:pN|:BOARD][?KEY=N&…], tcp:HOST:PORT or "
           "serial:PORT[?baud=N]")
"""What a user can ask for."""

GROUP = "tritstream.engines"

BOARD_OPTIONS = ("dead_seconds", "patience_seconds", "record")
"""What can be said of a board, see `tritstream.driver.Device`."""

SIMULATED = ("sim", "tcp")
"""Schemes behind which time is told in cycles: a socket may lead to a board, but does not say so,
and a number from silicon must not be claimed without knowing.
"""


def open_engine(uri: str, model, *, progress=None, **options) -> Engine:
    """Open the device called `uri` with a model in it.

    Parameters
    ----------
    uri : str
        See `DEVICES`.
    model : Model
        See `tritstream.catalog`.
    progress : callable or None
        Called with bytes done and bytes in all during an upload.
    options
        `BOARD_OPTIONS`, of boards only.

    Raises
    ------
    BadInput
        There is no such device or option, or the model does not fit it.
    DeviceError
        The device is absent, or not what it should be.
    MissingTool
        What the device needs is not installed.
    """
    address = Address.parse(uri)
    if address.text in _HERE:
        opener = _HERE[address.text]
    else:
        plugin = plugins(GROUP).get(address.scheme)
        if plugin is None:
            return _board(address, model, progress, options)
        with plugin.needed(f"--device {address.scheme}"):
            opener = plugin.entry.load()
    if options:
        raise BadInput(f"{uri} has no option {next(iter(options))}: only boards have options.")
    return opener(address, model, progress)


# Each kind of device costs its imports only when it is asked for.

def _float(address: Address, model, progress) -> Engine:
    from tritstream.engines.floating import FloatEngine

    return FloatEngine(model.checkpoint)


def _golden(address: Address, model, progress) -> Engine:
    from tritstream.engines.golden import GoldenEngine

    return GoldenEngine(model.image)


_HERE = {"float": _float, "golden": _golden}


def _board(address: Address, model, progress, options: dict) -> Engine:
    from tritstream.driver import Device
    from tritstream.engines.board import DeviceEngine
    from tritstream.engines.lanes import LanesEngine

    image = model.image                 # a model that cannot be used need not start a board
    unknown = options.keys() - BOARD_OPTIONS
    if unknown:
        raise BadInput(f"{address.text} has no option {sorted(unknown)[0]}: a board has "
                       f"{', '.join(BOARD_OPTIONS)}.")
    device = Device.open(address.text, image=image, **options)
    try:
        engine = LanesEngine if device.identity.lanes > 1 else DeviceEngine
        return engine(device, image, simulated=address.scheme in SIMULATED, progress=progress)
    except BaseException:
        device.close()
        raise
