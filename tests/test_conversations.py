"""Conversations of a server: kept, forked, restored, and never lost."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import tritstream
from tritstream.build import BuildConfig
from tritstream.catalog import resolve
from tritstream.engines.state import State
from tritstream.errors import BadInput, DeviceError
from tritstream.runtime.sampling import Sampler
from tritstream.runtime.scheduler import Scheduler
from tritstream.server import store as stores
from tritstream.server.errors import Refused
from tritstream.server.residence import Served
from tritstream.server.store import Store
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.golden_board import CYCLES, GoldenBoard

PROMPT = "It was a dark night, and"
BYTES = {"Content-Type": "application/octet-stream"}
WAIT = 60                   # seconds, far more than anything here takes


class Client:
    """Plain requests to a port."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, **headers):
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        with contextlib.closing(connection):
            if isinstance(body, dict):
                body = json.dumps(body)
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def json(self, method, path, body=None, **headers):
        """The answer, which is no error."""
        status, answer = self.ask(method, path, body, **headers)
        assert status == 200, answer
        return json.loads(answer)

    def refused(self, status, method, path, body=None, **headers):
        """The sentence of an error."""
        found, answer = self.ask(method, path, body, **headers)
        assert found == status, answer
        return json.loads(answer)["error"]["message"]

    def new(self):
        return self.json("POST", "/v1/conversations")["id"]

    def go_on(self, name, prompt, count=6, **options):
        return self.json("POST", "/v1/completions", {
            "conversation": name, "prompt": prompt, "max_tokens": count, "temperature": 0.7,
            "seed": 3, **options})

    def state(self, name):
        status, data = self.ask("GET", f"/v1/conversations/{name}/state")
        assert status == 200
        return State.from_bytes(data)


@pytest.fixture(scope="module")
def served(model, serving, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("conversations"), model) as (port, scheduler):
        yield Client(port), scheduler


@pytest.fixture
def client(served):
    return served[0]


def until(true):
    ends = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_turns_are_one_text(client, model):
    """In turns, with nothing in between and with something, as a whole on an engine alone."""
    name = client.new()
    first = client.go_on(name, PROMPT, temperature=0)
    second = client.go_on(name, "", temperature=0)
    third = client.go_on(name, " Then", temperature=0, stream=False)
    with tritstream.load("tiny") as other, other.open() as twin:
        tokens = other.tokenizer.encode(PROMPT)
        twin.feed(tokens[:-1])
        made = [result.candidates.best for result in twin.run(tokens[-1], 12)]
        twin.feed(made[-1:])
        more = other.tokenizer.encode_more(" Then")
        twin.feed(more[:-1])
        last = [result.candidates.best for result in twin.run(more[-1], 6)]
        assert first["choices"][0]["text"] + second["choices"][0]["text"] == (
            other.tokenizer.decode(tokens + made)[len(PROMPT):])
        whole = client.json("GET", f"/v1/conversations/{name}")
        assert whole["token_ids"] == tokens + made + more + last
        assert whole["made"] == ([False] * len(tokens) + [True] * 12 + [False] * len(more)
                                 + [True] * 6)
        assert "".join(whole["pieces"]) == whole["text"] == other.tokenizer.decode(
            whole["token_ids"])
        assert whole["digest"] == f"{twin.digest:08x}" == third["conversation"]["digest"]
        assert third["conversation"] == {"id": name, "tokens": whole["tokens"],
                                         "digest": whole["digest"]}
        assert third["usage"]["prompt_tokens"] == len(more)


def test_a_stream_tells_where_the_conversation_is(client):
    name = client.new()
    status, data = client.ask("POST", "/v1/completions", {
        "conversation": name, "prompt": PROMPT, "max_tokens": 5, "stream": True})
    events = [json.loads(line[6:]) for line in data.decode().splitlines()
              if line.startswith("data: {")]
    entry = client.json("GET", f"/v1/conversations/{name}")
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["conversation"] == {field: entry[field]
                                          for field in ("id", "tokens", "digest")}


def test_save_and_restore(client, model):
    name = client.new()
    client.go_on(name, PROMPT)
    state = client.state(name)
    entry = client.json("POST", "/v1/conversations", state.to_bytes(), **BYTES)
    assert entry["id"] != name and entry["tokens"] == len(state.text)
    assert client.state(entry["id"]) == state
    texts = [client.go_on(each, "")["choices"][0]["text"] for each in (name, entry["id"])]
    assert texts[0] == texts[1] and client.state(name) == client.state(entry["id"])
    with model.engine.open(state) as conversation:
        assert conversation.digest == state.digest


