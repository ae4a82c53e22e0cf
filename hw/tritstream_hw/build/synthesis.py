"""Synthesis: the script of a design, and a second attempt with other names where Yosys fails."""

import pathlib
import re
from collections.abc import Sequence

from tritstream.errors import ToolFailed
from tritstream.support.tools import NOTHING
from tritstream_hw.build.toolchain import run_tool
from tritstream_hw.ram import ANY_WORD

__all__ = ["PREPARE", "synthesise"]

PREPARE = f"chformal -remove; {ANY_WORD}"
"""Commands of Yosys for a design that is read, a line of each script: assertions, which are for
simulations and proofs, cost no LUT."""

# What ABC hands back is named by Yosys, and with some designs two get the same name: a fault that
# is known (YosysHQ/yosys 4349), and is still there in 0.70. With others ABC9, which is compiled to
# WebAssembly, ends without a word. Other names to begin with avoid both; for all designs they would
# change what comes out, a little, and what has been routed.
FAULT = re.compile(rf"Assert `count_id\(\w+->name\) == 0' failed|{NOTHING}$")
RENAME = "autoname"


def synthesise(command: Sequence[str], directory: pathlib.Path) -> None:
    """Run Yosys, and once more with other names if it has failed by a fault of its own.

    Parameters
    ----------
    command : sequence of str
        Its name and arguments, of which the last is the script.
    directory : path
        Where the script is, with a line `PREPARE` behind those that read the design.

    Raises
    ------
    MissingTool
        Yosys is not installed.
    ToolFailed
        It failed for another reason, or again.
    """
    try:
        run_tool(command, directory)
    except ToolFailed as error:
        if not FAULT.search(str(error)):
            raise
        script = directory / command[-1]
        script.write_text(script.read_text().replace(PREPARE, f"{PREPARE}; {RENAME}"))
        run_tool(command, directory)
