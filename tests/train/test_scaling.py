"""The comparison over sizes: tuning, resuming, and the document."""

import dataclasses
import json
import math

import numpy as np
import pytest

import scaling
from scaling import (
    Case,
    Result,
    main,
    next_rate,
    read_results,
    tuned,
    write_report,
)
from tritstream.errors import BadInput
from tritstream_train.data.vocabulary import learn_tokenizer
from tritstream_train.run.loop import LostLoss


def result(rate, score, arch="hgrn_bit", size="2M"):
    return Result(Case(arch, size, rate, 1000, 16, 4), 2_000_000, score,
                  score - 0.01 if arch == "hgrn_bit" else None, 3.0, 9.0, "a CPU")


def tune(scores):
    """Rates that are tried when `scores` tells what comes of each."""
    tried = []
    while (rate := next_rate(tried)) is not None:
        tried.append(result(rate, scores(rate)))
    return [one.case.rate for one in tried]


@pytest.mark.parametrize("best", [1e-3, 4e-3, 8e-3, 1.6e-2])
def test_rates_are_tried_around_the_best(best):
    tried = tune(lambda rate: abs(math.log(rate / best)))
    assert best in tried and best * 2 in tried and best / 2 in tried
    assert len(tried) == len(set(tried)) <= 6


def test_a_lost_loss_is_a_rate_too_high():
    tried = tune(lambda rate: math.inf if rate > 1.5e-3 else abs(math.log(rate / 5e-4)))
    assert tried == pytest.approx([4e-3, 2e-3, 1e-3, 5e-4, 2.5e-4])


def test_what_is_not_surrounded_is_not_tuned():
    results = [result(rate, score) for rate, score in ((4e-3, 2.0), (8e-3, math.inf), (2e-3, 1.9))]
    assert tuned([]) is None and tuned(results) is None
    assert tuned([result(4e-3, math.inf), result(2e-3, math.inf), result(8e-3, math.inf)]) is None
    results.append(result(1e-3, 2.5))
    assert tuned(results).case.rate == 2e-3


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(scaling, "SIZES", {
        name: {"hidden": 64, "intermediate": 64, "layers": layers}
        for name, layers in (("2M", 1), ("7M", 2))})
    rng = np.random.default_rng(1)
    text = " ".join(rng.choice(["tree", "river", "stone", "the", "a", "runs"], 600))
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": text}))
    (tmp_path / "tokenizer.json").write_bytes(learn_tokenizer([text], 262))
    return ["run", "--data", str(tmp_path / "text.jsonl"), "--valid", str(tmp_path / "text.jsonl"),
            "--tokenizer", str(tmp_path / "tokenizer.json"), "--vocab", "262", "--tokens", "640",
            "--sequence", "16", "--batch", "4", "--warmup", "2", "--device", "cpu",
            "--directory", str(tmp_path / "runs"), "--results", str(tmp_path / "results.jsonl")]


def test_it_goes_on_result_by_result(tmp_path, inputs):
    assert main([*inputs, "--size", "2M", "--minutes", "0"]) == 0
    assert read_results(tmp_path / "results.jsonl") == []
    assert main([*inputs, "--size", "2M"]) == 0
    first = read_results(tmp_path / "results.jsonl")
    assert {one.case.arch for one in first} == {"hgrn_bit", "transformer"}
    assert all((one.carried is None) == (one.case.arch == "transformer") for one in first)
    assert all(0 < one.windowed < 9 for one in first)
    assert main([*inputs, "--size", "2M"]) == 0
    assert read_results(tmp_path / "results.jsonl") == first
    assert main([*inputs, "--size", "2M", "--arch", "hgrn_bit", "--batch", "8"]) == 0
    more = read_results(tmp_path / "results.jsonl")[len(first):]
    assert more and {one.case.batch for one in more} == {8}


def strict(constant):
    raise AssertionError(constant)


def test_a_lost_loss_is_null_in_the_file(tmp_path, inputs, monkeypatch):
    monkeypatch.setattr(scaling, "train", lose)
    assert main([*inputs, "--size", "2M", "--arch", "hgrn_bit"]) == 0
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=strict)["windowed"] for line in lines] == [None] * 7
    results = read_results(tmp_path / "results.jsonl")
    assert [(one.windowed, one.loss) for one in results] == [(math.inf, math.inf)] * 7
    assert [one.case.rate for one in results] == [4e-3 / 2 ** n for n in range(7)]


def lose(*arguments, **options):
    raise LostLoss("The loss is nan.")


def score(case, settings, directory):
    return Result(case, 9, abs(math.log(case.rate / 4e-3)), None, 3.0, 9.0, "a CPU")


@pytest.mark.parametrize("options, patched", [
    (["--data", "other.txt"], ()), (["--valid", "other.txt"], ()), (["--warmup", "3"], ()),
    (["--tokenizer", "other.json"], ()), (["--vocab", "263"], ()), ([], ("FREEZE", 0.25)),
    ([], ("WEIGHT_DECAY", 0.0)), ([], ("SIZES", {"2M": {"hidden": 8}}))])
