"""The driver: everything that a host program does with a device.

Nothing here knows whether the device is a board, a simulated board or an emulator.
"""

import collections
import contextlib
import dataclasses
import itertools
import zlib

import numpy as np

from tritstream.ddr3 import levelling
from tritstream.ddr3.link import LinkAccess
from tritstream.ddr3.registers import WORDS
from tritstream.errors import BadInput, DeviceError
from tritstream.flash import Stored
from tritstream.formats import FORMATS, MOST_BEAT_BYTES
from tritstream.image.layout import lay_out
from tritstream.image.needs import Needs, Residence
from tritstream.link.activity import StageActivity
from tritstream.link.endpoint import LinkOptions
from tritstream.link.messages import (
    RECORD_WORDS,
    Access,
    Configuration,
    Counters,
    Extent,
    Identity,
    Logit,
    PassResult,
    Run,
    StageRecord,
    Transfer,
    read_answer,
    reason,
    stage_records,
)
from tritstream.link.protocol import NO_STOP, PROTOCOL, Code, LaneFlag, RunFlag, Space, Status
from tritstream.link.stream import LinkStream
from tritstream.row_cache import RowCache
from tritstream.transport import Address, RecordingTransport, Transport, open_transport

__all__ = ["Device"]

BEAT_BYTES = frozenset(1 << bits for bits in range(MOST_BEAT_BYTES.bit_length()))
"""What a beat may have."""

CHUNK_UNITS = 4096
"""Units of an upload that are written, and read back, at a time."""

DEPTH = 16
"""Passes that are under way without the host having read their answers."""

LOGIT_BYTES = 1 + Logit.SIZE
"""A message of one logit, its code included."""

STOP_SECONDS = 2.0
"""How long a device that has failed already may take to start anew."""


