"""The runner, its cache, and the agents: that they pass what is right and fail what is wrong."""

import os
import re
import subprocess
import sys
import time

import pytest
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from tritstream.build import BuildConfig
from tritstream.errors import MissingTool, ToolFailed
from tritstream_sim.verilate import runner
from tritstream_sim.verilate.compile import _run, compile_model
from tritstream_sim.verilate.export import export

pytestmark = pytest.mark.verilator
BENCH = "tritstream_sim.benches.agents"


class Register(wiring.Component):
    """A register between two streams."""

    i: In(stream.Signature(signed(33)))
    o: Out(stream.Signature(signed(33)))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.payload.eq(self.i.payload)
        return m


def test_a_right_bench_passes(simulate):
    config = BuildConfig(beat_bytes=4, vector_width=2)
    simulate(Register(), BENCH, config=config, does="pass", beat_bytes=4)


@pytest.mark.parametrize("does, message", [
    ("mismatch", "expects_what_does_not_come"),
    ("starve", "o: 2 of 3 payloads, then none for 50 cycles"),
    ("surplus", "o: 1 surplus payloads, first 0x2"),
    ("withdraw", "i: an offer was withdrawn or changed"),
    ("change", "i: an offer was withdrawn or changed"),
    ("nothing", "no test ran"),
])
def test_a_wrong_bench_fails(simulate, does, message):
    with pytest.raises(runner.SimulationFailed, match=re.escape(message)):
        simulate(Register(), BENCH, does=does)


def test_the_seed_decides_what_is_drawn(simulate):
    drawn = []
    for seed in (3, 3, 4):
        with pytest.raises(runner.SimulationFailed, match=f"seed {seed}") as failure:
            simulate(Register(), BENCH, seed=seed, does="draw")
        drawn.append(re.search(r"drawn (\w+)", str(failure.value))[1])
    assert drawn[0] == drawn[1] != drawn[2]


def test_waves_record_the_ports(simulate, tmp_path):
    simulate(Register(), BENCH, waves=True, directory=tmp_path / "run", does="pass", beat_bytes=16,
             config=BuildConfig())
    assert b"i__payload" in (tmp_path / "run" / "dump.fst").read_bytes()


MAIN = """#include "Vtop.h"
#include <cstdio>
int square(int);
int main() { Vtop top; top.eval(); std::printf("%d", square(top.o)); }
"""


def test_a_build_is_used_again_only_if_it_is_the_same(tmp_path):
    place = tmp_path / "no 'plain', $path"      # which make could not build in
    place.mkdir()
    main, library = place / "main.cpp", place / "libsquare.so"
    main.write_text(MAIN)
    subprocess.run(["g++", "-shared", "-fPIC", "-x", "c++", "-o", library, "-"], check=True,
                   input=b"int square(int x) { return x * x; }")

    def compiled(value):
        return compile_model(f"module three(output [7:0] o); assign o = {value}; endmodule",
                             "three", tmp_path / "a cache", sources=[main], libraries=[library])

    first = compiled(3)
    assert subprocess.check_output(first) == b"9"
    stamp = first.stat().st_mtime_ns
    assert compiled(3) == first and first.stat().st_mtime_ns == stamp
    assert compiled(4) != first
    main.write_text(MAIN + "// changed\n")
    assert compiled(3) != first


def test_a_refused_design_shows_the_log(tmp_path):
    with pytest.raises(ToolFailed, match="Can't find definition of variable: 'missing'"):
        compile_model("module bad(output o); assign o = missing; endmodule", "bad", tmp_path)


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*arguments):
        assert [path.suffix for path in tmp_path.iterdir() if path.is_dir()] == [".part"]
        raise KeyboardInterrupt

    monkeypatch.setattr("tritstream_sim.verilate.compile._make", interrupt)
    (tmp_path / "killed-0.part").mkdir()
    with pytest.raises(KeyboardInterrupt):
        compile_model("module one(output o); assign o = 1; endmodule", "one", tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


def test_a_yosys_that_fails_is_told_in_a_line(tmp_path, monkeypatch):
    program = tmp_path / "yosys"
    program.write_text("#!/bin/sh\necho Traceback: >&2\necho 'OSError: no room' >&2\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setenv("YOSYS", str(program))
    with pytest.raises(ToolFailed, match=f"^{program} failed: OSError: no room$"):
        export(Register(), "register")


class Memories(wiring.Component):
    """Memories that begin in three ways."""

    address: In(10)
    data: Out(9)

    def elaborate(self, platform):
        m = Module()
        for name, init in (("empty", []), ("zeros", [0, 0]), ("five", [0, 5])):
            m.submodules[name] = store = memory.Memory(shape=9, depth=1000, init=init)
            port = store.read_port(domain="comb")
            m.d.comb += port.addr.eq(self.address)
            with m.If(port.data != 0):
                m.d.comb += self.data.eq(port.data)
        return m


def test_memories_that_begin_at_zero_take_no_text(tmp_path, request):
    text = export(Memories(), "memories")
    assert [text.count(f"[{word}] = 9'h") for word in (0, 1, 999)] == [1, 1, 1]
    main = tmp_path / "main.cpp"
    main.write_text("""#include "Vtop.h"
int main() {
    Vtop top;
    for (int word = 0; word < 1000; word++) {
        top.address = word;
        top.eval();
        if (top.data != (word == 1 ? 5 : 0)) return 1;
    }
}""")
    cache = request.config.rootpath / "build" / "sim"
    subprocess.run([compile_model(text, "memories", cache, sources=[main])], check=True)


def test_programs_that_do_not_end_are_ended_with_what_they_started(tmp_path, monkeypatch):
    monkeypatch.setattr("tritstream_sim.verilate.compile.STEP_SECONDS", 0.5)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "make"
    program.write_text(f"#!/bin/sh\nsleep 100 &\necho $! > {tmp_path}/pid\nwait\n")
    program.chmod(0o700)
    with pytest.raises(ToolFailed, match="^make has not ended within 0 s and was killed"):
        _run(["make"], what="it", log=None, directory=tmp_path)
    with pytest.raises(ProcessLookupError):
        while True:                     # until init has buried it
            os.kill(int((tmp_path / "pid").read_text()), 0)
            time.sleep(0.01)


def test_a_python_without_a_shared_library_is_told_in_a_line(simulate, monkeypatch):
    monkeypatch.delenv("LIBPYTHON_LOC", raising=False)
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    with pytest.raises(MissingTool, match=f"^{sys.executable} has no shared library.*--enable-sh"):
        simulate({}, BENCH, does="pass")
