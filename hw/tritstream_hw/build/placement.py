"""Place and route with several seeds, some at a time, until one meets timing."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence

from tritstream_hw.build.report import (
    Clock,
    Utilisation,
    check_fit,
    parse_report,
    parse_utilisation,
)
from tritstream_hw.build.toolchain import ToolRun

__all__ = ["Placement", "place"]

POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Placement:
    """A placed and routed design.

    Parameters
    ----------
    seed : int
        Of the placer.
    resources : tuple of Resource
        How full the part is.
    clocks : tuple of Clock
        How fast the design is.
    """

    seed: int
    resources: Utilisation
    clocks: tuple[Clock, ...]

    @property
    def met(self) -> bool:
        return all(clock.met for clock in self.clocks)

    @property
    def slowest(self) -> Clock:
        """The clock that is nearest to, or furthest beyond, what it can do."""
        return min(self.clocks, key=lambda clock: clock.reached_mhz / clock.asked_mhz)


def place(board: str, command: Sequence[str], directory: pathlib.Path, name: str,
          seeds: Iterable[int], jobs: int, progress: Callable[[str], None]) -> list[Placement]:
    """Run nextpnr with each seed until one meets timing; return all that ended, the best first.

    Parameters
    ----------
    board : str
        For messages.
    command : sequence of str
        nextpnr's name and arguments, of which ``name.*`` outputs become ``name_SEED.*``.
    directory : path
        Where the synthesised design is.
    name : str
        Of the design.
    seeds : iterable of int
        Tried in this order.
    jobs : int
        Seeds at a time; nextpnr uses one core and about 1 GB for each.
    progress : callable
        Called with a few words when a seed has ended.

    Raises
    ------
    FitError
        If the part is too small.
    ToolFailed
        If nextpnr fails for another reason.
    """
    waiting, running, ended = list(seeds), {}, []
    try:
        while (waiting or running) and not any(placement.met for placement in ended):
            while waiting and len(running) < jobs:
                seed = waiting.pop(0)
                running[seed] = ToolRun(_seeded(command, name, seed), directory, f"{seed}.out")
            time.sleep(POLL_SECONDS)
            for run in running.values():        # some placers try for ever
                check_fit(board, parse_utilisation(run.output))
            for seed in [seed for seed, run in running.items() if not run.running]:
                run = running.pop(seed)
                if not run.succeeded:
                    check_fit(board, parse_utilisation(run.output))
                    raise run.failure()
                report = (directory / f"{name}_{seed}.report").read_text()
                ended.append(Placement(seed, *parse_report(report)))
                slowest = ended[-1].slowest
                progress(f"seed {seed}: {slowest.reached_mhz:.1f} MHz of {slowest.asked_mhz:.1f}")
    finally:
        for run in running.values():
            run.stop()
    return sorted(ended, key=lambda placement: -placement.slowest.reached_mhz
                  / placement.slowest.asked_mhz)


def _seeded(command: Sequence[str], name: str, seed: int) -> list[str]:
    """Return `command` with a seed, its outputs named after it, a report, and the placed design."""
    outputs = {f"{name}.{end}": f"{name}_{seed}.{end}" for end in ("tim", "config", "asc")}
    seeded = [outputs.get(word, word) for word in command if word != "--quiet"]
    return [*seeded, "--seed", str(seed), "--timing-allow-fail",
            "--report", f"{name}_{seed}.report", "--write", f"{name}_{seed}.json"]
