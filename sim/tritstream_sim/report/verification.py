"""Writes docs/verification.md: what was run, and what it found.

``python -m tritstream_sim.report.verification STEP …`` runs steps and keeps what they found beside
the document, in ``docs/verification.json``; the document is written anew from all that is
there. Steps:

* ``golden --checkpoint DIR --text FILE``: the golden model against the float reference, and that
  against the logits of the authors' code if the checkpoint has them (``io.npz``). What was found
  of other checkpoints on that text stays.
* ``rtl``: the model `demo` on simulated boards, every stage of every token against golden.
* ``contract [--gpu FILE]``: every engine held to the contract of engines. A GPU's cases are taken
  from the JUnit results of ``make test-gpu``, wherever that was run; without them they stay.
* ``tests``: the benches and proofs of the test suite.
* ``mutants [--only NAME]``: faults put into the RTL on purpose; what was found of others stays.
"""

import argparse
import ast
import functools
import json
import pathlib
import shutil
import sys
from xml.etree import ElementTree

import numpy as np

from tritstream.analysis.evaluate import evaluate
from tritstream.analysis.texts import read_documents
from tritstream.analysis.verify import verify
from tritstream.catalog import DEFAULT_MODEL, resolve
from tritstream.engines import open_engine
from tritstream.errors import TritstreamError
from tritstream.golden import GoldenModel
from tritstream.reference import FloatModel
from tritstream.support.tools import run_bounded
from tritstream_sim.mutation import mutants
from tritstream_sim.mutation.faults import MUTANTS

__all__ = ["main"]

ROOT = pathlib.Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "verification.md"
FINDINGS = DOCUMENT.with_suffix(".json")
RUNS = ROOT / "build" / "sim" / "runs"
TEST_SECONDS = 6 * 3600.0     # all of them take half an hour
PROMPT = "It was a dark night, and"
ENGINES = {
    "golden": "the golden model",
    "float": "the float reference",
    "emulated": "golden behind the driver and a link that damages bytes",
    "emulated-streamed": "the same, the weights sent with every token",
    "sim": "the Verilated accelerator",
    "cuda-interpreted": "the GPU's kernels, in Triton's interpreter",
    "cuda": "a GPU",
}
BOARDS = {"sim": 64, "sim:p4": 16, "sim:p64": 64}


class _Golden:
    """The golden model as `evaluate` sees a model."""

    def __init__(self, image):
        self._model = GoldenModel(image)

    def new_state(self):
        return self._model.new_state()

    def logits(self, tokens, state):
        return self._model.forward(np.asarray(tokens)[None], state).real()


def golden(options, before: list[dict]) -> list[dict]:
    """Bits per byte and favourites of both models, and cosine against the authors' logits."""
    model = resolve(str(options.checkpoint))
    reference = FloatModel(model.checkpoint)
    documents = read_documents(options.text)
    found = {"text": options.text.name, "model": options.checkpoint.name}
    ours = evaluate(_Golden(model.image), model.tokenizer, documents, reference=reference)
    theirs = evaluate(reference, model.tokenizer, documents)
    found |= {"tokens": ours.tokens, "bytes": ours.bytes, "golden": ours.bits_per_byte,
              "float": theirs.bits_per_byte, "top1": ours.top1_equal_float}
    authors = options.checkpoint / "io.npz"
    if authors.exists():
        found["cosine"] = _cosine(reference, np.load(authors))
    return [one for one in before
            if one["text"] == found["text"] and one["model"] != found["model"]] + [found]


def _cosine(reference: FloatModel, authors) -> float:
    got, want = reference.logits(authors["ids"][0]), authors["logits"][0].astype(np.float64)
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    return float(((got * want).sum(axis=1) / lengths).mean())


def rtl(options, before) -> list[dict]:
    """Every stage of every token on simulated boards."""
    model = resolve(DEFAULT_MODEL)
    tokens = model.tokenizer.encode(PROMPT)
    found = []
    for device, count in BOARDS.items():
        with open_engine(device, model) as engine:
            result = verify(engine, model.image, tokens, count)
        found.append({"device": device, "passes": result.passes, "stages": result.stages,
                      "equal": result.equal, "digest": f"{result.digest:08x}"})
    return found


def contract(options, before) -> dict[str, list[str]]:
    """Cases of the contract that each engine has passed."""
    suites = [ROOT / "tests" / name for name in ("test_contract.py", "train/test_contract.py")]
    results = options.results or _run_tests("contract", *suites)
    found = _contract_cases(results)
    on_gpu = _contract_cases(options.gpu) if options.gpu else {}
    return {**{engine: cases for engine, cases in dict(before).items() if engine not in found},
            **found, **on_gpu}


