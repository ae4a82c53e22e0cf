"""`tritstream selftest`: whether a board is as it should be."""

import dataclasses
import pathlib
import tempfile
from typing import Annotated

import typer

from tritstream.analysis.check import Check, Verdict
from tritstream.analysis.selftest import examine
from tritstream.catalog import resolve
from tritstream.cli.console import looking, output, print_json
from tritstream.cli.options import Device, Json
from tritstream.driver import Device as Driver
from tritstream.errors import BadInput, Mismatch
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.transport import Address, open_transport
from tritstream.transport.serial import BAUDS, DEFAULT_BAUD

__all__ = ["selftest"]

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.SKIP: "yellow"}
SMALLEST = ModelConfig(hidden=16, intermediate=16, layers=1, vocab=20)
DEAD_SECONDS = 5.0          # a board answers in milliseconds, unless it is simulated
MOST_SECONDS = 86_400


def selftest(
    device: Device = "sim",
    seconds: Annotated[float, typer.Option(
        "--seconds", metavar="N", help="How long it may take, about: a longer test covers more of "
        "the memory. What that held is lost.")] = 30.0,
    json: Json = False,
):
    """Test a board: its link, a token, its clock and its memory."""
    if not 1 <= seconds <= MOST_SECONDS:
        raise BadInput(f"--seconds must be 1 to {MOST_SECONDS:,}, not {seconds:g}.")
    address = Address.parse(device)
    if address.text in ("float", "golden") or address.scheme == "cuda":
        raise BadInput(f"{device} is no board: give --device sim, tcp:HOST:PORT or serial:PORT.")
    with tempfile.TemporaryDirectory() as directory:
        small = pack(DummyCheckpoint(SMALLEST, seed=1), pathlib.Path(directory) / "small.trit")

        def connect(part: float) -> Driver | None:
            return _open(address, small, part)

        checks = []
        with looking() as tell:
            for check in examine(connect, [small, resolve("tiny").image], seconds):
                checks.append(check)
                tell(f"what follows {check.name}")
                if not json:
                    _show(check)
    failed = [check.name for check in checks if check.verdict is Verdict.FAIL]
    if json:
        print_json({"device": device, "settings": {"seconds": seconds}, "passed": not failed,
                    "checks": [dataclasses.asdict(check) for check in checks]})
    if failed:
        raise Mismatch(f"{device} does not pass: {', '.join(failed)}; docs/bringup.md says what to "
                       "look at.")


def _open(address: Address, image: Image, part: float) -> Driver | None:
    """Open a board at a part of its baud rate; None if its rate cannot be chosen."""
    place = address
    if part != 1:
        baud = round(part * address.number("baud", DEFAULT_BAUD, *BAUDS))
        place = dataclasses.replace(address, options={**address.options, "baud": str(baud)})
    try:
        transport = open_transport(place, image)
    except BadInput:
        if part == 1:
            raise
        return None
    return Driver(transport, build=address.build,
                  dead_seconds=max(DEAD_SECONDS, transport.retry_seconds))


def _show(check: Check) -> None:
    console = output()
    console.print(f"{check.verdict}  ", style=STYLES[check.verdict], end="")
    console.print(f"{check.name:14} {check.found}")
