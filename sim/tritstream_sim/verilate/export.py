"""Amaranth components as Verilog text."""

from amaranth.back import verilog

from tritstream.errors import MissingTool, TritstreamError
from tritstream.support.tools import complaint, find_yosys

__all__ = ["BuildFailed", "export"]


class BuildFailed(TritstreamError):
    """Yosys, Verilator or the C++ compiler refused a model; the message has the end of its log."""

    exit_code = MissingTool.exit_code       # what is installed does not do


def export(component, name: str) -> str:
    """Return `component` as Verilog text whose top module is called `name`.

    Raises
    ------
    MissingTool
        No Yosys.
    BuildFailed
        With its complaint.
    """
    program = find_yosys()
    try:
        return verilog.convert(component, name=name, strip_internal_attrs=True)
    except verilog.YosysError as error:
        raise BuildFailed(f"{program} failed: {complaint(str(error))}") from error
