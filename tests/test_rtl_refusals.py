"""What would hang the device is refused with a status, and the next pass works."""

import contextlib
import struct

import pytest

from tritstream.build import BuildConfig
from tritstream.driver import Device
from tritstream.formats import UNIT
from tritstream.golden import GoldenModel, chain
from tritstream.image.pack import pack
from tritstream.image.tape import HEADER_FIELDS, Op
from tritstream.link.messages import Run, read_answer
from tritstream.link.protocol import Code, RunFlag, Status
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream_hw.accelerator import Accelerator
from tritstream_hw.boards.device import BareDevice
from tritstream_sim.twin.emulator import Emulator
from tritstream_sim.twin.golden_board import GoldenBoard
from tritstream_sim.twin.in_process import InProcessTransport
from tritstream_sim.verilate.passes import Passes, pass_bytes
from tritstream_sim.verilate.stepped import Bench, SteppedTransport, build_stepped

pytestmark = pytest.mark.verilator

CONFIG = BuildConfig(beat_bytes=8, vector_width=4, candidates=3, max_hidden=64,
                     max_intermediate=128, max_vocab=64, max_state=128, max_stages=16,
                     prefetch_beats=64, memory_bytes=32 * 1024, ack_cycles=500,
                     retry_cycles=5_000)
