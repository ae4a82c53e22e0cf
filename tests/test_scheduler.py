"""Many texts on one engine: each says what it says alone, whatever the company."""

import contextlib
import dataclasses
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.engines import Work
from tritstream.engines.board import DeviceEngine
from tritstream.engines.golden import GoldenEngine
from tritstream.engines.lanes import LanesEngine
from tritstream.engines.state import State
from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.image.image import Image
from tritstream.runtime.history import History
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.scheduler import Scheduler
from tritstream_sim.twin.emulator import Emulator
from tritstream_sim.twin.engine_contract import SMALL, contract_model
from tritstream_sim.twin.golden_board import GoldenBoard
from tritstream_sim.twin.in_process import InProcessTransport

TOKENS = st.integers(0, SMALL.vocab - 1)
TEXTS = st.tuples(st.lists(TOKENS, min_size=1, max_size=40), st.integers(1, 12),
                  st.sampled_from([0.0, 0.8]), st.integers(0, 5))
WAIT = 30                   # seconds, far more than anything here takes


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return contract_model(tmp_path_factory.mktemp("model"), SMALL)


@pytest.fixture
def engine(image):
    with GoldenEngine(image) as engine:
        yield engine


def sampler(temperature: float, seed: int) -> Sampler:
    return Sampler(temperature=temperature, seed=seed)


def alone(image, prompt, count, temperature, seed):
    """Tokens and digest of a text that has an engine for itself, a token at a time."""
    engine, choose, tokens = GoldenEngine(image), sampler(temperature, seed).choose, []
    conversation = engine.open()
    conversation.feed(prompt[:-1])
    token = prompt[-1]
    while len(tokens) < count and (not tokens or tokens[-1] not in engine.stop_tokens):
        token = choose(conversation.step(token).candidates)
        tokens.append(token)
    return tokens, conversation.digest


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, min_size=1, max_size=9), lanes=st.sampled_from([1, 2, 5, 16]),
       prefill=st.sampled_from([1, 3, 16]), quantum=st.sampled_from([1, 3]),
       ahead=st.sampled_from([1, 4]), active=st.integers(1, 9), data=st.data())
def test_each_text_is_what_it_is_alone(image, texts, lanes, prefill, quantum, ahead, active, data):
    """Texts come at any time and are cancelled at any time; the others do not notice."""
    engine = GoldenEngine(image)
    engine.lanes, engine.prefill, engine.quantum, engine.ahead = lanes, prefill, quantum, ahead
    answers = []
    with engine, Scheduler(engine, active=active) as scheduler:
        for prompt, count, temperature, seed in texts:
            answers.append(scheduler.submit(prompt, count, sampler(temperature, seed)))
            if data.draw(st.booleans()):
                next(data.draw(st.sampled_from(answers)), None)     # some time goes by
        cancelled = data.draw(st.sets(st.sampled_from(range(len(texts)))))
        for number in cancelled:
            answers[number].cancel()
        for number, (answer, text) in enumerate(zip(answers, texts, strict=True)):
            for _ in answer:
                pass
            expected, digest = alone(image, *text)
            if number not in cancelled:
                assert (answer.tokens, answer.digest) == (expected, digest)
            assert answer.tokens == expected[:len(answer.tokens)]


