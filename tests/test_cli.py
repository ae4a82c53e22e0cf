"""The command line: every verb, its JSON, its exit codes, and a sentence for every bad input."""

import contextlib
import dataclasses
import errno
import functools
import io
import json
import lzma
import math
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from tritstream.build import BuildConfig
from tritstream.catalog import resolve
from tritstream.cli.app import run
from tritstream.cli.estimate import image_estimate
from tritstream.cli.gateware import find_target
from tritstream.cli.inspect import fit
from tritstream.cli.plugins import plugin_verbs
from tritstream.cli.verbs import VERBS
from tritstream.driver import Device
from tritstream.engines.golden import GoldenEngine
from tritstream.formats import UNIT
from tritstream.image.image import Image
from tritstream.image.needs import Needs
from tritstream.image.pack import pack
from tritstream.image.tape import Op
from tritstream.link.activity import BLOCKS
from tritstream.link.messages import Run
from tritstream.model.config import ModelConfig
from tritstream.model.dummy import DummyCheckpoint
from tritstream.support.doctor import Check, Status
from tritstream_sim.board import launch
from tritstream_sim.twin.emulator import Emulator, Server
from tritstream_sim.twin.golden_board import GoldenBoard

CONFIG = ModelConfig(hidden=32, intermediate=48, layers=2, vocab=300, bos=0, eos=1)
SIZES = dict(max_hidden=64, max_intermediate=64, max_state=128, max_vocab=512)
BUILD = BuildConfig(memory_bytes=1 << 17, **SIZES)
STAGES = 4 * CONFIG.layers + 2
PROMPT = ["-p", "It was a dark"]
FLOAT_AND_GOLDEN = ["float", "golden"]


@pytest.fixture(autouse=True)
def surroundings(request, tmp_path, monkeypatch):
    """A cache and a directory of the test's own, and no long waits for silent devices."""
    if not request.node.get_closest_marker("verilator"):    # the toolchain's cache is there too
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Device, "open", functools.partial(Device.open, dead_seconds=0.5))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A checkpoint; tests damage copies of it."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    DummyCheckpoint(CONFIG, seed=3).save(directory)
    return directory


@pytest.fixture(scope="module")
def image(pristine, tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "tiny.trit"
    assert run(["pack", str(pristine), "-o", str(path)]) == 0
    return str(path)


@pytest.fixture
def checkpoint(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "tiny")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox — jumps over the lazy dog.\n" * 4, encoding="utf-8")
    return str(path)


@pytest.fixture
def served(image):
    """Serve an emulated board, perhaps with a fault, and return its name."""
    with contextlib.ExitStack() as stack:
        def serve(build=BUILD, fault=None):
            board = GoldenBoard(Image(image), build, fault)
            return stack.enter_context(Server(Emulator(build, board))).uri

        yield serve


@pytest.fixture
def tritstream(capfd):
    """Run a command line; its exit code, output and notes."""
    def call(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def good(tritstream):
    """Run what has to succeed; its output."""
    def call(*arguments):
        code, out, err = tritstream(*arguments)
        assert code == 0, err
        return out

    return call


@pytest.fixture
def refused(tritstream):
    """Run what has to fail with one sentence; the sentence."""
    def call(exit_code, *arguments):
        code, _, err = tritstream(*arguments)
        lines = err.strip().splitlines()
        assert code == exit_code, err
        assert "Traceback" not in err
        assert lines[-1].startswith("error: ") and len(lines[-1]) < 400
        assert not any(line.startswith("error: ") for line in lines[:-1])
        return lines[-1].removeprefix("error: ")

    return call


def without_device(result):
    return {name: value for name, value in result.items() if name != "device"}


# Prompts.

@pytest.fixture(params=["-p", "-f", "-f -", "--tokens"])
def form(request, image, tmp_path, monkeypatch):
    """The same prompt in each of its forms."""
    text = "It was a dark"
    if request.param == "-p":
        return ["-p", text]
    if request.param == "--tokens":
        return ["--tokens", ",".join(map(str, resolve(image).tokenizer.encode(text)))]
    contents = f"\ufeff{text}\r\n".encode()
    (tmp_path / "prompt.txt").write_bytes(contents)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(contents)))
    return ["-f", "prompt.txt" if request.param == "-f" else "-"]


@pytest.mark.parametrize("verb", ["generate", "verify"])
def test_prompts(good, image, form, verb):
    options = ["-m", image, "-n", 3, "--device", "golden", "--json"]
    results = [json.loads(good(verb, *options, *prompt)) for prompt in (PROMPT, form)]
    for name in ("tokens", "digest"):
        assert results[0][name] == results[1][name]


def test_a_text_from_standard_input_is_scored(good, image, tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("It was a dark and stormy night.")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(
        (tmp_path / "text.txt").read_bytes())))
    there, here = (json.loads(good("eval", "-m", image, "-f", place, "--json"))
                   for place in (tmp_path / "text.txt", "-"))
    assert here | {"settings": None} == there | {"settings": None} and here["bits_per_byte"]


def test_a_prompt_is_shown_in_any_form(good, image, form):
    assert good("generate", "-m", image, "-n", 3, *form).startswith("It was a dark")


@pytest.mark.parametrize("verb", ["generate", "verify"])
@pytest.mark.parametrize("arguments, sentence", [
    ([], "Give one prompt: -p TEXT, -f FILE or --tokens"),
    (["-p", "x", "-f", "y"], "Give one prompt"),
    (["-p", "x", "--tokens", "1"], "Give one prompt"),
    (["-f", "absent"], "absent cannot be read"), (["-f", "."], "is a directory"),
    (["-f", "/dev/zero"], "not a regular file"), (["-f", "empty"], "text is empty"),
    (["--tokens", ""], "has ''"), (["--tokens", "300"], "Token 300 is out of range"),
    (["--tokens", "9" * 5000], "Token 999999999999999999… is out of range"),
    (["--tokens", "x" * 5000], "has 'xxxxx"),
])
def test_bad_prompts(refused, image, tmp_path, verb, arguments, sentence):
    (tmp_path / "empty").touch()
    assert sentence in refused(2, verb, "-m", image, *arguments)


def test_standard_input_without_end(refused, image, monkeypatch):
    monkeypatch.setattr("tritstream.cli.options.MOST_PROMPT", 1000)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(2000))))
    assert "more than the 1,000 bytes" in refused(2, "generate", "-m", image, "-f", "-")


def test_a_model_without_a_tokenizer_takes_tokens(tritstream, good, refused, tmp_path):
    code, out, err = tritstream("pack", "--dummy", "16,16,1,20", "-o", "bare.trit", "--json")
    assert code == 0 and json.loads(out)["tokenizer"] is False
    assert "bare.trit has none: it takes --tokens" in err
    model = ["-m", "bare.trit"]
    assert "without a tokenizer" in refused(2, "generate", *model, "-p", "x")
    shown = good("generate", *model, "--tokens", "1,2", "-n", 4)
    result = json.loads(good("generate", *model, "--tokens", "1,2", "-n", 4, "--json"))
    assert result["text"] is None
    assert [int(word) for word in shown.split()] == result["tokens"]
    assert "equals golden" in good("verify", *model, "--tokens", "1,2", "-n", 4, "--device",
                                   "golden")
    assert json.loads(good("eval", *model, "--tokens", "1,2,3", "--json"))["tokens"] == 2


# generate

