"""Carry chains of an ECP5, without the cells that only lead a carry in and out.

A `CCU2C` has two places of a chain. Yosys begins each chain with a constant carry and leaves its
last carry on a net of its own; nextpnr then takes a cell more at either end, four LUTs of each
chain. Neither is needed: the first place can make the carry that the chain begins with, and a carry
that nobody reads need not be led anywhere.
"""

import collections
import itertools
import json
import pathlib
from collections.abc import Iterator

__all__ = ["shorten", "shorten_file"]

_NONE = "x"                         # of a port that is connected to nothing
_GENERATE = 0b1010                  # of a place: its carry is its input A
_USED = "1"                         # inputs that a place does not use, as Yosys ties them


def shorten_file(path: pathlib.Path) -> int:
    """Shorten the chains of a netlist as Yosys writes it; return how many there are."""
    netlist = json.loads(path.read_text())
    count = sum(shorten(module) for module in netlist["modules"].values())
    path.write_text(json.dumps(netlist))
    return count


def shorten(module: dict) -> int:
    """Shorten the carry chains of a module of a netlist; return how many there are.

    Every net keeps its value. Chains that hand a carry to logic in the middle stay as they are.
    """
    cells = module["cells"]
    readers = _readers(module)
    nets = itertools.count(1 + max((bit for cell in cells.values()
                                    for bits in cell["connections"].values()
                                    for bit in bits if isinstance(bit, int)), default=0))
    count = 0
    for chain in list(_chains(cells)):
        count += 1
        inner = [cells[name]["connections"]["COUT"][0] for name in chain[:-1]]
        if all(readers[net] == 1 for net in inner):
            _rebuild(cells, chain, readers, nets)
    return count


def _readers(module: dict) -> collections.Counter:
    """Count what reads each net."""
    readers = collections.Counter()
    for port in module["ports"].values():
        if port["direction"] != "input":
            readers.update(port["bits"])
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                readers.update(bits)
    return readers


def _chains(cells: dict) -> Iterator[list[str]]:
    """Names of the cells of each chain, in their order."""
    adders = {name: cell["connections"] for name, cell in cells.items() if cell["type"] == "CCU2C"}
    by_carry = {ports["CIN"][0]: name for name, ports in adders.items()}
    carries = {ports["COUT"][0] for ports in adders.values()}
    for name, ports in adders.items():
        if ports["CIN"][0] not in carries:
            chain = [name]
            while following := by_carry.get(adders[chain[-1]]["COUT"][0]):
                chain.append(following)
            yield chain


def _rebuild(cells: dict, chain: list[str], readers: collections.Counter,
             nets: Iterator[int]) -> None:
    """Put the places of a chain into as few cells as can be; `nets` are new ones."""
    first, last = cells[chain[0]], cells[chain[-1]]
    places = [_place(cells[name], half) for name in chain for half in (0, 1)]
    carry_in, carry_out = first["connections"]["CIN"][0], last["connections"]["COUT"][0]
    if "YES" in (place.pop("INJECT1") for place in places):
        return                      # a mode that Yosys does not use
    if readers[carry_out]:
        places.append({"INIT": 0, **dict.fromkeys("ABCD", _USED), "S": carry_out})
    else:
        while places and not readers[places[-1]["S"]]:
            places.pop()
    if not places:
        for name in chain:
            del cells[name]
        return
    constant = {"0": 0, "1": 1}.get(carry_in)
    if constant is not None and not readers[places[0]["S"]] and _ties(places[0]) is not None:
        places[0] = _generator(places[0], constant)
    elif constant is not None and len(places) % 2 == 0 and _ties(places[0]) is not None:
        cells[f"{chain[0]}$sum"] = _table(places[0], constant)
        places[0] = _generator(places[0], constant)
    else:
        places.insert(0, {"INIT": _GENERATE, "A": carry_in, "B": "0", "C": _USED, "D": _USED,
                          "S": _NONE})
    _emit(cells, chain, places, nets)


def _place(cell: dict, half: int) -> dict:
    """Return a place of a cell: its table, its inputs, its sum."""
    ports, parameters = cell["connections"], cell["parameters"]
    return {"INIT": int(parameters[f"INIT{half}"], 2), "INJECT1": parameters[f"INJECT1_{half}"],
            **{port: ports[f"{port}{half}"][0] for port in "ABCD"}, "S": ports[f"S{half}"][0]}


def _ties(place: dict) -> int | None:
    """Return the constant inputs C and D as a number; None if one is a signal."""
    if not {place["C"], place["D"]} <= {"0", "1"}:
        return None
    return int(place["C"]) + 2 * int(place["D"])


def _generator(place: dict, carry_in: int) -> dict:
    """Return a place with the carry that this one has behind a constant one, and no sum.

    Its table is 0, so that its carry is that of its inputs A and B.
    """
    table, upper = place["INIT"], 4 * _ties(place)
    carries = [carry_in if table >> upper + low & 1 else table >> low & 1 for low in range(4)]
    return {"INIT": sum(carry << low for low, carry in enumerate(carries)),
            "A": place["A"], "B": place["B"], "C": _USED, "D": _USED, "S": _NONE}


def _table(place: dict, carry_in: int) -> dict:
    """Return the lookup table that makes the sum of a place behind a constant carry."""
    table = place["INIT"] ^ (0xFFFF if carry_in else 0)
    ports = {**{port: [place[port]] for port in "ABCD"}, "Z": [place["S"]]}
    return {"hide_name": 0, "type": "LUT4", "parameters": {"INIT": f"{table:016b}"},
            "attributes": {}, "connections": ports,
            "port_directions": {port: "output" if port == "Z" else "input" for port in ports}}


def _emit(cells: dict, chain: list[str], places: list[dict], nets: Iterator[int]) -> None:
    """Write the places into the cells of a chain, of which there may be one more or fewer."""
    if len(places) % 2:
        places = [*places, {"INIT": 0, **dict.fromkeys("ABCD", _USED), "S": _NONE}]
    pattern = cells[chain[0]]
    for name in chain:
        del cells[name]
    carry = _NONE
    for name, pair in zip([*chain, f"{chain[0]}$more"], zip(places[0::2], places[1::2],
                                                            strict=True), strict=False):
        ports, parameters = {"CIN": [carry]}, {}
        for half, place in enumerate(pair):
            ports |= {f"{port}{half}": [place[port]] for port in "ABCDS"}
            parameters |= {f"INIT{half}": f"{place['INIT']:016b}", f"INJECT1_{half}": "NO"}
        carry = _NONE if pair[1] is places[-1] else next(nets)
        ports["COUT"] = [carry]
        cells[name] = {**pattern, "parameters": parameters, "connections": ports}