@pytest.mark.parametrize("lanes", [1, 3])
def test_texts_on_a_board_that_goes_on_by_itself(image, monkeypatch, lanes):
    """A command for several tokens of all; a text that ends in between disturbs nobody."""
    build = BuildConfig(lanes=lanes, memory_bytes=1 << 16, max_hidden=64, max_intermediate=64,
                        max_state=128, max_vocab=64)
    image = Image(image.path.with_name("endless.trit"))
    kind = LanesEngine if lanes > 1 else DeviceEngine
    device = Device(InProcessTransport(Emulator(build, GoldenBoard(image, build))))
    monkeypatch.setattr(kind, "ahead", 4)
    commands, send = [], device._send
    device._send = lambda play, lanes: commands.append(play) or send(play, lanes)
    texts = [([7, 1 + n], 9, 0.0, 0) for n in range(lanes)]
    with kind(device, image, simulated=True) as engine, Scheduler(engine) as scheduler:
        with held(engine):
            answers = [scheduler.submit(*text[:2]) for text in texts]
        for answer, text in zip(answers, texts, strict=True):
            assert (list(answer), answer.digest) == alone(image, *text)
        assert max(play.count for play in commands) == 4
        with held(engine):
            answers = [scheduler.submit(*text[:2], stop=(lambda token: True) if n == 0 else None)
                       for n, text in enumerate(texts)]
        for n, (answer, text) in enumerate(zip(answers, texts, strict=True)):
            tokens, digest = alone(image, *text)
            assert list(answer) == tokens[:1 if n == 0 else None]
            assert n == 0 or answer.digest == digest
        seen = []
        kept = scheduler.submit([7, 1], 9, keep=True,
                                stop=lambda token: seen.append(token) or len(seen) == 3)
        assert list(kept) == alone(image, *texts[0])[0][:3]
        more = scheduler.submit(kept.state.pending, 6, start=kept.state)
        assert kept.tokens + list(more) == alone(image, *texts[0])[0]


def test_full_passes(image):
    """What of a prompt would be alone in a pass comes beside tokens of others, later."""
    image = Image(image.path.with_name("endless.trit"))
    texts = [([1 + n], 12, 0.8, n) for n in range(7)] + [(list(range(1, 13)), 3, 0.8, 0)]
    for uniform, prompt_step in (True, 16), (False, 19):
        engine, sizes = GoldenEngine(image), []
        engine.lanes, engine.prefill, engine.uniform = 8, 16, uniform
        together = engine._together
        engine._together = lambda works, together=together, sizes=sizes: sizes.append(
            sum(len(work.tokens) for work in works)) or together(works)
        with engine, Scheduler(engine) as scheduler:
            with held(engine):
                answers = [scheduler.submit(prompt, count, sampler(*how))
                           for prompt, count, *how in texts]
            for answer, text in zip(answers, texts, strict=True):
                assert (list(answer), answer.digest) == alone(image, *text)
        assert sizes[0] == prompt_step, sizes
        assert not uniform or sizes[1:4] == [8, 8, 8]


@pytest.mark.parametrize("quantum", [1, 4])
def test_others_wait_for_a_turn_and_not_longer(image, quantum):
    """A device goes on by itself for the rest of a turn, also while others wait for theirs."""
    image = Image(image.path.with_name("endless.trit"))
    engine, counts = GoldenEngine(image), []
    engine.lanes, engine.quantum, engine.ahead = 1, quantum, 16
    run = engine.run
    engine.run = lambda tokens, count, *more: counts.append(count) or run(tokens, count, *more)
    texts = [([3 + n], 9, 0.0, 0) for n in range(2)]
    with engine, Scheduler(engine) as scheduler:
        with held(engine):
            answers = [scheduler.submit(*text[:2]) for text in texts]
        for answer, text in zip(answers, texts, strict=True):
            assert (list(answer), answer.digest) == alone(image, *text)
    assert counts == ([4, 4, 4, 4] if quantum == 4 else []), counts