def _contract_cases(results: pathlib.Path) -> dict[str, list[str]]:
    """Cases of the contract in JUnit results, by engine; all have to have passed."""
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        if case.get("classname").endswith("test_contract"):
            if len(case):                       # a failure, an error or a skip
                raise SystemExit(f"{case.get('name')} of {results} has not passed.")
            name, _, engine = case.get("name")[len("test_contract["):-1].partition("-")
            found.setdefault(engine, []).append(name)
    return found


def tests(options, before) -> dict:
    """Cases of every bench, and the proofs, from the results of the test suite."""
    if not options.results:
        shutil.rmtree(RUNS, ignore_errors=True)             # benches that are no more
    results = list(ElementTree.parse(options.results or _run_tests("tests")).iter("testcase"))
    if broken := [case.get("name") for case in results if len(case)]:
        raise SystemExit(f"{broken[0]} has not passed; the document is left as it was.")
    cases = [case.get("classname").removeprefix("tests.") + "::" + case.get("name")
             for case in results]
    return {"all": len(cases), "benches": _benches(),
            "proofs": {case: _shown(case) for case in cases if _is_proof(case)}}


def _run_tests(name: str, *suites: pathlib.Path) -> pathlib.Path:
    """Run tests, all by default, and return their JUnit results."""
    results = ROOT / "build" / f"{name}.xml"
    done = run_bounded([sys.executable, "-m", "pytest", "-q", "--junitxml", results, *suites],
                       TEST_SECONDS, cwd=ROOT)
    if done.returncode:
        raise SystemExit("The tests failed; the document is left as it was.")
    return results


def _benches() -> list[dict]:
    """What each bench shows, on how many builds and in how many cases."""
    benches = {}
    for path in sorted(RUNS.glob("*test_rtl_*/results.xml")):
        for case in ElementTree.parse(path).iter("testcase"):
            name = case.get("classname").removeprefix("tritstream_sim.benches.")
            bench = benches.setdefault(name, {"name": name, "builds": [], "cases": 0, "shows": []})
            shows = case.get("name").split("/")[0].replace("_", " ")
            bench["cases"] += 1
            bench["builds"] += [path.parent.name] * (path.parent.name not in bench["builds"])
            bench["shows"] += [shows] * (shows not in bench["shows"])
    return [{**benches[name], "builds": len(benches[name]["builds"])} for name in sorted(benches)]


@functools.cache
def _functions(module: str) -> dict[str, ast.FunctionDef]:
    """Functions of a test module by name."""
    tree = ast.parse((ROOT / "tests" / f"{module.replace('.', '/')}.py").read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def _function(case: str) -> ast.FunctionDef:
    module, _, name = case.partition("::")
    return _functions(module)[name.split("[")[0]]


def _is_proof(case: str) -> bool:
    return any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == "prove"
               for node in ast.walk(_function(case)))


def _shown(case: str) -> str:
    """What a test shows: the first line of its docstring, or its name in words."""
    function = _function(case)
    words = function.name.removeprefix("test_").replace("_", " ").capitalize()
    return (ast.get_docstring(function) or f"{words}.").splitlines()[0]


def mutate(options, before) -> dict[str, str]:
    """What noticed each mutant; of those that are not asked for, what did before."""
    chosen = mutants.select(MUTANTS, options.only)
    outcomes = mutants.run(chosen, jobs=options.jobs, report=mutants.progress)
    found = dict(before) | {outcome.mutant.name: outcome.notice for outcome in outcomes}
    return {mutant.name: found[mutant.name] for mutant in MUTANTS if mutant.name in found}


STEPS = {"golden": golden, "rtl": rtl, "contract": contract, "tests": tests, "mutants": mutate}


def document(found: dict) -> str:
    """Text of the document."""
    parts = ["# Verification: what was run, and what it found",
             "Written by `python -m tritstream_sim.report.verification`; the steps are described "
             "there."]
    for step, section in SECTIONS.items():
        if step in found:
            parts.append(section(found[step]))
    return "\n\n".join(parts) + "\n"


