"""Many texts on one engine: each says what it says alone, whatever the company."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritstream.engines import Work
from tritstream.engines.golden import GoldenEngine
from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.scheduler import Scheduler
from tritstream_sim.twin.engine_contract import SMALL, contract_model

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
       quantum=st.sampled_from([1, 3]), active=st.integers(1, 9), data=st.data())
def test_each_text_is_what_it_is_alone(image, texts, lanes, quantum, active, data):
    """Texts come at any time and are cancelled at any time; the others do not notice."""
    engine = GoldenEngine(image)
    engine.lanes, engine.quantum = lanes, quantum
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
                assert (answer.tokens, answer.conversation.digest) == (expected, digest)
            assert answer.tokens == expected[:len(answer.tokens)]


def test_a_conversation_goes_on(engine, image):
    with Scheduler(engine) as scheduler:
        first = scheduler.submit([1, 2, 3], 4)
        tokens = list(first)
        with held(engine):
            second = scheduler.submit([tokens[-1], 7], 3, conversation=first.conversation)
            with pytest.raises(BadInput, match="text of this conversation is under way"):
                scheduler.submit([1], 1, conversation=second.conversation)
        list(second)
        state = scheduler.call(second.conversation.save)
    twin = GoldenEngine(image).open()
    for begin, *made in ([1, 2, 3], *tokens[:-1]), ([tokens[-1], 7], *second.tokens[:-1]):
        twin.feed(begin[:-1])
        for token in (begin[-1], *made):
            twin.step(token)
    assert (state.tokens, state.digest) == (twin.tokens, twin.digest)


def test_short_texts_do_not_wait_for_long_ones(engine):
    """A text of one token waits for a piece of a longer prompt at most."""
    engine.lanes, steps = 2, []
    step = engine.step
    engine.step = lambda works: steps.append(works) or step(works)
    with Scheduler(engine) as scheduler:
        with held(engine):
            long = scheduler.submit([1] * 600, 1)
            short = scheduler.submit([2], 1)
        assert len(list(short)) == 1
        assert len(list(long)) == 1
    least = next(index for index, works in enumerate(steps)
                 if any(work.conversation is short.conversation for work in works))
    assert least <= 1 and all(len(work.tokens) == 1 for work in steps[least])
    assert all(len(work.tokens) <= engine.piece for works in steps for work in works)


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
            answers = [scheduler.submit([1, 2], 5)]
            while scheduler._waiting:
                pass
            answers.append(scheduler.submit([3], 5))
            engine.step = failing
        for answer in answers:
            with pytest.raises(DeviceError, match="is gone"):
                list(answer)
            assert list(answer) == []
        again = scheduler.submit([3], 5, conversation=answers[1].conversation)
        assert list(again) == alone(image, [3], 5, 0.0, 0)[0]


def test_closing_ends_everything(engine):
    scheduler = Scheduler(engine)
    answer = scheduler.submit([1], 10 ** 6)
    next(answer)
    scheduler.close()
    list(answer)
    for call in (lambda: scheduler.submit([1], 1), lambda: scheduler.call(engine.open)):
        with pytest.raises(BadInput, match="scheduler is closed"):
            call()


def test_a_call_that_fails_fails_for_its_caller(engine):
    with Scheduler(engine) as scheduler:
        with pytest.raises(ZeroDivisionError):
            scheduler.call(lambda: 1 // 0)
        assert len(list(scheduler.submit([1], 2))) == 2


@pytest.mark.parametrize("arguments, sentence", [
    (([], 1), "prompt is empty"), (([1], 0), "at least 1, not 0"),
    (([SMALL.vocab], 1), "out of range"), (([1], 1, Sampler(temperature=1, top_k=99)), "top-k"),
])
def test_texts_that_cannot_be(engine, arguments, sentence):
    with Scheduler(engine) as scheduler, pytest.raises(BadInput, match=sentence):
        scheduler.submit(*arguments)
    with pytest.raises(BadInput, match="active must be at least 1, not 0"):
        Scheduler(engine, active=0)
