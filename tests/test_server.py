"""The server, by the client that it is for, and by those that it is not for."""

import asyncio
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import openai
import pytest

import tritstream
from tritstream.catalog import Model
from tritstream.errors import DeviceError
from tritstream.server.waker import Waker
from tritstream_sim.report import serve as report

PROMPT = "It was a dark night, and"
KEY = "correct horse"
WAIT = 60                   # seconds, far more than anything here takes


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served[0]}/v1", api_key="none",
                       max_retries=0) as client:
        yield client


def asked(port, method, path, body=None, **headers):
    """Status and body of a plain request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def alone(seed=0, count=12, prompt=PROMPT, **options):
    """What a text is on an engine of its own."""
    with tritstream.load("tiny") as other:
        text = other.generate(prompt, count, 0.7, seed=seed, **options)
        for _ in text:
            pass
        return text


def test_a_completion_is_the_text_of_the_model(client):
    answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=12, seed=3,
                                       temperature=0.7)
    expected = alone(seed=3)
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason) == (expected.text, expected.finish_reason)
    assert answer.usage.completion_tokens == len(expected.tokens)
    assert answer.usage.prompt_tokens == len(expected.prompt)
    assert answer.timings["digests"] == [f"{expected.digest:08x}"]
    assert answer.timings["evidence"] == "measured"


def test_a_stream_is_the_same_in_pieces(client):
    stream = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=12, seed=3,
                                       temperature=0.7, stream=True,
                                       stream_options={"include_usage": True},
                                       extra_body={"timings_per_token": True})
    *events, last = list(stream)
    expected = alone(seed=3)
    assert "".join(event.choices[0].text for event in events) == expected.text
    assert [event.choices[0].finish_reason for event in events if
            event.choices[0].finish_reason] == [expected.finish_reason]
    assert len(events) > 3
    assert last.choices == [] and last.usage.completion_tokens == len(expected.tokens)


def test_choices_and_prompts(client):
    answer = client.completions.create(model="tiny", prompt=[PROMPT, "Once"], n=2, max_tokens=6,
                                       seed=5, temperature=0.7, echo=True)
    prompts = [PROMPT, PROMPT, "Once", "Once"]
    assert [choice.text for choice in answer.choices] == [
        prompt + alone(seed=5 + number, count=6, prompt=prompt).text
        for number, prompt in enumerate(prompts)]


def test_prompts_of_tokens(client, model):
    tokens = [model.tokenizer.encode(prompt) for prompt in (PROMPT, "Once")]
    for prompts in (tokens, tokens[1:]):
        answer = client.completions.create(model="tiny", prompt=prompts, max_tokens=6, seed=5,
                                           temperature=0.7)
        assert [choice.text for choice in answer.choices] == [
            alone(seed=5 + number, count=6, prompt=prompt).text
            for number, prompt in enumerate(prompts)]


def test_stop_texts_biases_and_log_probabilities(client, model):
    whole = alone(seed=1, count=20)
    stop = whole.text[8:11]
    answer = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=20, seed=1,
                                       temperature=0.7, stop=[stop, "\0"], logprobs=2)
    (choice,) = answer.choices
    assert choice.text == whole.text[:whole.text.index(stop)] and choice.finish_reason == "stop"
    assert len(choice.logprobs.tokens) == answer.usage.completion_tokens
    assert all(len(best) == 2 and max(best.values()) <= 0 for best in choice.logprobs.top_logprobs)
    assert answer.logprobs_among == "16 candidates"
    first = whole.tokens[0]
    biased = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=1, temperature=0,
                                       logit_bias={str(first): -100}, logprobs=1)
    assert biased.choices[0].text != model.tokenizer.decode([first])


HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def chatty(chat_image, serving, tmp_path_factory):
    """A model with a chat template, served; its client."""
    with (tritstream.load(Model("chatty", chat_image)) as model,
          serving(tmp_path_factory.mktemp("chatty"), model) as (port, _),
          openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none",
                        max_retries=0) as client):
        yield client, model
    model.source.chat_template.close()


def chat_text(model, tokens, count, seed):
    """What the model says behind tokens."""
    text = model.generate(tokens, count, 0.7, seed=seed)
    return "".join(text), text


def test_a_chat_is_the_text_behind_its_template(chatty):
    client, model = chatty
    prompt = model.tokenizer.encode("[user] Hello\n[assistant] ")
    assert prompt[0] == 0 and prompt.count(0) == 1          # and no token doubled
    options = dict(model="chatty", messages=HELLO, max_completion_tokens=9, seed=3, temperature=0.7)
    answer = client.chat.completions.create(n=2, logprobs=True, top_logprobs=2, **options)
    assert answer.usage.prompt_tokens == 2 * len(prompt)
    for choice in answer.choices:
        expected, text = chat_text(model, prompt, 9, 3 + choice.index)
        assert (choice.message.content, choice.message.role) == (expected, "assistant")
        assert choice.finish_reason == text.finish_reason
        assert len(choice.logprobs.content) == len(text.tokens)
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    first, *events = client.chat.completions.create(stream=True, logprobs=True, **options)
    assert first.choices[0].delta.role == "assistant"
    assert "".join(event.choices[0].delta.content or "" for event in events) == (
        answer.choices[0].message.content)
    assert events[-1].choices[0].finish_reason == answer.choices[0].finish_reason


def test_a_chat_goes_on_from_a_conversation(chatty):
    """By the messages that are new: it is as if all had been there."""
    client, model = chatty
    name = client.post("/conversations", cast_to=object)["id"]
    answers = [client.chat.completions.create(
        model="chatty", messages=[{"role": "user", "content": [{"type": "text", "text": text}]}],
        max_tokens=6, temperature=0.7, seed=5, extra_body={"conversation": name})
        for text in ("Hello", "And then?")]
    whole = client.get(f"/conversations/{name}", cast_to=object)
    start = model.tokenizer.encode("[user] Hello\n[assistant] ")
    _, first = chat_text(model, start, 6, 5)
    more = model.tokenizer.encode_more("</s>\n[user] And then?\n[assistant] ")
    _, second = chat_text(model, start + first.tokens + more, 6, 5)
    assert whole["token_ids"] == start + first.tokens + more + second.tokens
    assert [answer.choices[0].message.content for answer in answers] == [first.text, second.text]
    assert answers[1].conversation["digest"] == whole["digest"]


def test_an_answer_that_ended_by_itself_is_not_ended_twice(chatty):
    _, model = chatty
    more = model.tokenizer.encode_more("</s>\n[user] Hello\n[assistant] ")
    assert model.source.chat_tokens(HELLO, [5]) == more
    assert model.source.chat_tokens(HELLO, [5, 1]) == more[1:]


def test_messages_that_are_refused(chatty, client):
    chat, _ = chatty
    for messages, words in (([], "messages cannot"), ([{"role": "user"}] * 10_001, "messages can"),
                            ([{"content": "a"}], "messages cannot"),
                            ([{"role": "user", "content": [{"type": "image_url"}]}], "no text")):
        with pytest.raises(openai.BadRequestError, match=words):
            chat.chat.completions.create(model="chatty", messages=messages)
    with pytest.raises(openai.BadRequestError, match="no chat template: it goes on from texts, for "
                                                     "which there is /v1/completions"):
        client.chat.completions.create(model="tiny", messages=HELLO)


def test_many_clients_at_once(client):
    """Each has the text that it has alone."""
    def ask(seed):
        return client.completions.create(model="tiny", prompt=PROMPT, max_tokens=8, seed=seed,
                                         temperature=0.7).choices[0].text

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        texts = list(pool.map(ask, range(24)))
    assert texts == [alone(seed=seed, count=8).text for seed in range(24)]


def test_a_client_that_goes_away_ends_its_text(served):
    port, scheduler = served
    for stream in (True, False):
        body = json.dumps({"prompt": PROMPT, "max_tokens": 1_000_000, "stream": stream,
                           "logit_bias": {"0": -100, "1": -100, "2": -100}}).encode()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        connection.request("POST", "/v1/completions", body)
        until(lambda: scheduler.load[0] == 1)
        connection.sock.close()
        connection.close()
        until(lambda: scheduler.load == (0, 0))


def until(true):
    ends = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_device_that_fails_is_a_503(client, model, monkeypatch):
    def failing(works):
        raise DeviceError("The device at golden is gone: plug it in again.")

    monkeypatch.setattr(model.engine, "step", failing)
    with pytest.raises(openai.InternalServerError, match="plug it in again") as raised:
        client.completions.create(model="tiny", prompt=PROMPT)
    assert raised.value.status_code == 503
    monkeypatch.undo()
    assert client.completions.create(model="tiny", prompt=PROMPT, max_tokens=2).choices[0].text


def test_what_is_refused(client):
    create = client.completions.create
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        create(model="gpt-4", prompt=PROMPT)
    for options, words in ((dict(max_tokens=0), "max_tokens cannot"), (dict(n=17), "n can"),
                           (dict(temperature=-1), "temperature"), (dict(top_p=0), "top-p"),
                           (dict(prompt=""), "prompt is empty"), (dict(prompt=[10 ** 6]), "range"),
                           (dict(stop=[""]), "stop text is empty"),
                           (dict(extra_body={"top_k": 17}), "top-k is 17"),
                           (dict(prompt=["a"] * 257), "257 prompts: give at most 256"),
                           (dict(prompt=["a"] * 17, n=16), "are 272 texts: ask for at most 256"),
                           (dict(stop=["a"] * 65), "65 stop texts: give at most 64"),
                           (dict(logit_bias={"-1": 5}), "Token -1 is out of range"),
                           (dict(max_tokens=10_001, logprobs=1), "at most 10,000 tokens")):
        with pytest.raises(openai.BadRequestError, match=words):
            create(**{"model": "tiny", "prompt": PROMPT, **options})


@pytest.mark.parametrize("body, words", [
    (b"", "no JSON"), (b"\xff\xfe", "no JSON"), (b"[1]", "JSON object"),
    (b"[" * 200_000, "no JSON"), (b'{"prompt": {"a": 1}}', "prompt cannot be used"),
    (b'{"prompt": [1, "a"]}', "prompt cannot be used"), (b" " * (5 << 20), "more than"),
    (b'{"prompt": "a", "logit_bias": {"x": 1}}', "logit_bias cannot be used"),
])
def test_bodies_that_nobody_should_send(served, body, words):
    status, answer = asked(served[0], "POST", "/v1/completions", body)
    assert status in (400, 413) and words in json.loads(answer)["error"]["message"]


def test_what_else_there_is(served, client):
    port, _ = served
    assert [entry.id for entry in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").resident
    with pytest.raises(openai.NotFoundError, match="no model 'a/b' here"):
        client.models.retrieve("a/b")
    assert asked(port, "GET", "/health") == (200, b'{"status":"ok","device":"ok"}')
    assert json.loads(asked(port, "GET", "/props")[1])["device"] == "golden"
    assert json.loads(asked(port, "GET", "/slots")[1])["lanes"] == 64
    before = asked(port, "GET", "/metrics")[1].decode()
    client.completions.create(model="tiny", prompt=PROMPT, max_tokens=3)
    after = asked(port, "GET", "/metrics")[1].decode()
    count, then = (int(text.split("\ntritstream_requests_total ")[1].split()[0])
                   for text in (before, after))
    assert then == count + 1
    for method, path, status in (("GET", "/v1/completions", 405), ("GET", "/../etc", 404)):
        found, answer = asked(port, method, path)
        assert found == status and "error" in json.loads(answer)
    assert asked(port, "GET", "/v1/models", origin="http://elsewhere.example")[0] == 403
    assert asked(port, "GET", "/v1/models", origin=f"http://127.0.0.1:{port}")[0] == 200


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("127.0.0.1:80", 200), ("127.9.9.9", 200), ("[::1]:8080", 200),
    ("elsewhere.example:8080", 403), ("10.0.0.1", 403), ("", 403), ("[", 403),
    ("localhost.example", 403)])
def test_names_that_lead_here(served, host, status):
    """A page elsewhere whose own name comes to mean this machine has no use of that."""
    port, _ = served
    found, answer = asked(port, "GET", "/v1/models", host=host, origin=f"http://{host}")
    assert found == status
    assert status == 200 or "answers to names of its own machine" in json.loads(
        answer)["error"]["message"]


def test_what_the_page_is_made_of(served, client):
    port, _ = served
    status, page = asked(port, "GET", "/")
    assert status == 200
    for name in re.findall(r'"(/page/[^"]+)"', page.decode()):
        assert asked(port, "GET", name)[0] == 200
    for name in ("app.py", "..%2Fapp.py"):
        assert asked(port, "GET", f"/page/{name}")[0] == 404
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
        policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    status, answer = asked(port, "GET", "/stages")
    assert status == 400 and "no clock" in json.loads(answer)["error"]["message"]


def test_timings_of_every_token(client):
    """By the server's clock; golden has no other."""
    events = list(client.completions.create(
        model="tiny", prompt=PROMPT, max_tokens=6, seed=3, temperature=0.7, stream=True,
        extra_body={"timings_per_token": True}))
    counts = [event.timings["tokens"] for event in events]
    assert counts == sorted(counts) and 1 <= counts[0] and counts[-1] == 6
    assert all(event.timings["evidence"] == "measured" for event in events)
    assert all("device_clock" not in event.timings for event in events)