class Device:
    """A device on the other side of a transport.

    The device is started anew and asked what it is; one that speaks another protocol or computes
    in other number formats is refused with `DeviceError`. All waits are bounded. When a call ends
    in an exception, Ctrl-C included, the device has been told to stop and can be used again; memory
    and recurrent state are kept.

    Parameters
    ----------
    transport : Transport
        Carries the bytes, and is closed with the device.
    build : bytes or None
        Identity of the only build that is accepted; `open` takes it from the option ``build`` of
        the address, if that has one.
    dead_seconds : float
        Fail when the device has been silent for so long.
    patience_seconds : float
        Fail when the device is alive but has not got on for so long.
    """

    def __init__(self, transport: Transport, *, build: bytes | None = None,
                 dead_seconds: float = 10.0, patience_seconds: float = 300.0):
        self._stream = LinkStream(
            transport, LinkOptions(retry_seconds=transport.retry_seconds),
            dead_seconds=dead_seconds, patience_seconds=patience_seconds)
        self.name = transport.name
        self._image = self.layout = None
        self._residence: Residence | None = None
        self._rows: RowCache | None = None      # where not all embedding rows are in the memory
        self._shelf_units = 0
        self.shelves = 0        # states that its memory has room for behind the image
        self._configured = False
        self._windows = None
        self._unanswered = 0
        try:
            self._stream.reset()
            self.identity = self.identify()
            self._accept(self.identity, build)
            self._preloaded = transport.preloaded       # not before: now it is this host's turn
        except BaseException:
            transport.close()
            raise

    @classmethod
    def open(cls, uri: str, *, image=None, record=None, **options) -> "Device":
        """Open the device called `uri`; see `open_transport` for `image`.

        `record` names a file for all its traffic; the other options are those of the class.
        """
        address = Address.parse(uri)
        options.setdefault("build", address.build)
        transport = open_transport(address, image)
        if record is not None:
            transport = RecordingTransport(transport, record)
        return cls(transport, **options)

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        self.close()

    def close(self) -> None:
        """Leave the device idle, and the port free."""
        try:
            if self._unanswered:
                self._stop_if_possible()
            with contextlib.suppress(DeviceError):
                self._stream.settle()
        finally:
            self._stream.close()

    def stop(self) -> None:
        """End whatever the device does; memory and recurrent state are kept."""
        self._configured = False
        self._unanswered = 0
        self._stream.reset()

    def clock(self) -> float | None:
        """Return the seconds by which the device's clock can be measured, see `Transport.clock`."""
        return self._stream.transport.clock()

    def activity(self) -> list[StageActivity] | None:
        """Return what the blocks did in the latest pass, see `Transport.activity`."""
        return self._stream.transport.activity()

    @property
    def statistics(self):
        """Frames that this end has counted, a `LinkStatistics`."""
        return self._stream.endpoint.statistics

    # What it is.

    def identify(self) -> Identity:
        """Ask the device what it is; its running digest starts anew."""
        with self._known_state(Identity.SIZE):
            self._command(Code.IDENTIFY)
            self._expect(Code.IDENTIFY)
            identity = Identity.unpack(self._stream.read(Identity.SIZE))
            self._stream.settle()
        return identity

    def clear_digest(self) -> None:
        """Begin the running digest anew; the recurrent state is kept."""
        self.identify()

    def _accept(self, identity: Identity, build: bytes | None) -> None:
        if identity.protocol != PROTOCOL:
            raise DeviceError(f"The device at {self.name} speaks protocol {identity.protocol}, "
                              f"this program {PROTOCOL}: build its bitstream again, or install the "
                              "program's matching version.")
        if identity.formats != FORMATS.version:
            raise DeviceError(f"The device at {self.name} computes in number formats of version "
                              f"{identity.formats}, this program in {FORMATS.version}: build its "
                              "bitstream again.")
        if not identity.candidates or not identity.clock_hz:
            raise DeviceError(f"The device at {self.name} says that it has {identity.candidates} "
                              f"candidates and a clock of {identity.clock_hz} Hz, neither of which "
                              "can be 0: build its bitstream again.")
        if identity.beat_bytes not in BEAT_BYTES or not identity.groups:
            raise DeviceError(f"The device at {self.name} says that it has {identity.groups} "
                              f"memories with beats of {identity.beat_bytes} bytes: build its "
                              "bitstream again.")
        if build is not None and identity.build != build:
            raise DeviceError(f"The device at {self.name} holds build {identity.build.hex()}, not "
                              f"{build.hex()}: load the bitstream that was asked for.")

    # The model.

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit of its memory."""
        return self.identity.stripes.unit_bytes

    @property
    def streamed(self) -> bool:
        """Whether the weights are sent for every token rather than kept in the device's memory."""
        return self._residence is Residence.NOTHING

    @property
    def goes_on_alone(self) -> bool:
        """Whether it makes many passes of one command: the rows of all tokens are in its memory."""
        return self._residence is Residence.WHOLE

    def load(self, image, *, streamed: bool | None = None, progress=None) -> int:
        """Make `image` the model that is run.

        Parameters
        ----------
        image
            Packed model, see `tritstream.image.image`.
        streamed : bool or None
            Whether to send the weights for every token; None: only if the memory is too small. One
            that has no room for all embedding rows is given them as they are needed.
        progress : callable or None
            Called with bytes done and bytes in all during an upload.

        Returns
        -------
        int
            Bytes that had to be written: 0 if the device had them already, or if streamed.
        """
        stripes, lanes = self.identity.stripes, self.identity.lanes
        needs, room = Needs.of(image, stripes), self.identity.memory_units * self.unit_bytes
        lack = needs.lack(self.identity)
        if lack:
            raise BadInput(f"The image does not fit the device at {self.name}: its {lack}; use "
                           "another build.")
        residence = Residence.NOTHING if streamed else needs.residence(room, lanes)
        if streamed is False and residence is Residence.NOTHING:
            raise BadInput(f"The image needs {needs.least_memory(lanes)} bytes of memory, and the "
                           f"device at {self.name} has {room}: stream the weights, or use a larger "
                           "board.")
        layout = lay_out(image, stripes)
        content = residence.content(layout)
        written = 0 if content is None else self.upload(content, progress)
        self._image, self.layout, self._residence = image, layout, residence
        self.shelves = needs.states_beside(room, stripes, lanes, residence)
        self._shelf_units = needs.state_units(stripes)
        self._rows = None
        if residence is Residence.TAPE:
            self._rows = RowCache(needs.rows_beside(
                room - self.shelves * self._shelf_units * self.unit_bytes))
        self._configured = False
        return written

    def start_memory(self, *, anew: bool = False) -> tuple[levelling.Window, ...]:
        """Start and level a memory that needs it, once after its bitstream was loaded.

        Whoever writes the memory, or reads it, need not ask for that. What it holds stays, unless
        it is started now.

        Parameters
        ----------
        anew : bool
            Whether to start it also if that was done before.

        Returns
        -------
        tuple of Window
            Where each byte lane reads what was written; none if the memory needs no start.

        Raises
        ------
        LevellingError
            A lane reads right nowhere.
        DeviceError
            The memory is not of the kind that this program starts.
        """
        registers = self.identity.memory_registers
        if not registers:
            return ()
        if registers != sum(WORDS.values()):
            raise DeviceError(f"The memory of the device at {self.name} has {registers} registers, "
                              f"and this program knows memories with {sum(WORDS.values())}: build "
                              "its bitstream again.")
        access = LinkAccess(self)
        if not anew and self._windows is None:
            self._windows = levelling.kept(access)
        if anew or self._windows is None:
            self._windows = None
            self._windows = levelling.start(access, access.wait)
        return self._windows

    def upload(self, payload, progress=None) -> int:
        """Write `payload` to the start of the device's memory, and compare it there.

        What the device holds already is not sent again; of what it was started with it is not even
        asked.

        Parameters
        ----------
        payload : bytes-like
            Whole units.
        progress : callable or None
            Called with bytes done and bytes in all.

        Returns
        -------
        int
            Bytes that had to be written.
        """
        view, unit = memoryview(payload).cast("B"), self.unit_bytes
        if len(view) % unit:
            raise BadInput(f"The image has {len(view)} bytes, which are not whole units of {unit}: "
                           "pack it again.")
        if payload is self._preloaded:
            return 0
        self._preloaded = None
        self.start_memory()
        written = 0
        with self._known_state(len(view)):
            for start in range(0, len(view), CHUNK_UNITS * unit):
                chunk = view[start:start + CHUNK_UNITS * unit]
                crc = zlib.crc32(chunk)
                if written or self._digest(start, len(chunk)) != crc:
                    self._write(start, chunk)
                    self._compare(start, self._digest(start, len(chunk)), crc)
                    written += len(chunk)
                if progress is not None:
                    progress(start + len(chunk), len(view))
            self._stream.settle()
        return written

    def write_memory(self, start: int, data) -> None:
        """Write whole units to the memory from byte `start` on, a whole unit, and check nothing."""
        self._preloaded = None
        self.start_memory()
        with self._known_state(len(data)):
            self._write(start, memoryview(data))
            self._stream.settle()

    def stored(self) -> Stored | None:
        """Return what the board found in its flash memory when it started; None: it does not look.

        A board that still fills its memory from there answers when it is done.
        """
        with self._known_state(4):
            self._command(Code.READ, Access(space=Space.FLASH, address=0, words=1).pack())
            self._expect(Code.READ)
            status, word = self._stream.read(1)[0], None
            if status != Status.UNKNOWN_SPACE:
                self._check(status, "to say what its flash memory holds")
                word = int.from_bytes(self._stream.read(4), "little")
            self._stream.settle()
        if word is not None and word not in iter(Stored):
            raise DeviceError(f"The device at {self.name} says {word} of its flash memory: its "
                              "bitstream does not match this program.")
        return None if word is None else Stored(word)

    def memory_crc(self, start: int, size: int) -> int:
        """Return the CRC-32 of `size` bytes of the memory, which the device computes."""
        self.start_memory()
        with self._known_state(size):
            crc = self._digest(start, size)
            self._stream.settle()
        return crc

    def _digest(self, start: int, size: int) -> int:
        self._command(Code.DIGEST, self._extent(start, size).pack())
        return self._answer_of_digest(start, size)

    def _answer_of_digest(self, start: int, size: int) -> int:
        self._expect(Code.DIGEST)
        status, *crc = self._stream.read(5)
        self._check(status, f"to read {size} bytes of its memory from byte {start} on")
        return int.from_bytes(bytes(crc), "little")

    def _write(self, start: int, chunk: memoryview) -> None:
        self._command(Code.WRITE, self._extent(start, len(chunk)).pack(), chunk)
        self._answer_of_write(start, len(chunk))

    def _answer_of_write(self, start: int, size: int) -> None:
        self._expect(Code.WRITE)
        self._check(self._stream.read(1)[0],
                    f"to write {size} bytes of its memory from byte {start} on")

    def _compare(self, start: int, found: int, crc: int) -> None:
        if found != crc:
            raise DeviceError(f"The memory of the device at {self.name} does not hold what was "
                              f"written from byte {start} on (CRC {found:08x}, not {crc:08x}): "
                              "test the board's memory.")

    def _extent(self, start: int, size: int) -> Extent:
        return Extent(unit=start // self.unit_bytes, units=size // self.unit_bytes)

    def _configure(self) -> None:
        image, layout = self._loaded(), self.layout
        if self._configured:
            return
        rows_unit, tape_unit = layout.rows_unit, layout.tape_unit
        if self._rows is not None:
            rows_unit, tape_unit = layout.tape_units, 0
            self._rows.forget()         # rows that were on their way may not have come
        stop = NO_STOP if image.stop_token is None else image.stop_token
        configuration = Configuration(
            rows_unit=rows_unit, tape_unit=tape_unit, lead_units=layout.lead_units,
            row_units=layout.row_units, vocab=image.vocab, stop_token=stop)
        self._command(Code.CONFIGURE, configuration.pack())
        self._expect(Code.CONFIGURE)
        self._check(self._stream.read(1)[0], f"a vocabulary of {image.vocab}")
        self._configured = True

    # Passes.

    def run(self, tokens, count: int = 1, *, fresh: bool = False, heads: bool = False,
            logits: bool = False, candidates: bool = False, enough=None):
        """Feed `tokens`, then generate greedily.

        The device runs on by itself where the weights are in its memory; a prompt's passes are sent
        without waiting for answers.

        Parameters
        ----------
        tokens : sequence of int
            The prompt, at least one token; all are in the vocabulary.
        count : int
            Passes with a head, the first of which is fed the last token; 0: none, the prompt only
            changes the state. The image's stop token ends them earlier.
        fresh : bool
            Whether the recurrent state counts as zero first.
        heads : bool
            Whether every token of the prompt plays the head too.
        logits : bool
            Whether all logits are wanted, of every pass with a head.
        candidates : bool
            Whether all candidates are wanted, not the best one alone.
        enough : callable or None
            Asked behind each pass with a head but the last; once it is true, the device is told to
            end behind the pass that is under way, which is delivered, too.

        Yields
        ------
        PassResult
            Of every pass in turn, the prompt's included.
        """
        self._loaded()
        tokens = list(tokens)
        if not tokens:
            raise BadInput("The prompt is empty: give at least one token.")
        if count < 0:
            raise BadInput(f"The number of passes must be at least 0, not {count}.")
        bodies = tokens if count == 0 else tokens[:-1]
        asked = {"logits": logits, "candidates": candidates}
        plays = [self.play_of(token, head=heads, **(asked if heads else {})) for token in bodies]
        if count:
            plays.append(self.play_of(tokens[-1], self._length(count), **asked))
        if fresh:
            plays[0] = dataclasses.replace(plays[0], flags=plays[0].flags | RunFlag.FRESH)
        left = len(bodies) + count
        while True:
            with contextlib.closing(self.play(plays, enough)) as results:
                for result in results:
                    left -= 1
                    yield result
            if not left or result.best == self._image.stop_token or enough and enough():
                return
            plays = [self.play_of(result.best, self._length(left), **asked)]

    def together(self, lanes, *, logits: bool = False, candidates: bool = False):
        """Take tokens, as many in one pass over the weights as the device has lanes.

        Passes are sent without waiting for answers.

        Parameters
        ----------
        lanes : sequence of Lane
            The tokens, and where their conversations' states lie. One that follows the token before
            it may be the first of a pass: then its state is the one that lies there. A pass of
            nothing but bodies plays no head.
        logits : bool
            Whether all logits are wanted; then none may be a body.
        candidates : bool
            Whether all candidates are wanted, not the best one alone.

        Yields
        ------
        PassResult
            Of every token in turn. Its digest is that of this token alone; cycles and stalls are
            those of the pass, and only in the result of its first token, else 0.
        """
        most = self._several_lanes()
        groups = [lanes[n:n + most] for n in range(0, len(lanes), most)]
        plays = []
        for first, *others in groups:
            group = [dataclasses.replace(first, flags=first.flags & ~LaneFlag.FOLLOWS), *others]
            head = any(LaneFlag.BODY not in lane.flags for lane in group)
            play = self.play_of(0, head=head, logits=logits, candidates=candidates)
            plays.append((play, group))
        with contextlib.closing(self._passes(plays)) as passes:
            for results in passes:
                yield from results

    def run_together(self, lanes, count: int, *, candidates: bool = False, enough=None):
        """Take a token of each of several conversations, then greedily what follows.

        The device runs on by itself where the weights are in its memory.

        Parameters
        ----------
        lanes : sequence of Lane
            The tokens, each of a slot of its own, and at most as many as the device has lanes.
        count : int
            Most passes; they end behind the one in which the image's stop token is found for any of
            them.
        candidates : bool
            Whether all candidates are wanted, not the best one alone.
        enough : callable or None
            See `run`.

        Yields
        ------
        list of PassResult
            Of each pass, by lane; see `together`.
        """
        most = self._several_lanes()
        if not 0 < len(lanes) <= most:
            raise BadInput(f"A pass of the device at {self.name} is for 1 to {most} tokens, not "
                           f"{len(lanes)}: share them out.")
        while count > 0:
            play = self.play_of(0, self._length(count), candidates=candidates)
            with contextlib.closing(self._passes([(play, lanes)], enough)) as passes:
                for results in passes:
                    count -= 1
                    yield results
            found = any(result.best == self._image.stop_token for result in results)
            if found or enough and enough():
                return
            lanes = [dataclasses.replace(lane, token=result.best, flags=LaneFlag(0))
                     for lane, result in zip(lanes, results, strict=True)]

    def _several_lanes(self) -> int:
        """Return how many lanes the device has; one with a single lane does not understand Lane."""
        if self.identity.lanes == 1:
            raise BadInput(f"The device at {self.name} has one lane: run one text after the other.")
        return self.identity.lanes

    def _length(self, count: int) -> int:
        """Return how many of `count` passes one command may ask for."""
        return min(count, Run.MOST if self.goes_on_alone else 1)

    def _loaded(self):
        """Return the image; there has to be one."""
        if self._image is None:
            raise BadInput("The device has no model yet: load an image first.")
        return self._image

    def play_of(self, token: int, count: int = 1, *, head: bool = True, logits: bool = False,
                candidates: bool = False) -> Run:
        """Return the command for `count` passes from `token` on, with or without the head."""
        image, layout = self._image, self.layout
        return Run(flags=RunFlag.LOGITS * logits | RunFlag.CANDIDATES * candidates,
                   token=token, count=count,
                   tape_units=layout.tape_units if head else layout.body_units,
                   stages=image.stages if head else image.body_stages)

    def play(self, plays, enough=None):
        """Run commands one after the other, each sent before the one before is answered.

        Parameters
        ----------
        plays : iterable of Run
            Commands; whether weights are streamed is added to their flags.
        enough : callable or None
            See `run`; only the command that is under way ends.

        Yields
        ------
        PassResult
            Of every pass in turn; the last is returned too.
        """
        last = None
        with contextlib.closing(self._passes(((play, ()) for play in plays), enough)) as passes:
            for (last,) in passes:
                yield last
        return last

    def _passes(self, plays, enough=None):
        """Run commands with their lanes; yield what each pass gave, and return the last."""
        results = None
        with self._known_state():
            self._configure()
            waiting = collections.deque()
            for play, lanes in plays:
                waiting.append((self._send(play, lanes), play, lanes))
                # Of several passes that one command asks for, another would end the run.
                while waiting and (play.count > 1 or len(waiting) == DEPTH or self._stream.poll()):
                    results = yield from self._answers(*waiting.popleft(), enough)
            while waiting:
                results = yield from self._answers(*waiting.popleft(), enough)
            self._stream.settle()
        return results

    def _send(self, play: Run, lanes=()) -> dict[int, bytes]:
        """Send a command; return the rows that are written in front of it, by their first bytes."""
        self._unanswered += 1
        tokens, weights, written = _tokens(play, lanes), (), {}
        if self.streamed:
            layout = self.layout
            tape = memoryview(layout.tape(play.tape_units))
            lead = layout.lead_units * self.unit_bytes
            weights = (tape[:lead], *map(layout.row, tokens), tape[lead:])
            play = dataclasses.replace(play, flags=play.flags | RunFlag.STREAMED)
        elif self._rows is not None:
            tokens = [self._place(token, written) for token in tokens]
            play = dataclasses.replace(play, token=tokens[0])
            lanes = [dataclasses.replace(lane, token=token)
                     for lane, token in zip(lanes, tokens, strict=False)]
        play, table = dataclasses.replace(play, lanes=len(lanes)), b"".join(
            lane.pack() for lane in lanes)
        with self._stream.limited(sum(memoryview(part).nbytes
                                      for part in (*weights, *written.values()))):
            for start, row in written.items():
                extent = self._extent(start, len(row)).pack()
                self._command(Code.WRITE, extent, row)
                self._command(Code.DIGEST, extent)
            self._command(Code.RUN, play.pack(), table, *weights)
            self._stream.flush()
        return written

    def _place(self, token: int, written: dict[int, bytes]) -> int:
        """Return the place of a token's row in the memory; add to `written` a row that is absent.

        One that is not in the vocabulary has no row: the device refuses it as it is.
        """
        if token >= self._image.vocab:
            return token
        place, absent = self._rows.find(token)
        if absent:
            unit = self.layout.tape_units + place * self.layout.row_units
            written[unit * self.unit_bytes] = self.layout.row(token)
        return place

    def _answers(self, written: dict[int, bytes], play: Run, lanes, enough):
        """Read what a command gave to its tokens, pass by pass; return that of the last."""
        tokens = _tokens(play, lanes)
        head = play.stages == self._image.stages
        heads = [head and LaneFlag.BODY not in lane.flags for lane in lanes] or [head]
        once = any(LaneFlag.FOLLOWS in lane.flags for lane in lanes)
        told = False                        # to end
        with self._stream.limited(sum(map(len, written.values()))):
            for start, row in written.items():
                self._answer_of_write(start, len(row))
                self._compare(start, self._answer_of_digest(start, len(row)), zlib.crc32(row))
        for index in itertools.count(1):
            results = self._answer(play, tokens, heads)
            ended = self._ends(play, index, results, once) or told and results[0].last
            if results[0].last != ended:
                raise self._ended(play, index, ended)
            if ended:
                self._unanswered -= 1
                if told:
                    self._told_to_end()
            yield results
            if ended:
                return results
            if enough and not told and enough():
                told = True
                self._tell_to_end()
            tokens = [result.best for result in results]

    def _ends(self, play: Run, index: int, results: list[PassResult], once: bool) -> bool:
        """Whether a pass has to be the last of its run."""
        return index == play.count or once or any(
            not result.candidates or result.best == self._image.stop_token for result in results)

    def _ended(self, play: Run, index: int, ends: bool) -> DeviceError:
        return DeviceError(f"The device at {self.name} {'went on' if ends else 'ended'} behind "
                           f"pass {index} of {play.count}: its bitstream does not match this "
                           "program.")

    def _tell_to_end(self) -> None:
        """Have a run end behind the pass that is under way: a command that waits does that."""
        self._command(Code.READ, Access(space=Space.COUNTERS, address=0, words=1).pack())
        self._stream.flush()

    def _told_to_end(self) -> None:
        """Read the answer to the command that a run has ended for, which nobody wants."""
        self._expect(Code.READ)
        self._check(self._stream.read(1)[0], "to read a counter")
        self._stream.read(4)

    def _answer(self, play: Run, tokens: list[int], heads: list[bool]) -> list[PassResult]:
        """Read the answer to a pass of these tokens, of which some have candidates."""
        vocab = self._image.vocab
        with self._stream.limited(len(tokens) * vocab * LOGIT_BYTES):
            code, logits = self._stream.read(1)[0], np.empty(0, np.int32)
            if code == Code.LOGIT and play.flags & RunFlag.LOGITS:
                code, logits = self._logits(len(tokens) * vocab)
            if code != Code.RUN:
                raise self._surprise(code, Code.RUN)
            self._check(self._stream.read(1)[0], f"to run token{'s' * (len(tokens) > 1)} "
                        f"{', '.join(map(str, tokens))}")
            results = read_answer(self._stream.read, tokens)
        for result, head in zip(results, heads, strict=True):
            self._check_candidates(play, result, head)
        if not play.flags & RunFlag.LOGITS:
            return results
        if len(logits) != len(tokens) * vocab:
            raise DeviceError(f"The device at {self.name} sent {len(logits)} logits of "
                              f"{len(tokens) * vocab}: repeat the command.")
        return [dataclasses.replace(result, logits=row)
                for result, row in zip(results, _by_lane(logits, len(tokens)), strict=True)]

    def _check_candidates(self, play: Run, result: PassResult, head: bool) -> None:
        token, most = result.token, 0
        if head:
            most = self.identity.candidates if play.flags & RunFlag.CANDIDATES else 1
        if head and not result.candidates:
            raise DeviceError(f"The device at {self.name} gave no next token behind token {token}: "
                              "its bitstream does not match this program.")
        if len(result.candidates) > most:
            raise DeviceError(f"The device at {self.name} gave {len(result.candidates)} candidates "
                              f"behind token {token}, of {most} at most: its bitstream does not "
                              "match this program.")
        worst = max((best for best, _ in result.candidates), default=0)
        if worst >= self._image.vocab:
            raise DeviceError(f"The device at {self.name} named token {worst}, and this model has "
                              f"tokens 0 to {self._image.vocab - 1}: its bitstream does not match "
                              "this program.")

    def _logits(self, most: int) -> tuple[int, np.ndarray]:
        """Read logits behind the code of the first; return the code behind the last, and all."""
        size = LOGIT_BYTES
        code = int(Code.LOGIT)
        data = bytearray()
        while code == Code.LOGIT and len(data) < size * most:
            # All that has come, but not more than that: a pass that fails ends before the last one.
            count = min(most - len(data) // size,
                        1 + max(0, self._stream.available - (size - 1)) // size)
            data.append(code)
            data += self._stream.read(size * count - 1)
            code = self._stream.read(1)[0]
        messages = np.frombuffer(data, np.uint8).reshape(-1, size)
        if np.any(messages[:, 0] != Code.LOGIT):
            raise DeviceError(f"The device at {self.name} broke off in the logits: repeat the "
                              "command.")
        return code, messages[:, 1:].copy().view("<i4").reshape(-1).astype(np.int32)

    # State, vectors, counters.

    def save_state(self, *, slot: int = 0) -> np.ndarray:
        """Return the recurrent state of the model in a slot, int32 [layers, hidden]."""
        image = self._loaded()
        shape = (image.layers, image.hidden)
        return self.read(Space.STATE, self.identity.slot_words * slot,
                         shape[0] * shape[1]).reshape(shape)

    def restore_state(self, state: np.ndarray, *, slot: int = 0) -> None:
        """Make `state`, integers [layers, hidden] of 24 bits, the recurrent state in a slot."""
        image = self._loaded()
        state = np.asarray(state)
        shape = (image.layers, image.hidden)
        if state.shape != shape or state.dtype.kind not in "iu":
            raise BadInput(f"The state has shape {list(state.shape)} and type {state.dtype}, not "
                           f"integers of shape {list(shape)}: it belongs to another model.")
        low, high = FORMATS.state_range
        if state.size and not (low <= state.min() and state.max() <= high):
            raise BadInput(f"The state holds numbers outside {low} to {high}: it is damaged.")
        self.store(Space.STATE, self.identity.slot_words * slot, state.reshape(-1))

    def keep_state(self, shelf: int, *, slot: int = 0) -> int:
        """Copy the recurrent state in a slot to a shelf, a place in the device's memory.

        It lies there until another is kept on that shelf, an image is loaded, or the memory loses
        what it holds.

        Parameters
        ----------
        shelf : int
            Below `shelves`.
        slot : int
            Below the device's lanes.

        Returns
        -------
        int
            CRC-32 of the state as it lies there, for `recall_state`.
        """
        extent = self._shelf(shelf)
        self._preloaded = None
        self.start_memory()
        with self._known_state(self._shelf_units * self.unit_bytes):
            self._command(Code.KEEP, self._transfer(extent, slot).pack())
            self._command(Code.DIGEST, extent.pack())
            self._expect(Code.KEEP)
            self._check(self._stream.read(1)[0],
                        f"to keep the state of slot {slot} in its memory")
            crc = self._answer_of_digest(extent.unit * self.unit_bytes,
                                         extent.units * self.unit_bytes)
            self._stream.settle()
        return crc

    def recall_state(self, shelf: int, crc: int, *, slot: int = 0) -> None:
        """Make a state that was kept the recurrent state in a slot.

        Parameters
        ----------
        shelf : int
            Where it lies; it stays there, too.
        crc : int
            What `keep_state` returned.
        slot : int
            Below the device's lanes.

        Raises
        ------
        DeviceError
            Something else lies there; the state in the slot is lost then.
        """
        extent = self._shelf(shelf)
        self.start_memory()
        start, size = extent.unit * self.unit_bytes, extent.units * self.unit_bytes
        with self._known_state(size):
            self._command(Code.DIGEST, extent.pack())
            self._command(Code.RECALL, self._transfer(extent, slot).pack())
            found = self._answer_of_digest(start, size)
            self._expect(Code.RECALL)
            self._check(self._stream.read(1)[0],
                        f"to recall a state from its memory to slot {slot}")
            self._stream.settle()
        if found != crc:
            raise DeviceError(f"The memory of the device at {self.name} does not hold the state "
                              f"that was kept there from byte {start} on (CRC {found:08x}, not "
                              f"{crc:08x}): repeat the command, or test the board's memory.")

    def _shelf(self, shelf: int) -> Extent:
        """Return where a shelf is: they begin at the end of the memory."""
        self._loaded()
        if not 0 <= shelf < self.shelves:
            raise BadInput(f"The device at {self.name} has no shelf {shelf} for a state: its "
                           f"memory has room for {self.shelves}, counted from 0, behind the image.")
        units = self._shelf_units
        return Extent(unit=self.identity.memory_units - (shelf + 1) * units, units=units)

    def _transfer(self, extent: Extent, slot: int) -> Transfer:
        image = self._loaded()
        return Transfer(unit=extent.unit, units=extent.units, space=Space.STATE,
                        address=self.identity.slot_words * slot,
                        words=image.layers * image.hidden)

    def read_vector(self, name: str, length: int) -> np.ndarray:
        """Return the first `length` elements of the vector ``x`` or ``z``, int32."""
        bases = {"x": 0, "z": self.identity.z_base}
        if name not in bases:
            raise BadInput(f"The device has no vector {name!r}: it has x and z.")
        return self.read(Space.VECTORS, bases[name], length)

    def records(self, stages: int | None = None) -> list[StageRecord]:
        """Return what the hardware kept of the last pass, of all or the first `stages` stages."""
        image = self._loaded()
        count = image.stages if stages is None else stages
        words = self.read(Space.RECORDS, 0, RECORD_WORDS * count)
        return stage_records(words)

    def counters(self) -> Counters:
        """Return what the device has counted."""
        words = self.read(Space.COUNTERS, 0, Counters.SIZE // 4)
        return Counters.unpack(words.astype("<i4").tobytes())

    def read(self, space: Space, address: int, words: int) -> np.ndarray:
        """Return `words` 32-bit words of an address space as int32."""
        with self._known_state(4 * words):
            self._command(Code.READ, Access(space=space, address=address, words=words).pack())
            self._expect(Code.READ)
            self._check(self._stream.read(1)[0],
                        f"to read {words} words of space {int(space)} from {address} on")
            data = self._stream.read(4 * words)
            self._stream.settle()
        return np.frombuffer(data, "<i4").astype(np.int32)

    def store(self, space: Space, address: int, words: np.ndarray) -> None:
        """Write 32-bit words, integers [n], to an address space."""
        data = np.ascontiguousarray(words, "<i4")
        with self._known_state(data.nbytes):
            access = Access(space=space, address=address, words=len(data))
            self._command(Code.STORE, access.pack(), data.tobytes())
            self._expect(Code.STORE)
            self._check(self._stream.read(1)[0],
                        f"to write {len(data)} words of space {int(space)} from {address} on")
            self._stream.settle()

    # Commands and replies.

    def _command(self, code: Code, *parts) -> None:
        self._stream.write(bytes([code]))
        for part in parts:
            self._stream.write(part)

    def _expect(self, code: Code) -> None:
        found = self._stream.read(1)[0]
        if found != code:
            raise self._surprise(found, code)

    def _surprise(self, found: int, code: Code) -> DeviceError:
        return DeviceError(f"The device at {self.name} answered 0x{found:02x} to command "
                           f"0x{code:02x}: its bitstream does not match this program.")

    def _check(self, status: int, what: str) -> None:
        if status != Status.OK:
            raise DeviceError(f"The device at {self.name} refused {what}: "
                              f"{reason(status)}.")

    @contextlib.contextmanager
    def _known_state(self, size: int | None = None):
        """Stop the device when what is done here does not come to its end.

        It may take the time of `size` bytes, if that is given.
        """
        limit = contextlib.nullcontext() if size is None else self._stream.limited(size)
        try:
            with limit:
                yield
        except GeneratorExit:
            if self._unanswered:
                self._stop_if_possible()
            raise
        except BaseException:
            self._stop_if_possible()
            raise

    def _stop_if_possible(self) -> None:
        with contextlib.suppress(DeviceError), self._stream.impatient(STOP_SECONDS):
            self.stop()


def _tokens(play: Run, lanes) -> list[int]:
    """Return the tokens of a command's first pass."""
    return [lane.token for lane in lanes] or [play.token]


def _by_lane(numbers: np.ndarray, lanes: int) -> list[np.ndarray]:
    """Sort logits that come in blocks of five rows, of each token in turn."""
    block = FORMATS.trits_per_byte
    vocab = len(numbers) // lanes
    whole = vocab // block * block
    head = numbers[:lanes * whole].reshape(-1, lanes, block)
    tail = numbers[lanes * whole:].reshape(lanes, -1)
    return [np.concatenate([head[:, lane].reshape(-1), tail[lane]]) for lane in range(lanes)]
