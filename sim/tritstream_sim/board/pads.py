"""``sim:BOARD``: a board as its bitstream has it, simulated from pad to pad.

It runs thousands of times slower than the board. Time passes only while the driver reads.
"""

import pathlib
import re
import shutil
import tempfile

from tritstream.errors import BadInput, DeviceError
from tritstream.image.image import Image
from tritstream.image.needs import Needs
from tritstream.support.cache import get_or_make
from tritstream.support.inputs import check_input
from tritstream.transport import Address
from tritstream.transport.address import decimal_number
from tritstream.transport.serial import BAUDS
from tritstream_hw.boards import Target
from tritstream_hw.flash.reader import cycles_per_byte
from tritstream_hw.memory.ddr3.chip import Ddr3Chip
from tritstream_sim.board.build import digest, elapsed
from tritstream_sim.verilate import pads
from tritstream_sim.verilate.stepped import MICROSECOND, SOURCE, SteppedTransport

__all__ = ["PadsTransport", "open_board"]

SLICE_SECONDS = 2e-4        # of the board's time, which take a second: then the driver looks around
MOST_SETTING = 1e9
SPOKE = re.compile(r"(sdr|flash|EHXPLLL|rPLL|CLKDIVF|SB_[A-Z0-9_]+): [^\n]*")
START_SECONDS = 3e-4        # of the board's time, until its SDRAM can be written
SPARE = 1.1                 # of the time that a model takes from the flash memory


class PadsTransport(SteppedTransport):
    """The UART of a board whose models, if they end the simulation, say why.

    Parameters
    ----------
    executable : path
        From `tritstream_sim.verilate.pads.build_board`.
    name : str
        What the user calls it.
    baud : float
        Of the host's UART.
    content : bytes-like or None
        What its SDRAM holds from the start; a DDR3 memory still has to be started and levelled.
    levelled : bool
        Whether that is a DDR3 memory.
    settings : dict
        Of the models.
    seconds : float
        Of the board's time that have passed when the host comes.
    """

    def __init__(self, executable: pathlib.Path, name: str, *, baud: float, content=None,
                 levelled: bool = False, settings=None, seconds: float = 0):
        self.name, self.preloaded = name, None if levelled else content
        self._said = tempfile.TemporaryFile()
        self._content = tempfile.NamedTemporaryFile()
        settings = dict(settings or {})
        if content is not None:
            self._content.write(content)
            self._content.flush()
            settings["ddr3_image" if levelled else "sdr_image"] = self._content.name
        super().__init__(executable, baud=baud, patience=float("inf"), stderr=self._said,
                         **settings)
        end = seconds * 1e6 * MICROSECOND
        while self.cycles < end:
            self.idle(int(min(end - self.cycles, SLICE_SECONDS * 1e6 * MICROSECOND) + 1))

    def read(self, timeout: float) -> bytes:
        try:
            return super().read(min(timeout, SLICE_SECONDS))
        except EOFError:
            self._said.seek(0)
            said = SPOKE.search(self._said.read().decode(errors="replace"))
            why = f"a model at its pads says {said[0]!r}" if said else "its models do not say why"
            raise DeviceError(f"The simulation of {self.name} has ended: {why}.") from None

    def close(self) -> None:
        super().close()
        self._said.close()
        self._content.close()


def open_board(target: Target, address: Address, image: Image | None,
               cache: pathlib.Path | None) -> PadsTransport:
    """Start the board of `target`, with the image in its SDRAM if it has one.

    Parameters
    ----------
    target : Target
        The board, with its usual build, whose identity is that of its configuration.
    address : Address
        ``sim:BOARD[?baud=N][&flash=FILE][&SETTING=N]...``: the rate of the host's UART, what is
        stored in the flash memory (then the host comes when the board has had time to start), and
        what of the models is other than it should be, as in ``sdr_rcd=46``, ``sdr_stuck=3``,
        ``pll_unlocked=1``.
    image : Image or None
        What its SDRAM holds, unless the board fills that from its flash memory.
    cache : path or None
        Where builds are kept; None: the user's cache.

    Raises
    ------
    BadInput
        There is no such setting, or no model of what is at the board's pads.
    """
    if target.baud is None:
        raise BadInput(f"{target.name} has a USB link, at whose pads nothing stands here: choose a "
                       "board with a UART, or sim for one that is as fast as its core.")
    known = sorted(pads.settings() - {"sdr_image", "flash_image", "ddr3_image"})
    address.check_options("baud", *(["flash"] if target.flash else []), *known)
    settings = {key: address.options[key] for key in known if key in address.options}
    for key, text in settings.items():
        if decimal_number(text, MOST_SETTING) is None and text != "0":
            raise BadInput(f"{address.text!r} has {key}={text[:20]}: it must be a number of 0 to "
                           f"{MOST_SETTING:g}.")
    seconds = _put_into_flash(target, address, settings)
    baud = address.number("baud", target.baud, *BAUDS)

    def make(path: pathlib.Path) -> None:
        with elapsed(f"building {target.name}, simulated up to its pads"):
            executable = pads.build_board(target, target.config.digest(), path.parent)
        shutil.copy2(executable, path)

    told = digest(f"{target.name} {target.config.to_json()}",
                  [pathlib.Path(pads.__file__), SOURCE, *pads.MODELS])
    executable = get_or_make("boards", f"pads-{told}", make, directory=cache)
    content = None
    if image is not None and target.chip is not None and not seconds:
        content = Needs.of(image).residence(target.config.memory_bytes).content(image)
    with elapsed(f"starting {target.name} from its flash memory"):
        return PadsTransport(executable, address.text, baud=baud, settings=settings,
                             content=content,
                             levelled=isinstance(target.chip, Ddr3Chip), seconds=seconds)


def _put_into_flash(target: Target, address: Address, settings: dict) -> float:
    """Add what the flash memory holds to the settings; return the time that the board starts."""
    path = address.options.get("flash")
    if path is None:
        return 0
    try:
        size = check_input(path, most=target.flash.bytes - target.flash.offset)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): name what `tritstream program "
                       f"{target.name} --model M` wrote.") from error
    settings["flash_image"] = path
    clock_hz = target.config.clock_hz
    return START_SECONDS + SPARE * size * cycles_per_byte(clock_hz) / clock_hz