@contextlib.contextmanager
def running_ahead(kind: str, image, lanes: int, passes: list):
    """Yield an engine that goes on by itself for as long as it may, and notes its passes."""
    if kind == "golden":
        with GoldenEngine(image) as engine:
            engine.lanes, together = lanes, engine._together
            engine._together = lambda works: passes.append(len(works)) or together(works)
            engine.ahead = engine.quantum = 10 ** 6
            yield engine
        return
    build = BuildConfig(lanes=lanes, memory_bytes=1 << 16, max_hidden=64, max_intermediate=64,
                        max_state=128, max_vocab=64)
    board = GoldenBoard(image, build)
    emulator = Emulator(build, board)
    play = emulator._pass
    emulator._pass = lambda run, lanes, *more: passes.append(len(lanes)) or play(run, lanes, *more)
    kind = LanesEngine if lanes > 1 else DeviceEngine
    with (pytest.MonkeyPatch.context() as patch,
          kind(Device(InProcessTransport(emulator)), image, simulated=True) as engine):
        patch.setattr(kind, "ahead", 10 ** 6)
        patch.setattr(kind, "quantum", 10 ** 6)
        yield engine


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", ["golden", "board"])
def test_a_lane_is_free_within_a_pass(image, kind, lanes):
    """Of a text whose client goes away in the middle of a run that could go on for long."""
    image, passes, marks = Image(image.path.with_name("endless.trit")), [], {}
    waits = threading.Event()

    def tell(answer, event):
        if isinstance(event, int) and len(answer.tokens) == 5:
            assert waits.wait(WAIT)
            marks["cancelled"] = len(passes)
            answer.cancel()

    def began(answer, event):
        marks.setdefault("began", len(passes))

    with running_ahead(kind, image, lanes, passes) as engine, Scheduler(engine) as scheduler:
        with held(engine):
            leaves = scheduler.submit([7, 1], 10 ** 6, tell=tell)
            others = [scheduler.submit([7, 2 + n], 40) for n in range(lanes - 1)]
        late = scheduler.submit([9], 3, tell=began)
        waits.set()
        for n, other in enumerate(others):
            assert (list(other), other.digest) == alone(image, [7, 2 + n], 40, 0.0, 0)
        while not late._left:
            pass
    assert late.tokens == alone(image, [9], 3, 0.0, 0)[0]
    assert leaves.tokens == alone(image, [7, 1], len(leaves.tokens), 0.0, 0)[0]
    assert marks["began"] - marks["cancelled"] <= 2, "one that was under way, and its own"


@pytest.mark.parametrize("kind", ["golden", "board"])
def test_a_text_comes_in_while_others_run(image, kind):
    """Where a lane is free, behind the pass that is under way."""
    image, passes, marks = Image(image.path.with_name("endless.trit")), [], {}

    def tell(answer, event):
        if isinstance(event, int) and len(answer.tokens) == 5:
            marks["came"] = len(passes)
            texts.append(scheduler.submit([9], 3, tell=began))

    def began(answer, event):
        marks.setdefault("began", len(passes))

    with running_ahead(kind, image, 3, passes) as engine, Scheduler(engine) as scheduler:
        texts = [scheduler.submit([7, 1], 60, tell=tell)]
        while len(texts) < 2 or not all(text._left for text in texts):
            pass
    for text, prompt in zip(texts, ([7, 1], [9]), strict=True):
        assert (text.tokens, text.digest) == alone(image, prompt, len(text.tokens), 0.0, 0)
    assert marks["began"] - marks["came"] <= 2 and len(texts[0].tokens) == 60
    assert len(passes) <= 61, "the others were not held up"


def test_a_conversation_goes_on(engine, image):
    """From its place on the device, from its bytes elsewhere, and twice from the same place."""
    with Scheduler(engine) as scheduler:
        first = scheduler.submit([1, 2, 3], 4, keep=True)
        tokens = list(first)
        assert first.state.text == (1, 2, 3, *tokens) and first.state.pending == (tokens[-1],)
        prompt = [*first.state.pending, 7]
        second = scheduler.submit(prompt, 3, start=first.state, keep=True)
        forked = scheduler.submit(prompt, 3, start=first.state, keep=True)
        assert list(second) == list(forked) and second.state == forked.state
        assert scheduler.submit([5], 1, keep=False).state is None
        data = first.state.to_bytes()
    with GoldenEngine(image) as other, Scheduler(other) as scheduler:
        third = scheduler.submit(prompt, 3, start=State.from_bytes(data), keep=True)
        assert list(third) == second.tokens and third.state == second.state
    twin = GoldenEngine(image).open()
    for begin, *made in ([1, 2, 3], *tokens[:-1]), ([tokens[-1], 7], *second.tokens[:-1]):
        twin.feed(begin[:-1])
        for token in (begin[-1], *made):
            twin.step(token)
    state = second.state
    assert (state.tokens, state.digest) == (twin.tokens, twin.digest)
    assert second.digest == twin.digest and state.heads == twin.save().heads


