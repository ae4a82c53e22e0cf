"""A simulated board that runs."""

import contextlib
import json
import pathlib
import subprocess

from tritstream.build import BuildConfig
from tritstream.errors import BadInput, DeviceError
from tritstream_sim.board.build import build

__all__ = ["Board"]

_CLOSE_SECONDS = 5.0


class Board:
    """A simulated board in a process of its own, which ends when this one does.

    It serves one host after the other; memory and state live on between them. Ctrl-C does not reach
    it: the driver has to be able to stop it first.

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
    cache : path or None
        Where builds are kept, see `build`.

    Raises
    ------
    BadInput
        The cache cannot hold it, or its programs may not run.
    DeviceError
        It ends at once.
    """

    def __init__(self, config: BuildConfig, *, bandwidth: float | None = None, latency: int = 0,
                 refresh: tuple[int, int] | None = None, cache: pathlib.Path | None = None):
        program = build(config, cache)
        # Everything that the device still has to do shows at a port within its retry time.
        command = [program, "--quit-on-eof", "--memory", str(config.memory_bytes),
                   "--idle", str(2 * config.retry_cycles), "--latency", str(latency)]
        if bandwidth is not None:
            command += ["--bandwidth", str(bandwidth)]
        if refresh is not None:
            command += ["--refresh", ":".join(map(str, refresh))]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise BadInput(f"{program} does not start ({error.strerror}): remove it, or set "
                           "XDG_CACHE_HOME to a directory whose programs may run.") from error
        try:
            self.uri = f"tcp:127.0.0.1:{json.loads(self._process.stdout.readline())['port']}"
        except ValueError:
            self.close()
            raise DeviceError("The simulated board ended before it had opened its port (status "
                              f"{self._process.returncode}): its message is above.") from None

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
