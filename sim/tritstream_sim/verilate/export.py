"""Amaranth components as Verilog text."""

import re

from amaranth.back import verilog

from tritstream.errors import MissingTool, TritstreamError
from tritstream.support.tools import complaint, find_yosys

__all__ = ["BuildFailed", "export", "ports"]


class BuildFailed(TritstreamError):
    """Yosys, Verilator or the C++ compiler refused a model; the message has the end of its log."""

    exit_code = MissingTool.exit_code       # what is installed does not do


def export(component, name: str, platform=None) -> str:
    """Return Verilog text whose top module is called `name`.

    Parameters
    ----------
    component : wiring.Component or Elaboratable
        What is exported. Its ports are its members, or the pads that it requests.
    name : str
        Of the top module.
    platform : Platform or None
        Whose pads and primitives are used; it serves once.

    Raises
    ------
    MissingTool
        No Yosys.
    BuildFailed
        With its complaint.
    """
    program = find_yosys()
    try:
        return verilog.convert(component, name=name, platform=platform, strip_internal_attrs=True,
                               emit_src=False, ports=None if platform is None else ())
    except verilog.YosysError as error:
        raise BuildFailed(f"{program} failed: {complaint(str(error))}") from error


def ports(verilog_text: str, name: str) -> list[str]:
    """Return the names of the ports of a module, which `export` has written."""
    return re.search(rf"module {name}\(([^)]*)\)", verilog_text)[1].replace(",", " ").split()
