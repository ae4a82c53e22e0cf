"""Tables and picture of a document, from what runs found: `python train/experiments/tables.py`.

A document has a table between the lines ``<!-- table NAME -->`` and ``<!-- end -->``. Its rows are
the objects under NAME in the JSON beside the document, their keys the columns, and those made of
what is in `data`: the files that benchmarks write with ``-o`` (`MEASURED`), and lines of the curves
of runs on several GPUs (`parallel`). The table `models` is that of the models in this repository,
as `tritstream_train.release` left them. The rows of `speed` are drawn, too, and so are the curves
in `data/freezing`.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

from picture import draw_losses, draw_speed
from rows import engine_rows, library_rows, model_rows, parallel_rows, step_rows
from tritstream.errors import BadInput, TritstreamError
from tritstream.support.files import write_whole
from tritstream_train.release import FIGURES
from tritstream_train.run.curve import Curve

__all__ = ["filled", "main", "read_figures"]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "training.md"
MODELS = (ROOT / "sw" / "tritstream" / "model" / "bundled", ROOT / "train" / "models")
MEASURED = {"engine.json": ("engine", engine_rows), "steps.json": ("speed", step_rows),
            "kernels.json": ("library", library_rows)}
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
    """Fill a document in; return the exit code."""
    parser = argparse.ArgumentParser(prog="python train/experiments/tables.py",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("document", type=Path, nargs="?", default=DOCUMENT)
    document = parser.parse_args(arguments).document
    try:
        findings = json.loads(document.with_suffix(".json").read_text(encoding="utf-8"))
        for table, rows in _measured(document.parent / "data").items():
            findings[table] = findings.get(table, []) + rows
        findings["models"] = model_rows([read_figures(path) for place in MODELS
                                         for path in sorted(place.glob(f"*/{FIGURES}"))])
        text = filled(document.read_text(encoding="utf-8"), findings)
        images = document.parent / "images"
        images.mkdir(exist_ok=True)
        if findings.get("speed"):
            draw_speed(findings["speed"], images / f"{document.stem}-speed.png")
        runs = sorted((document.parent / "data" / "freezing").glob("*.csv"))
        if runs:
            draw_losses({f"{run.stem} freezing": Curve(run).read() for run in runs},
                        images / "freezing.png")
        write_whole(document, text.encode())
    except (TritstreamError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError, ZeroDivisionError) as error:
        print(f"error: The findings beside {document} lack something ({error!r}): write them again "
              "by the command that found them.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