def _golden_section(found: list[dict]) -> str:
    rows = [f"| {one['model']} | {one['tokens']:,} | {one['float']:.5f} | {one['golden']:.5f} "
            f"({one['golden'] / one['float'] - 1:+.3%}) | {one['top1']:.2%} |" for one in found]
    authors = [f"Logits of {one['model']}, which is not bundled, by the float64 reference against "
               f"the authors' GPU code: mean cosine {one['cosine']:.5f}."
               for one in found if "cosine" in one]
    return "\n".join([
        "## Golden model against the float reference (measured)",
        f"The whole of {found[0]['text']}, {found[0]['bytes']:,} bytes, the state carried through "
        "each document; bits per byte of checkpoints by the float64 reference and by golden, the "
        "integers of the hardware, and how often their favourites are the same.", "",
        "| model | tokens | float | golden | same favourite |", "|---|---:|---:|---:|---:|",
        *rows, *([""] if authors else []), *authors])


def _rtl_section(found: list[dict]) -> str:
    rows = [f"| `{one['device']}` | {one['passes']} | {one['stages']:,} | "
            f"{'equal' if one['equal'] else '**different**'} | {one['digest']} |" for one in found]
    return "\n".join([f"## The whole accelerator on the model {DEFAULT_MODEL} (simulated)",
                      "Every stage of every token, by the digests that the hardware keeps, against "
                      "golden.", "", "| device | tokens | stages compared | result | digest |",
                      "|---|---:|---:|---|---|", *rows])


def _contract_section(found: dict[str, list[str]]) -> str:
    engines = [f"| `{engine}` | {what} | {len(found[engine])} |"
               for engine, what in ENGINES.items() if engine in found]
    cases = dict.fromkeys(case for cases in found.values() for case in cases)
    return "\n".join([
        "## Engines: one contract, held by all",
        "What a program may rely on whatever the device is, see [python.md](python.md): each case "
        "is run on each engine, and compared with golden or the float reference one step at a "
        "time.", "", "| engine | what it is | cases passed |", "|---|---|---:|", *engines, "",
        *(f"* {case.replace('_', ' ')}" for case in cases)])


def _tests_section(found: dict) -> str:
    rows = [f"| {bench['name']} | {'; '.join(bench['shows'])} | {bench['builds']} | "
            f"{bench['cases']} |" for bench in found["benches"]]
    proofs = [f"* `{name}`: {shown}" for name, shown in found["proofs"].items()]
    return "\n".join([f"## Tests: {found['all']} cases, all passed",
                      "Benches in Verilator (simulated): what each shows, and on how many builds "
                      "and in how many cases.", "", "| bench | shows | builds | cases |",
                      "|---|---|---:|---:|", *rows, "", "Proved with Yosys by temporal induction:",
                      "", *proofs])


def _mutants_section(found: dict[str, str]) -> str:
    tried = [(mutant, found[mutant.name]) for mutant in MUTANTS if mutant.name in found]
    return (f"## Mutants\n{len(MUTANTS)} faults are put into the sources one at a time (`make "
            f"mutants`); {len(tried)} of them have been since their file last changed. "
            + mutants.table(tried))


SECTIONS = {"golden": _golden_section, "rtl": _rtl_section, "contract": _contract_section,
            "tests": _tests_section, "mutants": _mutants_section}


def main(argv=None) -> None:
    """Run the steps that are asked for, and write the document."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.verification")
    parser.add_argument("steps", nargs="*", metavar="STEP",
                        help=f"{', '.join(STEPS)}; none only writes the document")
    parser.add_argument("--checkpoint", type=pathlib.Path, metavar="DIR", help="for golden")
    parser.add_argument("--text", type=pathlib.Path, help="file, for golden")
    parser.add_argument("--gpu", type=pathlib.Path, metavar="FILE", help="JUnit results of `make "
                        "test-gpu`, for contract")
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE", help="JUnit results of "
                        "`make test` in this checkout, for contract and tests; else they run them")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--only", action="append", metavar="NAME", help="as in make mutants")
    options = parser.parse_args(argv)
    if unknown := [step for step in options.steps if step not in STEPS]:
        parser.error(f"there is no step {unknown[0]!r}: use {', '.join(STEPS)}")
    if "golden" in options.steps and not (options.checkpoint and options.text):
        parser.error("golden needs --checkpoint DIR and --text FILE")
    found = json.loads(FINDINGS.read_text()) if FINDINGS.exists() else {}
    for step in options.steps:
        try:
            found[step] = STEPS[step](options, found.get(step, []))
        except TritstreamError as error:
            raise SystemExit(f"error: {error}") from error
        FINDINGS.write_text(json.dumps(found, indent=1) + "\n")
    DOCUMENT.write_text(document(found))


if __name__ == "__main__":
    main()
