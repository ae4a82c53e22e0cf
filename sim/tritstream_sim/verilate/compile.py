"""Compilation of Verilog by Verilator and a C++ compiler, with a cache of what was built."""

import contextlib
import errno
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import filelock

from tritstream.errors import MissingTool, ToolFailed
from tritstream.support.tools import Verilator, find_verilator, run_bounded

__all__ = ["FST", "compile_model"]

# Yosys writes code that is correct but that Verilator's linter dislikes. Named one by one, so that
# a new kind of warning still stops the build. ASCRANGE is what signals without bits look like.
LINT = ["-Wno-UNOPTFLAT", "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-Wno-CASEOVERLAP",
        "-Wno-CASEINCOMPLETE", "-Wno-COMBDLY", "-Wno-ASCRANGE"]

# All that has no initial value begins at zero: `export` relies on it. What a memory may give is not
# what is expected of it.
UNKNOWN = ["--x-initial", "fast", "--x-assign", "1"]

VERSION_SECONDS = 60.0
STEP_SECONDS = 3600.0       # for Verilator, and for make; the largest model takes minutes
LOCK_SECONDS = 3 * STEP_SECONDS         # somebody else builds the same, or has hung

PART = ".part"              # how directories of builds that are not whole end

PACKAGE = pathlib.Path(__file__).parents[1]

FST = ["--trace-fst", "--trace-structs", "-CFLAGS", f"-I{pathlib.Path(__file__).parent / 'fst'}"]
"""Arguments of `compile_model` for a model that can record its signals."""


def _run(command: Sequence[str], *, what: str, log, directory: pathlib.Path, env=None):
    try:
        done = run_bounded(command, STEP_SECONDS, cwd=directory, env=env, stdout=log,
                           stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise MissingTool(f"{command[0]} is not installed; install make and g++ with the system's "
                          "package manager.") from None
    if done.returncode:
        if not shutil.disk_usage(log.name).free:    # the log may lack its end, too
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), log.name)
        tail = "\n".join(pathlib.Path(log.name).read_text().splitlines()[-30:])
        raise ToolFailed(f"{what} failed with status {done.returncode}; the end of {log.name}:\n"
                          f"{tail}")


def compile_model(verilog_text: str, name: str, cache: pathlib.Path, *,
                  arguments: Sequence[str] = (), sources: Sequence[pathlib.Path] = (),
                  libraries: Sequence[pathlib.Path] = (), control: str = "",
                  optimise: str = "-O1") -> pathlib.Path:
    """Compile a Verilog module and C++ sources with a ``main``; return the executable.

    Parameters
    ----------
    verilog_text : str
        The design. The C++ class of its top module is ``Vtop``.
    name : str
        Its top module, also the executable's name.
    cache : path
        Where builds are kept, one directory ``<name>-<digest>`` each. The digest covers the design,
        all sources and arguments, and the versions of the tools, so that a build serves again only
        if everything is the same. Two processes may want the same one at once. Verilator's own
        runtime is compiled once for each set of arguments.
    arguments : sequence of str
        Further arguments of Verilator.
    sources : sequence of path
        C++ files; headers among them only count for the digest.
    libraries : sequence of path
        Shared libraries that it is linked to, and finds where they are now.
    control : str
        Lines of a Verilator control file.
    optimise : str
        Level of optimisation of the C++ compiler.

    Raises
    ------
    MissingTool
        No Verilator, make or g++.
    ToolFailed
        With the end of the log, which is kept until the next build; or a step, or the build of
        another process that wants the same, has not ended within its bound.
    OSError
        The cache cannot be written.
    """
    tool = find_verilator()
    tools = tool.version, _compiler_version(), list(arguments)
    digest = _digest(*tools, LINT, UNKNOWN, optimise, verilog_text, name, control,
                     [path.read_bytes() for path in sources], list(map(str, libraries)))
    cache = cache.absolute()
    directory = cache / f"{name}-{digest}"
    executable = directory / name
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        if not executable.exists():
            _remove_abandoned(cache)
            with _scratch(directory) as scratch:
                (scratch / f"{name}.v").write_text(verilog_text)
                (scratch / f"{name}.vlt").write_text(f"`verilator_config\n{control}\n")
                with open(scratch / "build.log", "w") as log, _plain_directory() as place:
                    found = _link(place, scratch, tool, sources)
                    given = [text.replace(str(PACKAGE), "../package") for text in arguments]
                    given += [text for path in libraries for text in _link_to(path.absolute())]
                    _verilate(tool, place, name, [*given, *found], log)
                    _make(place, name, optimise, cache / f"runtime-{_digest(*tools)}", log)
                    shutil.copy2(place / name, scratch)
    return executable


