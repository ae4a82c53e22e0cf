"""Clients that wait, stall, vanish, or speak something else."""

import concurrent.futures
import contextlib
import json
import logging
import re
import resource
import socket
import time

import pytest

from tritstream.server import connection as connections
from tritstream.server.connection import allow_connections

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
WAIT = 60                   # seconds, far more than anything here takes


@pytest.fixture
def served(model, serving, tmp_path):
    """A server whose system keeps little of what is sent; its port, and its scheduler."""
    with serving(tmp_path, model, send_buffer=4096) as (port, scheduler):
        yield port, scheduler


@contextlib.contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), WAIT) as client:
        yield client


def everything(client):
    """What comes up to the end."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := client.recv(1 << 16):
            data += chunk
    return data


def healthy(port) -> bool:
    with connected(port) as client:
        client.sendall(HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        return b'"status":"ok"' in everything(client)


def completion(**body) -> bytes:
    data = json.dumps({"prompt": "It was", "max_tokens": 2} | body).encode()
    return (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
            % (len(data), data))


ENDLESS = {"max_tokens": 1_000_000, "logit_bias": {"0": -100, "1": -100}}


def until(true):
    ends = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_thousand_idle_connections(served, monkeypatch):
    """They delay nobody, and end when no request comes."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 3.0)
    port, _ = served
    allow_connections()                     # this process has both of their ends
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(port)) for _ in range(1000)]
        assert healthy(port)                # so all of them are taken
        monkeypatch.undo()
        for client in idle:
            assert everything(client) == b""


def test_a_request_that_does_not_come(served, monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    port, _ = served
    for before in (b"", HEALTH):
        with connected(port) as client:
            client.sendall(before)
            began = time.monotonic()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in HEALTH * 40:    # a letter at a time, for longer than it may take
                    client.sendall(bytes([byte]) if byte != 13 else b"a")
                    time.sleep(0.02)
            assert time.monotonic() - began < 20
    monkeypatch.undo()
    assert healthy(port)


def test_what_is_no_http(served):
    port, _ = served
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, b"GET\r\n\r\n",
                 b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"a" * 200_000):
        with connected(port) as client:
            client.sendall(data)
            head, _, body = everything(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 ") and b"application/json" in head
            assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert healthy(port)


@pytest.mark.parametrize("few", [
    lambda patch: patch.setattr(connections, "MOST_CONNECTIONS", 3),
    lambda patch: patch.setattr(resource, "getrlimit", lambda what: (13, 13))])
def test_more_connections_than_there_may_be(served, monkeypatch, few):
    """As the server has it, or as the system lets it have files."""
    port, _ = served
    few(monkeypatch)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(connected(port))
            client.sendall(HEALTH)
            assert client.recv(9)
        with connected(port) as client:
            head, _, body = everything(client).partition(b"\r\n\r\n")
            assert b" 503 " in head and "3 connections already" in body.decode()
    until(lambda: healthy(port))


def test_a_client_that_does_not_read(served, monkeypatch):
    """Its texts end, and what they are made of is not kept for it."""
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.5)
    port, scheduler = served
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(completion(
            stream=True, n=8, logprobs=16, **ENDLESS | {"max_tokens": 10_000}))
        until(lambda: scheduler.load[0] == 8)
        until(lambda: scheduler.load == (0, 0))
    assert healthy(port)


@pytest.mark.parametrize("stream", [True, False])
def test_a_half_closed_connection(served, stream):
    """Who says nothing any more has gone: the text ends, and the connection with it."""
    port, scheduler = served
    with connected(port) as client:
        client.sendall(completion(stream=stream, **ENDLESS))
        until(lambda: scheduler.load[0] == 1)
        client.shutdown(socket.SHUT_WR)
        everything(client)
        until(lambda: scheduler.load == (0, 0))


def test_who_is_still_there_when_the_server_ends(model, serving, tmp_path, caplog, monkeypatch):
    """They are told, and it is no fault of the server."""
    with contextlib.ExitStack() as clients:
        with serving(tmp_path, model) as (port, scheduler):
            monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handlers", [caplog.handler])
            waiting = [clients.enter_context(connected(port)) for _ in range(2)]
            for stream, client in enumerate(waiting):
                client.sendall(completion(stream=bool(stream), **ENDLESS))
            until(lambda: scheduler.load[0] == 2)
            assert waiting[1].recv(9) == b"HTTP/1.1 "
            whole = clients.enter_context(concurrent.futures.ThreadPoolExecutor(1)).submit(
                everything, waiting[1])
        head, _, body = everything(waiting[0]).partition(b"\r\n\r\n")
        assert b" 503 " in head and "server ends" in json.loads(body)["error"]["message"]
        event = whole.result(WAIT).split(b"data: ")[-1]
        assert "server ends" in json.loads(event.split(b"\r\n")[0])["error"]["message"]
    assert [record.getMessage() for record in caplog.records] == [
        "Cancel 2 running task(s), timeout graceful shutdown exceeded"]


def test_clients_that_vanish_at_every_moment(served, caplog, monkeypatch):
    """They are no fault of the server, of which it would have to tell."""
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "handlers", [caplog.handler])
    port, scheduler = served
    request = completion(stream=True, **ENDLESS)
    for sent in (0, 1, 20, len(request) - 40, len(request) - 1, len(request)):
        for received in ((0,) if sent < len(request) else (0, 1, 300, 3000)):
            with connected(port) as client:
                client.sendall(request[:sent])
                while received > 0:
                    received -= len(client.recv(received))
    until(lambda: scheduler.load == (0, 0))
    assert healthy(port)
    assert caplog.records == []


def test_two_requests_at_once_on_a_connection(served):
    port, _ = served
    with connected(port) as client:
        client.sendall(HEALTH + completion() + HEALTH.replace(b"GET", b"BREW"))
        client.settimeout(WAIT)
        data = b""
        while data.count(b"HTTP/1.1 ") < 3 or not data.endswith(b"}}"):
            data += client.recv(1 << 16)
        assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"200", b"405"]
