"""A simulated board that runs."""

import contextlib
import fcntl
import json
import pathlib
import select
import subprocess
import tempfile

from tritstream.build import BuildConfig
from tritstream.errors import BadInput, DeviceError
from tritstream.link.activity import StageActivity
from tritstream.support.tools import end_process
from tritstream_sim.board.activity import read_activity
from tritstream_sim.board.build import build

__all__ = ["Board", "read_note"]

START_SECONDS = 120.0       # a preloaded board first reads its memory


class Board:
    """A simulated board in a process of its own, which ends when this one does.

    It serves one host after the other; memory and state live on between them. Ctrl-C does not reach
    it: the driver has to be able to stop it first. A host that is silent makes way when another
    waits: after 3 s if it has never said anything, after 30 s otherwise.

    Parameters
    ----------
    config : BuildConfig
        What it is; it is built if need be.
    bandwidth : float or None
        Bytes per cycle that its memory delivers; None: one beat per cycle.
    latency : int
        Cycles from a read request to its first beat.
    refresh : tuple of int or None
        Every so many cycles the memory does not read for so many cycles.
    preload : bytes-like or None
        What its memory holds from the first byte on; None: zeros.
    keep : int or None
        It goes to the background, lives on when this object is closed and this process has ended,
        and ends when no host has been connected for so many seconds; None: it ends with this
        object.
    note : path or None
        File in which the board keeps its address, and on which it keeps a lock, until its memory
        is written to or it ends; see `read_note`.
    cache : path or None
        Where builds are kept, see `build`.

    Raises
    ------
    BadInput
        The cache cannot hold it, or its programs may not run.
    DeviceError
        It ends at once, or does not open its port.
    """

    def __init__(self, config: BuildConfig, *, bandwidth: float | None = None, latency: int = 0,
                 refresh: tuple[int, int] | None = None, preload=None, keep: int | None = None,
                 note: pathlib.Path | None = None, cache: pathlib.Path | None = None):
        program = build(config, cache)
        # Everything that the device still has to do shows at a port within its retry time.
        command = [program, "--memory", str(config.memory_bytes),
                   "--idle", str(2 * config.retry_cycles), "--latency", str(latency)]
        command += ["--quit-on-eof"] if keep is None else ["--keep", str(keep)]
        if note is not None:
            command += ["--note", str(note)]
        if bandwidth is not None:
            command += ["--bandwidth", str(bandwidth)]
        if refresh is not None:
            command += ["--refresh", ":".join(map(str, refresh))]
        # What is kept outlives this process, and with it the file.
        self._activity = None if keep is not None else tempfile.TemporaryFile()
        with contextlib.ExitStack() as stack:
            files = []
            if self._activity is not None:
                files.append(self._activity.fileno())
                command += ["--activity", f"/dev/fd/{self._activity.fileno()}"]
            if preload is not None:
                file = stack.enter_context(tempfile.TemporaryFile())
                file.write(preload)
                file.seek(0)
                files.append(file.fileno())
                command += ["--preload", f"/dev/fd/{file.fileno()}"]
            self._start(command, files)
        if keep is not None:
            self.close()                # of the process that has started it in the background

    def _start(self, command: list, files: list[int]) -> None:
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=files,
                                             stdout=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            self._close_activity()
            raise BadInput(f"{command[0]} does not start ({error.strerror}): remove it, or set "
                           "XDG_CACHE_HOME to a directory whose programs may run.") from error
        try:
            if not select.select([self._process.stdout], [], [], START_SECONDS)[0]:
                self._process.kill()
                self.close()
                raise DeviceError("The simulated board has not opened its port within "
                                  f"{START_SECONDS:.0f} s: repeat the command when the machine "
                                  "does less.")
            self.port = json.loads(self._process.stdout.readline())["port"]
        except ValueError:
            self.close()
            raise DeviceError("The simulated board ended before it had opened its port (status "
                              f"{self._process.returncode}): its message is above.") from None
        self.uri = f"tcp:127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def activity(self) -> list[StageActivity] | None:
        """Return what its blocks did in the latest pass, by stage; None: it is kept."""
        if self._activity is None:
            return None
        self._activity.seek(0)
        return read_activity(self._activity.read().decode())

    def close(self) -> None:
        """End it, unless it is kept."""
        end_process(self._process)
        self._close_activity()

    def _close_activity(self) -> None:
        if self._activity is not None:
            self._activity.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def read_note(note: pathlib.Path) -> str | None:
    """Return the address of the board that has written a note, None if there is none any more.

    Its memory is as it was at the start. The system takes the lock of a board that was killed.
    """
    with contextlib.suppress(OSError), note.open(encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read()
    return None
