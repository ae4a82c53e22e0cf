"""Bench of an `Accelerator`: random models, every stage of every token against golden."""

import dataclasses
import pathlib
import tempfile

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from tritstream.formats import ALIGNMENT, UNIT
from tritstream.golden import GoldenModel, candidates, chain
from tritstream.image.image import Image
from tritstream.image.pack import pack
from tritstream.link.messages import RECORD_WORDS
from tritstream.link.protocol import Space, Status
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.memory.port import played_layout
from tritstream_hw.ports import BEST, DONE, start_layout, to_host_layout
from tritstream_sim.agents.stream import Sink, Source, reset, stall, start_clock
from tritstream_sim.verilate.parameters import build_config
from tritstream_sim.verilate.passes import pass_bytes

CONFIG = build_config()


def dummy(seed: int, *, outliers=False, **shape) -> Image:
    """Return a packed random model."""
    with tempfile.TemporaryDirectory() as directory:
        return pack(DummyCheckpoint(ModelConfig(**shape), seed=seed, outliers=outliers),
                    pathlib.Path(directory) / "image")


@dataclasses.dataclass
class Conversation:
    """What golden knows of a conversation: its state, and where on the device that is."""

    state: np.ndarray
    slot: int
    fresh: bool = True


class Bench:
    """The accelerator with a source, a host, and a golden twin."""

    def __init__(self, dut, image: Image):
        self.dut, self.image = dut, image
        self.golden = GoldenModel(image)
        self.conversation = self.open(0)
        self.digests = [0] * CONFIG.lanes
        self.beats = Source(dut, "beats", played_layout(CONFIG.beat_bytes))
        self.starts = Source(dut, "start", start_layout(CONFIG.lanes, CONFIG.slots))
        self.done = Sink(dut, "done", DONE)
        self.logits = Sink(dut, "logits", to_host_layout(CONFIG.lanes))

    def open(self, slot: int) -> Conversation:
        """Return a fresh conversation."""
        return Conversation(self.golden.new_state(), slot)

    async def read(self, space: Space, address: int) -> int:
        """Read a word of the accelerator's memories."""
        dut, port = self.dut, f"debug__{space.name.lower()}_read"
        while not dut.debug__idle.value:
            await RisingEdge(dut.clk)
        dut[f"{port}__addr"].value, dut[f"{port}__en"].value = address, 1
        await ClockCycles(dut.clk, 3)
        dut[f"{port}__en"].value = 0
        return dut[f"{port}__data"].value.to_signed()

    async def write(self, space: Space, address: int, value: int):
        """Write a word of the accelerator's memories."""
        dut, port = self.dut, f"debug__{space.name.lower()}_write"
        while not dut.debug__idle.value:
            await RisingEdge(dut.clk)
        width = len(dut[f"{port}__data"])
        dut[f"{port}__addr"].value, dut[f"{port}__en"].value = address, 1
        dut[f"{port}__data"].value = value & (1 << width) - 1
        await RisingEdge(dut.clk)
        dut[f"{port}__en"].value = 0
        await RisingEdge(dut.clk)

    def send(self, data: bytes):
        """Let the source play these bytes."""
        width = CONFIG.beat_bytes
        self.beats.send({"data": data[n:n + width], "last": n + width == len(data)}
                        for n in range(0, len(data), width))

    def play(self, tokens: list[int], stages: int):
        """Let the source play a pass."""
        self.send(pass_bytes(self.image, tokens, stages))

    def start(self, lanes: list[dict[str, int]], stages: int, *, logits=False):
        """Begin a pass."""
        self.starts.send([{"lanes": {"last": len(lanes) - 1, "table": lanes}, "logits": logits,
                           "stages": stages}])

    async def run(self, token: int, *, fresh=False, logits=False, stages=None):
        """Run a pass of one token of a conversation."""
        if fresh:
            self.conversation = self.open(0)
        await self.together([(self.conversation, [token])], logits=logits, stages=stages)

    async def together(self, works, *, logits=False, stages=None, bodies=()):
        """Run a pass of tokens of several conversations, and compare all that can be seen of it.

        Parameters
        ----------
        works : list of (Conversation, list of int)
            The tokens of each, which have neighbouring lanes.
        logits : bool
            Whether the host wants all logits.
        stages : int or None
            How much of the tape is played; None: all.
        bodies : container of int
            Lanes that the head is nothing to.
        """
        stages = stages or self.image.stages
        tokens, table, vectors, wanted = [], [], [], []
        for conversation, these in works:
            for n, token in enumerate(these):
                fresh = conversation.fresh and n == 0
                entry = {"slot": conversation.slot, "fresh": fresh}
                if fresh:
                    self.digests[len(table)] = 0
                if CONFIG.lanes > 1:
                    entry |= {"follows": n > 0, "body": len(table) in bodies}
                table.append(entry)
                of_token = []
                wanted.append(self.golden.forward(
                    [[token]], conversation.state, stages=stages,
                    observe=lambda stage, vector, of=of_token: of.append(vector[0, 0])))
                vectors.append(of_token)
                if len(vectors) - 1 in bodies and stages == self.image.stages:
                    of_token[-1] = of_token[-1][:0]         # what the head gives is not of it
            conversation.fresh = False
            tokens += these
        self.play(tokens, stages)
        self.start(table, stages, logits=logits)
        [done] = await self.done.take(1, patience=300_000)
        assert done.status == 0
        assert done.head == (stages == self.image.stages)
        await self._compare_stages(vectors)
        if done.head:
            await self._compare_logits(wanted, logits)
            for lane, head in enumerate(wanted):
                await self._compare_head(lane, head)
            for conversation, _ in works:
                await self._compare_state(conversation)

    async def _compare_stages(self, vectors):
        """Compare each stage's digest in the first lane, and the last in the others."""
        for index, vector in enumerate(vectors[0]):
            self.digests[0] = chain(vector, self.digests[0])
            name = self.image.sections[index].name
            got = await self.read(Space.RECORDS, RECORD_WORDS * index) & 0xFFFFFFFF
            cycles = await self.read(Space.RECORDS, RECORD_WORDS * index + 1)
            if got != self.digests[0]:
                await self._explain(name, vector, index)
        for lane in range(1, len(vectors)):
            for vector in vectors[lane]:
                self.digests[lane] = chain(vector, self.digests[lane])
        await self.compare_digests()
        assert int(self.dut.cycles.value) - cycles == 1     # the last record itself

    async def compare_digests(self):
        """Compare the running digest of each lane."""
        for lane, digest in enumerate(self.digests):
            self.dut.lane.value = lane
            await RisingEdge(self.dut.clk)
            await ReadOnly()
            assert int(self.dut.digest.value) == digest, f"digest of lane {lane}"
            await RisingEdge(self.dut.clk)

    async def _explain(self, name, vector, index):
        base = CONFIG.z_base if name.endswith(("mlgru", "glu")) else 0
        got = [await self.read(Space.VECTORS, base + row) for row in range(len(vector))]
        raise AssertionError(f"stage {index} {name} differs in digest; the memory now has {got}, "
                             f"golden {vector.tolist()}")

    async def _compare_logits(self, wanted, logits: bool):
        if logits:
            # Five of each token in turn: the host knows them by nothing else.
            rows = range(self.image.vocab)
            expected = [(lane, int(head.acc[0][row])) for block in rows[::5]
                        for lane, head in enumerate(wanted) for row in rows[block:block + 5]]
            got = await self.logits.take(len(wanted) * self.image.vocab)
            assert [(one.lane, one.acc) for one in got] == expected

    async def _compare_head(self, lane: int, wanted):
        self.dut.lane.value = lane
        best = []
        for index in range(CONFIG.candidates):
            self.dut.candidate.value = index
            await ClockCycles(self.dut.clk, 3)
            one = BEST.from_bits(int(self.dut.best.value))
            best += [(one.token, one.acc)] if one.valid else []
        scale = SCALE.from_bits(int(self.dut.scale.value))
        assert (scale.mantissa, scale.shift) == (wanted.mantissa[0], wanted.shift[0])
        assert best == candidates(wanted.acc[0], CONFIG.candidates)

    async def _compare_state(self, conversation: Conversation):
        for layer in range(self.image.layers):
            for row in np.random.default_rng(layer).integers(0, self.image.hidden, 3).tolist():
                address = state_address(conversation.slot, layer * self.image.hidden + row)
                wanted = conversation.state[0, layer, row]
                assert await self.read(Space.STATE, address) == wanted