def test_generate_json(good, image):
    result = json.loads(good("generate", "-m", image, *PROMPT, "-n", 8, "--json"))
    assert list(result) == ["model", "device", "settings", "text", "tokens", "finish_reason",
                            "digest", "timings"]
    assert (result["model"], result["device"]) == (image, "golden")
    assert result["settings"] == {
        "count": 8, "stop": [], "temperature": 0.0, "top_k": 16, "top_p": 1.0, "seed": 0,
        "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "logit_bias": {}}
    assert isinstance(result["text"], str) and len(result["tokens"]) <= 8
    assert re.fullmatch("[0-9a-f]{8}", result["digest"])
    timings = result["timings"]
    assert timings["evidence"] == "measured"
    assert timings["prompt_tokens"] == 14
    assert timings["generated_tokens"] == len(result["tokens"])
    assert timings["tokens_per_second"] > 0 and timings["prompt_tokens_per_second"] > 0


@pytest.mark.parametrize("how", [[], ["--temp", 0.8, "--seed", 3]])
def test_log_probabilities_of_a_text(good, image, how):
    """Those of the candidates add up to one, as they say among what they are."""
    plain, told, whole = (json.loads(good("generate", "-m", image, *PROMPT, "-n", 6, *how, *more,
                                          "--json"))
                          for more in ([], ["--logprobs", 2], ["--logprobs", 16]))
    assert plain["tokens"] == told["tokens"] == whole["tokens"] and "logprobs" not in plain
    assert told["logprobs_among"] == "16 candidates" and told["logprobs"] == whole["logprobs"]
    for token, found, best, every in zip(told["tokens"], told["logprobs"], told["top_logprobs"],
                                         whole["top_logprobs"], strict=True):
        assert best == every[:2] and dict(map(tuple, every))[token] == found
        assert sum(math.exp(number) for _, number in every) == pytest.approx(1)


def test_log_probabilities_are_told_with_json(refused, image):
    assert "add it" in refused(2, "generate", "-m", image, *PROMPT, "--logprobs", 2)


def test_generate_writes_text_and_timings_apart(tritstream, image):
    code, out, err = tritstream("generate", "-m", image, *PROMPT, "-n", 8)
    assert code == 0
    assert out.startswith("It was a dark") and out.endswith("\n")
    assert "tok/s  measured" in err and re.search("digest [0-9a-f]{8} on golden", err)
    assert "tok/s" not in out


def test_text_appears_as_it_is_made(image, monkeypatch, capfd):
    seen = []
    step = GoldenEngine._step

    def watched(engine, token):
        seen.append(len(capfd.readouterr().out))
        return step(engine, token)

    monkeypatch.setattr(GoldenEngine, "_step", watched)
    assert run(["generate", "-m", image, *PROMPT, "-n", "6"]) == 0
    assert seen[0] > 0 and any(seen[1:])


def test_checkpoint_and_image_give_the_same(good, image, checkpoint):
    options = [*PROMPT, "-n", 6, "--json"]
    first = json.loads(good("generate", "-m", image, *options))
    second = json.loads(good("generate", "-m", checkpoint, *options))
    assert (first["tokens"], first["digest"]) == (second["tokens"], second["digest"])


def test_boards_give_the_same_text_and_digest(good, image, served, seed):
    uri = served()
    for options in ([], ["--temp", 1.0], ["--temp", 2, "--top-k", 5, "--top-p", 0.9]):
        results = []
        for device in ("golden", uri):
            result = json.loads(good("generate", "-m", image, *PROMPT, "-n", 8, "--seed", seed,
                                     "--device", device, "--json", *options))
            results.append([result[name] for name in ("text", "tokens", "digest")])
        assert results[0] == results[1]
    assert result["timings"]["evidence"] == "simulated"
    assert result["timings"]["cycles"] > result["timings"]["stalls"] > 0


def test_seeds(good, image):
    def text(seed):
        return good("generate", "-m", image, *PROMPT, "-n", 12, "--temp", 2, "-s", seed)

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_float_has_no_digest(good, image, checkpoint):
    for model in (image, checkpoint):
        result = json.loads(good("generate", "-m", model, *PROMPT, "-n", 4, "--device", "float",
                                 "--json"))
        assert result["digest"] is None and len(result["tokens"]) == 4


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_interrupt_leaves_what_there_is(tritstream, image, monkeypatch, form):
    step = GoldenEngine._step
    steps = []

    def interrupted(engine, token):
        steps.append(token)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return step(engine, token)

    monkeypatch.setattr(GoldenEngine, "_step", interrupted)
    code, out, err = tritstream("generate", "-m", image, *PROMPT, "-n", 50, *form)
    assert code == 130
    assert "Traceback" not in err
    if form:
        assert len(json.loads(out)["tokens"]) == 2
    else:
        assert "interrupted after 2 of 50 tokens" in err and "tok/s" in err


# logits

def test_logits(good, image, served, tmp_path):
    rows = {}
    for device in ("float", "golden", served()):
        path = tmp_path / "out"
        good("logits", "-m", image, "--tokens", "5,6,7", "--device", device, "-o", path)
        rows[device] = np.load(path)
        assert rows[device].dtype == np.float32 and rows[device].shape == (3, CONFIG.vocab)
    fine, golden, board = rows.values()
    assert np.array_equal(golden, board)
    assert np.corrcoef(fine.ravel(), golden.ravel())[0, 1] > 0.99
    result = json.loads(good("logits", "-m", image, "--tokens", "5, 6", "-o", path, "--json"))
    assert result["shape"] == [2, CONFIG.vocab]


# eval

@pytest.mark.parametrize("device", FLOAT_AND_GOLDEN)
def test_eval(good, image, text, device):
    arguments = ["eval", "-m", image, "--text", text, "--device", device]
    result = json.loads(good(*arguments, "--json"))
    assert list(result) == ["model", "device", "settings", "tokens", "bytes", "bits_per_byte",
                            "perplexity", "top1_equal_float"]
    assert result["settings"] == {"text": text, "max_tokens": None}
    assert result["tokens"] == result["bytes"] == os.path.getsize(text)
    assert 0 < result["bits_per_byte"] < 20
    assert 0.8 < result["top1_equal_float"] <= 1.0
    assert device != "float" or result["top1_equal_float"] == 1.0
    assert json.loads(good(*arguments, "--max-tokens", 5, "--json"))["tokens"] == 5
    assert "bits per byte" in good(*arguments, "--max-tokens", 5)


def test_eval_on_a_board_is_eval_on_golden(good, image, text, served):
    results = [json.loads(good("eval", "-m", image, "--text", text, "--max-tokens", 20, "--device",
                               device, "--json")) for device in ("golden", served())]
    assert without_device(results[0]) == without_device(results[1])


@pytest.mark.parametrize("device", FLOAT_AND_GOLDEN)
def test_eval_of_tokens_is_eval_of_their_text(good, image, text, device):
    with open(text, encoding="utf-8") as file:
        tokens = ",".join(map(str, resolve(image).tokenizer.encode(file.read())))
    options = ["eval", "-m", image, "--device", device, "--max-tokens", 20, "--json"]
    expected, found = (json.loads(good(*options, *source))
                       for source in (["--text", text], ["--tokens", tokens]))
    assert found["bytes"] is None and found["bits_per_byte"] is None
    for name in ("tokens", "perplexity", "top1_equal_float"):
        assert found[name] == expected[name]


# verify

def test_verify(good, image, served):
    for device in ("golden", served()):
        arguments = ["verify", "-m", image, *PROMPT, "-n", 3, "--device", device]
        result = json.loads(good(*arguments, "--json"))
        assert result["equal"] is True
        assert len(result["tokens"]) == 3 and result["passes"] == 16
        assert result["stages"] == 16 * STAGES - 13
        assert "equals golden" in good(*arguments)


def test_verify_names_the_difference(tritstream, refused, image, served):
    def fault(position, stage, vector):
        wrong = (position, stage) == (14, 5)
        return vector + 4 * wrong * (np.arange(len(vector)) == 9)

    arguments = ["verify", "-m", image, *PROMPT, "-n", 3, "--device", served(fault=fault)]
    assert re.match("Token 14, layer 1, stage layers.1.mlgru, element 9: golden -?[0-9]+, device",
                    refused(1, *arguments))
    code, out, _ = tritstream(*arguments, "--json")
    result = json.loads(out)
    difference = result["difference"]
    assert code == 1 and result["equal"] is False
    assert {name: difference[name] for name in ("token", "layer", "stage", "element")} == {
        "token": 14, "layer": 1, "stage": "layers.1.mlgru", "element": 9}
    assert difference["actual"] == difference["expected"] + 4


# pack and inspect

def test_pack(good, checkpoint, tmp_path):
    result = json.loads(good("pack", checkpoint, "-o", tmp_path / "a.trit", "--json"))
    assert result["bytes"] == (tmp_path / "a.trit").stat().st_size
    assert result["digest"] == Image(tmp_path / "a.trit").digest
    assert "tiny.trit: " in good("pack", "-m", checkpoint)
    assert (tmp_path / "tiny.trit").read_bytes() == (tmp_path / "a.trit").read_bytes()


@pytest.mark.parametrize("options", [[], ["--outliers"]])
def test_pack_makes_dummies(good, tmp_path, options):
    def digest(seed):
        return json.loads(good("pack", "--dummy", "64,96,1,270", "--seed", seed, *options, "-o",
                               "d.trit", "--json"))["digest"]

    first = digest(1)
    assert digest(2) != first
    assert digest(1) == first
    image = Image(tmp_path / "d.trit")
    assert (image.hidden, image.intermediate, image.layers, image.vocab) == (64, 96, 1, 270)
    assert good("generate", "-m", "d.trit", *PROMPT, "-n", 3).startswith("It was a dark")


def test_inspect(good, image, checkpoint):
    result = json.loads(good("inspect", image, "--json"))
    assert result == json.loads(good("inspect", "-m", image, "--json"))
    assert result["digest"] == Image(image).digest
    assert [result[name] for name in ("hidden", "intermediate", "layers", "vocab")] == [
        32, 48, 2, 300]
    sections = result["bytes"]
    assert sections["preamble"] + sections["payload"] == os.path.getsize(image)
    assert sections["payload"] == sum(sections[name] for name in (
        "embedding", "headers", "gains", "trits"))
    assert len(result["matrices"]) == 7 * CONFIG.layers + 1
    assert all(0.2 < matrix["zeros"] < 0.5 and matrix["scale"] > 0 for matrix in result["matrices"])
    assert result["needs"]["max_stages"] == STAGES
    assert result["fits"]["ulx3s_85f"] == "yes, in its memory"
    halves = [matrix["part"] for matrix in result["matrices"] if "gate_proj" in matrix["name"]]
    assert halves == ["gate", "up"] * CONFIG.layers


def test_inspect_ends_with_its_verdict(good, image, checkpoint):
    shown = good("inspect", checkpoint)
    boards, verdict = shown.splitlines()[-1].rsplit(": ", 1)
    assert "ulx3s_85f, " in boards and verdict == "yes, in its memory"
    assert len(shown.splitlines()) < 25             # one screen, however many layers there are
    assert re.search(r"mlp\.gate_proj, gate +48 +32 +0\.\d{3}-0\.\d{3} ", shown)
    assert Image(image).digest[:16] in shown
    assert "bound: no output exceeds it" in shown
    assert re.search(r"layers\.1\.glu +mlp\.gate_proj, up +48 +32 ",
                     good("inspect", image, "--layers"))


@pytest.mark.parametrize("changes, verdict", [
    ({}, "yes, in its memory"),
    (dict(max_vocab=299), "no: its vocabulary of 300 exceeds 299"),
    (dict(max_stages=9), "no: its number of stages of 10 exceeds 9"),
    (dict(memory_bytes=0), "streamed from the host"),
    (dict(memory_bytes=0, link_rate=13_120), "streamed from the host, 1 s per token at least "
     "(estimated)"),
])
def test_where_an_image_fits(image, changes, verdict):
    assert fit(Needs.of(Image(image)), dataclasses.replace(BUILD, **changes)) == verdict


def test_where_the_tape_of_an_image_fits(image):
    needs = Needs.of(Image(image))
    for room, verdict in ((needs.token_bytes, "yes, in its memory, with embedding rows from the "
                           "host as they are needed"),
                          (needs.token_bytes - UNIT, "streamed from the host")):
        assert fit(needs, dataclasses.replace(BUILD, memory_bytes=room)).startswith(verdict)


def test_inspect_without_gateware(good, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "tritstream_hw.boards", None)
    assert json.loads(good("inspect", image, "--json"))["fits"] is None
    assert "ulx3s" not in good("inspect", image)


# boards and build

def test_boards(good):
    rows = {row["name"]: row for row in json.loads(good("boards", "--json"))}
    row, large = rows["ulx3s_85f"], rows["ecpix5_85f"]
    assert row["fpga"].startswith("LFE5U-85F") and row["luts"] == 83_640
    assert row["evidence"] in ("simulated", "routed", "measured-silicon")
    assert row["routed"]["clocks"]["clk"] >= row["clock_hz"] / 1e6
    assert row["routed"]["cells"]["multipliers (MULT18X18D)"][1] == 156
    assert row["shapes"]["370M"] == "no: its recurrent state of 24576 exceeds 8192"
    assert large["rows_from_host"] == ["2.7B"] and 1.0 < large["shapes"]["2.7B"] < 1.3
    assert row["rows_from_host"] == []
    shown = good("boards")
    assert "ulx3s_85f" in shown and "(routed)" in shown


@pytest.mark.parametrize("arguments, sentence", [
    (["ulx3s_84f"], "no board 'ulx3s_84f'.* ulx3s_85f"),
    (["ulx3s_85f", "--freq", "0"], "1 to 1000 MHz, not 0"),
    (["ulx3s_85f", "--seeds", "0"], "must be 1 to .*, not 0"),
    (["ulx3s_85f", "--freq", "33.333"], "cannot make 33.333 MHz"),
    (["ulx3s_85f", "--build", "p=3"], "power of two, not 3"),
    (["ulx3s_85f", "--build", "p=4,q=1"], "'q=1': write whole numbers"),
    (["ulx3s_85f", "--build", "clock=70"], "choose that with --freq"),
    (["ulx3s_85f", "--build", "memory=128k"], "a chip of 33554432 bytes, not 131072: leave it out"),
    (["ulx3s_85f", "--build", "p=1"], "gives 2 to 64 bytes at a time, not p=1"),
    (["ecpix5_85f", "--build", "p=4"], "gives 8 to 16 bytes at a time, not p=4"),
    (["ulx3s_85f", "--build", "g=2"], "has one memory, and g=2 needs as many"),
    (["ulx3s_85f_bram", "--build", "memory=1M"], "has block RAM of 479232 bytes, .* 1073152"),
    (["ulx3s_85f", "--build", "state=999999M"], "take 3145724854272: choose less"),
    (["ulx3s_85f", "-o", "/proc/absent"], "cannot be written to /proc/absent"),
    (["ulx3s_85f", "--reports", "/proc/absent"], "reports cannot be written to /proc/absent"),
])
def test_builds_that_cannot_be(refused, arguments, sentence):
    assert re.search(sentence, refused(2, "build", *arguments))


# serve

def test_servers_that_cannot_be(refused, tmp_path):
    key = tmp_path / "key"
    key.write_text("short\n")
    odd = tmp_path / "odd"
    odd.write_text("schlüssel\n", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port} cannot be listened at" in refused(2, "serve", "--port", port)
    for arguments, words in ((["--host", "0.0.0.0"], "give --api-key-file FILE"),
                             (["--port", 70_000], "0 to 65535, not 70000"),
                             (["--allow-origin", "*"], "not how browsers name a server"),
                             (["--api-key-file", key], "key of 5 letters"),
                             (["--api-key-file", odd], "letters that a header of HTTP cannot have"),
                             (["--api-key-file", tmp_path / "none"], "cannot be read"),
                             (["--slots", 0], "active must be at least 1, not 0"),
                             (["--host", "::1::", "--api-key-file", __file__], "listened at")):
        assert words in refused(2, "serve", *arguments)


# profile

@pytest.mark.verilator
def test_profile(good, refused, tmp_path):
    """The stages are all there, and add up to what the device counts; so does the trace."""
    result = json.loads(good("profile", "-m", "tiny", "--device", "sim", "-o", "trace.json",
                             "--json"))
    cycles = sum(stage["cycles"] for stage in result["stages"])
    assert len(result["stages"]) == 22 and result["evidence"] == "simulated"
    events = [event for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
              if event["ph"] == "X"]
    assert sum(event["args"]["cycles"] for event in events) == cycles
    last = events[-1]
    assert last["ts"] + last["dur"] == pytest.approx(cycles * 1e6 / result["clock_hz"])
    shown = good("profile", "-m", "tiny", "--tokens", "1,2", "--device", "sim")
    assert "head and top-k" in shown and "(simulated)" in shown
    assert "golden has no clock" in refused(2, "profile", "-m", "tiny", "--device", "golden")


@pytest.mark.verilator
def test_profile_by_block(good, tmp_path):
    """Blocks do what the tape has for them, seen or by the closed form; each has its track."""
    image, build = resolve("tiny").image, BuildConfig()
    beats = UNIT // build.beat_bytes
    command = ["profile", "-m", "tiny", "--blocks", "-o", "trace.json", "--json", "--device"]
    seen = json.loads(good(*command, "sim"))
    runs = {}
    for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]:
        runs.setdefault(event["tid"], []).append(event) if event["ph"] == "X" else None
    estimated = json.loads(good(*command, "sim?keep=5"))
    arguments = json.loads((tmp_path / "trace.json").read_text())["traceEvents"][-1]["args"]
    assert (seen["blocks_evidence"], estimated["blocks_evidence"]) == ("simulated", "estimated")
    assert arguments["busy (estimated)"] == estimated["stages"][-1]["busy"]
    assert seen["stages"][0]["limit"] == estimated["stages"][0]["limit"] == "elements"

    for section, stage, guess in zip(image.sections, seen["stages"], estimated["stages"],
                                     strict=True):
        busy, header = stage["busy"], section.header
        assert list(busy) == list(guess["busy"]) == list(BLOCKS) and stage["limit"] in BLOCKS
        assert max(busy.values()) <= stage["cycles"] == guess["cycles"]
        assert busy["waiting"] == stage["stalls"] == guess["busy"]["waiting"]
        assert busy["head" if header.op is Op.HEAD else "elements"] >= header.rows
        for block in ("core", "quantiser"):
            assert busy[block] == guess["busy"][block]
        assert abs(busy["elements"] - guess["busy"]["elements"]) <= 1
        assert abs(busy["scalars"] - guess["busy"]["scalars"]) < 0.1 * stage["cycles"]
        # What does not overlap in a small model is more than the closed form knows of.
        assert 0 <= guess["busy"]["turnaround"] - busy["turnaround"] < 0.25 * stage["cycles"]
    for result in seen, estimated:      # of a header another stage may have been the reader
        assert sum(stage["busy"]["tape"] + stage["busy"]["core"] for stage in result["stages"]) == (
            beats * (image.row_units + sum(section.header.units for section in image.sections)))
    for track, block in enumerate(BLOCKS, start=2):
        assert sum(run["args"]["busy"] for run in runs.get(track, [])) == sum(
            stage["busy"][block] for stage in seen["stages"])
    shown = good("profile", "-m", "tiny", "--tokens", "1", "--blocks", "--device", "sim")
    assert "quantiser" in shown and "They are simulated." in shown and "*" in shown