def test_going_on_is_as_if_it_had_not_ended(engine):
    """A text in two parts, with nothing in between, is the text in one."""
    with Scheduler(engine) as scheduler:
        whole = scheduler.submit([1, 2, 3], 9, keep=True)
        list(whole)
        part = scheduler.submit([1, 2, 3], 4, keep=True)
        list(part)
        rest = scheduler.submit(part.state.pending, 5, start=part.state, keep=True)
        assert part.tokens + list(rest) == whole.tokens and rest.state == whole.state


def test_a_text_that_is_cancelled_is_kept_at_its_last_token(engine):
    with Scheduler(engine) as scheduler:
        answer = scheduler.submit([1, 2], 10 ** 6, keep=True)
        tokens = [next(answer)]
        answer.cancel()
        tokens += list(answer)
        assert answer.state.text == (1, 2, *tokens)
        with held(engine):
            unread = scheduler.submit([1, 2], 4, keep=True)
            unread.cancel()
        assert list(unread) == unread.tokens
        assert (unread.state is None) == (not unread.tokens)


def test_a_text_ends_where_it_is_told_to(engine, image):
    expected, _ = alone(image, [1, 2, 3], 8, 0.0, 0)
    with Scheduler(engine) as scheduler:
        seen = []
        answer = scheduler.submit([1, 2, 3], 8, keep=True,
                                  stop=lambda token: seen.append(token) or len(seen) == 3)
        assert list(answer) == seen == expected[:3] and answer.state.pending == (seen[-1],)


@settings(max_examples=12, deadline=None)
@given(rounds=st.lists(st.dictionaries(st.integers(0, 3), st.tuples(
    st.lists(TOKENS, min_size=1, max_size=5), st.integers(1, 4)), min_size=1), min_size=1,
    max_size=5), resting=st.sampled_from([1, 2, 64]))
def test_turns_of_many_conversations(image, rounds, resting):
    """Those that leave the device between their turns come back as they were."""
    def go_on(scheduler, start, prompt, count):
        before = () if start is None else start.pending
        return scheduler.submit([*before, *prompt], count, start=start, keep=True)

    states: dict[int, State] = {}
    with (pytest.MonkeyPatch.context() as patch, GoldenEngine(image) as engine,
          Scheduler(engine) as scheduler):
        patch.setattr("tritstream.runtime.scheduler.RESTING", resting)
        for turns in rounds:
            answers = {number: go_on(scheduler, states.get(number), *turn)
                       for number, turn in turns.items()}
            for number, answer in answers.items():
                list(answer)
                states[number] = answer.state
    for number, found in states.items():
        with GoldenEngine(image) as engine, Scheduler(engine) as scheduler:
            state = None
            for turns in rounds:
                if number in turns:
                    answer = go_on(scheduler, state, *turns[number])
                    list(answer)
                    state = answer.state
        assert state == found


