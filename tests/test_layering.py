"""Who may import whom: sw <- hw <- sim <- tests, sw <- train, and only training torch."""

import ast
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("sw/tritstream", "hw/tritstream_hw", "sim/tritstream_sim", "train/tritstream_cuda",
            "train/tritstream_train")
GATEWARE = {"amaranth", "amaranth_boards", "luna", "usb_protocol"}
SIMULATION = {"cocotb", "cocotb_tools"}
TRAINING = {"torch", "triton", "transformers", "matplotlib", "tritstream_train"}

FORBIDDEN = {
    "sw/tritstream": {"tritstream_hw", "tritstream_sim"} | GATEWARE | SIMULATION | TRAINING,
    "hw/tritstream_hw": {"tritstream_sim"} | SIMULATION | TRAINING,
    "sim/tritstream_sim": TRAINING,
    "train/tritstream_train": {"tritstream_hw", "tritstream_sim"} | GATEWARE | SIMULATION,
    "tests": TRAINING,
}
WITH_TRAINING = [ROOT / "tests" / name for name in ("train", "gpu")]

# What a user asks for by name and a host alone does not need. Imported where it is used, and an
# installation without it answers with a sentence.
ON_DEMAND = {
    "sw/tritstream": {"tritstream_hw", "tritstream_sim", "matplotlib"},
    "sim/tritstream_sim": {"matplotlib"},
}


def not_run(tree: ast.Module) -> set[ast.AST]:
    """Everything that an import does not run: functions, and what is for type checkers only."""
    return {node for block in ast.walk(tree)
            if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef)
            or (isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING")
            for node in ast.walk(block)}


def imports(path: pathlib.Path, *, top_level: bool) -> set[str]:
    """Packages that a file imports: at its top level, or inside its functions."""
    inner = not_run(tree := ast.parse(path.read_text()))
    found = set()
    for node in ast.walk(tree):
        if (node in inner) == top_level:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("directory", FORBIDDEN)
def test_imports_go_one_way(directory):
    files = [path for path in sorted((ROOT / directory).rglob("*.py"))
             if not any(path.is_relative_to(exempt) for exempt in WITH_TRAINING)]
    assert files
    for path in files:
        assert not imports(path, top_level=True) & FORBIDDEN[directory], path
        later = FORBIDDEN[directory] - ON_DEMAND.get(directory, set())
        assert not imports(path, top_level=False) & later, path


def test_a_host_needs_no_gateware_simulator_or_training():
    """Import every module of the host program where nothing else can be imported."""
    blocked = sorted(FORBIDDEN["sw/tritstream"])
    modules = [".".join(path.relative_to(ROOT / "sw").with_suffix("").parts)
               for path in sorted((ROOT / "sw" / "tritstream").rglob("*.py"))
               if path.name not in ("__init__.py", "__main__.py")]
    program = (f"import importlib, sys\n"
               f"sys.modules.update(dict.fromkeys({blocked}))\n"
               f"for name in {modules}: importlib.import_module(name)\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def modules() -> dict[str, pathlib.Path]:
    """Return the files of all packages by the names of their modules."""
    named = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to((ROOT / package).parent).with_suffix("").parts)
            named[name.removesuffix(".__init__")] = path
    return named


def dependencies(path: pathlib.Path, known, *, later: bool = False) -> set[str]:
    """Modules among the `known` that a file imports, those inside its functions with `later`."""
    tree = ast.parse(path.read_text())
    inner = set() if later else not_run(tree)
    found = set()
    for node in ast.walk(tree):
        if node in inner:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= known else names | {node.module}
    return found & known


def test_no_module_waits_for_itself():
    """No cycle of imports, neither inside a package nor between packages."""
    named = modules()
    sorter = graphlib.TopologicalSorter()
    for name, path in named.items():
        sorter.add(name, *dependencies(path, named.keys()) - {name})
    sorter.prepare()        # a CycleError names the modules


def test_packages_have_an_order():
    """No cycle among the folders and files at the top of our packages, whenever they import.

    A package's own name stands for what it offers its users: nothing inside may need that.
    """
    named = modules()
    part = {name: ".".join(name.split(".")[:2]) for name in named}
    sorter = graphlib.TopologicalSorter()
    for name, path in named.items():
        found = {part[other] for other in dependencies(path, named.keys(), later=True)}
        sorter.add(part[name], *found - {part[name]})
    sorter.prepare()


BY_STRING = {"import_module", "__import__", "find_module", "resolve_name"}


def test_nothing_is_imported_by_a_string():
    """What is ours is imported by its name; what may be absent joins by an entry point."""
    for name, path in modules().items():
        words = {getattr(node, "attr", getattr(node, "id", None))
                 for node in ast.walk(ast.parse(path.read_text()))}
        assert not words & BY_STRING, name
