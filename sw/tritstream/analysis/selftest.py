"""What a board shows of itself: link, flash memory, levels, a token, clock, memory.

The clock is measured by what every board has: a pass whose weights come over the link takes as long
as they do, and the board counts its cycles. On a board with a UART the link says more: its bits are
made of the same clock, so that a board at half its clock answers at half the rate.
"""

import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from tritstream.analysis.check import Check, Verdict
from tritstream.analysis.memtest import examine_memory
from tritstream.ddr3.levelling import LevellingError
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import DeviceError
from tritstream.flash import Stored
from tritstream.formats import FORMATS
from tritstream.image.image import Image
from tritstream.image.needs import Needs
from tritstream.link.protocol import MAX_PAYLOAD, Space

__all__ = ["RATES", "examine"]

RATES = (1 / 2, 2, 1 / 4, 4, 3 / 4, 4 / 3)
"""Parts of its rate at which a board may answer whose clock is not what it should be."""

FIRST_WORDS = 64            # of the loopback, then twice as many each time
LEAST_OF_RATE = 0.7         # of the link's rate, frames and a USB adapter's latency included
PROMPT = (0, 5, 11)
PASSES = 2                  # behind the prompt
CLOCK_SECONDS = 0.1         # a shorter pass says too little: USB adapters take 16 ms for an answer
CLOCK_ERROR = 0.05
LEAST_MARGIN = 1            # delays that a byte lane of a DDR3 memory has to spare on both sides
SEED = 1


def examine(connect: Callable[[float], Device | None], images: list[Image],
            seconds: float) -> Iterator[Check]:
    """Examine the device that `connect` opens; what its memory held is lost.

    Parameters
    ----------
    connect : callable
        Opens the device at a part of the rate that its link should have; returns None if the rate
        of that link cannot be chosen. Raises `DeviceError` if no device answers.
    images : list of Image
        Models, the smallest first, which decides whether tokens are right.
    seconds : float
        That it may take about, of this computer's clock; at least each check is made once.

    Yields
    ------
    Check
        In turn; none behind one in which the device is lost.

    Raises
    ------
    LevellingError
        A byte lane of the memory reads right nowhere: nothing else can be tested.
    """
    try:
        device = connect(1)
    except DeviceError as error:
        yield Check("link", Verdict.FAIL, f"{error} It is silent, too, where its PLL does not lock")
        yield from _other_rates(connect)
        return
    checks = {"link": lambda: _link(device, seconds / 8),
              "flash": lambda: _flash(device),
              "levels": lambda: _levels(device),
              "token": lambda: _token(device, images[0]),
              "clock": lambda: _clock(device, images),
              "memory": lambda: examine_memory(device, 3 * seconds / 4)}
    with device:
        for name, check in checks.items():
            try:
                yield from check()
            except LevellingError:
                raise
            except DeviceError as error:
                yield Check(name, Verdict.FAIL, str(error))
                try:
                    device.stop()
                except DeviceError:     # it is gone
                    return


def _other_rates(connect) -> Iterator[Check]:
    for part in RATES:
        try:
            device = connect(part)
        except DeviceError:
            continue
        if device is None:
            return
        device.close()
        yield Check("clock", Verdict.FAIL, f"the board answers at {part:.3g} times its rate: its "
                    f"clock runs at {part:.3g} times what it was built for", part, "of its clock")
        return


def _link(device: Device, seconds: float) -> Iterator[Check]:
    """Store random words as recurrent state and read them back, more as long as there is time."""
    random, end = np.random.default_rng(SEED), time.monotonic() + seconds
    words, most = min(FIRST_WORDS, device.identity.max_state), device.identity.max_state
    low, high = FORMATS.state_range
    while True:
        data = random.integers(low, high, words, endpoint=True)
        began, times = time.monotonic(), [_now(device)]
        device.store(Space.STATE, 0, data)
        times.append(_now(device))
        found = device.read(Space.STATE, 0, words)
        times.append(_now(device))
        if not np.array_equal(found, data):
            wrong = int(np.argmax(found != data))
            yield Check("link", Verdict.FAIL, f"word {wrong} of {words} came back as "
                        f"{found[wrong]}, not {data[wrong]}: look at the block RAM")
            return
        now = time.monotonic()
        if words == most or now + 3 * (now - began) > end:
            break
        words = min(2 * words, most)
    counts = device.statistics
    damaged = counts.bad + counts.resent
    yield Check("link", Verdict.FAIL if damaged else Verdict.PASS,
                f"{4 * words:,} bytes there and back equal; of {counts.good + counts.sent} frames "
                f"{damaged} were damaged", 4 * words, "bytes")
    yield from _rates(device, 4 * words, np.diff(times))