def test_a_fault_of_one_text_is_no_others(engine, image):
    with Scheduler(engine) as scheduler:
        bad = scheduler.submit([1, 2, 3], 8, stop=lambda token: 1 // 0)
        good = scheduler.submit([1, 2, 3], 8)
        with pytest.raises(ZeroDivisionError):
            list(bad)
        assert list(good) == alone(image, [1, 2, 3], 8, 0.0, 0)[0]


@settings(max_examples=25, deadline=None)
@given(turns=st.lists(st.tuples(st.lists(TOKENS, max_size=9), st.integers(1, 6)), min_size=1,
                      max_size=5), marks=st.sampled_from([1, 2, 16]), data=st.data())
def test_the_way_back(image, turns, marks, data):
    """Each earlier place has the state and digest that it had, and goes on as it did."""
    engine = GoldenEngine(image)
    with engine, Scheduler(engine) as scheduler, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tritstream.runtime.history.MARKS", marks)
        history = History(State.beginning(engine.model, engine.kind, engine.shape))
        for prompt, count in turns:
            start = history.state
            answer = scheduler.submit([*start.pending, *prompt] or [3], count, start=start,
                                      keep=True)
            list(answer)
            history.advance(answer.state)
        text, heads = history.state.text, history.state.heads
        count = data.draw(st.integers(0, len(text)))
        found = history.before(count, scheduler)
        twin = GoldenEngine(image).open()
        for token, head in zip(text[:max(0, count - 1)], heads, strict=False):
            twin.step(token) if head else twin.feed([token])
        assert found.text == text[:count] and found.tokens == twin.tokens
        assert dataclasses.replace(found, pending=()) == twin.save()
        if count < len(text) and count and heads[count - 1]:
            again = scheduler.submit(found.pending, 1, start=found)
            assert list(again) == [text[count]]
        for wrong in (-1, len(text) + 1):
            with pytest.raises(BadInput, match=f"give a number of 0 to {len(text)}, not {wrong}"):
                history.before(wrong, scheduler)


def test_short_texts_do_not_wait_for_long_ones(engine):
    """A text of one token waits for a piece of a longer prompt at most."""
    engine.lanes, engine.prefill = 2, 1
    steps = noted(engine)
    with Scheduler(engine) as scheduler:
        with held(engine):
            long = scheduler.submit([1] * 600, 1)
            short = scheduler.submit([2], 1)
        assert len(list(short)) == 1
        assert len(list(long)) == 1
    least = next(index for index, works in enumerate(steps)
                 if any(list(work.tokens) == [2] for work in works))
    assert least <= 1 and all(len(work.tokens) == 1 for work in steps[least])
    assert all(len(work.tokens) <= engine.piece for works in steps for work in works)


def noted(engine) -> list[list[Work]]:
    """Return the list to which an engine's steps are added from now on."""
    steps, step = [], engine.step
    engine.step = lambda works: steps.append(works) or step(works)
    return steps


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.tuples(st.lists(TOKENS, min_size=1, max_size=40), st.integers(1, 6)),
                      min_size=2, max_size=12),
       lanes=st.sampled_from([1, 2, 4, 8]), prefill=st.sampled_from([1, 4, 8]))
def test_whose_turn_it_is(image, texts, lanes, prefill):
    """Steps are full, bounded and fair: nobody waits for more than a turn of each of the others."""
    engine = GoldenEngine(image)
    engine.lanes, engine.prefill, engine.stop_tokens = lanes, prefill, ()
    steps, step = [], engine.step
    with engine, Scheduler(engine) as scheduler:
        engine.step = lambda works: steps.append((works, list(scheduler._active))) or step(works)
        with held(engine):
            answers = [scheduler.submit(prompt, count) for prompt, count in texts]
        for answer in answers:
            list(answer)
    waits = {}
    for works, active in steps:
        if len(active) == 1:
            continue                            # alone it has larger pieces
        read = sum(len(work.tokens) - work.head for work in works)
        assert read <= prefill and len(works) <= lanes
        assert read == prefill or len(works) == min(lanes, len(active))
        here = {work.conversation for work in works}
        waits = {answer: 0 if answer._conversation in here else waits.get(answer, 0) + 1
                 for answer in active}
        assert max(waits.values()) <= len(texts)


