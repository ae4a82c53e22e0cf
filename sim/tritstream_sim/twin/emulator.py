"""A device in Python: the host's own link code answering with the results of a model.

It lets driver and command line be tested without a Verilated board. What it does with commands is
a generator, which asks for bytes and leaves its replies to be taken: `Emulator.serve` connects it
with a transport, `tritstream_sim.twin.in_process` with a driver on the same thread.
"""

import contextlib
import dataclasses
import socket
import threading
import zlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from tritstream.build import BuildConfig
from tritstream.ddr3.levelling import Access as RegisterAccess
from tritstream.errors import DeviceError
from tritstream.flash import Stored
from tritstream.formats import FORMATS
from tritstream.link.endpoint import LinkOptions, LinkStatistics
from tritstream.link.messages import (
    RECORD_WORDS,
    Access,
    Configuration,
    Counters,
    Extent,
    Identity,
    Lane,
    PassResult,
    Run,
    StageRecord,
    Transfer,
    pack_answer,
    record_words,
)
from tritstream.link.protocol import Code, LaneFlag, RunFlag, Space, Status
from tritstream.link.spaces import WRITABLE, space_words
from tritstream.link.stream import LinkReset, LinkStream
from tritstream.transport import TcpTransport, Transport

__all__ = ["Emulator", "Model", "ModelResult", "Server"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelResult:
    """What a model gives for one pass.

    Parameters
    ----------
    logits : np.ndarray or None
        int32 [rows of the head], None if the head was not played.
    mantissa, shift : int
        Scale of the logits.
    records : list of StageRecord
        One for each stage played; the digest of the pass is that of the last.
    """

    logits: np.ndarray | None
    mantissa: int = 0
    shift: int = 0
    records: list[StageRecord]


TURN_SECONDS = 5.0          # as host.h has it

PIECE = 4096
"""Bytes of a streamed pass that are taken together."""


class Model(Protocol):
    """What the emulator needs of a model."""

    state: np.ndarray
    """int32, the space of states: all layers one behind the other; written by STORE."""

    vectors: np.ndarray
    """int32 [vector_elements], x and z after the last pass."""

    def run_pass(self, lead: bytes, row: bytes, tape: bytes, *, fresh: bool, stages: int,
                 slot: int = 0) -> ModelResult:
        """Play one pass: the lead of the tape, the embedding row, the rest of the tape.

        Raises `ValueError` if the tape makes no sense.
        """

    def clear_digest(self) -> None:
        """Start the running digest anew."""


def _without_head(result: ModelResult) -> ModelResult:
    """Return what a pass gave to a token that the head is nothing to."""
    if result.logits is None:
        return result
    *body, head = result.records
    return dataclasses.replace(result, logits=None, records=[
        *body, dataclasses.replace(head, digest=body[-1].digest)])


def _worst(statuses: list[Status]) -> Status:
    return next((status for status in statuses if status != Status.OK), Status.OK)


class _Refused(Exception):
    """A command that ends in a status other than ok."""

    def __init__(self, status: Status):
        super().__init__(status)
        self.status = status


NOTHING = Configuration(rows_unit=0, tape_unit=0, lead_units=0, row_units=0, vocab=0, stop_token=0)
"""What a device knows of an image before CONFIGURE."""

Program = Iterator[int]
"""Yields how many bytes it needs, is sent them, and may have left a reply when it asks again."""


class Emulator:
    """What the gateware's control does, one connection at a time.

    Parameters
    ----------
    config : BuildConfig
        The build that it pretends to be.
    model : Model
        Computes the passes.
    identity : Identity or None
        What it says that it is, if that is not what `config` says.
    link : LinkOptions
        Its end of the link.
    registers : Access or None
        Those of the memory, if the build has any: a `Ddr3Twin`.

    Attributes
    ----------
    found : int
        What it says of its flash memory, if the build looks there.
    behind : callable
        How many bytes have come that no command has taken so far.
    """

    def __init__(self, config: BuildConfig, model: Model, *, identity: Identity | None = None,
                 link: LinkOptions | None = None, registers: RegisterAccess | None = None):
        self.config = config
        self.model = model
        self.memory, self._unit = bytearray(config.memory_bytes), config.stripes.unit_bytes
        self._sizes = space_words(config)
        self._registers = registers
        self.found = int(Stored.NOTHING)
        self.link = LinkOptions.for_device() if link is None else link
        self.resets = 0
        self.statistics = LinkStatistics()      # of its end of the present connection
        self.behind = lambda: 0
        self._identity = Identity.of(config) if identity is None else identity
        self._records = []
        self._configuration = NOTHING
        self._output = bytearray()
        self._commands = {
            Code.IDENTIFY: self._identify,
            Code.WRITE: self._write,
            Code.DIGEST: self._digest,
            Code.CONFIGURE: self._configure,
            Code.RUN: self._run,
            Code.READ: self._read,
            Code.STORE: self._store,
        }
        if config.memory_units:
            self._commands |= {Code.KEEP: self._keep, Code.RECALL: self._recall}

    def serve(self, transport: Transport) -> None:
        """Answer the host on `transport` until it is closed."""
        stream = LinkStream(transport, self.link, dead_seconds=None, patience_seconds=None)
        self.statistics = stream.endpoint.statistics
        self.behind = stream.poll
        try:
            while True:
                program, data = self.commands(), None
                try:
                    while True:
                        count = program.send(data)
                        stream.write(self.take_output())
                        stream.flush()
                        data = stream.read(count)
                except LinkReset:
                    self.reset()
        except DeviceError:
            pass                        # the host has left
        finally:
            stream.close()

    def reset(self) -> None:
        """Forget what the host's RESET makes a device forget."""
        self.resets += 1
        self._configuration = NOTHING
        self._output.clear()
        self.model.clear_digest()

    def take_output(self) -> bytes:
        """Return what has been replied since it was taken last."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def commands(self) -> Program:
        """Answer commands for ever."""
        while True:
            code = (yield 1)[0]
            command = self._commands.get(code)
            if command is None:
                self._output.append(Code.UNKNOWN)
                while True:             # until the host starts anew
                    yield 1
            yield from command()

    def _reply(self, code: Code, status: Status, data: bytes = b"") -> None:
        self._output += bytes([code, status]) + data

    def _identify(self) -> Program:
        self.model.clear_digest()
        self._output += bytes([Code.IDENTIFY]) + self._identity.pack()
        yield 0

    def _memory_status(self, unit: int, units: int) -> Status:
        if not self.memory:
            return Status.NO_MEMORY
        inside = (unit + units) * self._unit <= len(self.memory)
        return Status.OK if inside else Status.OUT_OF_RANGE

    def _write(self) -> Program:
        extent = yield from self._arguments(Extent)
        unit, units = extent.unit, extent.units
        status = self._memory_status(unit, units)
        size = self._unit
        for start in range(unit * size, (unit + units) * size, size):
            data = yield size
            if status == Status.OK:
                self.memory[start:start + size] = data
        self._reply(Code.WRITE, status)

    def _digest(self) -> Program:
        extent = yield from self._arguments(Extent)
        unit, units = extent.unit, extent.units
        status = self._memory_status(unit, units)
        data = memoryview(self.memory)[unit * self._unit:(unit + units) * self._unit]
        crc = zlib.crc32(data) if status == Status.OK else 0
        self._reply(Code.DIGEST, status, crc.to_bytes(4, "little"))

    def _configure(self) -> Program:
        configuration = yield from self._arguments(Configuration)
        fits = configuration.vocab <= self.config.max_vocab
        if fits:
            self._configuration = configuration
        self._reply(Code.CONFIGURE, Status.OK if fits else Status.OUT_OF_RANGE)

    def _run(self) -> Program:
        run = yield from self._arguments(Run)
        try:
            yield from self._passes(run)
        except _Refused as refusal:
            self._reply(Code.RUN, refusal.status)

    def _passes(self, run: Run) -> Program:
        together = run.lanes > 0 and self.config.lanes > 1
        lanes, status = [Lane(flags=run.flags & RunFlag.FRESH, token=run.token)], Status.OK
        if together:
            lanes, status = yield from self._lanes(run)
        count = 1 if run.flags & RunFlag.STREAMED else run.count
        for left in reversed(range(max(1, count))):
            statuses = [status, *(self._run_status(run, lane.token) for lane in lanes)]
            results = yield from self._pass(run, lanes, together, _worst(statuses))
            last = not left or self.behind() > 0 or any(
                not result.candidates or result.best == self._configuration.stop_token
                or lane.flags & LaneFlag.FOLLOWS
                for lane, result in zip(lanes, results, strict=True))
            self._send_answer([dataclasses.replace(result, last=last) for result in results])
            yield 0                     # lets it go
            if last:
                return
            lanes = [Lane(slot=lane.slot, token=result.best)
                     for lane, result in zip(lanes, results, strict=True)]

    def _lanes(self, run: Run):
        """Return the tokens that share the first pass, and what is said of their slots."""
        if run.lanes > self.config.lanes:
            self._reply(Code.RUN, Status.OUT_OF_RANGE)
            while True:                 # until the host starts anew
                yield 1
        lanes = []
        for _ in range(run.lanes):
            lanes.append((yield from self._arguments(Lane)))
        good = (all(lane.slot < self.config.slots for lane in lanes)
                and not lanes[0].flags & LaneFlag.FOLLOWS)
        return lanes, Status.OK if good else Status.OUT_OF_RANGE

    def _pass(self, run: Run, lanes: list[Lane], together: bool, status: Status):
        """Play a pass, the tokens that share it one by one; return what each is given."""
        lead, rows, tape = yield from self._parts_of(run, [lane.token for lane in lanes], status)
        results = []
        for lane, row in zip(lanes, rows, strict=True):
            if together:
                self.model.clear_digest()
            try:
                results.append(self.model.run_pass(
                    lead, row, tape, fresh=bool(lane.flags & LaneFlag.FRESH), stages=run.stages,
                    slot=lane.slot))
            except ValueError as error:
                raise _Refused(Status.BAD_TAPE) from error
        if run.flags & RunFlag.LOGITS and results[0].logits is not None:
            self._send_logits(np.concatenate([
                result.logits[first:first + FORMATS.trits_per_byte]
                for first in range(0, len(results[0].logits), FORMATS.trits_per_byte)
                for result in results]))
        results = [_without_head(result) if lane.flags & LaneFlag.BODY else result
                   for lane, result in zip(lanes, results, strict=True)]
        self._records = results[0].records
        return [self._told(run, lane, result)
                for lane, result in zip(lanes, results, strict=True)]

    def _parts_of(self, run: Run, tokens: list[int], status: Status):
        """Return lead, rows and rest of a pass of these tokens."""
        configuration, unit = self._configuration, self._unit
        lead, row = configuration.lead_units * unit, configuration.row_units * unit
        tape, end = run.tape_units * unit, lead + row * len(tokens)
        if run.flags & RunFlag.STREAMED:
            data = yield from self._streamed(
                tape + row * len(tokens), keep=status == Status.OK)
            memory, start, starts = data, 0, range(lead, end, row or 1)
        if status != Status.OK:
            raise _Refused(status)
        if not run.flags & RunFlag.STREAMED:
            memory, start, end = self.memory, configuration.tape_unit * unit, lead
            starts = [(configuration.rows_unit + token * configuration.row_units) * unit
                      for token in tokens]
        rows = [bytes(memory[first:first + row]) for first in starts]
        return (bytes(memory[start:start + lead]), rows,
                bytes(memory[start + end:start + end + tape - lead]))

    def _streamed(self, size: int, *, keep: bool):
        data = bytearray()
        for start in range(0, size, PIECE):
            piece = yield min(PIECE, size - start)
            if keep:
                data += piece
        return data

    def _run_status(self, run: Run, token: int) -> Status:
        """Return what is said of a pass before it is played."""
        configuration = self._configuration
        if not (0 < run.stages <= self.config.max_stages
                and configuration.lead_units <= run.tape_units):
            return Status.OUT_OF_RANGE
        if configuration.row_units == 0:
            return Status.BAD_TOKEN
        if run.flags & RunFlag.STREAMED:
            return Status.OK
        if self.memory and token >= configuration.vocab:
            return Status.BAD_TOKEN
        row_unit = configuration.rows_unit + token * configuration.row_units
        found = {self._memory_status(row_unit, configuration.row_units),
                 self._memory_status(configuration.tape_unit, run.tape_units),
                 Status.OK if run.count else Status.OUT_OF_RANGE}
        return max(found)

    def _best(self, run: Run, logits: np.ndarray | None) -> tuple[tuple[int, int], ...]:
        if logits is None:
            return ()
        count = self.config.candidates if run.flags & RunFlag.CANDIDATES else 1
        order = np.argsort(-logits.astype(np.int64), kind="stable")[:count]
        return tuple((int(token), int(logits[token])) for token in order)

    def _send_logits(self, logits: np.ndarray) -> None:
        messages = np.empty((len(logits), 5), np.uint8)
        messages[:, 0] = Code.LOGIT
        messages[:, 1:] = logits.astype("<i4").view(np.uint8).reshape(-1, 4)
        self._output += messages.tobytes()

    def _told(self, run: Run, lane: Lane, result: ModelResult) -> PassResult:
        """Return what the host is told of a token."""
        return PassResult(
            token=lane.token, last=True, candidates=self._best(run, result.logits),
            mantissa=result.mantissa, shift=result.shift, digest=result.records[-1].digest,
            cycles=sum(r.cycles for r in result.records),
            stalls=sum(r.stalls for r in result.records))

    def _send_answer(self, results: list[PassResult]) -> None:
        self._reply(Code.RUN, Status.OK, pack_answer(results))

    def _arguments(self, table):
        return table.unpack((yield table.SIZE))

    def _spaces(self) -> dict:
        records = record_words(self._records)
        padding = np.zeros(RECORD_WORDS * self.config.max_stages - len(records), np.int32)
        statistics = self.statistics
        counters = Counters(
            frames_good=statistics.good, frames_bad=statistics.bad,
            frames_out_of_order=statistics.out_of_order, frames_resent=statistics.resent, beats=0)
        return {
            Space.VECTORS: self.model.vectors,
            Space.STATE: self.model.state,
            Space.RECORDS: np.concatenate([records, padding]),
            Space.COUNTERS: np.frombuffer(counters.pack(), "<i4"),
            Space.FLASH: np.array([self.found]),
        }

    def _check_access(self, access: Access, *, written: bool) -> None:
        if access.space not in self._sizes or written and access.space not in WRITABLE:
            raise _Refused(Status.UNKNOWN_SPACE)
        if access.address + access.words > self._sizes[access.space]:
            raise _Refused(Status.OUT_OF_RANGE)

    def _read(self) -> Program:
        access = yield from self._arguments(Access)
        try:
            self._check_access(access, written=False)
        except _Refused as refusal:
            self._reply(Code.READ, refusal.status)
            return
        self._reply(Code.READ, Status.OK, self._words(access).tobytes())

    def _store(self) -> Program:
        access = yield from self._arguments(Access)
        data = np.frombuffer((yield 4 * access.words), "<i4")
        try:
            self._check_access(access, written=True)
        except _Refused as refusal:
            self._reply(Code.STORE, refusal.status)
            return
        self._set_words(access, data)
        self._reply(Code.STORE, Status.OK)

    def _words(self, access: Access) -> np.ndarray:
        """Return what a space has at a place, int32 [words]."""
        if access.space == Space.REGISTERS:
            return np.array(self._registers.read(access.address, access.words), "<u4").view("<i4")
        place = slice(access.address, access.address + access.words)
        return self._spaces()[access.space][place].astype("<i4")

    def _set_words(self, access: Access, data: np.ndarray) -> None:
        if access.space == Space.REGISTERS:
            self._registers.store(access.address, data.view(np.uint32).tolist())
        else:
            self._spaces()[access.space][access.address:access.address + len(data)] = data

    def _keep(self) -> Program:
        transfer = yield from self._arguments(Transfer)
        status = self._transfer_status(transfer, written=False)
        if status == Status.OK:
            place = self._bytes_of(transfer)
            size = place.stop - place.start
            self.memory[place] = self._words(transfer).tobytes()[:size].ljust(size, b"\0")
        self._reply(Code.KEEP, status)

    def _recall(self) -> Program:
        transfer = yield from self._arguments(Transfer)
        status = self._transfer_status(transfer, written=True)
        if status == Status.OK:
            data = self.memory[self._bytes_of(transfer)]
            words = np.frombuffer(data, "<i4", len(data) // 4)
            self._set_words(transfer, words[:transfer.words])
        self._reply(Code.RECALL, status)

    def _bytes_of(self, transfer: Transfer) -> slice:
        """Return where the units of a transfer are in the memory."""
        start = transfer.unit * self._unit
        return slice(start, start + transfer.units * self._unit)

    def _transfer_status(self, transfer: Transfer, *, written: bool) -> Status:
        try:
            self._check_access(transfer, written=written)
        except _Refused as refusal:
            return refusal.status
        return self._memory_status(transfer.unit, transfer.units)


class Server:
    """An emulator that listens on a TCP port of this machine, one host after the other.

    As the simulated board does, it hangs up without a byte on one that has waited too long.

    Parameters
    ----------
    emulator : Emulator
        Answers every connection; its memory lives on between them.
    wrap : callable or None
        Given the transport of each connection, returns the one to use.
    turn_seconds : float
        How long a host may wait for its turn.
    """

    def __init__(self, emulator: Emulator, *, wrap=None, turn_seconds: float = TURN_SECONDS):
        self.emulator = emulator
        self._wrap = wrap or (lambda transport: transport)
        self._turn_seconds = turn_seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._turn = threading.Lock()
        self._connection = None         # of the host whose turn it is, or was
        self._closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        """Name by which a host opens it."""
        return f"tcp:127.0.0.1:{self._listener.getsockname()[1]}"

    def hang_up(self) -> None:
        """Break the connection, as a device does that is unplugged."""
        with contextlib.suppress(OSError):      # the host may have hung up before
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and end the connection."""
        self._closing = True
        if self._connection is not None:
            self.hang_up()
        # Wakes the thread, which waits for the next connection.
        with socket.create_connection(self._listener.getsockname()):
            self._thread.join()
        self._listener.close()

    def _listen(self) -> None:
        hosts = []
        while not self._closing:
            connection, _ = self._listener.accept()
            hosts = [host for host in hosts if host.is_alive()]
            hosts.append(threading.Thread(target=self._answer, args=[connection], daemon=True))
            hosts[-1].start()
        for host in hosts:
            host.join()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            if not self._turn.acquire(timeout=self._turn_seconds):
                return
            try:
                self._connection = connection
                if not self._closing:
                    self.emulator.serve(self._wrap(TcpTransport(connection, self.uri)))
            finally:
                self._turn.release()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
