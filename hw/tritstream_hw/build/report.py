"""What place and route found: how full the part is, and how fast the design."""

import dataclasses
import json
import pathlib
import re

from tritstream.errors import BadInput, FitError

__all__ = [
    "Clock",
    "Report",
    "Resource",
    "Utilisation",
    "check_fit",
    "check_timing",
    "committed_report",
    "parse_cells",
    "parse_report",
    "parse_utilisation",
]

# Cells of which there is one, a few, or that say nothing about a design are left out.
SHOWN = {
    "TRELLIS_COMB": "LUT4 (TRELLIS_COMB)",
    "TRELLIS_FF": "flip-flops (TRELLIS_FF)",
    "TRELLIS_RAMW": "distributed RAM (TRELLIS_RAMW)",
    "DP16KD": "block RAM, 18 Kbit (DP16KD)",
    "MULT18X18D": "multipliers (MULT18X18D)",
    "EHXPLLL": "PLLs (EHXPLLL)",
    "TRELLIS_IO": "pins (TRELLIS_IO)",
    # Of a Gowin. A LUT4 is the site of a carry, too; before they are placed, it counts for both.
    "LUT4": "LUT4",
    "ALU": "carries (ALU)",
    "DFF": "flip-flops (DFF)",
    "RAM16SDP4": "distributed RAM (RAM16SDP4)",
    "BSRAM": "block RAM, 18 Kbit (BSRAM)",
    "MULT18X18": "multipliers (MULT18X18)",
    "rPLL": "PLLs (rPLL)",
    # Of an iCE40: a logic cell is a LUT4, a carry and a flip-flop.
    "ICESTORM_LC": "logic cells (ICESTORM_LC)",
    "ICESTORM_RAM": "block RAM, 4 Kbit (ICESTORM_RAM)",
    "ICESTORM_SPRAM": "SPRAM, 256 Kbit (ICESTORM_SPRAM)",
    "ICESTORM_DSP": "multipliers (ICESTORM_DSP)",
    "ICESTORM_PLL": "PLLs (ICESTORM_PLL)",
}


@dataclasses.dataclass(frozen=True)
class Resource:
    """A kind of cell: how many are used, and how many there are."""

    name: str
    used: int
    available: int

    @property
    def percent(self) -> float:
        return round(100 * self.used / self.available, 1)


@dataclasses.dataclass(frozen=True)
class Clock:
    """A clock: what was asked for, and what the slowest path allows."""

    name: str
    asked_mhz: float
    reached_mhz: float

    @property
    def met(self) -> bool:
        return self.reached_mhz >= self.asked_mhz