def test_the_first_token_comes_in_the_first_turn(engine):
    """Of prompts that a step takes whole, beside others that go on."""
    engine.lanes, engine.prefill, engine.stop_tokens = 4, 8, ()
    steps = noted(engine)
    with Scheduler(engine) as scheduler:
        answers = [scheduler.submit([1] * 9, 10 ** 6) for _ in range(8)]
        late = scheduler.submit([2] * 9, 1)
        assert len(list(late)) == 1
        for answer in answers:
            answer.cancel()
    assert sum([2] * 9 == list(work.tokens) and work.head for works in steps for work in works) == 1


class held:
    """Keep a scheduler from its engine."""

    def __init__(self, engine):
        self._engine, self._may, self._step = engine, threading.Event(), engine.step

    def __enter__(self):
        def step(works):
            assert self._may.wait(WAIT)
            return self._step(works)

        self._engine.step = step

    def __exit__(self, *exception):
        self._may.set()


def test_the_queue_is_bounded(engine):
    with Scheduler(engine, active=1, waiting=2) as scheduler, held(engine):
        texts = [scheduler.submit([1], 3)]
        while scheduler._waiting:           # until the first is at the engine
            pass
        texts += [scheduler.submit([1], 3) for _ in range(2)]
        with pytest.raises(DeviceBusy, match="2 texts wait for golden already"):
            scheduler.submit([1], 3)
    assert all(len(answer.tokens) <= 3 for answer in texts)


def test_a_device_that_fails_ends_the_texts_of_that_pass(engine, image):
    step, broken = engine.step, []

    def failing(works: list[Work]):
        if len(works) == 2 and not broken:
            broken.append(works)
            raise DeviceError("The device at golden is gone: plug it in again.")
        return step(works)

    with Scheduler(engine) as scheduler:
        with held(engine):
            answers = [scheduler.submit([1, 2], 5, keep=True)]
            while scheduler._waiting:
                pass
            answers.append(scheduler.submit([3], 5))
            engine.step = failing
        for answer in answers:
            with pytest.raises(DeviceError, match="is gone"):
                list(answer)
            assert list(answer) == [] and answer.state is None
        again = scheduler.submit([3], 5)
        assert list(again) == alone(image, [3], 5, 0.0, 0)[0]


def test_a_device_that_is_lost_is_opened_again(image):
    """As soon as it can be; what was kept goes on as if nothing had been."""
    engines, there = [], []

    def opened():
        if not there:
            raise DeviceError("No device answers at golden: plug it in.")
        engines.append(GoldenEngine(image))
        return engines[-1]

    there.append(True)
    with Scheduler(opened(), reopen=opened) as scheduler:
        first = scheduler.submit([1, 2, 3], 4, keep=True)
        list(first)
        prompt = [*first.state.pending, 7]

        def gone(works):
            raise DeviceError("The device at golden went away.")

        engines[0].step = gone
        there.clear()
        with pytest.raises(DeviceError, match="went away"):
            list(scheduler.submit(prompt, 3, start=first.state))
        assert scheduler.broken
        for _ in range(2):
            with pytest.raises(DeviceError, match="No device answers"):
                list(scheduler.submit(prompt, 3, start=first.state))
        there.append(True)
        second = scheduler.submit(prompt, 3, start=first.state, keep=True)
        assert list(second)
        assert not scheduler.broken and scheduler.engine is engines[-1] and len(engines) == 2
    with GoldenEngine(image) as engine, Scheduler(engine) as scheduler:
        expected = scheduler.submit(prompt, 3, start=first.state, keep=True)
        list(expected)
    assert second.state == expected.state


