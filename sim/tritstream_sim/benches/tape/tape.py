"""Bench of `TapeReader` with `RowReader`: what is on a tape comes out where it belongs."""

import cocotb
import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.formats import HEADER_BYTES, padded
from tritstream.image.tape import ROW_PREFIX, WIDE_BYTES, Bank, Header, Op, Scalar
from tritstream_hw.construct import construct
from tritstream_hw.elements.layouts import SCALE
from tritstream_hw.gemv.layouts import sums_layout
from tritstream_hw.memory.port import played_layout
from tritstream_hw.tape.layouts import HEADER_LAYOUT
from tritstream_hw.tape.reader import TapeReader
from tritstream_hw.tape.row import RowReader
from tritstream_sim.agents.stream import PAUSES, Sink, Source, reset, stall, start_clock
from tritstream_sim.verilate.parameters import build_config

ROW_SCALES = data.ArrayLayout(SCALE, 1)


class Reader(wiring.Component):
    """Both readers; a row is started when the header of its section is taken."""

    def __init__(self, config: BuildConfig):
        self.config = config
        beats = stream.Signature(data.ArrayLayout(8, config.beat_bytes))
        super().__init__({
            "beats":    In(stream.Signature(played_layout(config.beat_bytes))),
            "header":   Out(stream.Signature(HEADER_LAYOUT)),
            "banks":    Out(beats),
            "trits":    Out(beats),
            "elements": Out(stream.Signature(sums_layout(config.acc_bits, config.element_width))),
            "scale":    Out(stream.Signature(ROW_SCALES)),
            "bad":      Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.tape = tape = TapeReader(self.config)
        m.submodules.row = row = construct(RowReader, self.config)
        for name in ("header", "banks", "trits"):
            wiring.connect(m, getattr(tape, name), wiring.flipped(getattr(self, name)))
        wiring.connect(m, wiring.flipped(self.beats), tape.beats)
        wiring.connect(m, tape.row, row.beats)
        wiring.connect(m, row.o, wiring.flipped(self.elements))
        wiring.connect(m, row.scales, wiring.flipped(self.scale))
        m.d.comb += [
            row.command.valid.eq(
                self.header.valid & self.header.ready & (self.header.p.op == Op.EMBED)),
            row.command.payload.eq(self.header.p.rows),
            tape.row_done.eq(row.done),
            self.bad.eq(tape.bad),
        ]
        return m


class Bench:
    """Agents at all ports, and what is expected of each."""

    def __init__(self, dut, *, i_stall=0.0, o_stall=0.0, burst=1):
        self.config = build_config()
        beat = data.ArrayLayout(8, self.config.beat_bytes)
        shapes = {"header": HEADER_LAYOUT, "banks": beat, "trits": beat,
                  "elements": sums_layout(self.config.acc_bits, self.config.element_width),
                  "scale": ROW_SCALES}
        self.beats = Source(dut, "beats", played_layout(self.config.beat_bytes),
                            stall=stall(i_stall, burst))
        self.sinks = {name: Sink(dut, name, shape, stall=stall(o_stall, burst))
                      for name, shape in shapes.items()}
        self.expected = {name: [] for name in self.sinks}

    def play(self, parts: bytes, *streams):
        """Send bytes of the tape, and expect them again on these streams."""
        width = self.config.beat_bytes
        beats = [parts[n:n + width] for n in range(0, len(parts), width)]
        self.beats.send({"data": beat, "last": 0} for beat in beats)
        for name in streams:
            self.expected[name] += beats

    def section(self, rng, header: Header):
        """Send a section with random contents."""
        data = header.to_bytes()
        self.play(data)
        self.expected["header"].append(HEADER_LAYOUT.from_bits(
            int.from_bytes(data, "little") & ((1 << HEADER_LAYOUT.size) - 1)))
        self.play(rng.bytes(header.bank_bytes), "banks")
        self.play(rng.bytes(header.body_bytes), "trits")

    def row(self, rng, count: int, *, wide: bool):
        """Send an embedding row."""
        size = WIDE_BYTES if wide else 1
        values = rng.integers(-1 << (8 * size - 1), 1 << (8 * size - 1), count)
        values[:2] = [-1 << (8 * size - 1), (1 << (8 * size - 1)) - 1][:count]
        mantissa, shift = int(rng.integers(1 << 16)), int(rng.integers(63))
        data = mantissa.to_bytes(2, "little") + bytes([shift, wide])
        data += b"".join(int(v).to_bytes(size, "little", signed=True) for v in values)
        assert len(data) == ROW_PREFIX + size * count
        self.play(data.ljust(padded(len(data)), b"\xee"))
        width = self.config.element_width
        self.expected["elements"] += [
            (first // width, int(first + width >= count),
             {n: int(value) for n, value in enumerate(values[first:first + width])})
            for first in range(0, count, width)]
        self.expected["scale"].append(
            ROW_SCALES.const([{"mantissa": mantissa, "shift": shift}]))

    async def check(self):
        """Compare everything, and see that nothing surplus came."""
        for name, sink in self.sinks.items():
            got = await sink.take(len(self.expected[name]))
            if name == "elements":      # those that are live, which are sums of projection 0
                got = [(word.word, word.last, {n: sums[0] for n, sums in enumerate(word.rows)
                                               if word.live >> n & 1}) for word in got]
            assert got == self.expected[name], name
            await sink.nothing_more()


async def begin(dut, **stalls) -> Bench:
    """Start clock, agents and reset."""
    start_clock(dut)
    bench = Bench(dut, **stalls)
    await reset(dut)
    return bench


@cocotb.test
@cocotb.parametrize((("i_stall", "o_stall", "burst"), PAUSES))
async def sections_are_taken_apart(dut, i_stall, o_stall, burst):
    bench = await begin(dut, i_stall=i_stall, o_stall=o_stall, burst=burst)
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    scalar = Scalar(0x8001, -7)
    # Rows that end one before a unit's end, at it, and one behind; then any.
    rows = [(59, False), (60, False), (61, False), (19, True), (20, True), (21, True)]
    rows += [(int(rng.integers(1, 65)), wide) for wide in (False, True, False)]
    for count, wide in rows:
        bench.section(rng, Header(op=Op.EMBED, rows=count, banks=Bank.PRE | Bank.GAIN2))
        bench.row(rng, count, wide=wide)
        bench.section(rng, Header(op=Op.MLGRU, rows=7, columns=33, state_base=5, ratio=scalar,
                                  banks=Bank.KEEP | Bank.PRE | Bank.GAIN0, fractions=(20, 3)))
        bench.section(rng, Header(op=Op.GLU, rows=70, columns=1, banks=Bank.GAIN0))
        bench.section(rng, Header(op=Op.RESIDUAL, rows=33, columns=100, floor=scalar))
        bench.section(rng, Header(op=Op.HEAD, rows=11, columns=48, scales=(scalar,)))
    await bench.check()


@cocotb.test
async def a_reset_in_a_section_forgets_it(dut):
    bench = await begin(dut)
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    for part in (1, 3, 40, 90):
        bench.section(rng, Header(op=Op.GLU, rows=70, columns=60, banks=Bank.GAIN0))
        while len(bench.beats.pending) > part:
            bench.beats.pending.pop()
        await bench.beats.sent()
        await reset(dut)
        for expected in bench.expected.values():
            expected.clear()
        bench.section(rng, Header(op=Op.HEAD, rows=3, columns=20))
        await bench.check()


@cocotb.test
async def what_does_not_fit_is_bad(dut):
    config = build_config()
    good = {"op": Op.GLU, "rows": 5, "columns": 20}
    for change in ({"rows": config.max_intermediate + 1}, {"columns": config.max_hidden + 1},
                   {"rows": 0}, {"op": Op.MLGRU, "rows": config.max_hidden, "state_base":
                                 config.max_state - config.max_hidden + 1}):
        bench = await begin(dut)
        bench.play(Header(**{**good, **change}).to_bytes())
        bench.play(bytes(HEADER_BYTES))
        await bench.beats.sent()
        assert dut.bad.value == 1
        await bench.check()
