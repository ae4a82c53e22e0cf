"""Tables of a document are what the findings beside it say."""

import json
import shutil

import pytest

import picture
from tables import DOCUMENTS, FINDINGS, filled, main, read_figures
from tritstream.errors import BadInput

TEXT = "before\n<!-- table speed -->\nold\n<!-- end -->\nafter\n"


def test_a_table_has_the_rows_of_the_findings():
    rows = [{"path": "fused", "tok/s": 2}, {"path": "plain", "tok/s": 1.5}]
    expected = ("before\n<!-- table speed -->\n| path | tok/s |\n| --- | ---: |\n| fused | 2 |\n"
                "| plain | 1.5 |\n<!-- end -->\nafter\n")
    assert filled(TEXT, {"speed": rows}) == expected == filled(expected, {"speed": rows})


def test_a_table_without_findings_is_refused(tmp_path, capsys):
    with pytest.raises(BadInput, match="'speed'"):
        filled(TEXT, {})
    for words in (["--findings", str(tmp_path / "absent")], [str(tmp_path / "absent")]):
        assert main(words) == 2
        assert "absent" in capsys.readouterr().err


@pytest.mark.parametrize("engine", ["{}", '{"measurements": [{"model": "370M"}]}', "[]"])
def test_incomplete_findings_are_one_sentence(tmp_path, capsys, engine):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "engine.json").write_text(engine)
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x.md").write_text("text")
    assert main(["--findings", str(tmp_path / "x.json"), str(tmp_path / "x.md")]) == 2
    assert capsys.readouterr().err.count("lack something") == 1


def test_tables_that_cannot_be_filled_are_refused():
    with pytest.raises(BadInput, match="Row 2 of the findings 'speed'"):
        filled(TEXT, {"speed": [{"a": 1}, {"a": 1, "b": 2}]})
    with pytest.raises(BadInput, match="number of tables"):
        filled("<!-- table a -->\n" + TEXT, {"a": [{"b": 1}], "speed": [{"b": 1}]})


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"parameters": "many"}', b"\xff"])
def test_damaged_figures_are_one_sentence(tmp_path, text):
    path = tmp_path / "figures.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput, match="figures.json does not hold the figures"):
        read_figures(path)


def measured(model, path):
    return {"model": model, "path": path, "batch": 8, "tokens": 16, "milliseconds": 1.0,
            "speed": 9e3, "share": 0.1, "gigabytes": 2.0}


def test_a_group_without_a_path_lacks_its_bar(tmp_path, monkeypatch):
    results = [measured(*one.split()) for one in (
        "370M authors", "370M graphed", "1.3B graphed", "1.3B fused", "tiny plain")]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "steps.json").write_text(json.dumps({"results": results}))
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x.md").write_text(TEXT)
    drawn = []
    monkeypatch.setattr(picture, "write_picture", lambda figure, path: drawn.append(figure))
    assert main(["--findings", str(tmp_path / "x.json"), str(tmp_path / "x.md")]) == 0
    (figure,), (legend,) = drawn, drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "this package, fused", "the same as a CUDA graph", "the authors', fused"]
    for axes in figure.axes:
        assert [len(bars) for bars in axes.containers] == [1, 2, 1]
        one, two, three, four = sorted(bar.get_center()[0] for bars in axes.containers
                                       for bar in bars)
        assert one < two < three < four and two - one == pytest.approx(four - three)
    (tmp_path / "data" / "steps.json").write_text(json.dumps({"results": results[4:]}))
    (tmp_path / "x.md").write_text("text")
    assert main(["--findings", str(tmp_path / "x.json"), str(tmp_path / "x.md")]) == 0
    assert len(drawn) == 1


def test_the_documents_are_up_to_date(tmp_path):
    copies = [tmp_path / str(number) for number in range(len(DOCUMENTS))]
    for copy, document in zip(copies, DOCUMENTS, strict=True):
        copy.write_bytes(document.read_bytes())
    shutil.copy(FINDINGS, tmp_path / "x.json")
    shutil.copytree(FINDINGS.parent / "data", tmp_path / "data")
    assert main(["--findings", str(tmp_path / "x.json"), *map(str, copies)]) == 0
    for copy, document in zip(copies, DOCUMENTS, strict=True):
        assert copy.read_bytes() == document.read_bytes()
    assert (tmp_path / "images" / "training-speed.png").read_bytes()[1:4] == b"PNG"