def test_fork_and_rewind(client):
    name = client.new()
    client.go_on(name, PROMPT)
    before = client.state(name)
    client.go_on(name, " and")
    whole = client.state(name)
    fork = client.json("POST", f"/v1/conversations/{name}/fork", {})
    assert client.state(fork["id"]) == whole
    end = client.json("POST", f"/v1/conversations/{name}/fork", {"tokens": len(before.text)})
    assert client.state(end["id"]) == before
    inside = client.json("POST", f"/v1/conversations/{name}/fork",
                         {"tokens": len(before.text) - 3})
    assert client.state(inside["id"]).text == before.text[:-3]
    empty = client.json("POST", f"/v1/conversations/{name}/fork", {"tokens": 0})
    assert (empty["tokens"], empty["digest"]) == (0, "00000000")
    assert client.state(name) == whole
    message = client.refused(400, "POST", f"/v1/conversations/{name}/fork", {"tokens": 10 ** 6})
    assert f"give a number of 0 to {len(whole.text)}" in message


def test_nobody_waits_for_a_fork_any_more(served, model, monkeypatch):
    """So the way back to its place ends behind the pass that is under way."""
    client, scheduler = served
    name = client.new()
    client.go_on(name, PROMPT, 40, temperature=0, logit_bias={"0": -100, "1": -100})
    passes, together = [], model.engine._together
    monkeypatch.setattr(model.engine, "_together",
                        lambda works: passes.append(time.sleep(0.1)) or together(works))
    body = json.dumps({"tokens": 45}).encode()
    with socket.create_connection(("127.0.0.1", client.port), WAIT) as leaves:
        leaves.sendall(b"POST /v1/conversations/%b/fork HTTP/1.1\r\nHost: localhost\r\n"
                       b"Content-Length: %d\r\n\r\n%b" % (name.encode(), len(body), body))
        until(lambda: len(passes) > 1)
    until(lambda: scheduler.load == (0, 0))
    assert len(passes) < 20
    assert client.json("POST", f"/v1/conversations/{name}/fork", {"tokens": 8})["tokens"] == 8


def test_list_and_delete(client):
    names = [client.new() for _ in range(3)]
    client.go_on(names[1], PROMPT)
    found = client.json("GET", "/v1/conversations")["data"]
    assert found[0]["id"] == names[1] and set(names) <= {entry["id"] for entry in found}
    assert found[0]["object"] == "conversation" and found[0]["busy"] is False
    assert found[0]["begins"].startswith(PROMPT) and found[1]["begins"] == ""
    assert abs(found[0]["created_at"] - time.time()) < WAIT
    assert client.json("DELETE", f"/v1/conversations/{names[0]}") == {
        "id": names[0], "object": "conversation.deleted", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/state"), ("POST", "/fork")):
        assert "no conversation" in client.refused(404, method,
                                                   f"/v1/conversations/{names[0]}{path}", {})


@pytest.mark.parametrize("name", ["..%2F..%2Fetc%2Fpasswd", "..", "%2e%2e", "conv_", "a" * 5000,
                                  "conv_0123456789abcdef01234567%00", "conv_%0A"])
def test_ids_that_are_none(client, name):
    for path in (f"/v1/conversations/{name}", f"/v1/conversations/{name}/state"):
        status, answer = client.ask("GET", path)
        assert status == 404 and "error" in json.loads(answer)
    assert "no conversation" in client.refused(404, "POST", "/v1/completions",
                                               {"conversation": name, "prompt": "a"})


def test_files_that_are_none(client, model):
    good = client.state(client.new())
    other = State.beginning("0" * 64, good.kind, good.values.shape)
    for data, words in ((b"", "no saved conversation"), (good.to_bytes()[:-1], "cut short"),
                        (other.to_bytes(), "belongs to model 0000000000000000")):
        assert words in client.refused(400, "POST", "/v1/conversations", data, **BYTES)
    assert "more than" in client.refused(413, "POST", "/v1/conversations", bytes(9 << 20), **BYTES)


def test_what_a_conversation_is_not_for(client, served):
    name = client.new()
    for options, words in (({"n": 2}, "goes on by one text"), ({"prompt": ["a", "b"]}, "one text"),
                           ({"prompt": ""}, "prompt is empty"),
                           ({"temperature": -1}, "temperature"),
                           ({"max_tokens": 10 ** 6}, "more than the 1,048,576 tokens")):
        body = {"conversation": name, "prompt": " a" * 60_000, "max_tokens": 2, **options}
        assert words in client.refused(400, "POST", "/v1/completions", body)
    client.go_on(name, "It is free again.", count=1)


def test_a_conversation_has_one_text_at_a_time(served):
    client, scheduler = served
    name = client.new()
    body = {"conversation": name, "prompt": PROMPT, "max_tokens": 100_000, "stream": True,
            "logit_bias": {"0": -100, "1": -100}}
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=WAIT)
    connection.request("POST", "/v1/completions", json.dumps(body))
    with connection.getresponse() as response:
        for _ in range(4):
            response.readline()
        assert "is under way" in client.refused(409, "POST", "/v1/completions", body)
        assert "is under way" in client.refused(409, "DELETE", f"/v1/conversations/{name}")
        assert client.json("POST", f"/v1/conversations/{name}/fork", {})["tokens"] == 0
    connection.close()                  # the client has gone, and what was made is kept
    until(lambda: not client.json("GET", f"/v1/conversations/{name}")["busy"])
    kept = client.json("GET", f"/v1/conversations/{name}")
    assert kept["tokens"] > 3 and any(kept["made"])
    client.go_on(name, "", count=1)