def test_results_of_something_else_are_refused(tmp_path, inputs, monkeypatch, capsys, options,
                                               patched):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scaling, "run_case", score)
    (tmp_path / "same.txt").write_bytes((tmp_path / "text.jsonl").read_bytes())
    (tmp_path / "other.txt").write_text("another text")
    (tmp_path / "other.json").write_text("{}")
    assert main([*inputs, "--size", "2M"]) == 0
    before = (tmp_path / "results.jsonl").read_text()
    assert main([*inputs, "--size", "2M", "--data", "same.txt"]) == 0
    if patched:
        monkeypatch.setattr(scaling, *patched)
    assert main([*inputs, *options]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "results.jsonl, line 1, is of other data, validation text, tokenizer or sett" in error
    assert (tmp_path / "results.jsonl").read_text() == before


def test_results_without_a_digest_are_not_gone_on_from(tmp_path, inputs, capsys):
    assert all(one.digest is None for one in read_results(scaling.RESULTS))
    (tmp_path / "results.jsonl").write_bytes(scaling.RESULTS.read_bytes())
    assert main([*inputs, "--minutes", "0"]) == 2
    assert "line 1, is of other data" in " ".join(capsys.readouterr().err.split())


def test_the_document_is_that_of_the_results_here(tmp_path):
    assert main(["report", "--output", str(tmp_path / "scaling.md")]) == 0
    assert (tmp_path / "scaling.md").read_text() == scaling.DOCUMENT.read_text()


@pytest.mark.parametrize("option", ["--batch", "--sequence", "--tokens"])
def test_sizes_below_one_are_one_sentence(inputs, capsys, option):
    assert main([*inputs, option, "0"]) == 2
    assert f"error: {option} must be at least 1, not 0." in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, inputs, capsys):
    for step in (inputs, ["report"]):
        assert main([*step, "--results", str(tmp_path)]) == 2
        assert f"error: {tmp_path} cannot be read: Is a directory; give" in capsys.readouterr().err
        (tmp_path / "results").write_bytes(b"\xff\n")
        assert main([*step, "--results", str(tmp_path / "results")]) == 2
        assert "results is not UTF-8: byte 0" in capsys.readouterr().err


def test_an_error_of_the_system_is_one_sentence(tmp_path, inputs, capsys, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device", "losses.csv")
    monkeypatch.setattr(scaling, "run_case", fail)
    assert main(inputs) == 2
    assert capsys.readouterr().err.startswith(
        "error: losses.csv cannot be used: No space left on device; mend that")


def test_the_document_has_what_is_tuned(tmp_path):
    results = [result(rate, score + (arch == "transformer") / 8, arch, size)
               for arch in ("hgrn_bit", "transformer") for size in ("2M", "7M")
               for rate, score in ((2e-3, 1.6), (4e-3, 1.5), (8e-3, 1.7))]
    results += [result(4e-3, 1.2, "hgrn_bit", "28M")]
    shorter = dataclasses.replace(results[0], case=Case("hgrn_bit", "2M", 4e-3, 900, 16, 4))
    other = dataclasses.replace(results[0], case=Case("hgrn_bit", "2M", 1e-3, 1000, 32, 2))
    results += [shorter, other]
    write_report(results, tmp_path / "scaling.md")
    document = (tmp_path / "scaling.md").read_text()
    assert "| 2M | MatMul-free | 2.00 M | 0.004 | 0.002 0.004 0.008 | 1.5000 | 1.4900 |" in document
    assert "4 windows of 16 tokens a step" in document
    assert "-7.7% at 2M, -7.7% at 7M" in document and "28M" not in document
    assert (tmp_path / "images" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_cannot_go_on_is_no_result(tmp_path, inputs, capsys):
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr("tritstream_train.run.loop.set_rates", interrupt)
        main([*inputs, "--size", "2M"])
    assert main([*inputs, "--size", "2M", "--warmup", "3"]) == 2
    assert "warmup = 2, not 3" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "results.jsonl").exists()
    assert main([*inputs, "--tokens", "63"]) == 2
    assert "--tokens 63 is less than a step of 4 x 16" in capsys.readouterr().err


def interrupt(*arguments):
    raise KeyboardInterrupt


def test_without_results_there_is_no_document(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    assert main(["report", "--results", str(path), "--output", str(tmp_path / "x.md")]) == 2
    path.write_text('{"case": 1}\n')
    with pytest.raises(BadInput, match="line 1, is not a result"):
        read_results(path)
    path.write_text(json.dumps(dataclasses.asdict(result(4e-3, 1.5)) | {"windowed": "?"}) + "\n")
    with pytest.raises(BadInput, match="line 1, is not a result"):
        read_results(path)
