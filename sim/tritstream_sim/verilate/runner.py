"""Build a component with Verilator and run cocotb benches against it."""

import os
import pathlib
import re
import shutil
import sys
from collections.abc import Sequence
from xml.etree import ElementTree

import cocotb_tools.config
import find_libpython
from cocotb_tools.runner import get_runner

from tritstream.build import BuildConfig
from tritstream.errors import MissingTool
from tritstream_sim.verilate.compile import FST, compile_model
from tritstream_sim.verilate.export import export, ports
from tritstream_sim.verilate.parameters import environment
from tritstream_sim.verilate.top import Top

__all__ = ["SimulationFailed", "build", "simulate"]

TAIL = 60       # lines of a log that are shown with a failure


class SimulationFailed(AssertionError):
    """At least one test of a bench failed, or none ran."""


def _require_shared_python():
    """Raise `MissingTool` if Python cannot run inside the simulator's process."""
    if "LIBPYTHON_LOC" not in os.environ and find_libpython.find_libpython() is None:
        raise MissingTool(f"{sys.executable} has no shared library, without which the benches "
                          "cannot run in the simulator: use the system's Python, or one that was "
                          "configured with --enable-shared.")


def build(components, name: str, cache: pathlib.Path, *, waves: bool = False,
          modules: str = "") -> pathlib.Path:
    """Compile a `Top` of `components` for cocotb, as a module called `name`; return the executable.

    Verilog of the `modules` that they instantiate joins them.

    Only the ports of the top module are visible to a bench: that leaves Verilator free to optimise
    everything else, and holds the bench to the contract of the component.
    """
    text = export(Top(components), name)
    cache.mkdir(parents=True, exist_ok=True)
    arguments = ["--vpi", "--timescale", "1ns/1ps"]
    if waves:
        arguments += FST
    interface = cocotb_tools.config.libs_dir / "libcocotbvpi_verilator.so"
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    visible = [f'public_flat_rw -module "{name}" -var "{port}"' for port in ports(text, name)]
    return compile_model(text + modules, name, cache, arguments=arguments, sources=[main],
                         libraries=[interface], control="\n".join(visible))


def simulate(components, bench: str | Sequence[str], *, cache: pathlib.Path,
             directory: pathlib.Path, config: BuildConfig | None = None, seed: int = 1,
             waves: bool = False, modules: str = "", **parameters):
    """Run every cocotb test of one or several bench modules against components.

    Parameters
    ----------
    components : wiring.Component or dict
        The device under test, or several by name, see `tritstream_sim.verilate.top.Top`.
    bench : str or sequence of str
        Names of Python modules with cocotb tests.
    cache : path
        Where builds are kept, see `compile_model`.
    directory : path
        Emptied; then holds ``simulation.log``, ``results.xml`` and, with `waves`, ``dump.fst``.
    config : BuildConfig, optional
        What `tritstream_sim.verilate.parameters.build_config` returns in the bench.
    seed : int
        Of everything random in the bench. It is printed, and with a failure.
    waves : bool
        Record every signal.
    modules : str
        Verilog of the modules that components instantiate, if they do.
    parameters
        What `tritstream_sim.verilate.parameters.parameters` returns in the bench; JSON types.

    Raises
    ------
    SimulationFailed
        With the names of the tests that failed and the end of the log.
    MissingTool
        A tool, or the shared library of Python.
    """
    _require_shared_python()
    several = isinstance(components, dict)
    words = "devices" if several else re.sub(r"(?<!^)(?=[A-Z])", "_", type(components).__name__)
    name = words.lower()
    executable = build(components, name, cache, waves=waves, modules=modules)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    log, results = directory / "simulation.log", directory / "results.xml"
    print(f"{name}: {bench}, seed {seed}, log in {log}")
    runner = get_runner("verilator")
    try:
        runner.test(hdl_toplevel=name, hdl_toplevel_lang="verilog", test_module=bench,
                    build_dir=executable.parent,
                    test_dir=directory, seed=seed, waves=waves, log_file=log,
                    results_xml=str(results.absolute()), extra_env=environment(config, parameters))
    except (RuntimeError, SystemExit) as error:     # the runner calls `sys.exit()` on a failure
        failure = str(error)
    else:
        failure = ""
    if failure or (failure := _verdict(results)):
        tail = "\n".join(log.read_text().splitlines()[-TAIL:]) if log.exists() else ""
        raise SimulationFailed(f"{bench} on {name}, seed {seed}: {_verdict(results) or failure}; "
                               f"the end of {log}:\n{tail}")


def _verdict(results: pathlib.Path) -> str:
    """Say what is wrong with a results file; nothing if all is well."""
    if not results.exists():
        return "the simulation ended before its results were written"
    cases = [case for case in ElementTree.parse(results).iter("testcase")
             if case.find("skipped") is None]
    failed = [case.get("name") for case in cases
              if case.find("failure") is not None or case.find("error") is not None]
    if failed:
        return f"{len(failed)} of {len(cases)} tests failed ({', '.join(failed)})"
    return "" if cases else "no test ran"
