"""What a check of a board found."""

import dataclasses
import enum

__all__ = ["Check", "Verdict"]


class Verdict(enum.StrEnum):
    """Result of a check; SKIP says why it cannot be made."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of a board's test; `dataclasses.asdict` makes it JSON.

    Parameters
    ----------
    name : str
        What was looked at.
    verdict : Verdict
        Whether it is as it should be.
    found : str
        What was found, or why it could not be looked for.
    value : float or None
        The number in that.
    unit : str
        What it counts.
    """

    name: str
    verdict: Verdict
    found: str
    value: float | None = None
    unit: str = ""
