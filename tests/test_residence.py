"""Several models on one device: each in its turn, and nobody's conversation lost."""

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time

import pytest

import tritstream
from tritstream.catalog import Model, resolve
from tritstream.engines.state import State
from tritstream.errors import BadInput, DeviceBusy, DeviceError
from tritstream.runtime.scheduler import Scheduler
from tritstream.server import residence as residences
from tritstream.server.residence import Residence

PROMPT = "It was a dark night, and"
WAIT = 60                   # seconds, far more than anything here takes
ENDLESS = {"max_tokens": 100_000, "logit_bias": {"0": -100, "1": -100}}


@pytest.fixture(scope="module")
def models(chat_image):
    with (tritstream.load("tiny") as tiny,
          tritstream.load(Model("chatty", chat_image)) as chatty):
        yield tiny, chatty
    chatty.source.chat_template.close()


@pytest.fixture
def port(models, serving, tmp_path):
    with serving(tmp_path, *models) as (port, _):
        yield port


def ask(port, method, path, body=None, data=None, **headers):
    """Status, and what the answer is; its bytes where it is no JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    with contextlib.closing(connection):
        connection.request(method, path, data or (json.dumps(body) if body else None), headers)
        response = connection.getresponse()
        answer = response.read()
        plain = "octet-stream" in response.headers["content-type"]
        return response.status, answer if plain else json.loads(answer)


def complete(port, status=200, **body):
    found, answer = ask(port, "POST", "/v1/completions", {
        "prompt": PROMPT, "max_tokens": 8, "temperature": 0.7, "seed": 3, **body})
    assert found == status, answer
    return answer if status == 200 else answer["error"]["message"]


def resident(port):
    _, answer = ask(port, "GET", "/v1/models")
    return [entry["id"] for entry in answer["data"] if entry["resident"]]


def alone(model, count=8):
    text = model.generate(PROMPT, count, 0.7, seed=3)
    return "".join(text)


def until(true):
    ends = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_each_model_says_what_it_says_alone(port, chat_image):
    with (tritstream.load("tiny") as tiny,
          tritstream.load(Model("chatty", chat_image)) as chatty):
        texts = {"tiny": alone(tiny), "chatty": alone(chatty)}
    assert resident(port) == ["tiny"]
    for name, loads in (("tiny", False), ("chatty", True), ("chatty", False), ("tiny", True)):
        answer = complete(port, model=name)
        assert (answer["model"], answer["choices"][0]["text"]) == (name, texts[name])
        assert ("load_seconds" in answer["timings"]) == loads
        assert resident(port) == [name]
        assert ask(port, "GET", "/props")[1]["model"] == name
    assert complete(port)["model"] == "tiny"            # the first, where none is named
    assert "only tiny, chatty" in complete(port, 404, model="gpt-4")


def test_a_conversation_is_with_its_model(port):
    """It goes on with that, wherever the device is, and so do its file and its forks."""
    names = {}
    for model in ("tiny", "chatty"):
        _, entry = ask(port, "POST", "/v1/conversations", {"model": model})
        assert entry["model"] == model
        names[model] = entry["id"]
    for _ in range(2):
        for model, name in names.items():
            answer = complete(port, conversation=name)
            assert answer["model"] == model
    _, listed = ask(port, "GET", "/v1/conversations")
    assert {entry["id"]: entry["model"] for entry in listed["data"]} == {
        name: model for model, name in names.items()}
    for model, name in names.items():
        _, file = ask(port, "GET", f"/v1/conversations/{name}/state")
        _, entry = ask(port, "POST", "/v1/conversations", data=file,
                       **{"Content-Type": "application/octet-stream"})
        assert entry["model"] == model
        _, fork = ask(port, "POST", f"/v1/conversations/{name}/fork", {"tokens": 5})
        assert (fork["model"], fork["tokens"]) == (model, 5)
        assert State.from_bytes(file).text[:1] != ()
    sentence = complete(port, 400, conversation=names["tiny"], model="chatty")
    assert "is one with tiny, not with chatty" in sentence
    assert complete(port, conversation=names["tiny"], model="tiny")["model"] == "tiny"


def test_the_device_goes_to_requests_in_their_order(port):
    """One for another model waits for the texts before it, and those behind it wait for it."""
    done = []

    def later(name, **body):
        def run():
            complete(port, **body)
            done.append(name)
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    connection.request("POST", "/v1/completions", json.dumps(
        {"prompt": PROMPT, "model": "tiny", "stream": True, **ENDLESS}))
    with contextlib.closing(connection), connection.getresponse() as response:
        response.readline()
        threads = []
        for number, name in enumerate(("chatty", "tiny", "chatty")):
            threads.append(later(f"{name} {number}", model=name))
            until(lambda: ask(port, "GET", "/slots")[1]["waiting"] == len(threads))
        assert done == [] and resident(port) == ["tiny"]
    for thread in threads:                              # the client of the first has gone
        thread.join(WAIT)
    assert done == ["chatty 0", "tiny 1", "chatty 2"]
    assert resident(port) == ["chatty"]
    assert ask(port, "GET", "/slots")[1] == {"active": 0, "waiting": 0, "loading": None,
                                             "lanes": 64}


def test_clients_that_vanish_while_they_wait(port):
    first = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    first.request("POST", "/v1/completions", json.dumps(
        {"prompt": PROMPT, "model": "tiny", "stream": True, **ENDLESS}))
    with contextlib.closing(first), first.getresponse() as response:
        response.readline()
        for _ in range(3):
            gone = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
            gone.request("POST", "/v1/completions", json.dumps(
                {"prompt": PROMPT, "model": "chatty", **ENDLESS}))
            until(lambda: ask(port, "GET", "/slots")[1]["waiting"])
            gone.close()
    assert complete(port, model="tiny")["model"] == "tiny"


class Opener:
    """Opens models, unless told otherwise."""

    def __init__(self, models):
        self.opened = {model.source: model for model in models}
        self.sources = list(self.opened)
        self.broken = ()

    @contextlib.contextmanager
    def __call__(self, source):
        if source in self.broken:
            raise DeviceError("The device is gone: plug it in again.")
        yield self.opened[source]


async def used(residence, name):
    async with residence.use(residence.find(name)) as use:
        return use


def test_a_model_that_cannot_be_loaded(models):
    """It is told to whoever asks for it, and the others go on."""
    opener = Opener(models)
    with Residence(opener.sources, opener) as residence:
        opener.broken = opener.sources[1:]

        async def ask_for_both():
            with pytest.raises(DeviceError, match="plug it in"):
                await used(residence, "chatty")
            with pytest.raises(DeviceError, match="No model is loaded"):
                _ = residence.here
            assert (await used(residence, "tiny")).load_seconds is not None
            opener.broken = ()
            assert (await used(residence, "chatty")).resident.served.name == "chatty"

        asyncio.run(ask_for_both())
    opener.broken = opener.sources[1:]
    with pytest.raises(DeviceError, match="plug it in"):
        Residence(opener.sources, opener)               # before anybody asks
    with pytest.raises(BadInput, match="given twice"):
        Residence([resolve("tiny"), resolve("tiny")], opener)


def test_too_many_wait(models, monkeypatch):
    monkeypatch.setattr(residences, "MOST_WAITING", 2)
    opener = Opener(models)
    with Residence(opener.sources, opener) as residence:
        async def ask_for_many():
            async with residence.use(residence.find("tiny")):
                waiting = [asyncio.create_task(used(residence, name))
                           for name in ("chatty", "tiny")]
                await asyncio.sleep(0.1)
                with pytest.raises(DeviceBusy, match="2 requests wait"):
                    await used(residence, "tiny")
            return [(await use).resident.served.name for use in waiting]

        assert asyncio.run(ask_for_many()) == ["chatty", "tiny"]


def test_closing_while_one_waits(models):
    opener = Opener(models)
    residence = Residence(opener.sources, opener)

    async def close_under_way():
        async with residence.use(residence.find("tiny")):
            waiting = asyncio.create_task(used(residence, "chatty"))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(residence.close)
            with pytest.raises(DeviceBusy, match="The server ends"):
                await waiting

    asyncio.run(close_under_way())
    assert residence.resident is None
    with Scheduler(models[0].engine):                   # the device is free
        pass


def test_a_device_is_prepared_before_anybody_asks(models, monkeypatch):
    """For all numbers of texts that it says, with each model, and nothing of that is left."""
    steps, said = [], []
    engine = type(models[0].engine)
    monkeypatch.setattr(engine, "prepares", (1, 4))
    together = engine._together
    monkeypatch.setattr(engine, "_together", lambda self, works: steps.append(
        (self, [len(work.tokens) for work in works])) or together(self, works))
    opened = {model.source: model for model in models}
    before = {text for model in models for text in model.engine._open}
    with Residence(list(opened), lambda source: contextlib.nullcontext(opened[source]),
                   announce=said.append) as residence:
        for model in models:
            found = [lengths for each, lengths in steps if each is model.engine]
            assert {len(lengths) for lengths in found} == {1, 4} and [4] in found
            assert all(text.closed for text in {*model.engine._open} - before)
        answer = residence.here.scheduler.submit(models[0].tokenizer.encode(PROMPT), 8)
        text = list(answer)
    generation = models[0].generate(PROMPT, 8)
    assert "".join(generation) and (text, answer.digest) == (generation.tokens, generation.digest)
    assert [sentence.split(" ")[0] for sentence in said] == 2 * ["golden", "that"]
    assert "prepared for tiny, and up to 4 texts in a pass" in said[2]


def test_the_program_says_which_model_is_there():
    command = [sys.executable, "-m", "tritstream", "serve", "-m", "tiny", "-m", "demo", "--port",
               "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        try:
            line = running.stderr.readline()
            assert line.startswith("tiny, demo on golden at http://127.0.0.1:")
            port = int(line.split("127.0.0.1:")[1].split("/")[0])
            until(lambda: answers(port))
            assert complete(port, model="demo", max_tokens=2)["model"] == "demo"
            line = running.stderr.readline()
            assert line.startswith("demo is on golden in the place of tiny, loaded in ")
        finally:
            running.kill()


def answers(port) -> bool:
    try:
        return ask(port, "GET", "/health")[0] == 200
    except OSError:
        return False
