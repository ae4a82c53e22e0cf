"""Events of streams: which tokens go out together, and what is said of each."""

import concurrent.futures
import contextlib
import http.client
import json
import threading

import openai
import pytest

import tritstream
from tritstream.catalog import Model
from tritstream.errors import DeviceError
from tritstream.server import events as event_streams
from tritstream.server.completions import EVENT_TOKENS
from tritstream.server.text import Text

PROMPT = "It was a dark night, and"
WAIT = 60                   # seconds, far more than anything here takes
DRAWN = dict(model="tiny", prompt=PROMPT, temperature=0.7, seed=3,
             logit_bias={"0": -100, "1": -100, "2": -100})


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served[0]}/v1", api_key="none",
                       max_retries=0, timeout=WAIT) as client:
        yield client


@pytest.fixture
def late(monkeypatch):
    """Have the event loop hear of a text when all of it is made: it is far behind the device."""
    tell = Text._tell

    def told(self, answer, event):
        if not isinstance(event, int):
            tell(self, answer, event)

    monkeypatch.setattr(Text, "_tell", told)


@contextlib.contextmanager
def one_at_a_time(model, monkeypatch):
    """Have the device make a token whenever this gets one more."""
    more, step = threading.Semaphore(0), model.engine.step

    def waits(works):
        assert more.acquire(timeout=WAIT)
        return step(works)

    monkeypatch.setattr(model.engine, "step", waits)
    try:
        yield more.release
    finally:
        monkeypatch.undo()
        more.release(1000)


def test_tokens_of_a_device_come_one_by_one(client, model, monkeypatch):
    """Each is there before the next is made."""
    with one_at_a_time(model, monkeypatch) as more:
        more()
        stream = client.completions.create(max_tokens=6, stream=True, logprobs=0, **DRAWN)
        found = []
        for event in stream:
            found.append(event.choices[0].logprobs.tokens)
            more()
    assert [len(tokens) for tokens in found if tokens] == [1] * 6


def test_tokens_that_wait_go_out_together(client, late):
    """So many at a time; what is said of them is what is said of the whole text."""
    whole = client.completions.create(max_tokens=130, logprobs=2, **DRAWN)
    events = list(client.completions.create(max_tokens=130, logprobs=2, stream=True, **DRAWN))
    counts = [len(event.choices[0].logprobs.tokens) for event in events]
    assert counts == [EVENT_TOKENS, EVENT_TOKENS, 130 - 2 * EVENT_TOKENS]
    assert "".join(event.choices[0].text for event in events) == whole.choices[0].text
    assert [event.choices[0].finish_reason for event in events] == [None, None, "length"]
    for name in ("tokens", "token_logprobs", "top_logprobs"):
        assert sum((getattr(event.choices[0].logprobs, name) for event in events), []) == (
            getattr(whole.choices[0].logprobs, name))


def test_a_stop_text_between_them(client, late):
    """What belongs to it is not there, wherever the tokens of it went out."""
    whole = client.completions.create(max_tokens=100, **DRAWN).choices[0].text
    for place in (8, EVENT_TOKENS - 2, 90):
        stop = whole[place:place + 3]
        answer = client.completions.create(max_tokens=100, stop=stop, **DRAWN)
        events = list(client.completions.create(max_tokens=100, stop=stop, stream=True, **DRAWN))
        text = "".join(event.choices[0].text for event in events)
        assert text == whole[:whole.index(stop)] == answer.choices[0].text
        assert events[-1].choices[0].finish_reason == "stop"


def test_usage_of_every_event(client, late):
    """Of several texts together, as far as they are out."""
    stream = client.completions.create(
        max_tokens=100, n=2, stream=True, **DRAWN,
        stream_options={"include_usage": True, "continuous_usage_stats": True})
    *events, last = stream
    texts = {}
    for event in events:
        (choice,) = event.choices
        texts[choice.index] = texts.get(choice.index, "") + choice.text
    whole = client.completions.create(max_tokens=100, n=2, **DRAWN)
    assert [texts[0], texts[1]] == [choice.text for choice in whole.choices]
    counts = [event.usage.completion_tokens for event in events]
    assert counts == sorted(counts) and counts[0] == EVENT_TOKENS and counts[-1] == 200
    assert last.choices == [] and last.usage == whole.usage == events[-1].usage