def test_a_key(model, serving, tmp_path):
    with serving(tmp_path, model, key=KEY) as (port, _):
        for key, status in ((None, 401), ("wrong", 401), (KEY, 200)):
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            found, answer = asked(port, "GET", "/v1/models", **headers)
            assert found == status and KEY not in answer.decode()
        assert asked(port, "GET", "/v1/models", authorization=f"bearer {KEY}")[0] == 200
        assert asked(port, "GET", "/health")[0] == asked(port, "GET", "/")[0] == 200


def test_pages_of_others_that_may(model, serving, tmp_path):
    """A browser asks first, and shows an answer to a page whose server it names."""
    page, other = "https://page.example:444", "https://other.example"
    with serving(tmp_path, model, key=KEY, origins=[page]) as (port, _):
        def heard(origin, method, path, **headers):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method,
                                             headers={"Origin": origin} | headers)
            try:
                response = urllib.request.urlopen(request)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                return response.status, response.headers["Access-Control-Allow-Origin"]

        asks = {"Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type"}
        key = {"Authorization": f"Bearer {KEY}"}
        assert heard(page, "OPTIONS", "/v1/completions", **asks) == (200, page)
        assert heard(other, "OPTIONS", "/v1/completions", **asks) == (400, None)
        assert heard(page, "GET", "/v1/models", **key) == (200, page)
        assert heard(page, "GET", "/v1/models") == (401, page)
        assert heard(other, "GET", "/v1/models", **key) == (403, None)