def _rates(device: Device, size: int, seconds: np.ndarray) -> Iterator[Check]:
    rate = device.identity.link_rate
    for name, taken in zip(("rate to it", "rate from it"), seconds, strict=True):
        found = float(size / max(taken, 1e-9))
        told = f"{found:,.0f} bytes/s"
        if device.clock() is None or not rate:
            yield Check(name, Verdict.SKIP, f"{told} of this computer's time, by which no board "
                        "behind a socket can be judged", found, "bytes/s")
        else:
            verdict = Verdict.PASS if found >= LEAST_OF_RATE * rate else Verdict.FAIL
            yield Check(name, verdict, f"{told}, {found / rate:.1%} of {rate:,}", found, "bytes/s")


def _now(device: Device) -> float:
    clock = device.clock()
    return time.monotonic() if clock is None else clock


def _flash(device: Device) -> Iterator[Check]:
    """Say what the board found in its flash memory, if it looks there."""
    found = device.stored()
    if found is not None:
        verdict = {Stored.LOADED: Verdict.PASS, Stored.NOTHING: Verdict.SKIP}
        yield Check("flash", verdict.get(found, Verdict.FAIL), found.sentence)


def _levels(device: Device) -> Iterator[Check]:
    """Start the memory, if it needs that, and look at the margins of its byte lanes."""
    for lane, window in enumerate(device.start_memory(anew=True)):
        verdict = Verdict.PASS if window.margin >= LEAST_MARGIN else Verdict.FAIL
        yield Check(f"byte lane {lane}", verdict, f"read at bitslip {window.bitslip} and delay "
                    f"{window.delay}; right from {window.first} to {window.last}, a margin of "
                    f"{window.margin}", window.margin, "delays")


def _token(device: Device, image: Image) -> Iterator[Check]:
    if lack := Needs.of(image).lack(device.identity):
        yield Check("token", Verdict.SKIP, f"the model is too large: its {lack}")
        return
    device.load(image)
    prompt = [token % image.vocab for token in PROMPT]
    golden = GoldenEngine(image).open()
    expected = [*golden.feed(prompt[:-1]), *golden.run(prompt[-1], PASSES)]
    for number, (result, entry) in enumerate(zip(
            device.run(prompt, PASSES, fresh=True), expected, strict=True), 1):
        if result.digest != entry.digest:
            yield Check("token", Verdict.FAIL, f"token {number} has digest {result.digest:08x}, "
                        f"not {entry.digest:08x}: `tritstream verify` finds the stage", number,
                        "tokens")
            return
    yield Check("token", Verdict.PASS, f"{len(expected)} tokens equal golden, digest "
                f"{expected[-1].digest:08x}", len(expected), "tokens")


def _clock(device: Device, images: list[Image]) -> Iterator[Check]:
    asked = device.identity.clock_hz
    if device.clock() is None:
        yield Check("clock", Verdict.SKIP, f"{asked / 1e6:g} MHz by its own word: behind a socket "
                    "may be a simulation, whose only time is its cycles")
        return
    for image in images:
        if Needs.of(image).lack(device.identity):
            break
        device.load(image, streamed=True)
        began, clock = time.monotonic(), device.clock()
        device.identify()
        answered = device.clock()
        (result,) = device.run([0], 1, fresh=True)
        # Its cycles count from when the first frame is whole. What it was told before, and its
        # answer, take as long as two other messages.
        before = 2 * (answered - clock) + MAX_PAYLOAD / (device.identity.link_rate or math.inf)
        taken = device.clock() - answered - before
        if time.monotonic() - began > CLOCK_SECONDS:
            break
    found = float(result.cycles / max(taken, 1e-9))
    verdict = Verdict.PASS if abs(found / asked - 1) <= CLOCK_ERROR else Verdict.FAIL
    yield Check("clock", verdict, f"{found / 1e6:.4g} MHz, {found / asked:.1%} of "
                f"{asked / 1e6:g} MHz ({result.cycles:,} cycles in {taken:.3g} s)", found, "Hz")
