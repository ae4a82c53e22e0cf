"""Whole sessions of the driver with a device that lies, or over a link that damages bytes."""

import contextlib
import dataclasses
import pathlib
import random

import numpy as np

from tritstream.build import BuildConfig
from tritstream.driver import STOP_SECONDS, Device
from tritstream.errors import BadInput, DeviceError
from tritstream.link.messages import Identity, Lane
from tritstream.link.protocol import LaneFlag, Space
from tritstream.transport import Faults
from tritstream_sim.fuzz.values import odd_integer
from tritstream_sim.twin.emulator import Emulator
from tritstream_sim.twin.fake import FakeImage, FakeModel
from tritstream_sim.twin.in_process import InProcessTransport

__all__ = ["sessions"]

SHAPE = dict(max_hidden=64, max_intermediate=128, max_state=128, max_vocab=64)
CONFIGS = tuple(BuildConfig(memory_bytes=memory, lanes=lanes, **SHAPE)
                for memory in (1 << 16, 0) for lanes in (1, 3))
IMAGE = FakeImage(tape_units=20)
RATE = 300_000                  # bytes per second
DEAD, PATIENCE = 4.0, 8.0       # seconds
CALL = 2 * PATIENCE + DEAD + STOP_SECONDS + 1
"""Seconds that a call may take, or each pass of a run, a failure included."""

PROMPT, COUNT, TAKEN = 19, 3, 4     # most tokens of a prompt, passes behind it, passes of a run
                                    # that is abandoned


@contextlib.contextmanager
def sessions(directory: pathlib.Path, cache: pathlib.Path | None):
    """Yield a case: what an honest device answers is right, and what any answers can be."""
    yield case


def case(rng: random.Random) -> str:
    """Try one session."""
    config = rng.choice(CONFIGS)
    calls = [rng.choice(CALLS) for _ in range(rng.randrange(1, 6))]
    numbers = rng.getrandbits(32)
    kind = rng.choice(("honest", "faulty", "faulty", "lying", "lying", "strange"))
    options, identity = {}, None
    if kind == "faulty":
        options["faults"] = Faults(drop=_rate(rng), flip=_rate(rng), duplicate=_rate(rng),
                                   cut=_rate(rng) / 2, delay=_rate(rng))
    elif kind == "lying":
        options["lie"] = _Liar(rng)
    elif kind == "strange":
        identity = _strange(rng, Identity.of(config))
    cable = _cable(config, identity, seed=rng.getrandbits(16), rate=RATE, **options)
    answers, refused = [], False
    try:
        with Device(cable, dead_seconds=DEAD, patience_seconds=PATIENCE) as device:
            for answer in _answers(device, calls, random.Random(numbers), cable):
                answers.append(answer)
    except (BadInput, DeviceError):
        refused = True
    longest = CALL * (3 + sum(_passes(call) for call in calls))
    assert cable.now() <= longest, "a call took longer than it may"
    if kind in ("honest", "faulty"):
        with Device(_cable(config)) as honest:
            expected = list(_answers(honest, calls, random.Random(numbers)))
        right = answers == expected[:len(answers)] and (refused or len(answers) == len(expected))
        assert right, f"answers {answers}, expected {expected}"
        assert not (refused and kind == "honest"), "an honest device was refused"
    return f"{kind}, {'refused' if refused else 'done'}"


def _rate(rng: random.Random) -> float:
    return rng.choice((0, 0, 1e-4, 1e-3, 1e-2))


def _cable(config: BuildConfig, identity: Identity | None = None, **options) -> InProcessTransport:
    emulator = Emulator(config, FakeModel(IMAGE, config), identity=identity)
    return InProcessTransport(emulator, **options)


def _strange(rng: random.Random, identity: Identity) -> Identity:
    """Return an identity with a number changed to any that the message can carry."""
    changed = dict(zip(("protocol", "formats", "candidates", "max_hidden", "max_vocab", "max_state",
                        "memory_units", "clock_hz"), (8, 8, 8, 16, 32, 32, 32, 32), strict=True))
    name = rng.choice(list(changed))
    return dataclasses.replace(identity, **{name: odd_integer(rng, changed[name])})


