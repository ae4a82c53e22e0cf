"""What a simulated board has written of the work of its blocks."""

from tritstream.link.activity import BLOCKS, Run, StageActivity

__all__ = ["read_activity"]


def read_activity(text: str) -> list[StageActivity]:
    """Return the stages of a pass; a stage that has not ended is left out.

    Parameters
    ----------
    text : str
        As ``activity.h`` says.
    """
    names, stages, runs = list(BLOCKS), [], []
    for line in text.splitlines():
        kind, *numbers = line.split()
        if kind == "run":
            block, begin, end, busy = map(int, numbers)
            runs.append(Run(names[block], begin, end, busy))
        else:
            begin, end = map(int, numbers)
            stages.append(StageActivity(begin, end, tuple(sorted(runs, key=_begin))))
            runs = []
    return stages


def _begin(run: Run) -> int:
    return run.begin