Utilisation = tuple[Resource, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Result of a build.

    Parameters
    ----------
    board, build_id : str
        What was built; the identity in hexadecimal digits.
    resources : tuple of Resource
        How full the part is.
    clocks : tuple of Clock
        How fast the design is.
    seed : int
        Of the placement that is in the bitstream.
    seeds_mhz : dict
        Fmax of the system clock for each seed that was tried to its end.
    seconds : dict
        Wall time of each step.
    cached : bool
        Whether it is from an earlier build.
    """

    board: str
    build_id: str
    resources: Utilisation
    clocks: tuple[Clock, ...]
    seed: int
    seeds_mhz: dict[str, float]
    seconds: dict[str, float]
    cached: bool = False

    @property
    def passed(self) -> bool:
        return all(clock.met for clock in self.clocks)

    def to_json(self) -> str:
        """Return the report as JSON, `cached` left out."""
        return json.dumps({
            "board": self.board,
            "build_id": self.build_id,
            "result": _verdict(self.passed),
            "evidence": "routed",
            "clocks": [{**dataclasses.asdict(clock), "result": _verdict(clock.met)}
                       for clock in self.clocks],
            "resources": [{**dataclasses.asdict(resource), "percent": resource.percent}
                          for resource in self.resources],
            "seed": self.seed,
            "seeds_mhz": self.seeds_mhz,
            "seconds": self.seconds,
        }, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, cached: bool = False) -> "Report":
        """Inverse of `to_json`."""
        table = json.loads(text)
        return cls(
            board=table["board"], build_id=table["build_id"], seed=table["seed"],
            seeds_mhz=table["seeds_mhz"], seconds=table["seconds"], cached=cached,
            resources=tuple(Resource(entry["name"], entry["used"], entry["available"])
                            for entry in table["resources"]),
            clocks=tuple(Clock(entry["name"], entry["asked_mhz"], entry["reached_mhz"])
                         for entry in table["clocks"]))

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the summary: what, used or reached, available or asked, % or verdict."""
        rows = [(resource.name, f"{resource.used:,}", f"{resource.available:,}",
                 f"{resource.percent:.1f} %") for resource in self.resources]
        return rows + [(f"clock {clock.name}", f"{clock.reached_mhz:.1f} MHz",
                        f"{clock.asked_mhz:.1f} MHz", _verdict(clock.met))
                       for clock in self.clocks]

    def to_markdown(self) -> str:
        """Return the summary as a page of its own."""
        table = "\n".join(f"| {a} | {b} | {c} | {d} |" for a, b, c, d in self.rows())
        return (f"# {self.board}\n\nWritten by `tritstream build {self.board}`; evidence: routed. "
                f"Build {self.build_id}, seed {self.seed}.\n\n"
                "| | used, reached | available, asked | |\n|---|---:|---:|---|\n" + table
                + "\n\n![Which block is where](floorplan.svg)\n")


COMMITTED = pathlib.Path(__file__).parents[3] / "bitstreams"
"""Where a source checkout has the reports of its boards."""


def committed_report(board: str) -> Report | None:
    """Return the report that the sources have of a board; None if they have none."""
    try:
        return Report.from_json((COMMITTED / board / "report.json").read_text())
    except FileNotFoundError:
        return None


def _verdict(met: bool) -> str:
    return "PASS" if met else "FAIL"


def parse_report(text: str) -> tuple[Utilisation, tuple[Clock, ...]]:
    """Read the file that nextpnr writes with ``--report``.

    Raises
    ------
    BadInput
        If it is not such a file.
    """
    try:
        table = json.loads(text)
        cells = table["utilization"]
        resources = tuple(Resource(label, cells[cell]["used"], cells[cell]["available"])
                          for cell, label in SHOWN.items() if cell in cells)
        clocks = tuple(Clock(_clock_name(name), round(entry["constraint"], 2),
                             round(entry["achieved"], 2))
                       for name, entry in sorted(table["fmax"].items()))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"This is not a report of nextpnr ({type(error).__name__}: {error}): build "
                       "again, with the nextpnr that pyproject.toml names.") from error
    return resources, clocks


def parse_cells(text: str) -> tuple[dict[str, int], float]:
    """Read how many cells of each kind a design with one clock uses, and its Fmax in MHz."""
    table = json.loads(text)
    (clock,) = table["fmax"].values()
    used = {cell: entry["used"] for cell, entry in table["utilization"].items()}
    return used, round(clock["achieved"], 1)


def _clock_name(net: str) -> str:
    """Return a clock's name without what place and route puts around it."""
    return net.removeprefix("$glbnet$").rpartition(".")[2]


def parse_utilisation(log: str) -> Utilisation:
    """Read how full the part would be from nextpnr's log, which it writes before it places."""
    return tuple(Resource(SHOWN[cell], int(used), int(available)) for cell, used, available
                 in re.findall(r"^Info:\s+(\w+):\s*(\d+)/\s*(\d+)\s+\d+%", log, re.MULTILINE)
                 if cell in SHOWN)


def check_fit(board: str, resources: Utilisation) -> None:
    """Raise `FitError` if the part has too little of anything."""
    for resource in resources:
        if resource.used > resource.available:
            raise FitError(f"The design does not fit {board}: it needs {resource.used:,} "
                           f"{resource.name}, and the part has {resource.available:,}; choose a "
                           "smaller design with --build, as in p=4,v=2,state=8k,memory=32k.")


def check_timing(report: Report) -> None:
    """Raise `FitError` if a clock is too slow."""
    for clock in report.clocks:
        if not clock.met:
            raise FitError(f"Timing is missed on {report.board}: clock {clock.name} reaches "
                           f"{clock.reached_mhz:.1f} MHz of {clock.asked_mhz:.1f} MHz with the "
                           f"best of {len(report.seeds_mhz)} seeds; ask for a lower clock with "
                           "--freq, try more seeds with --seeds, or choose a smaller design with "
                           "--build, as in p=4,v=2.")