# estimate

def test_estimate_of_a_shape(good):
    """The cycles are those that were simulated once: 1,080,848."""
    result = json.loads(good("estimate", "-m", "370M", "--build", "p=64,v=32,clock=250", "--json"))
    assert result["cycles_per_token"] == pytest.approx(1_080_848, rel=1e-4)
    assert result["tokens_per_second"] == pytest.approx(250e6 / result["cycles_per_token"])
    assert result["limit"] == "core" and result["evidence"] == "estimated"
    assert sum(stage["weights"] for stage in result["stages"].values()) == 341_049_344


def test_estimate_says_what_limits(good, image):
    narrow = json.loads(good("estimate", "-m", image, "--build", "p=16", "--memory", 0.5, "--json"))
    assert narrow["limit"] == "memory"
    assert narrow["cycles_per_token"] == 2 * narrow["bytes_per_token"]
    board = json.loads(good("estimate", "-m", "demo", "--board", "ulx3s_85f_bram", "--json"))
    assert board["limit"] == "link"
    assert board["tokens_per_second"] == pytest.approx(300_000 / board["bytes_per_token"])
    board = json.loads(good("estimate", "-m", "demo", "--board", "ulx3s_85f", "--json"))
    assert board["limit"] == "memory"
    assert board["tokens_per_second"] == pytest.approx(261e6 / board["bytes_per_token"])
    assert board["roofs"] == {
        limit: pytest.approx(rate / board["bytes_per_token"]) for limit, rate in
        (("core", 4 * board["clock_hz"]), ("memory", 261e6), ("link", 300_000))}
    assert board["answer_bytes"] == 46
    shown = good("estimate", "-m", "tiny", "--build", "p=64,e=1")
    assert "limited by the element path" in shown and "(estimated)" in shown


