"""What the device name ``sim`` means."""

from tritstream.image.needs import Needs
from tritstream.transport import Address, Transport, open_transport
from tritstream_sim.board.configs import board_config, config_for
from tritstream_sim.board.process import Board

__all__ = ["launch"]


class _BoardTransport(Transport):
    """The cable to a board that is ended with it."""

    def __init__(self, board: Board, name: str):
        self._board = board
        try:
            self._tcp = open_transport(board.uri)
        except BaseException:
            board.close()
            raise
        self._tcp.name = self.name = name

    def read(self, timeout: float) -> bytes:
        return self._tcp.read(timeout)

    def write(self, data: bytes) -> None:
        self._tcp.write(data)

    def close(self) -> None:
        self._tcp.close()
        self._board.close()


def launch(address: Address | str, needs: Needs | None = None, **options) -> Transport:
    """Start a simulated board and return its open transport; closing that ends the board.

    It is the transport ``sim`` of `tritstream.transport`.

    Parameters
    ----------
    address : Address or str
        ``sim`` or ``sim:BOARD``, where the board is one of `configs.BOARDS`, ``p1`` to ``p64`` by
        the bytes per beat; ``sim`` is ``sim:p16``.
    needs : Needs or None
        What the model needs that has to fit; None: the bundled one.
    options
        Of `Board`: bandwidth, latency, refresh, cache.
    """
    if isinstance(address, str):
        address = Address.parse(address)
    address.check_options()
    board = address.rest
    config = board_config(board) if needs is None else config_for(needs, board)
    return _BoardTransport(Board(config, **options), address.text)
