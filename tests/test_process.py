"""The command line as a process: closed, full and abandoned streams, and signals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = [sys.executable, "-m", "tritstream"]
GENERATE = "generate -m tiny -p It -n 3"
FULL = "error: The output cannot be used: No space left on device; make room, or give another place"
SHUT = "error: The output cannot be used: Bad file descriptor; make room, or give another place"


def shell(line, **options):
    """Run a line of the shell in which `tritstream` is the program."""
    program = f"tritstream() {{ '{sys.executable}' -m tritstream \"$@\"; }}; set -o pipefail; "
    return subprocess.run(["bash", "-c", program + line], capture_output=True, text=True,
                          timeout=60, **options)


@pytest.mark.parametrize("line, redirection, code, sentence", [
    (GENERATE, ">&-", 2, SHUT), (GENERATE, ">/dev/full", 2, FULL), (GENERATE, "2>&-", 0, ""),
    (GENERATE, "2>/dev/full", 0, ""), (GENERATE, "<&- >&- 2>&-", 2, ""),
    (GENERATE, "| true", 0, ""), ("--help", "| true", 0, ""),
    ("inspect tiny --json", ">&-", 2, SHUT), ("--help", ">&-", 2, SHUT),
    ("boards", ">/dev/full", 2, FULL), ("doctor", ">/dev/full", 2, FULL)])
def test_streams(line, redirection, code, sentence):
    """Results that cannot be written are an error; notes that cannot are lost, and nothing else."""
    done = shell(f"tritstream {line} {redirection}")
    assert done.returncode == code
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert sentence in done.stderr
    if "2>" in redirection and code == 0:
        assert done.stdout


def test_a_reader_of_notes_who_goes_is_no_fault():
    done = shell(f"tritstream {GENERATE} 2>&1 >/dev/null | true")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_that_nobody_can_be_told_has_its_code():
    assert shell("tritstream inspect absent 2>/dev/full").returncode == 2


def test_text_is_the_same_on_the_stream_and_as_json():
    """No control character is lost, and no tab expanded."""
    prompt = "a\tb\rc\bd\x07e\x0bf\x1b[1mg\n\n"
    arguments = [*PROGRAM, "generate", "-m", "tiny", "-p", prompt, "-n", "8"]
    shown = subprocess.run(arguments, capture_output=True).stdout
    made = json.loads(subprocess.run([*arguments, "--json"], capture_output=True).stdout)["text"]
    assert shown == f"{prompt}{made}\n".encode()


def test_letters_that_a_terminal_lacks_are_no_fault():
    done = shell("tritstream bench --device float -n 1 -p 0",
                 env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and " ? " in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_part_of_a_file(tmp_path, number):
    """It ends the program as it would any other, but not before it has cleaned up."""
    shape = "256,512,64,300"
    # Whatever these tests were started with: what is ignored would stay so.
    heeds = (f"import os, signal, sys; signal.signal({number:d}, signal.SIG_DFL); "
             "os.execv(sys.executable, sys.argv[1:])")
    with subprocess.Popen([sys.executable, "-c", heeds, *PROGRAM, "pack", "--dummy", shape, "-o",
                           "model.trit"], cwd=tmp_path, stderr=subprocess.PIPE,
                          text=True) as process:
        began = time.monotonic()
        while not os.listdir(tmp_path):
            assert process.poll() is None and time.monotonic() - began < 60
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert err == ("interrupted\n" if number == signal.SIGINT else "")
    assert os.listdir(tmp_path) == []


def test_what_is_ignored_stays_ignored(tmp_path):
    """As `nohup` has it."""
    done = shell(f"trap '' HUP; tritstream {GENERATE} & sleep 0.5; kill -HUP $!; wait $!")
    assert done.returncode == 0 and done.stdout


@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.2, 0.35, 0.5, 0.8])
def test_ctrl_c_is_no_traceback_wherever_it_comes(seconds, tmp_path):
    """In imports or behind them, but in the interpreter's own start, before the program's."""
    text = tmp_path / "long.txt"                # takes minutes
    text.write_text("It was a dark and stormy night. " * 30_000)
    program = ("import os, sys, threading, time\n"
               "from tritstream.__main__ import main\n"
               "threading.Thread(target=lambda: (time.sleep(float(sys.argv.pop(1))), "
               "os.kill(os.getpid(), 2)), daemon=True).start()\n"
               "main()\n")
    done = subprocess.run([sys.executable, "-c", program, str(seconds), "eval", "--text", text],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 130
    assert done.stderr in ("", "interrupted\n")
