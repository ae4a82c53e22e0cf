"""The real driver and a Verilated device in lockstep: time passes only while the host reads."""

import contextlib
import pathlib
import struct
import subprocess

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.support.tools import end_process
from tritstream.transport import Transport
from tritstream_sim.verilate.compile import compile_model
from tritstream_sim.verilate.export import export

__all__ = ["SOURCE", "Bench", "SteppedTransport", "build_stepped"]

SOURCE = pathlib.Path(__file__).with_name("step.cpp")
"""The main program of a model that a `SteppedTransport` runs."""

MICROSECOND = 100       # cycles per microsecond of a wait, and of a board's time
SHORTEST = 256          # cycles of a wait of no time at all
PATIENCE = 2_000_000    # cycles without a byte, after which a test has failed


class Bench(wiring.Component):
    """Several devices behind one byte port, so that one build serves many tests.

    Parameters
    ----------
    devices : list
        Components with the byte ports `rx` and `tx`.

    Members
    -------
    rx, tx : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Ports of the device selected; the others hear nothing.
    select : :py:`In(8)`
        Which one, for good.
    """

    def __init__(self, devices):
        self._devices = devices
        super().__init__({
            "rx": In(stream.Signature(8)),
            "tx": Out(stream.Signature(8)),
            "select": In(8),
        })

    def elaborate(self, platform):
        m = Module()
        for n, device in enumerate(self._devices):
            m.submodules[f"device_{n}"] = device
            with m.If(self.select == n):
                m.d.comb += [
                    device.rx.valid.eq(self.rx.valid),
                    self.rx.ready.eq(device.rx.ready),
                    self.tx.valid.eq(device.tx.valid),
                    self.tx.payload.eq(device.tx.payload),
                ]
            m.d.comb += device.rx.payload.eq(self.rx.payload)
            m.d.comb += device.tx.ready.eq(self.tx.ready & (self.select == n))
        return m


def build_stepped(bench: Bench, name: str, cache: pathlib.Path, *,
                  modules: str = "") -> pathlib.Path:
    """Compile devices for a `SteppedTransport`, as an executable of this name.

    Verilog of the `modules` that they instantiate joins them.
    """
    return compile_model(export(bench, name) + modules, name, cache, sources=[SOURCE])


class SteppedTransport(Transport):
    """The port of a simulated device, repeatable cycle by cycle.

    Parameters
    ----------
    executable : path
        From `build_stepped`, or `tritstream_sim.verilate.pads.build_board`. The cycles of a board
        are steps of 10 ns, whatever its clocks.
    select : int
        Which device of a `Bench`.
    baud : float or None
        Rate of the host's UART at a board.
    stall : int
        Percentage of cycles in which each stream pauses, or of bytes before which the UART does.
    seed : int
        Of the pauses.
    patience : float
        Cycles without a byte after which `read` raises `TimeoutError`.
    stderr : file or None
        Where the models' messages go; None: where this process's go.
    settings : dict
        Of the models in a board, by their names: ``sdr_rcd``, ``pads_out``.
    """

    name = "simulator"
    retry_seconds = 60.0                # of the host's clock, of which the simulation knows nothing

    def __init__(self, executable: pathlib.Path, select: int = 0, *,
                 baud: float | None = None, stall: int = 0, seed: int = 1,
                 patience: float = PATIENCE, stderr=None, **settings):
        self.cycles = 0
        self._received_at = 0
        self._stall, self._patience = stall, patience
        self._pending = bytearray()
        self._unread = bytearray()
        port = select if baud is None else 1e6 * MICROSECOND / baud
        plus = [f"+{name}={value}" for name, value in settings.items()]
        self._process = subprocess.Popen([executable, str(port), str(seed), *plus],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=stderr)

    def read(self, timeout: float) -> bytes:
        """Simulate until something comes, at most for 100 cycles per microsecond of `timeout`."""
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            return data
        if self.cycles - self._received_at > self._patience:
            raise TimeoutError(f"nothing has come for {self.cycles - self._received_at} cycles")
        return self.step(max(SHORTEST, int(timeout * 1e6 * MICROSECOND)))

    def idle(self, cycles: int) -> None:
        """Simulate exactly so many cycles; what comes waits for the next `read`."""
        end = self.cycles + cycles
        while self.cycles < end:
            self._unread += self.step(end - self.cycles)

    def step(self, cycles: int) -> bytes:
        """Simulate until something comes, at most for so many cycles; nobody else sees it."""
        request = struct.pack("<III", cycles, self._stall, len(self._pending))
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request + self._pending)
            self._process.stdin.flush()
        self._pending.clear()
        answer = self._process.stdout.read(8)
        if not answer:
            raise EOFError("the simulation has ended early: its message is above")
        done, size = struct.unpack("<II", answer)
        self.cycles += done
        if size:
            self._received_at = self.cycles
        return self._process.stdout.read(size)

    def write(self, data: bytes) -> None:
        self._pending += data

    def clock(self) -> float:
        """Return the simulated time in seconds of the host."""
        return self.cycles / (1e6 * MICROSECOND)

    def close(self) -> None:
        end_process(self._process)
