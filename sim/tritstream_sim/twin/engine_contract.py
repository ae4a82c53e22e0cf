"""What every engine has to do, as cases that hold any engine to it.

A case is called with an engine and its *twin*: an engine on this computer that computes the same,
golden for integers and the float reference for floats, from which what is expected is taken, one
step at a time. Both hold the model of `contract_model`. `CASES` has all cases; who runs them on an
engine opens a new one for each.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import re
import threading

import numpy as np

from tritstream.engines import Conversation, Engine, Pass, Work
from tritstream.engines.golden import GoldenEngine
from tritstream.engines.state import FLOATS, INTEGERS, State
from tritstream.errors import BadInput, DeviceBusy
from tritstream.formats import FORMATS
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint

__all__ = ["CASES", "LENGTH", "SMALL", "contract_model"]

SHAPE = ModelConfig(hidden=20, intermediate=28, layers=2, vocab=41, bos=0, eos=None)
SMALL = ModelConfig(hidden=5, intermediate=7, layers=1, vocab=19, bos=0, eos=None)
PROMPT = [5, 17, 9, 3]
SEED = 2
PATIENCE = 60.0             # seconds for another thread
LENGTH = 5                  # passes to the stop token
BEYOND = LENGTH + 2         # passes that are asked for where the stop token has to end a run


def contract_model(directory: pathlib.Path, shape: ModelConfig = SHAPE) -> Image:
    """Make the model of the contract: a run on `PROMPT` finds its stop token at pass `LENGTH`."""
    image = pack(DummyCheckpoint(shape, seed=SEED), directory / "endless.trit")
    conversation = GoldenEngine(image).open()
    conversation.feed(PROMPT[:-1])
    best = [result.candidates.best for result in conversation.run(PROMPT[-1], LENGTH)]
    if best.index(best[-1]) != LENGTH - 1:
        raise ValueError(f"the model says {best}, whose last token comes earlier: take another")
    config = dataclasses.replace(shape, eos=best[-1])
    return pack(DummyCheckpoint(config, seed=SEED), directory / "contract.trit")


def stepped(engine: Engine, count: int = LENGTH) -> tuple[Conversation, list[Pass]]:
    """Take `PROMPT` and step on greedily; the conversation and its passes with a head."""
    conversation = engine.open()
    conversation.feed(PROMPT[:-1])
    passes, token = [], PROMPT[-1]
    for _ in range(count):
        passes.append(conversation.step(token))
        token = passes[-1].candidates.best
    return conversation, passes


def prompted(engine: Engine) -> Conversation:
    """Take `PROMPT` but for its last token."""
    conversation = engine.open()
    conversation.feed(PROMPT[:-1])
    return conversation


def check_passes(found: list[Pass], expected: list[Pass]) -> None:
    """Compare passes: integers exactly."""
    assert [one.digest for one in found] == [one.digest for one in expected]
    for one, other in zip(found, expected, strict=True):
        if other.candidates is None:
            assert one.candidates is None
        else:
            assert one.candidates.tokens[:16] == other.candidates.tokens
            assert np.allclose(one.candidates.scores[:16], other.candidates.scores, rtol=1e-12)


def greedy(passes: list[Pass]) -> list[Pass]:
    """Return what is told of passes whose other candidates nobody wants."""
    return [one.told(False) for one in passes]


def check_place(found: Conversation, expected: Conversation) -> None:
    """Compare where two conversations are, and what they say next."""
    assert found.tokens == expected.tokens
    assert found.digest == expected.digest
    one, other = found.save(), expected.save()
    assert (one.tokens, one.heads, one.digest) == (other.tokens, other.heads, other.digest)
    assert np.allclose(one.values, other.values, rtol=1e-12, atol=0)
    check_passes([found.step(7)], [expected.step(7)])


@contextlib.contextmanager
def refusal(error: type[Exception], words: str):
    """Expect one sentence with these words."""
    try:
        yield
    except error as found:
        assert re.search(words, str(found)), f"{found} lacks {words!r}"
        assert str(found).endswith(".")
    else:
        raise AssertionError(f"not refused, but should be, with {words!r}")


# What is computed.

def a_run_is_its_steps(engine, twin):
    expected, passes = stepped(twin)
    conversation = prompted(engine)
    check_passes(list(conversation.run(PROMPT[-1], LENGTH)), greedy(passes))
    check_place(conversation, expected)


def a_run_has_candidates_if_asked(engine, twin):
    expected, passes = stepped(twin)
    conversation = prompted(engine)
    check_passes(list(conversation.run(PROMPT[-1], LENGTH, candidates=True)), passes)
    check_place(conversation, expected)


def feeding_is_stepping(engine, twin):
    together, apart = engine.open(), engine.open()
    fed = together.feed(PROMPT)
    check_passes(fed, [result for token in PROMPT for result in apart.feed([token])])
    expected = twin.open()
    check_passes(fed, expected.feed(PROMPT))
    check_place(together, expected)


def candidates_are_the_best_logits(engine, twin):
    conversation, expected = engine.open(), twin.open()
    rows = conversation.logits(PROMPT)
    assert rows.dtype == np.float32 and rows.shape == (len(PROMPT), engine.vocab)
    assert np.allclose(rows, expected.logits(PROMPT), rtol=1e-6)
    check_place(conversation, expected)
    _, (best,) = stepped(engine, 1)
    count = len(best.candidates.tokens)
    assert count == min(engine.kept, engine.vocab)
    assert list(best.candidates.tokens) == np.argsort(-rows[-1], kind="stable")[:count].tolist()
    assert np.allclose(best.candidates.scores, rows[-1][list(best.candidates.tokens)], rtol=1e-6)


def a_score_is_that_of_the_logits(engine, twin):
    conversation, expected = engine.open(), twin.open()
    nats, favourites = conversation.score(PROMPT, [1, 2, 3, 4])
    wanted, wanted_favourites = expected.score(PROMPT, [1, 2, 3, 4])
    assert np.isclose(nats, wanted, rtol=1e-9)
    assert np.array_equal(favourites, wanted_favourites)
    check_place(conversation, expected)


def nothing_taken_is_nothing_done(engine, twin):
    conversation = engine.open()
    assert conversation.feed([]) == [] and conversation.tokens == ()
    assert conversation.logits([]).shape == (0, engine.vocab)
    assert conversation.digest == (None if engine.kind == FLOATS else 0)
    assert not conversation.save().values.any()
    check_place(conversation, twin.open())


# Runs that end.

def a_run_ends_behind_its_stop_token(engine, twin):
    conversation = prompted(engine)
    assert len(list(conversation.run(PROMPT[-1], BEYOND))) == LENGTH
    check_place(conversation, stepped(twin)[0])


def a_run_ends_at_any_stop_token(engine, twin):
    expected, passes = stepped(twin, 2)
    engine.stop_tokens = (*engine.stop_tokens, passes[-1].candidates.best)
    conversation = prompted(engine)
    check_passes(list(conversation.run(PROMPT[-1], LENGTH)), greedy(passes))
    check_place(conversation, expected)


def a_run_that_is_left_early(engine, twin):
    for taken in range(1, LENGTH):
        expected, passes = stepped(twin, taken)
        conversation = prompted(engine)
        run = conversation.run(PROMPT[-1], BEYOND)
        check_passes(list(itertools.islice(run, taken)), greedy(passes))
        run.close()
        check_place(conversation, expected)


def a_run_that_is_left_before_it_began(engine, twin):
    conversation = prompted(engine)
    conversation.run(PROMPT[-1], LENGTH).close()
    check_place(conversation, prompted(twin))


def a_run_that_is_left_after_a_long_text(engine, twin):
    """The state is read before the run, rather than the whole text taken again behind it."""
    conversations = engine.open(), twin.open()
    for each in conversations:
        each.feed(PROMPT)
    conversations[0].replayed = len(PROMPT) - 1
    run = conversations[0].run(8, 2)
    check_passes([next(run)], greedy([conversations[1].step(8)]))
    run.close()
    check_place(*conversations)


def a_run_that_is_interrupted(engine, twin):
    expected, passes = stepped(twin, 2)
    conversation = prompted(engine)
    run = conversation.run(PROMPT[-1], LENGTH)
    check_passes(list(itertools.islice(run, 2)), greedy(passes))
    with contextlib.suppress(KeyboardInterrupt):
        run.throw(KeyboardInterrupt)
    check_place(conversation, expected)


def a_run_that_is_forgotten(engine, twin):
    conversation = prompted(engine)
    for _ in conversation.run(PROMPT[-1], LENGTH):
        break
    check_place(conversation, stepped(twin, 1)[0])


def a_call_that_fails_changes_nothing(engine, twin):
    """Here the device has done all of it, and the answer is lost."""
    conversation = prompted(engine)
    feed = engine._feed

    def interrupted(tokens):
        feed(tokens)
        raise KeyboardInterrupt

    engine._feed = interrupted
    with contextlib.suppress(KeyboardInterrupt):
        conversation.feed([4, 8])
    engine._feed = feed
    check_place(conversation, prompted(twin))


# One thing at a time.

def a_device_in_a_run_is_busy(engine, twin):
    conversation, other = prompted(engine), engine.open()
    run = conversation.run(PROMPT[-1], LENGTH)
    passes = [next(run)]
    for call in (lambda: conversation.step(1), lambda: conversation.feed([1]),
                 lambda: conversation.logits([1]), conversation.save, lambda: other.step(1),
                 lambda: next(other.run(1, 1)), lambda: engine.step([Work(other, [1])]),
                 lambda: engine.stage_vector([1], 0)):
        with refusal(DeviceBusy, "busy with another run"):
            call()
    expected, wanted = stepped(twin)
    check_passes(passes + list(run), greedy(wanted))
    check_place(conversation, expected)


def a_device_is_free_behind_the_last_pass(engine, twin):
    conversation = prompted(engine)
    run = conversation.run(PROMPT[-1], 2)
    next(run), next(run)
    check_place(conversation, stepped(twin, 2)[0])


def closing_a_conversation_ends_its_run(engine, twin):
    with prompted(engine) as conversation:
        run = conversation.run(PROMPT[-1], LENGTH)
        next(run)
    assert list(run) == []
    check_place(prompted(engine), prompted(twin))


def a_call_from_another_thread_is_refused(engine, twin):
    conversation = prompted(engine)
    run = conversation.run(PROMPT[-1], LENGTH)
    next(run)
    errors = []

    def call():
        try:
            conversation.step(1)
        except DeviceBusy as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(errors) == 1
    run.close()
    check_place(conversation, stepped(twin, 1)[0])


def conversations_side_by_side(engine, twin):
    pairs = [(prompted(engine), prompted(twin)), (engine.open(), twin.open())]
    for tokens in ((4, 8), (15, 16)):
        for pair, token in zip(pairs, tokens, strict=True):
            one, other = (conversation.step(token) for conversation in pair)
            check_passes([one], [other])
    for pair in pairs:
        check_place(*pair)


def conversations_in_one_step(engine, twin):
    """Of any lengths, with and without the head, new ones and old ones, in any company."""
    texts = [PROMPT[1:], [7], [2, 11, 7], [9]]
    there = [engine.open() for _ in texts]
    alone = [twin.open() for _ in texts]
    for turn in range(2):
        works, expected = [], []
        for number, tokens in enumerate(texts):
            if (number + turn) % 4 == 0:
                continue                        # sits this one out
            head = (number + turn) % 2 == 0
            works.append(Work(there[number], tokens, head))
            before = alone[number].feed(tokens[:-1] if head else tokens)
            expected.append(alone[number].step(tokens[-1]) if head else before[-1])
        check_passes(engine.step(works), expected)
        if turn == 0:                           # in between each goes on by itself, too
            check_passes([there[1].step(3)], [alone[1].step(3)])
    assert engine.step([]) == []
    for found, wanted in zip(there, alone, strict=True):
        check_place(found, wanted)


def conversations_that_go_on_together(engine, twin):
    """Greedily for a while; then one says something else, and one leaves for another."""
    there, alone = ([each.open() for _ in range(4)] for each in (engine, twin))
    tokens = {0: 5, 1: 9, 2: 7}
    for turn in range(6):
        if turn == 4:
            tokens[1] = (tokens[1] + 1) % engine.vocab
        if turn == 5:
            del tokens[0]
            tokens[3] = 4
        found = engine.step([Work(there[number], [token]) for number, token in tokens.items()])
        check_passes(found, [alone[number].step(token) for number, token in tokens.items()])
        tokens = {number: result.candidates.best
                  for number, result in zip(tokens, found, strict=True)}
    for one, other in zip(there, alone, strict=True):
        check_place(one, other)


def conversations_that_go_on_behind_a_save(engine, twin):
    """Greedily as before: what a device has begun unasked has been taken back for the state."""
    there, alone = ([each.open() for _ in range(2)] for each in (engine, twin))
    tokens = [5, 9]
    for turn in range(7):
        found = engine.step([Work(text, [token])
                             for text, token in zip(there, tokens, strict=True)])
        check_passes(found, [text.step(token) for text, token in zip(alone, tokens, strict=True)])
        tokens = [result.candidates.best for result in found]
        if turn == 4:
            assert there[0].save().tokens == alone[0].tokens
    for pair in zip(there, alone, strict=True):
        check_place(*pair)


def more_conversations_than_there_are_lanes_for(engine, twin):
    """They take turns, one by one and in pairs; some are saved and opened again, some leave."""
    pairs = [(engine.open(), twin.open()) for _ in range(6)]
    texts = [(5, 7), (9, 3)] * 3            # no neighbours alike
    for (one, other), (token, _) in zip(pairs, texts, strict=True):
        check_passes([one.step(token)], [other.step(token)])
    for number in (1, 4):
        saved = [conversation.save() for conversation in pairs[number]]
        for conversation in pairs[number]:
            conversation.close()
        pairs[number] = engine.open(saved[0]), twin.open(saved[1])
    for first in 0, 2, 4:
        chosen = range(first, first + 2)
        found = engine.step([Work(pairs[number][0], texts[number][1:]) for number in chosen])
        check_passes(found, [pairs[number][1].step(texts[number][1]) for number in chosen])
    for pair in pairs:
        check_place(*pair)


def a_fork_goes_its_own_way(engine, twin):
    pairs = [(prompted(engine), prompted(twin))]
    pairs += [(one.fork(), other.fork()) for one, other in pairs]
    for token, pair in enumerate(pairs):
        check_passes(*[[conversation.step(token)] for conversation in pair])
    for pair in pairs:
        check_place(*pair)
    pairs[0][0].close()
    with refusal(BadInput, "closed"):
        pairs[0][0].fork()


def conversations_whose_candidates_nobody_wants(engine, twin):
    """Beside others that want them, and in the same step as the begin of a prompt."""
    there, alone = ([each.open() for _ in range(3)] for each in (engine, twin))
    for wanted in ((True, False), (False, True), (False, False)):
        found = engine.step([*(Work(text, [9, 4], candidates=one)
                               for text, one in zip(there, wanted, strict=False)),
                             Work(there[2], [1, 2], head=False)])
        expected = []
        for text, one in zip(alone, wanted, strict=False):
            text.feed([9])
            expected.append(text.step(4).told(one))
        check_passes(found, [*expected, alone[2].feed([1, 2])[-1]])
    for one, other in zip(there, alone, strict=True):
        check_place(one, other)


def a_run_of_several_is_their_steps(engine, twin):
    """Each as if it were alone, until the first of them finds the stop token."""
    for companions in ([], [2], [2, 8]):
        tokens = [PROMPT[-1], *companions]
        there, alone, ahead = ([prompted(each), *(each.open() for _ in companions)]
                               for each in (engine, twin, twin))
        length = min(len(list(text.run(token, BEYOND)))
                     for text, token in zip(ahead, tokens, strict=True))
        steps = list(engine.run(dict(zip(there, tokens, strict=True)), BEYOND))
        assert len(steps) == length <= LENGTH
        for number, (text, token) in enumerate(zip(alone, tokens, strict=True)):
            check_passes([step[number] for step in steps], list(text.run(token, length)))
        for pair in zip(there, alone, strict=True):
            check_place(*pair)


def a_run_of_several_that_is_left_early(engine, twin):
    for leave in (lambda run: run.close(), lambda run: throw(run, KeyboardInterrupt)):
        for taken in (1, 2, 3):
            pairs = [(prompted(engine), prompted(twin)), (engine.open(), twin.open())]
            run = engine.run({there: 5 + n for n, (there, _) in enumerate(pairs)}, 3)
            steps = list(itertools.islice(run, taken))
            leave(run)
            for n, (there, alone) in enumerate(pairs):
                check_passes([step[n] for step in steps], list(alone.run(5 + n, taken)))
                check_place(there, alone)


def a_run_ends_when_it_is_enough(engine, twin):
    """What the device has begun is delivered, and no more; it goes on from there."""
    for companions, taken in itertools.product(([], [2], [2, 8]), (1, 2)):
        tokens = [PROMPT[-1], *companions]
        there, alone = ([prompted(each), *(each.open() for _ in companions)]
                        for each in (engine, twin))
        steps = []
        for step in engine.run(dict(zip(there, tokens, strict=True)), LENGTH - 1,
                               lambda steps=steps, taken=taken: len(steps) >= taken):
            steps.append(step)          # not all at once: they are counted meanwhile
        assert taken <= len(steps) <= taken + engine.beyond
        for number, (text, token) in enumerate(zip(alone, tokens, strict=True)):
            check_passes([step[number] for step in steps], list(text.run(token, len(steps))))
        for pair in zip(there, alone, strict=True):
            check_place(*pair)


def a_run_of_several_that_cannot_be(engine, twin):
    conversation, closed = prompted(engine), engine.open()
    closed.close()
    for texts, count, words in (
            ({}, 2, "no conversations"),
            ({conversation: 1}, 0, "at least 1, not 0"),
            ({conversation: engine.vocab}, 2, "out of range|0 to"),
            ({conversation: 1, twin.open(): 1}, 2, "another engine"),
            ({conversation: 1, closed: 1}, 2, "closed")):
        with refusal(BadInput, words):
            engine.run(texts, count)
    run = engine.run({conversation: 1, engine.open(): 2}, LENGTH)
    next(run)
    with refusal(DeviceBusy, "busy with another run"):
        conversation.step(1)
    engine.close()
    with refusal(BadInput, "is closed"):
        next(run)
    assert engine._released


def throw(run, error: type[BaseException]) -> None:
    with contextlib.suppress(error):
        run.throw(error)


def a_step_that_fails_changes_nothing(engine, twin):
    conversations = [stepped(engine)[0] for _ in range(2)]
    expected = [stepped(twin)[0] for _ in range(2)]
    one, other = conversations
    closed = engine.open()
    closed.close()
    for works, words in (
            ([Work(one, [1]), Work(other, [engine.vocab])], "out of range"),
            ([Work(one, [1]), Work(other, [])], "no tokens"),
            ([Work(one, [1]), Work(one, [2])], "two works"),
            ([Work(one, [1]), Work(twin.open(), [2])], "another engine"),
            ([Work(one, [1]), Work(closed, [2])], "closed")):
        with refusal(BadInput, words):
            engine.step(works)
    together = engine._together

    def interrupted(works):
        together(works)
        raise KeyboardInterrupt

    engine._together = interrupted
    with contextlib.suppress(KeyboardInterrupt):
        engine.step([Work(one, [1]), Work(other, [3, 4])])
    engine._together = together
    for found, wanted in zip(conversations, expected, strict=True):
        check_place(found, wanted)


def looking_at_stages_leaves_conversations_where_they_are(engine, twin):
    conversation, expected = prompted(engine), prompted(twin)
    if engine.kind == FLOATS:
        with refusal(BadInput, "no integer stages"):
            engine.stage_digests(PROMPT, head=True)
    else:
        for head in (False, True):
            assert (engine.stage_digests(PROMPT, head=head)
                    == twin.stage_digests(PROMPT, head=head))
        for stage in range(twin.image.stages):
            assert np.array_equal(engine.stage_vector(PROMPT, stage),
                                  twin.stage_vector(PROMPT, stage))
    check_place(conversation, expected)


# States.

def a_state_goes_on(engine, twin):
    """Through bytes, here and on the twin, as often as one likes."""
    conversation, passes = stepped(engine, 2)
    expected, wanted = stepped(twin, 2)
    check_passes(passes, wanted)
    data = conversation.save().to_bytes()
    conversation.step(3)
    state = State.from_bytes(data)
    assert state == conversation._engine.open(state).save()
    for _ in range(2):
        check_place(engine.open(state), twin.open(expected.save()))
    check_place(twin.open(dataclasses.replace(state, model=twin.model)),
                engine.open(dataclasses.replace(expected.save(), model=engine.model)))


def a_run_goes_on_from_a_state(engine, twin):
    state = prompted(engine).save()
    for taken in (1, LENGTH):
        conversation = engine.open(state)
        run = conversation.run(PROMPT[-1], LENGTH)
        expected, passes = stepped(twin, taken)
        check_passes(list(itertools.islice(run, taken)), greedy(passes))
        run.close()
        check_place(conversation, expected)


def states_of_something_else_are_refused(engine, twin):
    good = prompted(engine).save()
    values = good.values
    other = (INTEGERS, FLOATS)[engine.kind == INTEGERS]
    worst = FORMATS.state_range[1] + 1 if engine.kind == INTEGERS else np.inf
    for changes, words in {
        ("kind", other): f"holds {other}, and .* computes in {engine.kind}",
        ("model", "0" * 64): "belongs to model 0000000000000000",
        ("values", "shape"): "shape .* damaged",
        ("values", "type"): "type .* damaged",
        ("values", "range"): "outside the range",
        ("tokens", (0, 1, engine.vocab)): f"outside 0 to {engine.vocab - 1}",
        ("pending", (engine.vocab,)): f"outside 0 to {engine.vocab - 1}",
        ("heads", b"\1"): "of 1 tokens whether their heads were played, and has 3",
        ("digest", 5 if good.digest is None else None): "digest",
    }.items():
        field, value = changes
        if field == "values":
            value = {"shape": values[:, :-1], "type": values.astype(np.int16),
                     "range": np.where(np.arange(values.size).reshape(values.shape) == 3, worst,
                                       values).astype(values.dtype)}[value]
        with refusal(BadInput, words):
            engine.open(dataclasses.replace(good, **{field: value}))
    check_place(engine.open(good), prompted(twin))


def a_state_at_its_limits_goes_on(engine, twin):
    if engine.kind == FLOATS:
        return                          # they have none
    good = prompted(engine).save()
    for values in itertools.product(FORMATS.state_range, repeat=2):
        values = np.resize(np.array(values, np.int32), good.values.shape)
        state = dataclasses.replace(good, values=values)
        conversations = engine.open(state), twin.open(state)
        check_passes(*([conversation.step(7)] for conversation in conversations))
        check_place(*conversations)


# What a caller can do wrong.

def tokens_out_of_range_are_refused(engine, twin):
    conversation = prompted(engine)
    for token in (-1, engine.vocab):
        for call in (lambda t: conversation.feed([0, t]), conversation.step,
                     lambda t: conversation.logits([t]), lambda t: conversation.run(t, 2),
                     lambda t: conversation.score([0], [t]),
                     lambda t: engine.stage_vector([t], 0)):
            with refusal(BadInput, f"Token {token} .*0 to {engine.vocab - 1}"):
                call(token)
    for call in (lambda: conversation.step(1.5), lambda: conversation.run(1, 0),
                 lambda: conversation.score([1, 2], [3])):
        with refusal(BadInput, "no token|at least 1, not 0|1 targets for 2 tokens"):
            call()
    check_place(conversation, prompted(twin))


def what_is_closed_is_refused(engine, twin):
    conversation, other = prompted(engine), prompted(engine)
    conversation.close()
    conversation.close()
    for call in (lambda: conversation.step(1), lambda: conversation.feed([]), conversation.save):
        with refusal(BadInput, "conversation is closed"):
            call()
    check_place(other, prompted(twin))
    run = other.run(1, LENGTH)
    next(run)
    engine.close()
    engine.close()
    assert list(run) == []
    for call in (engine.open, lambda: engine.stage_vector([1], 0)):
        with refusal(BadInput, "is closed"):
            call()


def closing_while_another_thread_computes(engine, twin):
    """What was under way is right, or it ends with a sentence; the device is free then."""
    conversation, found, ends = prompted(engine), [], []
    computes = threading.Event()

    def run():
        try:
            while True:
                run = conversation.run(PROMPT[-1] if not found else best(found[-1]), 1)
                computes.set()
                found.extend(run)
        except BadInput as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert computes.wait(PATIENCE)
    engine.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    (error,) = ends
    assert re.search("is closed", str(error)) and not engine._lock.locked() and engine._released
    expected, token = prompted(twin), PROMPT[-1]
    wanted = []
    for _ in found:
        wanted.append(expected.step(token))
        token = best(wanted[-1])
    check_passes(found, greedy(wanted))


def best(result: Pass) -> int:
    return result.candidates.best


CASES = [
    a_run_is_its_steps,
    a_run_has_candidates_if_asked,
    feeding_is_stepping,
    candidates_are_the_best_logits,
    a_score_is_that_of_the_logits,
    nothing_taken_is_nothing_done,
    a_run_ends_behind_its_stop_token,
    a_run_ends_at_any_stop_token,
    a_run_that_is_left_early,
    a_run_that_is_left_before_it_began,
    a_run_that_is_left_after_a_long_text,
    a_run_that_is_interrupted,
    a_run_that_is_forgotten,
    a_call_that_fails_changes_nothing,
    a_device_in_a_run_is_busy,
    a_device_is_free_behind_the_last_pass,
    closing_a_conversation_ends_its_run,
    a_call_from_another_thread_is_refused,
    conversations_side_by_side,
    conversations_in_one_step,
    conversations_that_go_on_together,
    conversations_that_go_on_behind_a_save,
    more_conversations_than_there_are_lanes_for,
    a_fork_goes_its_own_way,
    conversations_whose_candidates_nobody_wants,
    a_run_of_several_is_their_steps,
    a_run_of_several_that_is_left_early,
    a_run_ends_when_it_is_enough,
    a_run_of_several_that_cannot_be,
    a_step_that_fails_changes_nothing,
    looking_at_stages_leaves_conversations_where_they_are,
    a_state_goes_on,
    a_run_goes_on_from_a_state,
    states_of_something_else_are_refused,
    a_state_at_its_limits_goes_on,
    tokens_out_of_range_are_refused,
    what_is_closed_is_refused,
    closing_while_another_thread_computes,
]
