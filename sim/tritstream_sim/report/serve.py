"""What serving costs, by many clients at once; writes the table of docs/serving.md.

``python -m tritstream_sim.report.serve [--write docs/serving.md]``. Clients and server are
processes of this machine, and share its processors with each other. Measured are

* the tokens per second of the engine alone, with as many conversations as it has lanes, and those
  that all clients get together;
* from a request to its first token, and from a token to the next, as the clients see it;
* the memory of the server over many requests;
* the server's processor time per token, on an engine that computes nothing.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from tritstream.catalog import DEFAULT_MODEL, resolve
from tritstream.engines import Work, open_engine
from tritstream.engines.base import Engine, Pass
from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.errors import DeviceError, TritstreamError

__all__ = ["Load", "alone", "load", "main"]

MARKS = "<!-- figures: written by `make bench-serve` -->", "<!-- end of figures -->"
PROMPT = "It was a dark night, and"
WARM = 0.1                  # of a load that is not counted
REQUEST_SECONDS = 600.0     # for a response
FREE_TOKENS = 64            # of a text where passes cost nothing
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE = resource.getpagesize()


class FreeEngine(Engine):
    """An engine whose passes cost nothing: what is left is the host's own work."""

    name = "free"
    model = "0" * 64
    shape = (1, 1)
    lanes = 64
    stop_tokens = ()

    def __init__(self, vocab: int):
        super().__init__()
        self.vocab = vocab
        tokens = tuple(range(vocab // 2, vocab // 2 + CANDIDATES))
        self._pass = Pass(Candidates(tokens, tuple(-0.1 * rank for rank in range(CANDIDATES))), 0)

    def _together(self, works: list[Work]) -> list[Pass]:
        for conversation, tokens, head in works:
            conversation._took(tokens, 0, heads=int(head))
            conversation._keep(np.zeros(self.shape, np.int32))
        return [self._pass] * len(works)

    def _put(self, values) -> None:
        return

    def _go_on_from(self, digest) -> None:
        return

    def _values(self) -> np.ndarray:
        return np.zeros(self.shape, np.int32)

    def _feed(self, tokens) -> list[Pass]:
        return [self._pass] * len(tokens)

    def _step(self, token) -> Pass:
        return self._pass

    def _logits(self, tokens):
        return np.zeros((len(tokens), self.vocab), np.float32), 0


def serve_free(model: str) -> None:
    """Serve `FreeEngine`, as `tritstream serve` does a device."""
    import socket

    import uvicorn

    from tritstream.runtime.language_model import LanguageModel
    from tritstream.server.app import application
    from tritstream.server.connection import Connection
    from tritstream.server.residence import Residence
    from tritstream.server.store import Store

    source = resolve(model)
    loaded = LanguageModel(source, FreeEngine(source.config.vocab), lambda: loaded.engine)
    with (tempfile.TemporaryDirectory() as directory, loaded,
          socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
          Residence([source], lambda source: contextlib.nullcontext(loaded)) as residence,
          Store(pathlib.Path(directory), residence.served.values()) as store):
        print(f"free at http://127.0.0.1:{listener.getsockname()[1]}/v1", file=sys.stderr)
        config = uvicorn.Config(application(residence, store), http=Connection, log_level="error",
                                access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


class Server:
    """A server as a process of its own.

    Raises
    ------
    DeviceError
        It does not start.
    """

    def __init__(self, arguments: list[str]):
        self._process = subprocess.Popen([sys.executable, "-m", *arguments],
                                         stderr=subprocess.PIPE, text=True)
        line = self._process.stderr.readline()
        if "127.0.0.1:" not in line:
            self.close()
            raise DeviceError(f"The server does not start: {line.strip() or 'it says nothing'}.")
        self.port = int(line.split("127.0.0.1:")[1].split("/")[0])

    @property
    def processor_seconds(self) -> float:
        """What it has computed so far."""
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / CLOCK_TICKS

    @property
    def memory(self) -> float:
        """Bytes of memory that it has at the moment."""
        pages = pathlib.Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * PAGE

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


@dataclasses.dataclass
class Load:
    """What clients have seen of a server.

    Parameters
    ----------
    seconds : float
        For how long was counted.
    tokens : int
        Of all texts, in that time.
    firsts, gaps : list of float
        Seconds from requests to first tokens, and between tokens.
    requests : int
        That have come to their end, in all.
    """

    seconds: float = 0.0
    tokens: int = 0
    firsts: list[float] = dataclasses.field(default_factory=list)
    gaps: list[float] = dataclasses.field(default_factory=list)
    requests: int = 0

    @property
    def rate(self) -> float:
        """Tokens per second, of all clients together."""
        return self.tokens / self.seconds

    def milliseconds(self, times: list[float]) -> str:
        """Write the 50th and the 99th percentile."""
        middle, high = np.percentile(times, (50, 99)) * 1000
        return f"{middle:.0f} ms, {high:.0f} ms"


def alone(name: str, device: str, tokens: int, seconds: float) -> tuple[int, float, float]:
    """Return an engine's lanes, tokens per second and processor seconds per token.

    It makes texts like those of the clients, as many as it has lanes at a time, prompts included.
    """
    source = resolve(name)
    with open_engine(device, source) as engine:
        prompt = source.tokenizer.encode(PROMPT)
        made, began, spent = 0, time.perf_counter(), time.process_time()
        while (elapsed := time.perf_counter() - began) < seconds:
            texts = [engine.open() for _ in range(engine.lanes)]
            results = engine.step([Work(text, prompt) for text in texts])
            for _ in range(tokens - 1):
                results = engine.step([Work(text, [result.candidates.best])
                                       for text, result in zip(texts, results, strict=True)])
            made += tokens * len(texts)
        return engine.lanes, made / elapsed, (time.process_time() - spent) / made


async def load(port: int, clients: int, *, tokens: int, seconds: float = float("inf"),
               requests: int = 1 << 60, between=lambda done: None, bias: bool = True) -> Load:
    """Have clients ask for texts, each for the next as soon as it has one.

    Parameters
    ----------
    port : int
        Of the server, on this machine.
    clients : int
        At the same time.
    tokens : int
        Of a text.
    seconds, requests
        When it ends: whichever comes first.
    between : callable
        Called with the number of requests that have ended, behind each.
    bias : bool
        Whether a bias keeps texts from ending before they have so many tokens.
    """
    result = Load()
    began = time.perf_counter()
    ends = began + seconds
    warm = began + WARM * seconds if seconds < float("inf") else began
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            if time.perf_counter() > ends:
                return
            async with asyncio.timeout(REQUEST_SECONDS):
                await _text(port, _body(number, tokens, bias), result, warm, ends)
            result.requests += 1
            between(result.requests)

    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = min(time.perf_counter(), ends) - warm
    return result


def _body(number: int, tokens: int, bias: bool) -> bytes:
    biases = {"logit_bias": {"0": -100, "1": -100}} if bias else {}
    return json.dumps({"prompt": PROMPT, "max_tokens": tokens, "seed": number, "stream": True}
                      | biases).encode()


async def _text(port: int, body: bytes, result: Load, warm: float, ends: float) -> None:
    """Ask for a text as a stream, and note when its tokens come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        asked = before = time.perf_counter()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        while line := await reader.readline():
            if not line.startswith(b'data: {"id"'):
                if line.startswith(b'data: {"error"') or b" 429 " in line or b" 503 " in line:
                    raise DeviceError(f"The server refuses: {line.decode()[:200]}.")
                continue
            now = time.perf_counter()
            if warm <= now <= ends:
                result.tokens += 1
                (result.firsts if before == asked else result.gaps).append(now - before)
            before = now
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def table(name: str, device: str, options) -> str:
    """Measure everything, and return it in Markdown."""
    others = os.getloadavg()[0]
    lanes, rate, cost = alone(name, device, options.tokens, options.seconds)
    with Server(["tritstream", "serve", "-m", name, "--device", device, "--port", "0"]) as server:
        spent = server.processor_seconds
        served = asyncio.run(load(server.port, options.clients, tokens=options.tokens,
                                  seconds=options.seconds))
        spent = server.processor_seconds - spent
    served_cost = spent / (served.requests * options.tokens)
    with Server(["tritstream", "serve", "-m", "tiny", "--port", "0"]) as server:
        marks: dict[int, float] = {}

        def between(done: int) -> None:
            if done % max(1, options.requests // 5) == 0:
                marks[done] = server.memory / 1e6

        asyncio.run(load(server.port, 16, tokens=2, requests=options.requests, between=between))
    with Server(["tritstream_sim.report.serve", "--free", "--model", name]) as server:
        asyncio.run(load(server.port, options.clients, tokens=FREE_TOKENS,
                         requests=options.clients, bias=False))
        spent = server.processor_seconds
        free = asyncio.run(load(server.port, options.clients, tokens=FREE_TOKENS,
                                requests=10 * options.clients, bias=False))
        spent = server.processor_seconds - spent
    own_cost = spent / (FREE_TOKENS * free.requests)
    rows = [
        (f"`{device}` alone, {lanes} lanes",
         f"{rate:.0f} tok/s, {cost * 1000:.2f} ms of a processor per token"),
        (f"all of {options.clients} clients, streams of {options.tokens} tokens",
         f"{served.rate:.0f} tok/s, {served_cost * 1000:.2f} ms of a processor per token"),
        ("share of the engine's speed", f"{served.rate / rate:.2f} by the clock, "
         f"{cost / served_cost:.2f} by processor time"),
        ("from request to first token (50th, 99th percentile)",
         served.milliseconds(served.firsts)),
        ("from token to token (50th, 99th percentile)", served.milliseconds(served.gaps)),
        (f"memory of the server over {options.requests:,} requests",
         ", ".join(f"{memory:.0f}" for memory in marks.values()) + " MB after each fifth"),
        ("processor time of the server per token, without an engine", f"{own_cost * 1e6:.0f} us"),
    ]
    lines = [f"`{name}` on {os.cpu_count()} processors ({_processor()}) that clients and server "
             f"share, with {others:.1f} other processes running at the start; `measured`.", "",
             "| what | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {value} |" for what, value in rows)])


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.machine()


def main(argv=None) -> None:
    """Print the table, or put it where it belongs."""
    parser = argparse.ArgumentParser(prog="python -m tritstream_sim.report.serve",
                                     description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--device", default="golden")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64, help="of a text")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load")
    parser.add_argument("--requests", type=int, default=10_000, help="over which memory is watched")
    parser.add_argument("--write", type=pathlib.Path, help="file whose table is replaced")
    parser.add_argument("--free", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    try:
        if options.free:
            serve_free(options.model)
            return
        text = table(options.model, options.device, options)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    print(text)
    if options.write:
        whole = options.write.read_text()
        begin, end = (whole.index(mark) for mark in MARKS)
        options.write.write_text(whole[:begin + len(MARKS[0])] + "\n" + text + "\n" + whole[end:])


if __name__ == "__main__":
    main()
