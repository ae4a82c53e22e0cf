"""How far the smallest build is from an iCE40UP5K: short tools stand for the long ones."""

import pathlib
import stat
import sys

import pytest

from tritstream_hw.build import ice40

COMMITTED = pathlib.Path(__file__).parents[1] / "bitstreams"

YOSYS = """#!{python}
import json, pathlib, sys
if sys.argv[1:] == ["-V"]:
    print("Yosys 1.0")
elif " -dff " in sys.argv[-1]:
    sys.exit(1)             # without a word
else:
    cells = {{"SB_LUT4": 12, "SB_CARRY": 3, "SB_DFFE": 4, "SB_DFFSR": 5}}
    pathlib.Path("stat.json").write_text(json.dumps({{"design": {{"num_cells_by_type": cells}}}}))
"""
NEXTPNR = """#!{python}
print('''Info: Device utilisation:
Info: \t         ICESTORM_LC:      17/   5280     0%
Info: \t        ICESTORM_RAM:       2/     30     6%
Info: \t        ICESTORM_DSP:       1/      8    12%''')
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    for name, text in (("yosys", YOSYS), ("nextpnr-ice40", NEXTPNR)):
        path = tmp_path / name
        path.write_text(text.format(python=sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(name.upper().replace("-", "_"), str(path))


def test_a_block_is_measured(tools, tmp_path, capsys):
    """Also one on which the first way to synthesise fails."""
    output = tmp_path / "out"
    assert ice40.main(["--only", "no such block", "--output", str(output)]) == 2
    assert "Nothing has 'no such block' in its name" in capsys.readouterr().err
    assert ice40.main(["--only", "TritDecoder", "--output", str(output)]) == 0
    assert ice40.load(output / "ice40.json") == {"TritDecoder": ice40.Taken(
        cells=17, luts=12, carries=3, flip_flops=9, block_rams=2, multipliers=1)}
    assert "| TritDecoder | 17 | 0 % | 12 | 3 | 9 | 2 | 1 |" in (output / "ice40.md").read_text()


def test_committed_page_is_of_its_numbers(tools, tmp_path):
    results = ice40.load(COMMITTED / "ice40.json")
    assert list(results) == [*ice40.BLOCKS, *ice40.PARTS]
    ice40.save(tmp_path, results)
    assert (tmp_path / "ice40.md").read_text() == (COMMITTED / "ice40.md").read_text()