def test_usage_only_where_it_is_asked_for(client):
    for options, count in ((None, 0), ({"continuous_usage_stats": True}, 0),
                           ({"include_usage": True}, 1)):
        events = client.completions.create(max_tokens=3, stream=True, stream_options=options,
                                           **DRAWN)
        assert len([event for event in events if event.usage]) == count


def test_timings_of_every_token_are_an_event_each(client, late):
    events = list(client.completions.create(max_tokens=20, stream=True, logprobs=0, **DRAWN,
                                            extra_body={"timings_per_token": True}))
    assert [len(event.choices[0].logprobs.tokens) for event in events] == [1] * 20
    assert all(event.timings["tokens"] == 20 for event in events)


def test_a_chat_is_no_other(chat_image, serving, tmp_path, late):
    with (tritstream.load(Model("chatty", chat_image)) as model,
          serving(tmp_path, model) as (port, _),
          openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none",
                        max_retries=0, timeout=WAIT) as client):
        options = dict(model="chatty", messages=[{"role": "user", "content": "Hello"}], seed=3,
                       max_tokens=40, logprobs=True, top_logprobs=1, temperature=0.7,
                       logit_bias={"0": -100, "1": -100})
        whole = client.chat.completions.create(**options).choices[0]
        first, *events = client.chat.completions.create(stream=True, **options)
        assert (first.choices[0].delta.role, len(events)) == ("assistant", 1)
        assert events[0].choices[0].delta.content == whole.message.content
        assert events[0].choices[0].logprobs.content == whole.logprobs.content
        assert events[0].choices[0].finish_reason == whole.finish_reason
    model.source.chat_template.close()


def test_a_device_that_fails_behind_tokens(client, model, monkeypatch, late):
    """They are there, and then the error."""
    left, step = iter(range(5)), model.engine.step

    def fails(works):
        if next(left, None) is None:
            raise DeviceError("The device at golden is gone: plug it in again.")
        return step(works)

    whole = client.completions.create(max_tokens=5, **DRAWN).choices[0].text
    monkeypatch.setattr(model.engine, "step", fails)
    text = ""
    with pytest.raises(openai.APIError, match="plug it in again"):
        for event in client.completions.create(max_tokens=9, stream=True, **DRAWN):
            text += event.choices[0].text
    assert text == whole
    monkeypatch.undo()
    assert client.completions.create(max_tokens=5, **DRAWN).choices[0].text == whole


def test_a_stream_is_never_silent_for_long(served, model, monkeypatch):
    """Something comes also where the device makes nothing."""
    monkeypatch.setattr(event_streams, "PING_SECONDS", 0.05)
    body = json.dumps({"prompt": PROMPT, "max_tokens": 1, "stream": True})
    with one_at_a_time(model, monkeypatch) as more:
        connection = http.client.HTTPConnection("127.0.0.1", served[0], timeout=WAIT)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/completions", body)
            with connection.getresponse() as response:
                assert [response.readline() for _ in range(4)] == [b": ping\r\n", b"\r\n"] * 2
                more()
                assert response.read().endswith(b"data: [DONE]\r\n\r\n")


def test_many_streams_at_once(client):
    """However their tokens fall together, each has its own text."""
    def ask(seed):
        options = DRAWN | {"seed": seed}
        events = client.completions.create(max_tokens=20, stream=True, **options)
        return "".join(event.choices[0].text for event in events)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        texts = list(pool.map(ask, range(6)))
    whole = client.completions.create(max_tokens=20, n=6, **DRAWN | {"seed": 0})
    assert texts == [choice.text for choice in whole.choices]