@contextlib.contextmanager
def _alone(directory: pathlib.Path):
    """Hold the lock of a build."""
    lock = filelock.FileLock(directory.with_suffix(".lock"), timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ToolFailed(f"Another process has been building {directory} for "
                         f"{LOCK_SECONDS / 3600:g} hours: end it, or wait and try again.") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _scratch(directory: pathlib.Path):
    """Yield a new directory that becomes `directory`; of a failed build it stays, for its log."""
    # A build that was interrupted must not be mistaken for a whole one.
    scratch = directory.with_suffix(PART)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
        shutil.rmtree(directory, ignore_errors=True)
        scratch.rename(directory)
    except ToolFailed:
        raise
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _remove_abandoned(cache: pathlib.Path):
    """Remove what builds have left that failed or were killed: nobody holds their locks."""
    for scratch in cache.glob(f"*{PART}"):
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(
                scratch.with_suffix(".lock"), timeout=0):
            shutil.rmtree(scratch, ignore_errors=True)


def _digest(*parts) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _plain_directory() -> Iterator[pathlib.Path]:
    """Yield a directory that make can build in: there is no space in its path."""
    base = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(dir="/tmp" if " " in base else base) as place:
        yield pathlib.Path(place)


def _link(place: pathlib.Path, design: pathlib.Path, tool: Verilator,
          sources: Sequence[pathlib.Path]) -> list[str]:
    """Link what a build reads into its directory; return how the C++ files are called there."""
    (place / "objects").mkdir()
    (place / "design").symlink_to(design)
    (place / "package").symlink_to(PACKAGE)
    (place / "verilator").symlink_to(tool.root)
    folders = sorted({path.parent.absolute() for path in sources})
    for number, folder in enumerate(folders):
        (place / f"sources{number}").symlink_to(folder)
    return [f"../sources{folders.index(path.parent.absolute())}/{path.name}" for path in sources
            if path.suffix == ".cpp"]


def _link_to(library: pathlib.Path) -> list[str]:
    """Return the arguments of Verilator that link a model to a library, wherever it is."""
    words = [str(library), "-Xlinker", "-rpath", "-Xlinker", str(library.parent)]
    return ["-LDFLAGS", " ".join(map(_make_word, words))]


def _make_word(text: str) -> str:
    """Return what make hands to a shell, and the shell to a program, as this one word."""
    return shlex.quote(text).replace("$", "$$")


def _compiler_version() -> str:
    try:
        return run_bounded(["g++", "-dumpfullversion", "-dumpmachine"], VERSION_SECONDS,
                           stdout=subprocess.PIPE).stdout
    except FileNotFoundError:
        raise MissingTool("g++ is not installed; install it with the system's package manager, "
                          "e.g. `apt install g++`.") from None


def _verilate(tool: Verilator, place: pathlib.Path, name: str, arguments: list[str], log):
    _run([str(tool.binary), "--cc", "--exe", "--no-MMD", "--top-module", name, "--prefix", "Vtop",
          "-Mdir", ".", "-o", f"../{name}", *LINT, *UNKNOWN, f"../design/{name}.vlt",
          f"../design/{name}.v", *arguments],
         what=f"Verilator on {name}", log=log, directory=place / "objects",
         env={**os.environ, "VERILATOR_ROOT": "../verilator"})


def _make(place: pathlib.Path, name: str, optimise: str, runtime: pathlib.Path, log):
    objects = place / "objects"
    for compiled in runtime.glob("*.o"):
        shutil.copy(compiled, objects)
    # The wheel's makefile names the compiler and the Python of the machine it was built on, and
    # libraries of which `fst` makes do without.
    _run(["make", "-s", "-f", "Vtop.mk", f"-j{os.cpu_count()}",
          "VERILATOR_ROOT=../verilator", "CXX=g++", "LINK=g++", "AR=ar",
          f"PYTHON3={_make_word(sys.executable)}", f"OPT_FAST={optimise}",
          "LDLIBS=$(VM_USER_LDLIBS)",
          "CFG_CXXFLAGS_PCH_I=-include"],     # of large models the wheel would not find the header
         what=f"the C++ build of {name}", log=log, directory=objects)
    if not runtime.exists():
        _keep_runtime(objects, runtime)


def _keep_runtime(objects: pathlib.Path, runtime: pathlib.Path):
    """Keep what Verilator links to every model: compiling it takes longer than most models do."""
    scratch = runtime.with_suffix(f".{os.getpid()}")
    scratch.mkdir()
    for compiled in objects.glob("verilated*.o"):
        shutil.copy(compiled, scratch)
    try:
        scratch.rename(runtime)
    except OSError:             # another process was faster
        shutil.rmtree(scratch)