def test_a_device_that_fails_leaves_the_conversation(client, model, monkeypatch):
    name = client.new()
    client.go_on(name, PROMPT)
    before = client.state(name)

    def failing(works):
        raise DeviceError("The device at golden is gone: plug it in again.")

    monkeypatch.setattr(model.engine, "step", failing)
    body = {"conversation": name, "prompt": " and", "max_tokens": 3}
    assert "plug it in again" in client.refused(503, "POST", "/v1/completions", body)
    monkeypatch.undo()
    assert client.state(name) == before
    client.go_on(name, " and")


def test_a_board_that_is_unplugged_comes_back(serving, tmp_path):
    """In the middle of a text: that is a 503, and the conversation goes on as on golden."""
    source = resolve("tiny")
    build = BuildConfig(max_hidden=64, max_intermediate=256, max_state=512, max_vocab=512,
                        memory_bytes=1 << 18)
    board = Server(Emulator(build, GoldenBoard(source.image, build)))
    body = {"prompt": " and", "max_tokens": 10_000, "stream": True,
            "logit_bias": {"0": -100, "1": -100}}
    with (contextlib.closing(board), tritstream.load(source, board.uri) as model,
          serving(tmp_path, model) as (port, scheduler)):
        client = Client(port)
        name = client.new()
        assert client.json("GET", "/stages")["stages"] == []
        clock = client.go_on(name, PROMPT)["timings"]["device_clock"]
        stages = client.json("GET", "/stages")
        assert {stage["cycles"] for stage in stages["stages"]} == {CYCLES}
        assert clock["cycles"] == 10 * clock["stalls"] > 6 * CYCLES * source.image.stages
        assert stages["evidence"] == clock["evidence"] == "simulated"
        before = client.state(name)
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=WAIT)
        connection.request("POST", "/v1/completions", json.dumps(body | {"conversation": name}))
        with contextlib.closing(connection), connection.getresponse() as response:
            response.readline()
            board.hang_up()
            *_, last = (line for line in response.read().splitlines() if line)
        assert "went away" in json.loads(last.removeprefix(b"data: "))["error"]["message"]
        assert scheduler.broken and b"failed" in client.ask("GET", "/health")[1]
        opener, model._opener = model._opener, absent
        assert "plug it in" in client.refused(503, "POST", "/v1/completions",
                                              {"prompt": PROMPT, "conversation": name})
        model._opener = opener
        assert client.state(name) == before
        text = client.go_on(name, "")["choices"][0]["text"]
        assert not scheduler.broken
        after = client.state(name)
    with tritstream.load(source) as model, Scheduler(model.engine) as scheduler:
        twin = scheduler.submit(before.pending, 6, Sampler(temperature=0.7, seed=3), start=before,
                                keep=True)
        decode = model.tokenizer.decode
        assert text == decode([*before.text, *twin])[len(decode(before.text)):]
        assert twin.state == after


