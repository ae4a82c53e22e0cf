"""`tritstream devices`: what is plugged in."""

import contextlib
import os
from typing import Annotated

import typer
from rich.table import Table

from tritstream.cli.console import looking, notes, output, print_json
from tritstream.cli.options import JsonArray
from tritstream.ddr3.levelling import LevellingError
from tritstream.driver import Device
from tritstream.errors import DeviceError, MissingTool
from tritstream.flash import Stored
from tritstream.support.tools import install_command

__all__ = ["devices"]

ANSWER_SECONDS = 1.0        # a board that is there takes milliseconds


def devices(
    ask: Annotated[bool, typer.Option(
        "--ask", help="Ask each port whether a board is behind it: whatever else is there gets "
        "a few bytes, too.")] = False,
    json: JsonArray = False,
):
    """List serial ports, and what is behind them."""
    with looking() as tell:
        rows = []
        for port in _ports():
            tell(port.device)
            rows.append(_row(port, ask))
    if json:
        print_json(rows)
    elif rows:
        output().print(_table(rows))
    else:
        notes().print("no serial port: plug a board in; `tritstream doctor` says what it needs")
    for row in rows:
        if why := (row.get("board") or {}).get("unlevelled"):
            raise LevellingError(f"{row['device']}: {why}")


def _ports() -> list:
    try:
        from serial.tools import list_ports
    except ImportError as error:
        raise MissingTool(f"Serial ports cannot be listed ({error}): run "
                          f"`{install_command('pyserial')}`.") from error
    return sorted(list_ports.comports(), key=lambda port: port.device)


def _row(port, ask: bool) -> dict:
    usb = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None else None
    row = {"device": f"serial:{port.device}", "usb": usb, "product": port.product,
           "serial_number": port.serial_number,
           "may_open": os.access(port.device, os.R_OK | os.W_OK)}
    return {**row, **_asked(row["device"])} if ask else row


def _asked(uri: str) -> dict:
    """Return what a board says that it is, or why there is none."""
    unlevelled = None
    try:
        with Device.open(uri, dead_seconds=ANSWER_SECONDS) as device:
            identity, found = device.identity, device.stored()
            try:
                device.start_memory()
            except LevellingError as error:
                unlevelled = str(error)
    except DeviceError as error:
        return {"board": None, "why": str(error)}
    return {"board": {"build_id": identity.build.hex(), "clock_hz": identity.clock_hz,
                      "P": identity.beat_bytes, "G": identity.groups, "V": identity.vector_width,
                      "memory_bytes": identity.memory_units * identity.stripes.unit_bytes,
                      "flash": None if found is None else found.name.lower(),
                      "unlevelled": unlevelled}}


def _table(rows: list[dict]) -> Table:
    table = Table(box=None)
    for name in ("device", "USB", "product", "what it is"):
        table.add_column(name)
    for row in rows:
        what = "" if row["may_open"] else "this user may not open it: see `tritstream doctor`"
        with contextlib.suppress(KeyError):
            board = row["board"]
            what = row["why"] if board is None else (
                f"build {board['build_id']}, {board['clock_hz'] / 1e6:.4g} MHz, P={board['P']}, "
                f"{board['memory_bytes']:,} bytes of memory"
                + (f"; {Stored[board['flash'].upper()].sentence}" if board["flash"] else ""))
        table.add_row(row["device"], row["usb"] or "", row["product"] or "", what)
    return table