def state_address(slot: int, element: int) -> int:
    """Where the memory of states has an element of a slot."""
    return (slot << (CONFIG.max_state - 1).bit_length()) + element


async def begin(dut, image: Image) -> Bench:
    """Start clock, agents and reset."""
    start_clock(dut)
    for name in ("lane", "candidate", "clear_digest", *(f"debug__{port}__en" for port in (
            "vectors_read", "vectors_write", "state_read", "state_write", "records_read"))):
        dut[name].value = 0
    bench = Bench(dut, image)
    await reset(dut)
    return bench


SHAPES = {
    "plain": {"hidden": 32, "intermediate": 40, "layers": 2, "vocab": 53},
    "odd": {"hidden": 23, "intermediate": 61, "layers": 2, "vocab": 7},
    "narrow": {"hidden": 1, "intermediate": 2, "layers": 3, "vocab": 3, "bos": None, "eos": None},
    "wide": {"hidden": CONFIG.max_hidden, "intermediate": CONFIG.max_intermediate, "layers": 3,
             "vocab": CONFIG.max_vocab},
    "bulky": {"hidden": 7, "intermediate": CONFIG.max_intermediate - 1, "layers": 1, "vocab": 11},
    "deep": {"hidden": 16, "intermediate": 12, "layers": 7, "vocab": 9},
    "unbounded": {"hidden": 20, "intermediate": 30, "layers": 2, "vocab": 11,
                  "use_lower_bound": False},
}