class _Liar:
    """Changes some replies of a device, which the link then carries faithfully."""

    def __init__(self, rng: random.Random):
        self._rng = rng
        self._often = rng.choice((2, 5, 20, 100))
        self._last = b""

    def __call__(self, reply: bytes) -> bytes:
        rng = self._rng
        last, self._last = self._last, reply
        if rng.randrange(self._often):
            return reply
        place = rng.randrange(len(reply))
        changed = bytearray(reply)
        changed[place] = rng.choice((0, 255, changed[place] ^ 1 << rng.randrange(8)))
        return rng.choice((bytes(changed), bytes(changed), reply[:place], reply[place:],
                           reply + reply, last, b"", rng.randbytes(rng.randrange(200)),
                           reply + bytes(100_000)))


def _answers(device: Device, calls, rng: random.Random, cable: InProcessTransport | None = None):
    """Yield what each call answers; one of an honest device may take only so long."""
    device.load(IMAGE)
    for call in calls:
        began = 0.0 if cable is None else cable.now()
        yield call(device, rng)
        longest = CALL * _passes(call)
        assert cable is None or cable.now() - began <= longest, f"{call.__name__} took too long"


def _run(device: Device, rng: random.Random):
    tokens = [rng.randrange(IMAGE.vocab) for _ in range(rng.randrange(1, PROMPT + 1))]
    heads = bool(rng.randrange(2))
    results = list(device.run(tokens, rng.randrange(COUNT + 1), fresh=True, heads=heads,
                              logits=bool(rng.randrange(2)), candidates=bool(rng.randrange(2))))
    return [_checked(result) for result in results]


def _together(device: Device, rng: random.Random):
    """Several texts side by side, each in a slot of its own, or some tokens of one."""
    most, side_by_side = device.identity.lanes, bool(rng.randrange(2))
    tokens = [rng.randrange(IMAGE.vocab) for _ in range(rng.randrange(1, PROMPT + 1))]
    count, candidates = rng.randrange(1, COUNT + 1), bool(rng.randrange(2))
    if most <= 1:
        return []
    lanes = [Lane(token=token, slot=n if side_by_side else 0,
                  flags=LaneFlag.FRESH if side_by_side or not n else LaneFlag.FOLLOWS)
             for n, token in enumerate(tokens)]
    if side_by_side:
        passes = device.run_together(lanes[:most], count, candidates=candidates)
        return [_checked(result) for results in passes for result in results]
    return [_checked(result) for result in device.together(lanes, candidates=candidates)]


def _abandon(device: Device, rng: random.Random):
    results = device.run([rng.randrange(IMAGE.vocab)], 50, fresh=True)
    taken = [_checked(next(results)) for _ in range(rng.randrange(1, TAKEN + 1))]
    results.close()
    return taken


def _state(device: Device, rng: random.Random):
    state = np.array([[rng.randrange(-(1 << 23), 1 << 23) for _ in range(IMAGE.hidden)]
                      for _ in range(IMAGE.layers)])
    device.restore_state(state)
    return device.save_state().tolist() == state.tolist()


def _shelves(device: Device, rng: random.Random):
    """States are kept, and come back in another order."""
    kept = []
    for shelf in range(min(device.shelves, rng.randrange(1, 4))):
        state = np.array([[rng.randrange(-(1 << 23), 1 << 23) for _ in range(IMAGE.hidden)]
                          for _ in range(IMAGE.layers)])
        device.restore_state(state)
        kept.append((shelf, device.keep_state(shelf), state.tolist()))
    found = []
    for shelf, crc, state in reversed(kept):
        device.recall_state(shelf, crc)
        found.append(device.save_state().tolist() == state)
    return found


def _records(device: Device, rng: random.Random):
    return [result.digest for result in device.run([1], fresh=True)] + device.records()


def _vectors(device: Device, rng: random.Random):
    words = np.arange(rng.randrange(1, 64))
    device.store(Space.VECTORS, 0, words)
    return device.read_vector("x", len(words)).tolist() == words.tolist()


def _stop(device: Device, rng: random.Random):
    device.stop()


CALLS = (_run, _run, _together, _abandon, _state, _shelves, _records, _vectors, _stop)
"""What a session is made of; each begins afresh, so that its answer follows from its numbers."""


def _passes(call) -> int:
    """Return the most passes that a call may consist of; each has a bound of its own."""
    return {_run: PROMPT + COUNT, _together: PROMPT, _abandon: TAKEN}.get(call, 1)


def _checked(result):
    """Return what a pass must not differ in; whatever the device, it makes sense."""
    assert all(0 <= token < IMAGE.vocab for token, _ in result.candidates)
    assert len(result.candidates) <= CONFIGS[0].candidates
    logits = None if result.logits is None else result.logits.tolist()
    return result.token, result.candidates, result.digest, result.scale, logits