def test_estimate_of_answers_that_a_slow_link_carries(good, monkeypatch):
    """At 115,200 baud they take longer than the passes of a small model."""
    target = find_target("ulx3s_85f")
    slow = dataclasses.replace(target, config=dataclasses.replace(target.config, link_rate=11_520))
    monkeypatch.setattr("tritstream.cli.estimate.find_target", lambda name: slow)
    arguments = "estimate", "-m", "tiny", "--board", "ulx3s_85f"
    board = json.loads(good(*arguments, "--json"))
    assert board["limit"] == "link" and not board["streamed"]
    assert board["tokens_per_second"] == pytest.approx(11_520 / 46)
    assert board["prompt"]["tokens_per_second"] == pytest.approx(11_520 / 38)
    assert "the link, over which the answers go" in good(*arguments)


def test_estimate_of_states_that_change_places(good, image):
    """On a board whose memory has room for them, and on one that has none."""
    found = json.loads(good("estimate", "-m", "tiny", "--board", "ulx3s_85f", "--json"))
    small = json.loads(good("estimate", "-m", "tiny", "--board", "icebreaker", "--json"))
    assert found["slots"] > 1000 > small["slots"] > 2
    assert 0 < 50 * found["swap_seconds"] < found["link_swap_seconds"]
    assert small["swap_seconds"] is None
    assert "slots" not in json.loads(good("estimate", "-m", "tiny", "--build", "p=8", "--json"))
    shown = good("estimate", "-m", "tiny", "--board", "ulx3s_85f")
    assert (f"the board keeps the states of {found['slots']:,}; that two change places takes "
            f"{1e3 * found['swap_seconds']:.3g} ms in its memory") in shown


def test_estimate_of_embedding_rows_from_the_host(good, image, monkeypatch):
    """A pass begins when its row has come, and that is asked for when the one before is over."""
    needs = Needs.of(Image(image))
    target, whole = find_target("ulx3s_85f"), image_estimate(
        Image(image), find_target("ulx3s_85f").config)
    tight = dataclasses.replace(target.config, memory_bytes=needs.token_bytes)
    monkeypatch.setattr("tritstream.cli.estimate.find_target",
                        lambda name: dataclasses.replace(target, config=tight, memory_rate=None))
    arguments = "estimate", "-m", image, "--board", "ulx3s_85f"
    found = json.loads(good(*arguments, "--json"))
    assert not found["streamed"] and found["row_bytes"] == needs.row_bytes == 64
    # The row, WRITE, DIGEST and RUN in a frame of 11 bytes more, and the answer in another.
    link = (64 + 2 * 9 + 1 + Run.SIZE + 11 + 46) * tight.clock_hz / tight.link_rate
    assert found["cycles_per_token"] == pytest.approx(whole.core_cycles + link)
    assert "takes for one of 64 bytes is counted" in good(*arguments)


def test_estimate_of_tokens_that_share_a_pass(good, image):
    """Of conversations together and of prompts, the cycles are those that were simulated once."""
    arguments = "estimate", "-m", "tiny", "--build", "p=8,v=8,e=8,t=5"
    result = json.loads(good(*arguments, "--json"))
    assert result["lanes"] == 5
    assert result["cycles_per_token"] == pytest.approx(9_265, rel=0.01)
    for name, cycles in (("together", 12_077), ("prompt", 12_195 - 1_159)):
        found = result[name]
        assert found["tokens"] == 5
        assert found["cycles_per_pass"] == pytest.approx(cycles, rel=0.01)
        assert found["tokens_per_second"] == pytest.approx(
            5 * result["clock_hz"] / found["cycles_per_pass"])
        assert found["limit"] == "core"
        assert found["cycles_per_pass"] == sum(
            stage["cycles"] for stage in found["stages"].values())
        assert ("head" in found["stages"]) == (name == "together")
    times = result["together"]["tokens_per_second"] / result["tokens_per_second"]
    shown = good(*arguments)
    assert "5 conversations together: 33," in shown and f"{times:.2f} times one" in shown
    assert "prompts: 36," in shown and "5 tokens share a pass" in shown
    alone = json.loads(good("estimate", "-m", image, "--build", "p=16", "--json"))
    assert alone["lanes"] == alone["together"]["tokens"] == alone["prompt"]["tokens"] == 1
    assert alone["together"]["tokens_per_second"] == alone["tokens_per_second"]
    assert alone["prompt"]["tokens_per_second"] > alone["tokens_per_second"]
    shown = good("estimate", "-m", image, "--build", "p=16")
    assert "together" not in shown and "prompts: " in shown and "share" not in shown


@pytest.mark.parametrize("beat_bytes", [16, 64])
def test_conversations_that_share_a_pass_take_little_more_than_one(good, beat_bytes):
    """Of the published 370M, with the usual widths of a build with so many lanes."""
    def shown(build):
        return json.loads(good("estimate", "-m", "370M", "--build", build, "--json"))

    alone = shown(f"p={beat_bytes}")
    for lanes in (2, 4, 8, 16):
        found = shown(f"p={beat_bytes},t={lanes}")
        together, prompt = (found[name]["tokens_per_second"] for name in ("together", "prompt"))
        assert together >= 0.95 * lanes * alone["tokens_per_second"]
        assert prompt >= 7 / 8 * lanes * alone["prompt"]["tokens_per_second"]


ROOFLINE = ["estimate", "-m", "370M", "--beside", "tiny", "--build", "p=64,clock=250", "--memory",
            25.6]