OFFSETS = dict(zip((name for name, _, _ in HEADER_FIELDS), [0] + [
    sum(bits for _, bits, _ in HEADER_FIELDS[:n]) // 8 for n in range(1, len(HEADER_FIELDS))],
    strict=True))
FRESH = [{"fresh": 1}]
FORMATS = {name: {8: "B", 16: "<H", 32: "<I"}[bits] for name, bits, _ in HEADER_FIELDS}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    shape = ModelConfig(hidden=40, intermediate=70, layers=1, vocab=50)
    return pack(DummyCheckpoint(shape, seed=3), tmp_path_factory.mktemp("model") / "dummy.trit")


@pytest.fixture(scope="module")
def passes(request):
    with Passes(Accelerator(CONFIG), request.config.rootpath / "build" / "sim") as passes:
        yield passes


def digest_of(image, token, stages):
    """Digest of a fresh pass."""
    vectors = []
    golden = GoldenModel(image)
    golden.forward([[token]], golden.new_state(), stages=stages,
                   observe=lambda _, vector: vectors.append(vector[0, 0]))
    digest = 0
    for vector in vectors:
        digest = chain(vector, digest)
    return digest


def check_fresh_pass(passes, image, token=7):
    done = passes.play(pass_bytes(image, [token], image.stages), stages=image.stages, lanes=FRESH)
    assert done.status == Status.OK
    assert done.records[-1].digest == digest_of(image, token, image.stages)


def damaged(image, token, index, **changes):
    """A pass in whose `index`-th section fields of the header are changed by functions."""
    data = bytearray(pass_bytes(image, [token], image.stages))
    start = image.sections[index].start - image.tape_unit * UNIT
    start += image.row_units * UNIT if index else 0
    for name, change in changes.items():
        place = start + OFFSETS[name]
        value, = struct.unpack_from(FORMATS[name], data, place)
        struct.pack_into(FORMATS[name], data, place, change(value))
    return bytes(data)


@pytest.mark.parametrize("changes", [
    pytest.param({"blocks": lambda n: 0}, id="blocks-none"),
    pytest.param({"blocks": lambda n: n - 1}, id="blocks-too-few"),
    pytest.param({"blocks": lambda n: n + 1}, id="blocks-too-many"),
    pytest.param({"units": lambda n: 0}, id="units-none"),
    pytest.param({"units": lambda n: n - 1}, id="units-fewer"),
    pytest.param({"units": lambda n: n + 1}, id="units-more"),
    pytest.param({"units": lambda n: n + (1 << 31)}, id="units-many"),
    pytest.param({"columns": lambda n: 0}, id="columns-none"),
    pytest.param({"columns": lambda n: 0, "units": lambda n: 1, "banks": lambda n: 0},
                 id="columns-none-consistent"),
    pytest.param({"columns": lambda n: n + 64}, id="columns-more"),
    pytest.param({"rows": lambda n: 0}, id="rows-none"),
    pytest.param({"rows": lambda n: n + 5}, id="rows-more"),
    pytest.param({"banks": lambda n: n ^ 8}, id="bank"),
    pytest.param({"banks": lambda n: n | 128}, id="banks"),
    pytest.param({"op": lambda n: Op.RESIDUAL}, id="op"),
    pytest.param({"op": lambda n: 5}, id="op-unknown"),
])
def test_a_header_that_would_hang_is_refused(passes, image, changes):
    seen = set()
    for index, section in enumerate(image.sections):
        if section.header.op is Op.EMBED and "columns" in changes:
            continue                # it has none, and nobody reads them
        if section.header.op is Op.HEAD and "op" in changes and changes["op"](0) is Op.RESIDUAL:
            continue                # as long as before: that ends, with another result
        data = damaged(image, 7, index, **changes)
        if data == pass_bytes(image, [7], image.stages):
            continue
        seen.add(section.header.op)
        assert passes.play(data, stages=image.stages, lanes=FRESH).status == Status.BAD_TAPE, \
            section.name
        check_fresh_pass(passes, image)
    assert len(seen) >= 3


@pytest.mark.parametrize("surplus", ["a beat", "a header", "a section", "all but one stage"])
def test_a_pass_of_another_length_is_refused(passes, image, surplus):
    """Of each kind, one that is too short and one that is too long; a prefix is none of them."""
    for stages in (1, 2, 3, image.stages):
        data = pass_bytes(image, [7], stages)
        whole = pass_bytes(image, [7], image.stages) + bytes(8)
        amount = {"a beat": 8, "a header": UNIT, "a section": 3 * UNIT,
                  "all but one stage": len(data) - len(pass_bytes(image, [7], 1)) or 16}[surplus]
        for length in (len(data) - amount, len(data) + amount):
            done = passes.play(whole[:length], stages=stages, lanes=FRESH)
            assert done.status == Status.BAD_TAPE, (stages, length - len(data))
            check_fresh_pass(passes, image)
        assert passes.play(data, stages=stages, lanes=FRESH).status == Status.OK
    check_fresh_pass(passes, image)


@pytest.fixture(scope="module")
def executable(request):
    device = BareDevice(CONFIG, CONFIG.digest(), Accelerator(CONFIG))
    return build_stepped(Bench([device]), "refusals", request.config.rootpath / "build" / "sim")


@pytest.fixture(params=["rtl", "emulated"])
def opened(request, image, seed):
    """Open a device's transport: what refuses a run is the same in gateware and emulator."""
    if request.param == "emulated":
        return lambda: InProcessTransport(Emulator(CONFIG, GoldenBoard(image, CONFIG)))
    executable = request.getfixturevalue("executable")
    return lambda: SteppedTransport(executable, 0, stall=0, seed=seed)


@pytest.mark.parametrize("streamed", [False, True], ids=["memory", "streamed"])
def test_the_next_run_works(opened, image, streamed):
    """Without RESET, behind runs that are refused or whose stages and length disagree."""
    whole, refused = image.tape_units, Status.OUT_OF_RANGE
    unlike = [(image.stages - 1, whole), (1, whole), (image.stages, whole - 1),
              (2, image.lead_units), (image.stages + 1, whole)]
    good = image.stages, whole, Status.OK
    runs = [*(run for stages, units in unlike for run in ((stages, units, Status.BAD_TAPE), good)),
            (0, whole, refused), (CONFIG.max_stages + 1, whole, refused),
            (1, image.lead_units - 1, refused),
            *((stages, image.units_before(stages), Status.OK)
              for stages in (image.stages, 1, image.stages))]
    with contextlib.closing(opened()) as transport:
        device = Device(transport, dead_seconds=1e9, patience_seconds=1e9)
        device.load(image, streamed=streamed)
        device._configure()
        flags = RunFlag.FRESH | (RunFlag.STREAMED if streamed else RunFlag(0))
        for stages, units, wanted in [*runs, *reversed(runs)]:
            run = Run(flags=flags, token=9, tape_units=units, stages=stages)
            stream = device._stream
            stream.write(bytes([Code.RUN]) + run.pack())
            if streamed:
                tape, lead = bytes(image.tape(units)), image.lead_units * UNIT
                stream.write(tape[:lead] + bytes(image.row(9)) + tape[lead:])
            assert tuple(stream.read(2)) == (Code.RUN, wanted), (stages, units)
            if wanted == Status.OK:
                (result,) = read_answer(stream.read, [9])
                assert result.digest == digest_of(image, 9, stages)
