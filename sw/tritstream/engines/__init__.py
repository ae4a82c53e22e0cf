"""Devices by the names that a user gives them."""

from tritstream.engines.base import Engine, Pass
from tritstream.errors import MissingTool

__all__ = ["DEVICES", "Engine", "Pass", "open_engine"]

DEVICES = "float, golden, cuda[:N], sim[:pN], tcp:HOST:PORT or serial:PORT[?baud=N]"
"""What a user can ask for."""

SIMULATED = ("sim", "tcp")
"""Schemes behind which time is told in cycles: a socket may lead to a board, but does not say so,
and a number from silicon must not be claimed without knowing.
"""


def open_engine(uri: str, model, *, progress=None) -> Engine:
    """Open the device called `uri` with a model in it.

    Parameters
    ----------
    uri : str
        See `DEVICES`.
    model : Model
        See `tritstream.model.catalog`.
    progress : callable or None
        Called with bytes done and bytes in all during an upload.

    Raises
    ------
    BadInput
        There is no such device, or the model does not fit it.
    DeviceError
        The device is absent, or not what it should be.
    MissingTool
        What the device needs is not installed.
    """
    # Each kind of device costs its imports only when it is asked for.
    if uri == "float":
        from tritstream.engines.floating import FloatEngine

        return FloatEngine(model.checkpoint)
    if uri == "golden":
        from tritstream.engines.golden import GoldenEngine

        return GoldenEngine(model.image)
    if uri.partition(":")[0] == "cuda":
        return _cuda_engine()(model.image, uri, progress)
    from tritstream.driver import Device
    from tritstream.engines.board import DeviceEngine
    from tritstream.transport import Address

    image = model.image                 # a model that cannot be used need not start a board
    device = Device.open(uri, image=image)
    try:
        return DeviceEngine(device, image, simulated=Address.parse(uri).scheme in SIMULATED,
                            progress=progress)
    except BaseException:
        device.close()
        raise


def _cuda_engine():
    try:
        from tritstream_cuda import CudaEngine
    except ImportError as error:
        raise MissingTool(f"--device cuda needs {error.name}, which is not installed; run `pip "
                          "install 'tritstream[train]'`.") from error
    return CudaEngine
