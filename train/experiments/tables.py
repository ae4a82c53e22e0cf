"""Tables and picture of the documents of training: `python train/experiments/tables.py`.

A document has a table between the lines ``<!-- table NAME -->`` and ``<!-- end -->``. Its rows are
the objects under NAME in a JSON file of findings, their keys the columns, and those made of what is
in the directory `data` beside that: the files that benchmarks write with ``-o`` (`MEASURED`), and
lines of the curves of runs on several GPUs (`parallel`). The table `models` is that of the models
in this repository, as `tritstream_train.release` left them. The rows of `speed`, all of one run,
are drawn, too.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

from picture import draw_speed
from rows import engine_rows, lanes_rows, library_rows, model_rows, parallel_rows, step_rows
from tritstream.errors import BadInput, TritstreamError
from tritstream.support.files import write_whole
from tritstream_train.release import FIGURES

__all__ = ["DOCUMENTS", "FINDINGS", "filled", "main", "read_figures"]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "docs" / "training.md", ROOT / "train" / "experiments" / "README.md")
FINDINGS = ROOT / "docs" / "training.json"
MODELS = (ROOT / "sw" / "tritstream" / "model" / "bundled", ROOT / "train" / "models")
MEASURED = {"engine.json": ("engine", engine_rows), "lanes.json": ("lanes", lanes_rows),
            "steps.json": ("speed", step_rows), "kernels.json": ("library", library_rows)}
"""The table to which a benchmark's file adds rows, and what makes them."""

PLACE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, findings: dict[str, list[dict]]) -> str:
    """Return a document with its tables as the findings have them.

    Raises
    ------
    BadInput
        A table has no findings.
    """
    def table(match: re.Match) -> str:
        name = match[2]
        if not findings.get(name):
            raise BadInput(f"The document has a table {name!r}, but the findings have no rows "
                           "for it.")
        return match[1] + _table(name, findings[name]) + match[3]
    if text.count("<!-- table ") != text.count("<!-- end -->"):
        raise BadInput("The document has another number of tables than of their ends: each begins "
                       "with <!-- table NAME --> and ends with <!-- end -->.")
    return PLACE.sub(table, text)


def _table(name: str, rows: list[dict]) -> str:
    columns = list(rows[0])
    for number, row in enumerate(rows, 1):
        if list(row) != columns:
            raise BadInput(f"Row {number} of the findings {name!r} has other keys than the first.")
    numeric = [all(isinstance(row[column], int | float) for row in rows) for column in columns]
    lines = [columns, ["---:" if right else "---" for right in numeric]]
    lines += [[str(row[column]) for column in columns] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def read_figures(path: Path) -> dict:
    """Figures of a model, as a release left them.

    Raises
    ------
    BadInput
        They are damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        model_rows([found])
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise BadInput(f"{path} does not hold the figures of a model ({error}): release the model "
                       "again.") from error


def _measured(data: Path) -> dict[str, list[dict]]:
    """Rows whose findings are files in a directory, as benchmarks and runs left them, by table."""
    rows = {table: make(json.loads((data / name).read_text(encoding="utf-8")))
            for name, (table, make) in MEASURED.items() if (data / name).exists()}
    curves = {path.stem: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
              for path in (data / "parallel").glob("*.csv")}
    return rows | ({"parallel": parallel_rows(curves)} if curves else {})


def main(arguments: list[str] | None = None) -> int:
    """Fill documents in; return the exit code."""
    parser = argparse.ArgumentParser(prog="python train/experiments/tables.py",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("documents", type=Path, nargs="*", default=DOCUMENTS)
    parser.add_argument("--findings", type=Path, default=FINDINGS, metavar="FILE",
                        help="JSON with rows of tables; data and images are beside it")
    options = parser.parse_args(arguments)
    try:
        findings = json.loads(options.findings.read_text(encoding="utf-8"))
        data, images = (options.findings.parent / name for name in ("data", "images"))
        findings |= _measured(data)
        findings["models"] = model_rows([read_figures(path) for place in MODELS
                                         for path in sorted(place.glob(f"*/{FIGURES}"))])
        texts = [filled(document.read_text(encoding="utf-8"), findings)
                 for document in options.documents]
        if findings.get("speed"):
            images.mkdir(exist_ok=True)
            draw_speed(findings["speed"], images / "training-speed.png")
        for document, text in zip(options.documents, texts, strict=True):
            write_whole(document, text.encode())
    except (TritstreamError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, ZeroDivisionError) as error:
        print(f"error: The findings at {options.findings} lack something ({error!r}): write "
              "them again by the command that found them.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