def test_a_device_that_is_lost_when_a_text_is_kept(image):
    """The text that was made has an error, too, and so have all whose places were there."""
    engines = []

    def opened():
        engines.append(GoldenEngine(image))
        return engines[-1]

    with Scheduler(opened(), reopen=opened) as scheduler:
        with held(engines[0]):
            texts = [scheduler.submit([1, 2], count, Sampler(temperature=1, seed=3), keep=True)
                     for count in (1, 10 ** 6)]

        def gone():
            raise DeviceError("The device at golden went away.")

        engines[0]._values = gone
        for text in texts:
            with pytest.raises(DeviceError, match="went away"):
                list(text)
            assert text.tokens and text.state is None
        assert list(scheduler.submit([1, 2], 1)) and len(engines) == 2
        engines[1]._values = gone
        with pytest.raises(DeviceError, match="went away"):
            list(scheduler.submit([1, 2], 1, keep=True))
        assert list(scheduler.submit([1, 2], 1, keep=True)) and len(engines) == 3


def test_closing_ends_everything(engine):
    scheduler = Scheduler(engine)
    answer = scheduler.submit([1], 10 ** 6)
    next(answer)
    scheduler.close()
    list(answer)
    with pytest.raises(BadInput, match="scheduler is closed"):
        scheduler.submit([1], 1)


def test_candidates_are_there_if_asked_for(engine):
    with Scheduler(engine) as scheduler:
        answers = [scheduler.submit([1, 2], 3, candidates=wanted) for wanted in (False, True)]
        for answer in answers:
            list(answer)
        assert answers[0].candidates == []
        assert [found.best for found in answers[1].candidates] == answers[1].tokens


def test_what_is_called_behind_a_step(image, engine):
    """Once for all texts that are told something in it, behind the last of them."""
    told, ended = [], threading.Semaphore(0)

    def tell(answer, event):
        told.append(event)
        if event is None:
            return ended.release()
        return behind

    def behind():
        told.append("behind")

    with Scheduler(engine) as scheduler:
        scheduler.between(lambda found: [scheduler.submit([1, 2], 3, tell=tell) for _ in range(4)])
        for _ in range(4):
            assert ended.acquire(timeout=WAIT)
        scheduler.between(lambda found: None).result(WAIT)
    steps = "".join("." if isinstance(event, int) else "e" if event is None else "b"
                    for event in told)
    count = len(alone(image, [1, 2], 3, 0.0, 0)[0])
    assert steps == (count - 1) * "....b" + ".e.e.e.eb"


def test_what_is_called_between_passes(image, engine):
    """In the scheduler's thread, with nothing under way, whether there are texts or not."""
    def where(found):
        with found._claimed():
            return found, threading.current_thread().name

    gate = threading.Event()
    with Scheduler(engine) as scheduler:
        assert scheduler.between(where).result(WAIT) == (engine, "scheduler")
        answer = scheduler.submit([1], 30)
        first = next(answer)
        assert scheduler.between(where).result(WAIT) == (engine, "scheduler")
        with pytest.raises(ZeroDivisionError):
            scheduler.between(lambda found: 1 / 0).result(WAIT)
        assert [first, *answer] == alone(image, [1], 30, 0.0, 0)[0]
        scheduler.between(lambda found: gate.wait(WAIT))
        waiting = []
        with pytest.raises(DeviceBusy, match="64 calls wait"):
            while True:
                waiting.append(scheduler.between(where))
        threading.Thread(target=scheduler.close).start()
        waiting[0].cancel()
        gate.set()
    assert all(future.done() for future in waiting)


@pytest.mark.parametrize("arguments, sentence", [
    (([], 1), "prompt is empty"), (([1], 0), "at least 1, not 0"),
    (([SMALL.vocab], 1), "out of range"), (([1], 1, Sampler(temperature=1, top_k=99)), "top-k"),
])
def test_texts_that_cannot_be(engine, arguments, sentence):
    with Scheduler(engine) as scheduler, pytest.raises(BadInput, match=sentence):
        scheduler.submit(*arguments)
    with pytest.raises(BadInput, match="active must be at least 1, not 0"):
        Scheduler(engine, active=0)