def test_estimate_draws_its_roofline(good, monkeypatch):
    figures = []
    monkeypatch.setattr("tritstream.analysis.roofline.write_picture",
                        lambda figure, path: figures.append(figure))
    result = json.loads(good(*ROOFLINE, "--plot", "roofs.png", "--json"))
    (figure,) = figures
    (axes,) = figure.axes
    core, memory, *models = (line.get_xydata() for line in axes.lines)
    assert core[:, 1].tolist() == [80, 80]
    np.testing.assert_allclose(memory[:, 1], 6.4 * memory[:, 0])
    assert memory[-1].tolist() == [12.5, 80]            # where both meet
    assert [text.get_text() for text in axes.texts] == [
        "core: 16 GB/s, 80 billion weights per second", "memory: 6.4 GB/s"]
    for ((intensity, speed),), found in zip(models, [result, *result["beside"]], strict=True):
        weights = sum(stage["weights"] for stage in found["stages"].values())
        assert intensity == pytest.approx(weights / found["bytes_per_token"])
        assert speed == pytest.approx(weights * found["tokens_per_second"] / 1e9)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        f"{found['tokens_per_second']:{form}} tok/s of {found['model']}: "
        f"{found['tokens_per_second'] / found['roof']:.1%} of its roof, "
        f"limited by the {found['limit']}"
        for found, form in zip([result, *result["beside"]], (".4g", ",.0f"), strict=True)]


def test_a_roofline_of_tokens_that_share_a_pass(good, monkeypatch):
    figures = []
    monkeypatch.setattr("tritstream.analysis.roofline.write_picture",
                        lambda figure, path: figures.append(figure))
    arguments = ["estimate", "-m", "370M", "--build", "p=64,t=8,clock=250", "--memory", 25.6]
    result = json.loads(good(*arguments, "--plot", "roofs.png", "--json"))
    ((axes,),) = (figure.axes for figure in figures)
    core, together, memory, one, eight = (line.get_xydata() for line in axes.lines)
    assert [core[0, 1], together[0, 1]] == [80, 8 * 80]
    assert memory[-1].tolist() == [100, 640]
    np.testing.assert_allclose(eight, 8 * one, rtol=2e-3)
    weights = sum(stage["weights"] for stage in result["stages"].values())
    assert eight[0, 1] == pytest.approx(weights * result["together"]["tokens_per_second"] / 1e9)
    assert "core, 8 tokens together: 16 GB/s, 640 billion weights per second" in [
        text.get_text() for text in axes.texts]
    assert "roofs of 370M, 8 together" in good(*arguments)


@pytest.mark.parametrize("name, begins", [("roofs.png", b"\x89PNG"), ("roofs.SVG", b"<?xml")])
def test_a_roofline_is_a_file_and_shown(good, tmp_path, name, begins):
    shown = good(*ROOFLINE, "--plot", name)
    assert re.search("232.3 +core +█{40}\n +92.93 +memory +█{16}\n +92.93 +370M +█{16} +limited by "
                     "the memory\n", "\n".join(map(str.rstrip, shown.splitlines())))
    first = (tmp_path / name).read_bytes()
    assert first.startswith(begins)
    good(*ROOFLINE, "--plot", name)
    assert (tmp_path / name).read_bytes() == first


@pytest.mark.parametrize("arguments, sentence", [
    (["--build", "q=3"], "'q=3': write whole numbers"),
    (["--build", "p=16,p=4"], "'p=4': write whole numbers"),
    (["--build", "p=999999999999"], "write whole numbers"),
    (["--build", "p=12"], "power of two, not 12"),
    (["--build", "p=4,v=8"], "at most beat_bytes = 4, not 8"),
    (["--build", "p=4,t=17"], "lanes must be at most 16, not 17"),
    (["--build", "clock=0"], "clock_hz must be an integer of at least 1, not 0"),
    (["--memory", "0"], "must be 0.000001 to 1,000,000 .*, not 0"),
    (["--memory", "nan"], "must be 0.000001 to .*, not nan"),
    (["--plot", "roofs.pdf"], "roofs.pdf is no picture: .* ends in .png or .svg"),
    (["--plot", "no/where.svg"], "no/where.svg cannot be written"),
    (["--beside", "371M"], "There is no model '371M'"),
    (["--board", "ulx3s_85f", "--memory", "2"], "leave out --board, or --build and --memory"),
    (["--board", "ulx3s_85f", "-m", "370M"], "370M is a shape"),
    (["-m", "371M"], "There is no model '371M'"),
])
def test_estimates_that_cannot_be(refused, arguments, sentence):
    assert re.search(sentence, refused(2, "estimate", *arguments))


def test_estimate_of_a_model_that_does_not_fit(refused, tmp_path):
    image = pack(DummyCheckpoint(dataclasses.replace(CONFIG, hidden=2624)), tmp_path / "wide.trit")
    assert "hidden size of 2624 exceeds 1024; no board here would do" in refused(
        2, "estimate", "-m", image.path, "--board", "ulx3s_85f")
    deep = dataclasses.replace(CONFIG, hidden=1024, layers=9)
    image = pack(DummyCheckpoint(deep), tmp_path / "deep.trit")
    sentence = refused(2, "estimate", "-m", image.path, "--board", "ulx3s_85f")
    assert "recurrent state of 9216 exceeds 8192; " in sentence
    assert " would do, or build it with --build state=9216" in sentence


# bench

@pytest.mark.parametrize("form", ["md", "csv", "json", "jsonl"])
def test_bench(good, image, form):
    out = good("bench", "-m", image, "-p", 3, "-n", 2, "-r", 2, "--device", "float,golden", "-o",
               form)
    if form == "md":
        head, _, *rows = out.strip().splitlines()
        assert head == ("| model | size | params | device | lanes | test | t/s | cycles/token | "
                        "stalls | evidence |")
        assert all(row.endswith("|  |  | measured |") and " ± " in row for row in rows)
        rows = [row.split("|")[4:7] for row in rows]
        assert [[cell.strip() for cell in row] for row in rows] == [
            [device, "1", test] for device in FLOAT_AND_GOLDEN for test in ("pp3", "tg2")]
        return
    if form == "csv":
        head, *lines = (line.split(",") for line in out.strip().splitlines())
        rows = [dict(zip(head, line, strict=True)) for line in lines]
    else:
        rows = json.loads(out) if form == "json" else [
            json.loads(line) for line in out.strip().splitlines()]
    assert [(row["device"], row["test"]) for row in rows] == [
        (device, test) for device in FLOAT_AND_GOLDEN for test in ("pp3", "tg2")]
    assert all(float(row["tokens_per_second"]) > 0 and row["evidence"] == "measured"
               for row in rows)


def test_bench_of_conversations_side_by_side(good, refused, image, monkeypatch):
    steps = []
    together = GoldenEngine._together

    def note(engine, works):
        steps.append([(len(work.tokens), work.head) for work in works])
        return together(engine, works)

    monkeypatch.setattr(GoldenEngine, "_together", note)
    rows = json.loads(good("bench", "-m", image, "-p", "4,2", "-n", "2", "-r", 1, "--lanes", "3,1",
                           "--device", "golden", "--json"))
    assert [(row["test"], row["n_prompt"], row["n_gen"], row["lanes"]) for row in rows] == [
        (test, *sizes, lanes) for lanes in (3, 1)
        for test, *sizes in (("pp4", 4, 0), ("pp2", 2, 0), ("tg2", 0, 2))]
    assert [(4, False)] * 3 in steps and steps.count([(1, True)] * 3) == 5
    assert all(row["build"] is row["cycles_per_token"] is row["stalls"] is None for row in rows)
    assert "float has lanes for 1 at a time, not for 2" in refused(
        2, "bench", "-m", image, "-n", 1, "-p", 0, "--lanes", 2, "--device", "float")


def test_bench_of_no_device(refused):
    assert "'' is not a device" in refused(2, "bench", "--device", "")


def test_bench_of_a_board_counts_cycles(good, image, served):
    row, = json.loads(good("bench", "-m", image, "-p", 0, "-n", 4, "-r", 2, "--device", served(),
                           "--json"))
    assert row["evidence"] == "simulated" and row["build"] == BUILD.digest().hex()
    assert row["tokens_per_second"] == pytest.approx(BUILD.clock_hz / (STAGES * 1000))
    assert row["tokens_per_second_deviation"] == pytest.approx(0, abs=1e-6)
    assert row["cycles_per_token"] == STAGES * 1000 and 0 <= row["stalls"] < STAGES * 1000


def test_bench_says_what_is_run_where_tokens_take_their_time(tritstream, image, served):
    code, out, err = tritstream("bench", "-m", image, "-n", 0, "--device", served(), "--json")
    assert code == 0 and "is simulated: pp64, once; -p, -n and -r give others" in err
    assert [row["test"] for row in json.loads(out)] == ["pp64"]


# doctor

@pytest.mark.parametrize("status, exit_code", [(Status.OK, 0), (Status.WARN, 0), (Status.FAIL, 3)])
def test_doctor(tritstream, monkeypatch, status, exit_code):
    checks = [Check(name="make", status=Status.OK, found="4.3", needed_for="the simulated board"),
              Check(name="g++", status=status, found="not found", needed_for="the simulated board",
                    mend="apt install g++")]
    monkeypatch.setattr("tritstream.cli.doctor.examine", lambda tell: checks)
    code, out, _ = tritstream("doctor", "--json")
    assert code == exit_code
    assert json.loads(out)[1] == {
        "name": "g++", "status": status.value, "found": "not found",
        "needed_for": "the simulated board", "mend": "apt install g++"}
    code, out, _ = tritstream("doctor")
    assert code == exit_code
    assert status.value in out and "apt install g++" in out