def absent():
    raise DeviceError("No device answers: plug it in.")


def test_a_turn_that_cannot_be_written_is_told(client, model, monkeypatch):
    name = client.new()
    before = client.state(name)

    def full(path, contents):
        raise BadInput(f"{path} cannot be written: No space left on device; make room.")

    monkeypatch.setattr(stores, "write_whole", full)
    body = {"conversation": name, "prompt": PROMPT, "max_tokens": 3}
    assert "could not be kept" in client.refused(507, "POST", "/v1/completions", body)
    assert "No space" in client.refused(400, "POST", "/v1/conversations")
    monkeypatch.undo()
    assert client.state(name) == before
    client.go_on(name, PROMPT)


def test_more_than_are_in_memory(model, serving, tmp_path, monkeypatch):
    """Those used last are; the others come back from their files, bit by bit the same."""
    monkeypatch.setattr(stores, "LOADED", 2)
    monkeypatch.setattr(stores, "MOST_CONVERSATIONS", 5)
    with serving(tmp_path, model) as (port, _):
        client = Client(port)
        names = [client.new() for _ in range(5)]
        assert "5 conversations already" in client.refused(409, "POST", "/v1/conversations")
        for turn in range(2):
            for number, name in enumerate(names):
                client.go_on(name, PROMPT if turn == 0 else "", seed=number % 2)
        states = [client.state(name) for name in names]
        assert states[0] == states[2] == states[4] != states[1] == states[3]
    with serving(tmp_path, model) as (port, _):
        client = Client(port)
        assert [client.state(name) for name in names] == states


def test_a_directory_is_one_servers(model, tmp_path):
    (tmp_path / "notes.txt").write_text("not ours")
    (tmp_path / ".conv_5.part").write_text("left by one that was killed")
    with Store(tmp_path, [Served.of(model)]) as store:
        with pytest.raises(BadInput, match="another server"):
            Store(tmp_path, [Served.of(model)])
        kept = store.create(Served.of(model).beginning)
        damaged = bytearray(kept.path.read_bytes())
        damaged[70] ^= 1
        kept.path.write_bytes(damaged)
    with Store(tmp_path, [Served.of(model)]) as store:
        (kept,) = store.all()
        with pytest.raises(BadInput, match=f"Conversation {kept.id} is damaged"):
            store.begin(kept)
        assert not kept.busy
        kept.path.unlink()
        with pytest.raises(Refused, match="no longer here"):
            store.history(kept)
        store.delete(kept)
        assert store.all() == [] and {path.name for path in tmp_path.iterdir()} <= {
            "notes.txt", ".lock"}
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot hold conversations"):
        Store(tmp_path / "file", [Served.of(model)])


def test_a_server_that_is_killed_has_lost_nothing(tmp_path):
    """Conversations are at the end of their latest turns, and go on as if nothing had been."""
    command = [sys.executable, "-m", "tritstream", "serve", "-m", "tiny", "--port", "0",
               "--conversations", str(tmp_path)]

    def started():
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        return running, Client(int(running.stderr.readline().split("127.0.0.1:")[1].split("/")[0]))

    first, client = started()
    with first:
        until(lambda: answers(client))
        name, other = client.new(), client.new()
        client.go_on(name, PROMPT)
        state = client.state(name)
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=WAIT)
        connection.request("POST", "/v1/completions", json.dumps({
            "conversation": other, "prompt": PROMPT, "max_tokens": 100_000, "stream": True}))
        with contextlib.closing(connection), connection.getresponse() as response:
            response.readline()
            os.kill(first.pid, signal.SIGKILL)
            assert first.wait(WAIT) == -signal.SIGKILL
    second, client = started()
    with second:
        until(lambda: answers(client))
        assert client.state(name) == state and client.state(other).text == ()
        text = client.go_on(name, "")["choices"][0]["text"]
        second.terminate()
        assert second.wait(WAIT) == -signal.SIGTERM
    with tritstream.load("tiny") as model, Scheduler(model.engine) as scheduler:
        twin = scheduler.submit(state.pending, 6, Sampler(temperature=0.7, seed=3), start=state)
        decode = model.tokenizer.decode
        assert text == decode([*state.text, *twin])[len(decode(state.text)):]


def answers(client) -> bool:
    try:
        return client.ask("GET", "/health")[0] == 200
    except OSError:
        return False
