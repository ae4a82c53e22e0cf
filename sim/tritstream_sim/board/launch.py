"""What the device name ``sim`` means."""

import contextlib
import hashlib
import pathlib
import zlib

import filelock

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.errors import DeviceError, TritstreamError
from tritstream.image.layout import lay_out
from tritstream.image.needs import Needs
from tritstream.transport import Address, Transport, open_transport
from tritstream_sim.board.build import build
from tritstream_sim.board.configs import BOARDS, board_config, config_for
from tritstream_sim.board.options import build_parts, check_options, memory_options
from tritstream_sim.board.process import Board, read_note

__all__ = ["launch"]

MOST_KEPT = 86_400          # seconds
CHECK_SECONDS = 2.0         # that a kept board has to say that it is one, and free
LOCK_SECONDS = 60.0         # that others may take to find one


class _BoardTransport(Transport):
    """The cable to a board that is ended with it, unless it is kept.

    Parameters
    ----------
    uri, name : str
        Its address, and what the user calls it.
    content : bytes-like or None
        What its memory was started with.
    board : Board or None
        What ends with the cable.
    note : path or None
        By which the board was found.
    """

    def __init__(self, uri: str, name: str, content, *, board: Board | None = None,
                 note: pathlib.Path | None = None):
        self._board = board or contextlib.nullcontext()
        self._uri, self._content, self._note = uri, content, note
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._board)
            self._tcp = open_transport(uri)
            stack.pop_all()
        self._tcp.name = self.name = name

    @property
    def preloaded(self):
        # What has answered is the board of the note if that one lives now.
        known = self._note is None or read_note(self._note) == self._uri
        return self._content if known else None

    def activity(self):
        return self._board.activity() if isinstance(self._board, Board) else None

    def read(self, timeout: float) -> bytes:
        return self._tcp.read(timeout)

    def write(self, data: bytes) -> None:
        self._tcp.write(data)

    def close(self) -> None:
        self._tcp.close()
        self._board.__exit__(None, None, None)


def launch(address: Address | str, image=None, *, cache: pathlib.Path | None = None,
           **options) -> Transport:
    """Start a simulated board and return its open transport.

    It is the transport ``sim`` of `tritstream.transport`. The board holds the image from its start;
    unless that was overwritten meanwhile, the driver need not ask for its digest.

    Parameters
    ----------
    address : Address or str
        ``sim[:BOARD][?KEY=VALUE...]``, where the board is one of `configs.BOARDS`, ``p1`` to
        ``p256`` by the bytes per beat; ``sim`` is ``sim:p16``. ``v``, ``e``, ``g``, ``t``,
        ``prefetch`` and ``memory`` (bytes) are what of its build is other than usual,
        ``bandwidth`` (bytes per cycle), ``latency`` (cycles) and ``refresh`` (``INTERVAL:CYCLES``)
        those of `Board`. The board ends with the transport; with ``keep`` it stays for the next
        that wants the same one, and ends when nobody has used it for so many seconds. With the
        name of a board that is built it is that board, up to its pads, see
        `tritstream_sim.board.pads`.
    image : Image or None
        The model that has to fit; None: the bundled one, and the memory is empty.
    cache : path or None
        Where builds, and notes of kept boards, are; None: the user's cache.
    options
        Of `Board`, in front of those of the address: bandwidth, latency, refresh.

    Raises
    ------
    BadInput
        There is no such board, or it cannot hold the model.
    """
    if isinstance(address, str):
        address = Address.parse(address)
    if address.rest is not None and address.rest not in BOARDS:
        # Amaranth takes half a second to import, and is not needed for the others.
        from tritstream_hw.boards import TARGETS
        from tritstream_sim.board.pads import open_board

        if address.rest in TARGETS:
            return open_board(TARGETS[address.rest], address, image, cache)
    check_options(address)
    options = memory_options(address) | options
    board, parts = address.rest, build_parts(address)
    config = board_config(board, **parts)
    if image is not None:
        stripes = config.stripes
        needs = Needs.of(image, stripes)
        config = config_for(needs, board, **parts)
        content = needs.residence(config.memory_bytes, config.lanes).content(
            lay_out(image, stripes))
        if content is not None:
            options["preload"] = content
    if "keep" not in address.options:
        board = Board(config, cache=cache, **options)
        return _BoardTransport(board.uri, address.text, options.get("preload"), board=board)
    keep = address.number("keep", 0, 1, MOST_KEPT)
    uri, note = _kept(config, cache, keep, options)
    return _BoardTransport(uri, address.text, options.get("preload"), note=note)


def _kept(config: BuildConfig, cache: pathlib.Path | None, keep: int,
          options: dict) -> tuple[str, pathlib.Path]:
    """Return address and note of a kept board that is free, started now if there is none."""
    directory = build(config, cache).parent
    note = directory / f"kept-{_key(config, options)}"
    try:
        with filelock.FileLock(f"{note}.lock", timeout=LOCK_SECONDS):
            with contextlib.suppress(TritstreamError):
                uri = read_note(note)
                if uri is not None and _is_free(uri, config):
                    return uri, note
            return Board(config, cache=cache, keep=keep, note=note, **options).uri, note
    except filelock.Timeout as error:
        raise DeviceError(f"Other commands have been starting this board for {LOCK_SECONDS:.0f} "
                          "s: end them, or leave out keep.") from error


def _is_free(uri: str, config: BuildConfig) -> bool:
    """Whether the board of this build behind an old note serves nobody else."""
    with contextlib.suppress(DeviceError), Device(
            open_transport(uri), build=config.digest(), dead_seconds=CHECK_SECONDS,
            patience_seconds=CHECK_SECONDS):
        return True
    return False


def _key(config: BuildConfig, options: dict) -> str:
    """What two commands must have in common to share a board."""
    told = {**options, "preload": zlib.crc32(options.get("preload", b""))}
    return hashlib.sha256(repr((config, sorted(told.items()))).encode()).hexdigest()[:16]
