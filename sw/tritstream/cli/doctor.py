"""`tritstream doctor`: whether everything that is needed is there."""

import dataclasses

import typer

from tritstream.cli.console import looking, output, print_json
from tritstream.cli.options import JsonArray
from tritstream.support.doctor import Status, examine, exit_code

__all__ = ["doctor"]

STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}


def doctor(json: JsonArray = False):
    """Check Python, simulators, tools and ports; say what mends them."""
    with looking() as tell:
        checks = examine(tell)
    if json:
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        console = output()
        for check in checks:
            console.print(f"{check.status:5}", style=STYLES[check.status], end="")
            console.print(f"{check.name:16} {check.found}")
            if check.mend:
                console.print(f"{'':5}needed for {check.needed_for}: {check.mend}")
    raise typer.Exit(exit_code(checks))