# Bad models.

def corrupt(path, position, data):
    with open(path, "r+b") as file:
        file.seek(position, os.SEEK_SET if position >= 0 else os.SEEK_END)
        file.write(data)


def change_config(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


BAD_CHECKPOINTS = {
    "truncated tensors": (
        lambda d: os.truncate(d / "model.safetensors", 20_000), "model.safetensors"),
    "tensors cut in the header": (
        lambda d: os.truncate(d / "model.safetensors", 100), "model.safetensors"),
    "an empty file": (lambda d: os.truncate(d / "model.safetensors", 0), "model.safetensors"),
    "a corrupt header": (
        lambda d: corrupt(d / "model.safetensors", 8, b"!!!!"), "model.safetensors"),
    "no tensors": (lambda d: os.remove(d / "model.safetensors"), "model.safetensors"),
    "a number that is none": (
        lambda d: corrupt(d / "model.safetensors", -2, b"\x00\x7e"), "lm_head.weight|not finite"),
    "an infinite number": (
        lambda d: corrupt(d / "model.safetensors", -2, b"\x00\x7c"), "lm_head.weight|not finite"),
    "another shape": (lambda d: change_config(d, intermediate_size=64), r"\[128, 32\]"),
    "another number of layers": (lambda d: change_config(d, num_hidden_layers=3), r"\[3, 32\]"),
    "a short convolution": (lambda d: change_config(d, use_short_conv=True), "use_short_conv"),
    "an expanded state": (lambda d: change_config(d, expand_ratio=2), "expand_ratio is 2"),
    "another kind of model": (lambda d: change_config(d, model_type="llama"), "'llama'"),
    "a config that is no JSON": (lambda d: corrupt(d / "config.json", 0, b"?"), "is not JSON"),
    "no config": (lambda d: os.remove(d / "config.json"), "config.json cannot be read"),
    "no tokenizer": (lambda d: os.remove(d / "tokenizer.json"), "tokenizer.json cannot be read"),
    "a broken tokenizer": (
        lambda d: corrupt(d / "tokenizer.json", 0, b"?"), "is not a tokenizer"),
    "another vocabulary": (lambda d: change_config(d, vocab_size=100), r"\[100, 32\]"),
}


@pytest.mark.parametrize("device", FLOAT_AND_GOLDEN)
@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_bad_checkpoints(refused, checkpoint, name, device):
    damage, sentence = BAD_CHECKPOINTS[name]
    damage(checkpoint)
    assert re.search(sentence, refused(2, "generate", "-m", checkpoint, *PROMPT, "-n", 2,
                                       "--device", device))


def test_a_broken_tokenizer_is_not_packed(refused, checkpoint, tmp_path):
    (checkpoint / "tokenizer.json").write_text("{}")
    assert "is not a tokenizer" in refused(2, "pack", checkpoint, "-o", tmp_path / "m.trit")
    assert not (tmp_path / "m.trit").exists()


def test_what_is_no_file_is_not_packed_over(refused, checkpoint, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe cannot be written: it is not a regular file" in refused(
        2, "pack", checkpoint, "-o", tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_stays_a_link(good, checkpoint, tmp_path):
    (tmp_path / "link.trit").symlink_to(tmp_path / "real.trit")
    good("pack", checkpoint, "-o", tmp_path / "link.trit")
    assert (tmp_path / "link.trit").is_symlink()
    assert Image(tmp_path / "real.trit").layers == CONFIG.layers


def test_a_shard_that_is_missing(refused, tmp_path):
    DummyCheckpoint(CONFIG).save(tmp_path / "sharded", shards=3)
    (tmp_path / "sharded" / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors is missing" in refused(2, "pack", tmp_path / "sharded")


BAD_IMAGES = {
    "cut short": (lambda path: os.truncate(path, os.path.getsize(path) - 64), "cut short"),
    "cut in the preamble": (lambda path: os.truncate(path, 20), "is no tritstream image"),
    "empty": (lambda path: os.truncate(path, 0), "cannot be read as an image"),
    "corrupt trits": (lambda path: corrupt(path, -100, b"\xff\xfe"), "is corrupt"),
    "corrupt metadata": (lambda path: corrupt(path, 80, b"\xff"), "is corrupt"),
    "corrupt lengths": (lambda path: corrupt(path, 12, b"\xff\xff\xff\x7f"), "corrupt|cut short"),
    "another version": (lambda path: corrupt(path, 8, b"\x63"), "version 99"),
}


@pytest.mark.parametrize("verb", ["generate", "inspect"])
@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_images(refused, image, tmp_path, name, verb):
    damage, sentence = BAD_IMAGES[name]
    path = shutil.copy(image, tmp_path / "bad.trit")
    damage(path)
    arguments = PROMPT if verb == "generate" else []
    assert re.search(sentence, refused(2, verb, "-m", path, *arguments))


def test_a_model_that_does_not_exist(refused):
    assert "no model 'absent'" in refused(2, "generate", "-m", "absent", *PROMPT)


# Bad options.

BAD_LINES = {
    "an unknown verb": ("sing", "No such command 'sing'"),
    "an unknown option": ("generate -p x --loud", "--loud"),
    "an empty prompt": ("generate -p ''", "text is empty"),
    "no tokens to make": ("generate -p x -n 0", "must be 1 to 1,000,000,000, not 0"),
    "fewer than no tokens": ("generate -p x -n -3", "must be 1 to .*, not -3"),
    "more tokens than time": ("generate -p x -n 99999999999999999999", "must be 1 to .*, not 9"),
    "more digits than a number": (f"generate -p x -n {'9' * 5000}", "'-n'"),
    "a count that is no number": ("generate -p x -n many", "'many'|valid integer"),
    "a temperature below zero": ("generate -p x --temp -1", "at least 0"),
    "a temperature that is no number": ("generate -p x --temp nan", "not nan"),
    "no best candidates": ("generate -p x --temp 1 --top-k 0", "top-k must be at least 1"),
    "too many candidates": ("generate -p x --temp 1 --top-k 40", "its 16 best candidates"),
    "too many for nothing": ("generate -p x --top-k 50", "its 16 best candidates"),
    "no probability": ("generate -p x --temp 1 --top-p 0", "top-p must be above 0"),
    "an unknown device": ("generate -p x --device gpu", "'gpu' is not a device"),
    "half a device": ("generate -p x --device tcp:localhost", "write tcp:HOST:PORT"),
    "a port out of range": ("generate -p x --device tcp:localhost:99999", "1 to 65535"),
    "a strange baud rate": ("generate -p x --device serial:/dev/null?baud=fast", "baud=fast"),
    "token out of range": ("logits --tokens 5,300 -o x", "Token 300 .*0 to 299"),
    "a token below zero": ("logits --tokens -1 -o x", "Token -1 is out of range"),
    "a token that is no number": ("logits --tokens 5,a -o x", "'a'"),
    "no token": ("logits --tokens '' -o x", "has ''"),
    "a place that cannot be written": ("logits --tokens 5 -o no/where", "cannot be written"),
    "a directory as output": ("logits --tokens 5 -o .", "cannot be written"),
    "a pipe as output": ("logits --tokens 5 -o pipe", "not a regular file"),
    "full, and a device": ("bench --full --device golden", "leave out --full or --device golden"),
    "a text that does not exist": ("eval --text absent", "absent cannot be read"),
    "no tokens to read": ("eval --text empty.txt", "no token to predict"),
    "fewer than one token to read": ("eval --text empty.txt --max-tokens 0", "must be 1 to"),
    "nothing to read": ("eval", "Give one text to score"),
    "text and tokens to read": ("eval --text x --tokens 1", "Give one text to score"),
    "one token to read": ("eval --tokens 1", "no token to predict"),
    "a pipe to read": ("eval --text pipe", "not a regular file"),
    "bytes that are no text": ("eval --text binary.txt", "is not UTF-8: byte 3 is 0xff"),
    "half an archive": ("eval --text half.xz", "not a complete xz file"),
    "lines without text": ("eval --text lines.jsonl", "line 2"),
    "verifying the reference": ("verify -p x --device float", "no integer stages"),
    "nothing to verify": ("verify -p x -n 0", "must be 1 to 1,000,000,000, not 0"),
    "an empty prompt to verify": ("verify -p ''", "text is empty"),
    "nothing to measure": ("bench -p 0 -n 0", "nothing to measure"),
    "less than nothing to measure": ("bench -p -1", "-p must be 0 to .*, not '-1'"),
    "no repetition": ("bench -r 0", "-r must be 1 to 1,000,000, not '0'"),
    "a list with a hole": ("bench -n 1,,2", "-n must be 0 to .* commas between them, not '1,,2'"),
    "no lane": ("bench --lanes 0", "--lanes must be 1 to .*, not '0'"),
    "two formats": ("bench --json -o csv", "leave out --json or -o csv"),
    "an unknown format": ("bench -o xml", "md, csv, json, jsonl"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_options(refused, image, tmp_path, name):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(b"abc\xffdef")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "half.xz").write_bytes(lzma.compress(b"some text" * 100)[:-20])
    (tmp_path / "lines.jsonl").write_text('{"text": "one"}\n{"title": "two"}\n')
    line, sentence = BAD_LINES[name]
    verb, *rest = shlex.split(line)
    model = [] if verb == "sing" else ["-m", image]
    assert re.search(sentence, refused(2, verb, *model, *rest))


@pytest.mark.parametrize("arguments, sentence", [
    ([], "not 0 of them"), (["a", "--dummy", "370M"], "not 2 of them"),
    (["--dummy", "9B"], "'9B' is no shape"), (["--dummy", "1,2,3"], "no shape"),
    (["--dummy", "0,16,1,16"], "hidden must be a positive integer"),
    (["--dummy", "16,16,1,99999999"], "no number may exceed 65535"),
    (["--dummy", "16,16,1,16", "--seed", "-1"], "at least 0, not -1"),
    (["a", "--outliers"], "--outliers and --seed belong to a random model"),
    (["absent"], "config.json cannot be read"),
    (["--dummy", "16,16,1,16", "-o", "no/where.trit"], "no/where.trit cannot be written"),
])
def test_bad_packs(refused, arguments, sentence):
    assert sentence in refused(2, "pack", *arguments)


def test_a_prompt_that_is_no_text(refused, image):
    assert "is not UTF-8" in refused(2, "generate", "-m", image, "-p", "caf\udce9")


# Bad devices.

def test_a_device_that_is_absent(refused, image):
    for device in ("tcp:127.0.0.1:1", "serial:/dev/absent", "serial:/dev/absent?baud=115200"):
        for verb in (["generate", *PROMPT], ["verify", *PROMPT], ["bench"],
                     ["logits", "--tokens", "5", "-o", "x"]):
            refused(4, *verb, "-m", image, "--device", device)


@pytest.mark.parametrize("changes, sentence", [
    (dict(max_vocab=299), "vocabulary of 300 exceeds 299"),
    (dict(max_hidden=31), "hidden size of 32 exceeds 31"),
])
def test_a_model_larger_than_the_build(refused, image, served, changes, sentence):
    build = BuildConfig(**(SIZES | changes))
    assert re.search(sentence, refused(2, "generate", "-m", image, *PROMPT, "--device",
                                       served(build)))


def test_a_device_that_goes_away(refused, image):
    board = GoldenBoard(Image(image), BUILD, lambda position, stage, vector: (
        server.hang_up() if (position, stage) == (15, 3) else None, vector)[1])
    with Server(Emulator(BUILD, board)) as server:
        sentence = refused(4, "generate", "-m", image, *PROMPT, "-n", 9, "--device", server.uri)
        assert "went away" in sentence
        # It has been left in a known state: the next host finds it as if nothing had been.
        server.emulator.model.__init__(Image(image), BUILD)
        assert run(["verify", "-m", image, *PROMPT, "-n", "3", "--device", server.uri]) == 0


@pytest.mark.parametrize("answer, sentence", [
    (b"", "does not answer"), (b"login: \r\n" * 50, "answers garbage")])
def test_a_device_that_is_none(refused, image, answer, sentence):
    def chatter():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(answer)
            while connection.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=chatter)
        thread.start()
        port = listener.getsockname()[1]
        assert sentence in refused(4, "generate", "-m", image, *PROMPT, "--device",
                                   f"tcp:127.0.0.1:{port}")
        thread.join()


# Whatever the line, its end is one of those that the help tells.

PLACES = {
    "none": "", "directory": ".", "fifo": "fifo", "endless": "/dev/zero", "device": "/dev/null",
    "loop": "loop", "dangling": "dangling", "absent": "absent/x", "behind a file": "bytes/x",
    "bytes": "bytes", "empty": "empty", "long": "a" * 300, "deep": "a/" * 3000,
    "surrogate": "x\udcff", "zero": "x\0y", "home": "~", "memory": "/proc/self/mem",
    "archive": "bytes.xz", "lines": "bytes.jsonl",
}
FOR_FILES = [
    ["generate", "--tokens", "5", "-n", "1", "-m"], ["inspect"], ["pack"],
    ["pack", "CHECKPOINT", "-o"],
    ["generate", "-m", "IMAGE", "-n", "1", "-f"],
    ["eval", "-m", "IMAGE", "--max-tokens", "2", "--text"],
    ["logits", "-m", "IMAGE", "--tokens", "5", "-o"],
    ["estimate", "-m", "IMAGE", "--plot"],
    ["build", "ulx3s_84f", "-o"], ["build", "ulx3s_85f", "--seeds", "0", "-o"], ["build"],
]
AS_DEVICE = ["replay:{}", "serial:{}", "sim?build={}", "tcp:127.0.0.1:1?build={}", "tcp:{}", "{}",
             "float:{}", "sim:{}", "sim?{}", "sim?x={}", "cuda?x={}"]
NUMBERS = ["-1", "9" * 30, "9" * 5000, "1e400", "nan", "inf", "-inf", "", "many", "0x10", "1.5",
           "\u0663"]
FOR_NUMBERS = [
    ["generate", "-m", "IMAGE", "--tokens", "5", "-n"],
    ["generate", "-m", "IMAGE", "--tokens", "5", "-n", "1", "--temp"],
    ["generate", "-m", "IMAGE", "--tokens", "5", "-n", "1", "--temp", "1", "--top-k"],
    ["generate", "-m", "IMAGE", "--tokens", "5", "-n", "1", "--temp", "1", "--top-p"],
    ["generate", "-m", "IMAGE", "--tokens", "5", "-n", "1", "--temp", "1", "-s"],
    ["generate", "-m", "IMAGE", "-n", "1", "--tokens"],
    ["eval", "-m", "IMAGE", "--tokens"], ["eval", "-m", "IMAGE", "--tokens", "5,6", "--max-tokens"],
    ["verify", "-m", "IMAGE", "--tokens", "5", "--device", "golden", "-n"],
    ["bench", "-m", "IMAGE", "--device", "golden", "-n", "0", "-r", "1", "-p"],
    ["bench", "-m", "IMAGE", "--device", "golden", "-p", "1", "-n", "1", "-r"],
    ["bench", "-m", "IMAGE", "--device", "golden", "-p", "1", "-n", "0", "-r", "1", "--lanes"],
    ["estimate", "-m", "IMAGE", "--memory"],
    ["build", "ulx3s_84f", "--freq"], ["build", "ulx3s_84f", "--seeds"],
    ["pack", "-o", "dummy.trit", "--dummy"],
    ["pack", "-o", "dummy.trit", "--dummy", "8,8,1,8", "-s"],
]
OF_NUMBERS = ["sim?keep={}x", "sim?latency={}x", "sim?bandwidth={}x", "sim?refresh=640:{}x",
              "tcp:127.0.0.1:{}x", "serial:/dev/null?baud={}", "sim:p{}x", "cuda:{}x"]


def lines_of(kind):
    """Return command lines with each of what there is of a kind, in turn."""
    if kind in PLACES:
        value, lines, devices = PLACES[kind], FOR_FILES, AS_DEVICE
    else:
        value, lines, devices = kind, FOR_NUMBERS, OF_NUMBERS
    generate = ["generate", "-m", "IMAGE", "--tokens", "5", "-n", "1", "--device"]
    return [*([*line, value] for line in lines),
            *([*generate, device.format(value)] for device in devices),
            ["generate", "-m", "IMAGE", "--device", "golden", *generate[3:], value]]


@pytest.fixture
def places(tmp_path):
    """What is behind `PLACES`, in the directory of the test."""
    os.mkfifo(tmp_path / "fifo")
    for name, target in (("loop", "loop"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(target)
    (tmp_path / "empty").touch()
    for name in ("bytes", "bytes.xz", "bytes.jsonl"):
        (tmp_path / name).write_bytes(b"\xff\xfeTRITSTRM\0\x80" * 9)


@pytest.mark.parametrize("kind", [*PLACES, *(pytest.param(number, id=number[:8] or "nothing")
                                             for number in NUMBERS)])
def test_every_line_ends_with_a_code_that_is_known(tritstream, image, pristine, places, kind):
    for line in lines_of(kind):
        line = [{"IMAGE": image, "CHECKPOINT": str(pristine)}.get(word, word) for word in line]
        code, _, err = tritstream(*line)
        told = [text for text in err.splitlines() if text.startswith("error: ")]
        assert code in (0, 2, 3, 4) and len(told) == (code != 0), (line, code, err)
        assert "Traceback" not in err and "fault of the program" not in err


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors",
                                  "tokenizer.json", "tokenizer_config.json",
                                  "chat_template.jinja"])
@pytest.mark.parametrize("line", [["generate", "-p", "x", "-n", "1", "-m"], ["inspect", "-m"],
                                  ["pack", "-o", "out.trit"]])
def test_files_of_a_checkpoint_that_may_not_be_read(refused, checkpoint, monkeypatch, name, line):
    for beside in ("generation_config.json", "tokenizer_config.json", "chat_template.jinja"):
        (checkpoint / beside).write_text("{}")
    openly = io.open

    def forbid(path, *options, **more):
        if str(path) == str(checkpoint / name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return openly(path, *options, **more)

    monkeypatch.setattr(io, "open", forbid)         # root may read everything
    monkeypatch.setattr("builtins.open", forbid)
    assert f"{checkpoint / name} cannot be read: Permission denied" in refused(
        2, *line, checkpoint)


@pytest.mark.parametrize("line, extra", [
    (["generate", "--tokens", "5", "--device", "sim"], "sim"), (["build", "ulx3s_85f"], "hw"),
    (["boards"], "hw"), (["estimate", "--plot", "roofs.png"], "plot"),
    (["train", "-o", "run", "--preset", "cpu"], "train"),
    (["generate", "--tokens", "5", "--device", "cuda"], "cuda")])
def test_a_host_without_extras_says_which_one_it_needs(line, extra, tmp_path):
    blocked = ["amaranth", "amaranth_boards", "cocotb", "cocotb_tools", "torch", "triton",
               "safetensors", "matplotlib", "verilator"]
    program = (f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
               f"from tritstream.cli.app import run; sys.exit(run({line}))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=tmp_path, timeout=300)
    assert done.returncode == 3, done.stderr
    (sentence,) = done.stderr.strip().splitlines()
    assert f"pip install 'tritstream[{extra}]'" in sentence


def test_a_simulator_that_is_not_installed(refused, image, monkeypatch):
    monkeypatch.setitem(sys.modules, "tritstream_sim.board", None)
    assert "pip install" in refused(3, "generate", "-m", image, *PROMPT, "--device", "sim")


@pytest.mark.parametrize("line", [["boards"], ["build", "ulx3s_85f"]])
def test_gateware_that_is_not_installed(refused, monkeypatch, line):
    for name in ("boards", "build"):
        monkeypatch.setitem(sys.modules, f"tritstream_hw.{name}", None)
    assert "pip install 'tritstream[hw]'" in refused(3, *line)


# The simulated board.

@pytest.mark.verilator
def test_every_verb_on_the_simulated_board(good, image, text, tmp_path, monkeypatch, request, seed):
    cache = request.config.rootpath / "build" / "sim"
    monkeypatch.setattr("tritstream_sim.board.launch", functools.partial(launch, cache=cache))

    def both(verb, *options):
        return [json.loads(good(verb, "-m", image, *options, "--device", device, "--json"))
                for device in ("golden", "sim")]

    for options in ([], ["--temp", 2, "--top-k", 5, "--top-p", 0.9, "--seed", seed]):
        golden, board = both("generate", *PROMPT, "-n", 8, *options)
        assert [golden[name] for name in ("text", "tokens", "digest")] == [
            board[name] for name in ("text", "tokens", "digest")]
        assert board["timings"]["evidence"] == "simulated" and board["timings"]["cycles"] > 1000
    golden, board = both("verify", *PROMPT, "-n", 3)
    assert board["equal"] is True and without_device(board) == without_device(golden)
    golden, board = both("eval", "--text", text, "--max-tokens", 10)
    assert without_device(board) == without_device(golden)
    golden, board = (both("logits", "--tokens", "5,299", "-o", tmp_path / "out.npy"))
    assert without_device(board) == without_device(golden)
    rows = json.loads(good("bench", "-m", image, "-p", 2, "-n", 2, "-r", 1, "-o", "json"))
    assert [(row["device"], row["evidence"]) for row in rows] == [("sim", "simulated")] * 2


# The program itself.

def test_debug_shows_the_traceback(tritstream):
    code, _, err = tritstream("generate", "-m", "absent", *PROMPT, "--debug")
    assert code == 2
    assert "Traceback" in err and err.strip().splitlines()[-1].startswith("error: ")


def test_a_fault_of_the_program_is_a_sentence_too(refused, image, monkeypatch):
    monkeypatch.setattr(GoldenEngine, "_step", lambda engine, token: 1 / 0)
    assert "ZeroDivisionError" in refused(70, "generate", "-m", image, *PROMPT)


def test_a_long_prompt_is_read_in_pieces(good, image, monkeypatch):
    arguments = ["generate", "-m", image, "-p", "It was a dark night, " * 5, "-n", 3, "--json"]
    whole = json.loads(good(*arguments))
    monkeypatch.setattr(GoldenEngine, "piece", 7)
    pieces = json.loads(good(*arguments))
    assert pieces["digest"] == whole["digest"] and pieces["text"] == whole["text"]


def test_version(good):
    assert re.fullmatch(r"tritstream \d+\.\d+\.\d+\n", good("--version"))


def test_nothing_asked_for_shows_the_help(good):
    assert good() == good("--help")


def test_help_names_every_verb(good):
    out = good("--help")
    verbs = VERBS | plugin_verbs()
    assert len(verbs) == 18 and "train" in verbs
    for name, verb in verbs.items():
        assert f"{name} " in out
        assert verb.help in " ".join(good(name, "--help").split())


def test_help_needs_none_of_what_the_verbs_need():
    program = ("import sys\n"
               "from tritstream.cli.app import run\n"
               "run(['--help'])\n"
               "print(*sys.modules)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not {"numpy", "tokenizers", "rich.console", "tritstream.engines"} & set(
        done.stdout.split())


def test_a_stop_text_ends_the_text(good, image):
    whole = json.loads(good("generate", "-m", image, *PROMPT, "-n", 20, "--json"))
    assert whole["finish_reason"] == ("length" if len(whole["tokens"]) == 20 else "stop")
    stop = whole["text"][5:8]
    ended = json.loads(good("generate", "-m", image, *PROMPT, "-n", 20, "--json", "--stop", stop,
                            "--stop", "\n\n\n"))
    assert ended["text"] == whole["text"][:whole["text"].index(stop)]
    assert ended["finish_reason"] == "stop"
    assert ended["tokens"] == whole["tokens"][:len(ended["tokens"])]
    assert good("generate", "-m", image, *PROMPT, "-n", 20, "--stop", stop) == (
        f"{PROMPT[1]}{ended['text']}\n")


def test_a_bias_decides(good, image):
    tokens = json.loads(good("generate", "-m", image, *PROMPT, "-n", 3, "--json"))["tokens"]
    biased = json.loads(good("generate", "-m", image, *PROMPT, "-n", 3, "--json", "--logit-bias",
                             f"{tokens[0]}=-100"))["tokens"]
    assert biased[0] != tokens[0]


def test_an_option_has_its_value_even_if_that_looks_like_an_option(good, image):
    assert good("generate", "-m", image, "-p", "--debug", "-n", 3).startswith("--debug")


def test_as_a_program(image):
    """Bytes that are no text, a reader that leaves, and colours: only a process shows these."""
    def start(*arguments, **options):
        return subprocess.run([sys.executable, "-m", "tritstream", *arguments],
                              capture_output=True, timeout=60, **options)

    done = start("generate", "-m", image, "-p", b"caf\xe9", "-n", "2")
    assert done.returncode == 2 and b"is not UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr and done.stderr.count(b"\n") == 1
    done = start("generate", "-m", image, *PROMPT, "-n", "4",
                 env=os.environ | {"FORCE_COLOR": "1", "NO_COLOR": "1"})
    assert done.returncode == 0 and b"\x1b[3" not in done.stdout + done.stderr
    command = f"{sys.executable} -m tritstream inspect {image} --json | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], stderr=subprocess.PIPE)
    assert b"Traceback" not in done.stderr


def test_a_reader_who_goes_is_no_fault():
    program = "import sys; from tritstream.cli.app import run; sys.exit(run(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", program, "inspect", "tiny"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_ctrl_c_is_told(monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr("tritstream.cli.evaluate.read_documents", interrupted)
    assert run(["eval", "-m", "tiny", "--text", "x"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"
