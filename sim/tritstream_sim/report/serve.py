"""What serving costs, by many clients at once; writes the tables of docs/serving.md.

``python -m tritstream_sim.report.serve [MODEL:DEVICE …] [--write docs/serving.md]``, where a model
may also be a published shape, such as 370M, which gets random weights. Clients and server are
processes of this machine, and share its processors with each other. Measured are

* of each model on its device, the tokens per second of the engine alone, with as many conversations
  as it has lanes, before and behind the load, and those that all clients get together, of the same
  texts: greedy ones, of the same prompt and length; where the device has a clock of its own, by
  that, too;
* from a request to its first token, and from an event to the next, as the clients see it, and how
  many tokens an event has: those that are made while a server sends others go out together;
* the memory of the server over many requests;
* the server's processor time per token, on an engine that computes nothing.

The document has a table for devices of any machine and one for GPUs, each with the machine on which
it was measured; what is not measured stays as it is.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator

import numpy as np

from tritstream.catalog import resolve
from tritstream.engines import Work, open_engine
from tritstream.engines.base import Engine, Pass
from tritstream.engines.candidates import CANDIDATES, Candidates
from tritstream.errors import BadInput, DeviceError, MissingTool, TritstreamError
from tritstream.image.pack import pack
from tritstream.model.dummy import PRESETS, TOKENIZER_VOCAB, DummyCheckpoint, byte_tokenizer
from tritstream.support.tools import run_bounded
from tritstream_sim.report.marked import write_between

__all__ = ["Alone", "Load", "Server", "Speed", "load", "main", "served"]

MARKS = "<!-- figures: written by `make bench-serve` -->", "<!-- end of figures -->"
GPU_MARKS = ("<!-- figures with a GPU: written by `make bench-serve` where there is one -->",
             "<!-- end of figures with a GPU -->")
TARGETS = "demo:golden", "story-30m:golden", "tiny:sim:p16?t=8"
GPU_TARGETS = "demo:cuda", "370M:cuda", "1.3B:cuda"
PROMPT = "It was a dark night, and"
PROMPT_TOKENS = 8           # of it
WARM = 0.3                  # of a load that is not counted
WARM_TOKENS = 36            # of texts before anything is counted: a GPU prepares its passes
REQUEST_SECONDS = 600.0     # for a response
FREE_TOKENS = 64            # of a text where passes cost nothing
MADE = b'"completion_tokens": '
REFUSAL = re.compile(rb'data: {"error".{,200}|^HTTP/1.1 (?!200).*')
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE = resource.getpagesize()
SMI_SECONDS = 60.0          # for nvidia-smi, which is slow where nobody has used the GPU
SAID = 2_000                # letters of what a server says that does not start


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
        self._state = self._values()
        self._pass = Pass(Candidates(tokens, tuple(-0.1 * rank for rank in range(CANDIDATES))), 0)

    def _together(self, works: list[Work]) -> list[Pass]:
        for conversation, tokens, head, _ in works:
            conversation._took(tokens, 0, heads=int(head))
            conversation._keep(self._state)
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


def serve_free() -> None:
    """Serve `FreeEngine`, as `tritstream serve` does a device."""
    import socket

    from tritstream.runtime.language_model import LanguageModel
    from tritstream.server.app import application
    from tritstream.server.process import run
    from tritstream.server.residence import Residence
    from tritstream.server.store import Store

    source = resolve("demo")
    loaded = LanguageModel(source, FreeEngine(source.config.vocab), lambda: loaded.engine)
    with (tempfile.TemporaryDirectory() as directory, loaded,
          socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
          Residence([source], lambda source: contextlib.nullcontext(loaded)) as residence,
          Store(pathlib.Path(directory), residence.served.values()) as store):
        print(f"free at http://127.0.0.1:{listener.getsockname()[1]}/v1", file=sys.stderr)
        run(application(residence, store), listener)


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
        lines = []
        for line in self._process.stderr:
            lines.append(line)
            if "127.0.0.1:" in line:
                break
        else:
            self.close()
            said = "".join(lines)[-SAID:].strip()
            raise DeviceError(f"The server does not start: {said or 'it says nothing'}.")
        self.port = int(line.split("127.0.0.1:")[1].split("/")[0])

    @property
    def processor_seconds(self) -> float:
        """What it has computed so far."""
        fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / CLOCK_TICKS

    def ask(self, path: str) -> dict:
        """Return what it says of itself."""
        where = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(where, timeout=REQUEST_SECONDS) as response:
            return json.loads(response.read())

    @property
    def cycles(self) -> int | None:
        """Clock cycles of its device so far; None where that has no clock."""
        return self.ask("/props")["cycles"]

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
        Seconds from requests to first events with tokens, and between these.
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

    @property
    def tokens_of_event(self) -> float:
        """How many tokens came in an event, in the mean."""
        return self.tokens / (len(self.firsts) + len(self.gaps))

    def milliseconds(self, times: list[float]) -> str:
        """Write the 50th and the 99th percentile; nothing of no times."""
        if not times:
            return ""
        middle, high = np.percentile(times, (50, 99)) * 1000
        return f"{middle:.0f} ms, {high:.0f} ms"


@dataclasses.dataclass
class Speed:
    """How fast a device makes texts.

    Parameters
    ----------
    rate : float
        Tokens per second of this computer's clock.
    cost : float
        Processor seconds per token, without those of a simulation, which is another process.
    cycles : float or None
        Of the device's clock, per token; None where it has none.
    """

    rate: float
    cost: float
    cycles: float | None


class Alone:
    """An engine by itself, before its server and behind it: so both have the same neighbours.

    Parameters
    ----------
    name, device : str
        Model and device.
    tokens : int
        Of a text.
    """

    def __init__(self, name: str, device: str, tokens: int):
        self._name = name
        self._open = functools.partial(open_engine, device, resolve(name))
        self._prompt = _prompt(name)
        self._tokens = tokens
        self._made, self._cycles, self._seconds, self._spent = 0, 0, 0.0, 0.0

    def run(self, seconds: float) -> Engine:
        """Make texts like those of the clients, as many as it has lanes at a time.

        Returns
        -------
        Engine
            Closed: a simulated board computes also where nobody asks it anything.
        """
        with self._open() as engine:
            self._make(engine, WARM_TOKENS)
            cycles = engine.cycles or 0
            began, spent = time.perf_counter(), time.process_time()
            while (elapsed := time.perf_counter() - began) < seconds:
                self._make(engine, self._tokens)
                self._made += self._tokens * engine.lanes
            self._seconds += elapsed
            self._spent += time.process_time() - spent
            self._cycles += (engine.cycles or 0) - cycles
            return engine

    def _make(self, engine: Engine, tokens: int) -> None:
        texts = [engine.open() for _ in range(engine.lanes)]
        results = engine.step([Work(text, self._prompt, candidates=False) for text in texts])
        begins = {text: result.candidates.best
                  for text, result in zip(texts, results, strict=True)}
        if sum(1 for _ in engine.run(begins, tokens - 1)) < tokens - 1:
            raise BadInput(f"The likeliest text of {self._name} behind {PROMPT!r} ends before it "
                           f"has {tokens} tokens: ask for fewer.")

    @property
    def speed(self) -> Speed:
        """How fast it was, prompts included."""
        return Speed(self._made / self._seconds, self._spent / self._made,
                     self._cycles / self._made or None)


def served(name: str, device: str, options) -> tuple[Load, Speed]:
    """Return what many clients have of a device together, and what it costs."""
    with Server(["tritstream", "serve", "-m", name, "--device", device, "--port", "0"]) as server:
        lanes, prompt = server.ask("/slots")["lanes"], _prompt(name)
        # A GPU prepares its passes for as many texts as there are.
        for few in [1 << n for n in range(lanes.bit_length())] if _is_gpu(device) else [lanes]:
            asyncio.run(load(server.port, few, prompt=prompt, tokens=WARM_TOKENS, requests=few))
        return asyncio.run(_watched(server, prompt, options))


async def _watched(server: Server, prompt: list[int], options) -> tuple[Load, Speed]:
    """Have clients ask a server, and look at it when they begin to count and when they end."""
    async def look() -> tuple[float, int | None]:
        return server.processor_seconds, await asyncio.to_thread(lambda: server.cycles)

    loading = asyncio.create_task(load(server.port, options.clients, prompt=prompt,
                                       tokens=options.tokens, seconds=options.seconds))
    await asyncio.sleep(WARM * options.seconds)
    spent, cycles = await look()
    await asyncio.sleep((1 - WARM) * options.seconds)
    spent_then, cycles_then = await look()
    seen = await loading
    return seen, Speed(seen.rate, (spent_then - spent) / seen.tokens,
                       None if cycles is None else (cycles_then - cycles) / seen.tokens)


async def load(port: int, clients: int, *, prompt: list[int], tokens: int,
               seconds: float = float("inf"), requests: int = 1 << 60,
               between=lambda done: None, greedy: bool = True) -> Load:
    """Have clients ask for texts, each for the next as soon as it has one.

    Parameters
    ----------
    port : int
        Of the server, on this machine.
    clients : int
        At the same time.
    prompt : list of int
        Of every text.
    tokens : int
        Of a text, without its prompt.
    seconds, requests
        When it ends: whichever comes first.
    between : callable
        Called with the number of requests that have ended, behind each.
    greedy : bool
        Whether the texts are the likeliest ones; else they are drawn.
    """
    result = Load()
    began = time.perf_counter()
    ends = began + seconds
    warm = began + WARM * seconds if seconds < float("inf") else began
    numbers = iter(range(requests))

    async def client() -> None:
        with contextlib.closing(_Client(result, warm, ends)) as asks:
            for number in numbers:
                if time.perf_counter() > ends:
                    return
                async with asyncio.timeout(REQUEST_SECONDS):
                    await asks.ask(port, _body(number, prompt, tokens, greedy))
                result.requests += 1
                between(result.requests)

    await asyncio.gather(*(client() for _ in range(clients)))
    result.seconds = min(time.perf_counter(), ends) - warm
    return result


@contextlib.contextmanager
def _opened_by(name: str) -> Iterator[str]:
    """Yield what opens a model; a published shape gets random weights, and texts without an end."""
    if name not in PRESETS:
        yield name
        return
    with tempfile.TemporaryDirectory() as directory:
        shape = DummyCheckpoint(dataclasses.replace(PRESETS[name], eos=None))
        shape.path = pathlib.Path(directory)
        tokenizer = byte_tokenizer()
        tokenizer.add_tokens([f" {token}" for token in range(TOKENIZER_VOCAB, shape.config.vocab)])
        tokenizer.save(str(shape.tokenizer_path))
        yield str(pack(shape, shape.path / f"{name}.trit").path)


def _prompt(name: str) -> list[int]:
    """Return what texts of a model begin with."""
    return resolve(name).tokenizer.encode(PROMPT)[:PROMPT_TOKENS]


def _body(number: int, prompt: list[int], tokens: int, greedy: bool) -> bytes:
    how = {"temperature": 0} if greedy else {"seed": number}
    usage = {"include_usage": True, "continuous_usage_stats": True}
    return json.dumps({"prompt": prompt, "max_tokens": tokens, "stream": True,
                       "stream_options": usage} | how).encode()


class _Client(asyncio.Protocol):
    """Asks for one text after the other as a stream, and notes when its tokens come.

    It shares the processors with the server, so it does as little as can be: of what comes only the
    counts of tokens and the end are looked for.

    Parameters
    ----------
    result : Load
        Where it is noted.
    warm, ends : float
        Times between which it is.
    """

    def __init__(self, result: Load, warm: float, ends: float):
        self._result, self._warm, self._ends = result, warm, ends
        self._transport = None

    async def ask(self, port: int, body: bytes) -> None:
        """Have a text, over the connection of the one before."""
        loop = asyncio.get_running_loop()
        if self._transport is None:
            await loop.create_connection(lambda: self, "127.0.0.1", port)
        self._rest = b""                # of an event that has not come whole
        self._made = 0
        self._answered = loop.create_future()
        self._before = time.perf_counter()
        self._transport.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        await self._answered

    def connection_made(self, transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        events, _, self._rest = (self._rest + data).rpartition(b"\r\n\r\n")
        for part in events.split(MADE)[1:]:
            self._note(int(part[:part.index(b",")]), now)
        if events == b"0" or events.endswith(b"\n0"):      # the chunk that ends a response
            self._answer()
        elif refusal := REFUSAL.search(events):
            self._answer(DeviceError(f"The server refuses: {refusal[0].decode()}."))
            self._transport.close()

    def _note(self, made: int, now: float) -> None:
        already, self._made = self._made, made
        if made == already:             # an end, or the usage behind it
            return
        if self._warm <= now <= self._ends:
            self._result.tokens += made - already
            (self._result.gaps if already else self._result.firsts).append(now - self._before)
        self._before = now

    def _answer(self, error: Exception | None = None) -> None:
        if not self._answered.done():
            self._answered.set_exception(error) if error else self._answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._answer(DeviceError("The server has hung up in the middle of a response."))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def column(target: str, options) -> dict[str, str]:
    """Measure a model on a device, and return its column of the table, by what is in its rows."""
    name, _, device = target.partition(":")
    with _opened_by(name) as name:
        alone = Alone(name, device, options.tokens)
        alone.run(options.seconds / 2)
        seen, server = served(name, device, options)
        what, engine = alone.run(options.seconds / 2), alone.speed
    by_processor = by_device = ""
    if _is_gpu(device):
        pass                    # who waits for a GPU computes, so that its processor says nothing
    elif engine.cycles is None:
        by_processor = (f"{engine.cost / server.cost:.2f} ({engine.cost * 1000:.2f} ms of a "
                        f"processor per token alone, {server.cost * 1000:.2f} ms served)")
    else:
        by_device = (f"{engine.cycles / server.cycles:.2f} "
                     f"({what.clock_hz / engine.cycles:,.0f} tok/s alone, "
                     f"{what.clock_hz / server.cycles:,.0f} served, {what.evidence})")
    return {
        "lanes": f"{what.lanes}",
        "the engine alone, as many texts as lanes": f"{engine.rate:.3g} tok/s",
        f"all of {options.clients} clients, streams of {options.tokens} tokens":
            f"{server.rate:.3g} tok/s",
        "share of the engine's speed": f"{server.rate / engine.rate:.2f}",
        "the same by processor time, which others do not take": by_processor,
        "the same by the device's clock": by_device,
        "from request to first token (50th, 99th percentile)": seen.milliseconds(seen.firsts),
        "from event to event (50th, 99th percentile)": seen.milliseconds(seen.gaps),
        "tokens of an event, in the mean": f"{seen.tokens_of_event:.1f}"}


def memory(options) -> str:
    """Watch the memory of a server over many requests."""
    with Server(["tritstream", "serve", "-m", "tiny", "--port", "0"]) as server:
        marks: dict[int, float] = {}

        def between(done: int) -> None:
            if done % max(1, options.requests // 5) == 0:
                marks[done] = server.memory / 1e6

        asyncio.run(load(server.port, 16, prompt=_prompt("tiny"), tokens=2,
                         requests=options.requests, between=between))
    return ", ".join(f"{size:.0f}" for size in marks.values()) + " MB after each fifth"


def own_cost(options) -> float:
    """Processor seconds of a server per token, on an engine that computes nothing."""
    with Server(["tritstream_sim.report.serve", "--free"]) as server:
        asks = functools.partial(load, server.port, options.clients, tokens=FREE_TOKENS,
                                 prompt=_prompt("demo"), greedy=False)
        asyncio.run(asks(requests=options.clients))
        spent = server.processor_seconds
        free = asyncio.run(asks(requests=10 * options.clients))
        return (server.processor_seconds - spent) / (FREE_TOKENS * free.requests)


def table(targets: list[str], options) -> str:
    """Measure models on their devices, and return that in Markdown."""
    others = os.getloadavg()[0]
    columns = []
    for target in targets:
        columns.append(column(target, options))
        print(f"{target}: {columns[-1]}", file=sys.stderr)
    names = [f"`{name}` on `{device}`" for name, _, device in
             (target.partition(":") for target in targets)]
    gpu = f" and {_gpu()}" if any(_on_gpu(target) for target in targets) else ""
    lines = [f"On {os.cpu_count()} processors ({_processor()}){gpu} that clients and server share, "
             f"with {others:.1f} other processes running at the start; `measured`, but where it "
             "says otherwise.", "", f"| what | {' | '.join(names)} |",
             "|---" * (1 + len(names)) + "|"]
    for row in columns[0]:
        if any(each[row] for each in columns):
            lines.append(f"| {row} | {' | '.join(each[row] for each in columns)} |")
    return "\n".join([*lines, "", *_of_every_server(options)])


def _of_every_server(options) -> list[str]:
    lines = ["| of every server | |", "|---|---|"]
    if options.requests:
        lines.append(f"| memory over {options.requests:,} requests of `tiny` on `golden` | "
                     f"{memory(options)} |")
    return [*lines, "| processor time per token, without an engine | "
            f"{own_cost(options) * 1e6:.0f} us |"]


def _is_gpu(device: str) -> bool:
    return device.partition(":")[0] == "cuda"


def _on_gpu(target: str) -> bool:
    return _is_gpu(target.partition(":")[2])


def _gpu() -> str:
    query = "nvidia-smi", "--query-gpu=name", "--format=csv,noheader"
    return "one " + run_bounded(query, SMI_SECONDS, stdout=subprocess.PIPE).stdout.splitlines()[0]


def _targets(asked: list[str]) -> list[str]:
    """Return what is measured, which has to be there: without a word, what this machine has."""
    for name in (target.partition(":")[0] for target in asked):
        if name not in PRESETS:
            resolve(name)
    if asked:
        return asked
    try:
        open_engine("cuda", resolve("demo")).close()
    except (DeviceError, MissingTool) as error:
        print(f"cuda is left out: {error}", file=sys.stderr)
        return [*TARGETS]
    return [*TARGETS, *GPU_TARGETS]


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
    parser.add_argument("targets", nargs="*", metavar="MODEL:DEVICE")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64, help="of a text")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load")
    parser.add_argument("--requests", type=int, default=10_000,
                        help="over which memory is watched; 0: it is not")
    parser.add_argument("--write", type=pathlib.Path, help="file whose tables are replaced")
    parser.add_argument("--free", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    try:
        if options.free:
            serve_free()
            return
        targets = _targets(options.targets)
        for marks, wanted in (MARKS, False), (GPU_MARKS, True):
            group = [target for target in targets if _on_gpu(target) == wanted]
            if group:
                text = table(group, options)
                print(text)
                if options.write:
                    write_between(options.write, marks, text)
    except TritstreamError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


if __name__ == "__main__":
    main()