@cocotb.test
@cocotb.parametrize(shape=list(SHAPES))
async def tokens_equal_golden(dut, shape):
    """All shapes on one build, with a source and a host that pause or do not."""
    bench = await begin(dut, dummy(cocotb.RANDOM_SEED, **SHAPES[shape]))
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    for index, burst in enumerate([0, 1, 16, 16, 0]):
        bench.beats.stall = stall(0.4, burst) if burst else None
        bench.logits.stall = stall(0.6, burst) if burst else None
        token = int(rng.integers(bench.image.vocab))
        await bench.run(token, fresh=index == 0, logits=index < 3)
    await bench.logits.nothing_more()


@cocotb.test
async def outliers_equal_golden(dut):
    """Embedding rows of 24 bits."""
    bench = await begin(dut, dummy(3, outliers=True, **SHAPES["wide"]))
    assert bench.image.row(0)[3] == 1
    for index, token in enumerate([bench.image.vocab - 1, 1, 1]):
        await bench.run(token, fresh=index == 0)


@cocotb.test
async def a_prefix_of_the_tape(dut):
    """A pass may stop after any stage, and the state it leaves goes into the next."""
    bench = await begin(dut, dummy(4, **SHAPES["plain"]))
    await bench.run(1, fresh=True)
    for stages in (1, 2, 3, 5, bench.image.body_stages, bench.image.stages):
        await bench.run(9, stages=stages)


@cocotb.test
async def fresh_forgets_the_conversation(dut):
    bench = await begin(dut, dummy(5, **SHAPES["plain"]))
    for token, fresh in [(1, True), (2, False), (1, True), (2, True)]:
        await bench.run(token, fresh=fresh)


@cocotb.test
async def state_is_restored_through_the_debug_port(dut):
    bench = await begin(dut, dummy(6, **SHAPES["plain"]))
    await bench.run(1, fresh=True)
    state = bench.conversation.state
    state[:] = np.random.default_rng(6).integers(-1 << 20, 1 << 20, state.shape)
    for address, value in enumerate(state.reshape(-1).tolist()):
        await bench.write(Space.STATE, address, value)
    await bench.run(2)


@cocotb.test
async def a_reset_in_the_middle_of_a_pass(dut):
    """Wherever a pass is cut off, the next fresh one is right."""
    bench = await begin(dut, dummy(7, **SHAPES["odd"]))
    for cycles in (3, 50, 120, 300, 700, 1100):
        count = min(CONFIG.lanes, 3)
        bench.play([6] * count, bench.image.stages)
        bench.start([{} for _ in range(count)], bench.image.stages, logits=True)
        await ClockCycles(dut.clk, cycles)
        await reset(dut)
        bench.digests = [0] * CONFIG.lanes
        await bench.run(2, fresh=True, logits=True)


@cocotb.test
@cocotb.parametrize(damage=["magic", "op", "rows", "columns", "state"])
async def a_bad_tape_ends_the_pass(dut, damage):
    bench = await begin(dut, dummy(8, **SHAPES["plain"]))
    data = bytearray(pass_bytes(bench.image, [0], bench.image.stages))
    section = bench.image.sections[1].start - bench.image.tape_unit * UNIT
    position = section + UNIT * bench.image.row_units
    offset, value = {"magic": (0, 0), "op": (1, 5), "rows": (7, 1), "columns": (5, 1),
                     "state": (9, 1)}[damage]
    data[position + offset] = value
    bench.send(bytes(data))
    bench.start([{"fresh": 1}], bench.image.stages)
    [done] = await bench.done.take(1, patience=50_000)
    assert done.status == Status.BAD_TAPE


@cocotb.test
async def cycles_follow_the_tape(dut):
    """A pass without stalls takes a cycle per beat, and per stage what cannot be hidden."""
    bench = await begin(dut, dummy(9, **SHAPES["wide"]))
    await bench.run(1, fresh=True)
    beats = len(pass_bytes(bench.image, [1], bench.image.stages)) // CONFIG.beat_bytes
    cycles = int(dut.cycles.value)
    cocotb.log.info("%d cycles, %d beats, %d stages", cycles, beats, bench.image.stages)
    assert int(dut.beats_taken.value) == beats
    # The core takes a beat per cycle, or what follows it an element; a row is taken byte by byte.
    elements = sum(section.header.rows * section.header.op.projections
                   for section in bench.image.sections)
    exposed = sum(ALIGNMENT // CONFIG.vector_width * 4 for _ in bench.image.sections)
    assert cycles < max(beats, elements) + exposed + 170 * bench.image.stages
    assert int(dut.stalls.value) == 0