def test_what_threads_tell_is_heard():
    """All of it, also what is told while the loop looks at what was told before."""
    async def collect():
        waker, event = Waker(asyncio.get_running_loop()), asyncio.Event()
        made, found = collections.deque(), []

        def tell(thread):
            for number in range(500):
                made.append((thread, number))
                waker.set(event)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            done = [asyncio.wrap_future(pool.submit(tell, thread)) for thread in range(4)]
            while len(found) < 4 * 500:
                await asyncio.wait_for(event.wait(), WAIT)
                event.clear()
                found += [made.popleft() for _ in range(len(made))]
            await asyncio.gather(*done)
        return waker, event, found

    waker, event, found = asyncio.run(collect())
    for thread in range(4):
        assert [number for other, number in found if other == thread] == list(range(500))
    waker.set(event)                    # the loop has ended, and nobody minds


@contextlib.contextmanager
def process(*arguments):
    """`tritstream serve` as a user starts it; the process, and its port."""
    command = [sys.executable, "-m", "tritstream", "serve", "-m", "tiny", "--port", "0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            line = running.stderr.readline()
            yield running, int(line.split("127.0.0.1:")[1].split("/")[0])
        finally:
            running.kill()


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_it_behind_what_is_under_way(number, code):
    with process() as (running, port):
        until(lambda: answers(port))
        body = json.dumps({"prompt": PROMPT, "max_tokens": 60, "stream": True})
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
        with contextlib.closing(connection):
            connection.request("POST", "/v1/completions", body)
            with connection.getresponse() as response:
                response.readline()
                os.kill(running.pid, number)
                assert response.read().endswith(b"[DONE]\r\n\r\n")
        assert running.wait(WAIT) == code


def answers(port) -> bool:
    try:
        return asked(port, "GET", "/health")[0] == 200
    except OSError:
        return False


def test_what_it_costs(tmp_path, capsys):
    """The table of the document, in small."""
    document = tmp_path / "serving.md"
    document.write_text("a\n".join(("", *report.MARKS, "")))
    report.main(["tiny:golden", "--clients", "2", "--tokens", "2", "--seconds", "0.5",
                 "--requests", "5", "--write", str(document)])
    text = document.read_text()
    assert capsys.readouterr().out.strip() in text and "| lanes | 64 |" in text
    assert re.search(r"without an engine \| [1-9]\d* us", text)


def test_each_machine_writes_its_own_table(tmp_path, capsys, monkeypatch):
    """What a machine has not measured stays as it is; without a GPU it says what it leaves out."""
    document = tmp_path / "serving.md"
    document.write_text("\n".join((*report.MARKS, *report.GPU_MARKS, "")))
    asked = ["--requests", "0", "--write", str(document)]
    monkeypatch.setattr(report, "column", lambda target, options: {"speed": target, "clock": ""})
    monkeypatch.setattr(report, "own_cost", lambda options: 7e-5)
    monkeypatch.setattr(report, "_gpu", lambda: "one GPU")
    report.main(["demo:cuda:1", *asked])
    with_gpu = document.read_text()
    assert "and one GPU that" in with_gpu and "| speed | demo:cuda:1 |" in with_gpu

    def absent(*arguments):
        raise DeviceError("There is no GPU here.")

    monkeypatch.setattr(report, "open_engine", absent)
    report.main(asked)
    whole, (out, err) = document.read_text(), capsys.readouterr()
    assert "cuda is left out: There is no GPU here." in err
    assert "| speed | demo:golden | story-30m:golden | tiny:sim:p16?t=8 |" in whole
    assert "clock" not in whole and "memory" not in whole and "| 70 us |" in out
    assert whole.partition(report.GPU_MARKS[0])[2] == with_gpu.partition(report.GPU_MARKS[0])[2]
