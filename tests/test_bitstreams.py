"""Bitstreams of several boards at a time, with a program in the place of each build."""

import re
import sys

from tritstream_hw.build import bitstreams
from tritstream_hw.build.bitstreams import build_all

FIRST, SECOND = "ulx3s_85f", "icebreaker"
# Says two lines, and fails for one board.
PROGRAM = f"""
import sys
*arguments, board = sys.argv[1:]
print("1.0 s  synthesise")
print("error: it is too slow", *arguments, file=sys.stderr)
sys.exit(5 if board == {SECOND!r} else 0)
"""
# Ends when two of them are there.
MEETS = """
import pathlib, sys, time
here = pathlib.Path(sys.argv[1])
(here / sys.argv[2]).touch()
end = time.monotonic() + 30
while len(list(here.iterdir())) < 2 and time.monotonic() < end:
    time.sleep(0.01)
sys.exit(len(list(here.iterdir())) < 2)
"""


def test_a_board_that_fails_loses_no_other_its_bitstream(capsys, monkeypatch):
    monkeypatch.setattr(bitstreams, "BUILD", (sys.executable, "-c", PROGRAM))
    assert bitstreams.main([SECOND, FIRST, "--jobs", "1", "--reports", "kept"]) == 5
    out, err = capsys.readouterr()
    assert [line.split(maxsplit=1) for line in re.sub(r"\d+ s\n", "N s\n", out).splitlines()] == [
        [FIRST, "1.0 s  synthesise"], [FIRST, "error: it is too slow --reports kept"],
        [FIRST, "done after N s"],
        [SECOND, "1.0 s  synthesise"], [SECOND, "error: it is too slow --reports kept"],
        [SECOND, "FAILED, exit code 5 after N s"]]
    assert err == f"error: {SECOND} was not built (exit code 5)\n"


def test_boards_are_built_side_by_side(tmp_path):
    command = [sys.executable, "-c", MEETS, str(tmp_path)]
    assert build_all([FIRST, SECOND], command, jobs=2) == {FIRST: 0, SECOND: 0}


def test_what_cannot_be_built(capsys):
    assert bitstreams.main(["no_such_board"]) == 2
    assert "There is no board 'no_such_board': choose from ulx3s_85f, " in capsys.readouterr().err
    assert bitstreams.main([FIRST, "--jobs", "0"]) == 2
    assert "--jobs must be 1 or more, not 0" in capsys.readouterr().err
