"""Shorter carry chains of an ECP5 compute what Yosys wrote."""

import json
import subprocess

import pytest

from tritstream.support.tools import find_yosys
from tritstream_hw.build.carries import shorten_file

WIDTHS = 5, 6, 9, 10        # below, Yosys makes no chain
SOURCE = """
module top (input carry{ports});
{body}
endmodule
"""
OPERATIONS = {
    "sum": "a + b",
    "difference": "a - b",
    "counted": "a + 3",
    "carried": "a + b + carry",
    "below": "a < b",
    "constant": "a < 19",
    "signed": "$signed(a) >= $signed(b)",
    "led": "{a, 1'b1} + {b, carry}",
    "both": "a + b + b[0]",
}
READ = ("read_verilog -sv -nooverwrite +/lattice/cells_sim_ecp5.v; read_json {0}.json; "
        "hierarchy -top top; proc; flatten; opt_clean; design -stash {0}; ")
PROOF = (f"{READ.format('before')}{READ.format('driven')}"
         "design -copy-from before -as gold top; design -copy-from driven -as gate top; "
         "miter -equiv -flatten gold gate miter; select -assert-min 100 miter/t:$xor; "
         "sat -verify -prove trigger 0 miter")


def yosys(directory, script: str) -> None:
    done = subprocess.run([find_yosys(), "-q", "-p", script], cwd=directory, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-2000:]


def source() -> str:
    """Each operation at each width, of operands of its own."""
    ports, body = [], []
    for width in WIDTHS:
        for name, operation in OPERATIONS.items():
            kind = f"{name}{width}"
            ports.append(f", input [{width - 1}:0] a_{kind}, b_{kind}, output [{width}:0] o_{kind}")
            text = operation.replace("(a)", f"(a_{kind})").replace("(b)", f"(b_{kind})")
            if text == operation:
                text = " ".join({"a": f"a_{kind}", "b": f"b_{kind}"}.get(word, word)
                                for word in operation.split(" "))
                text = text.replace("{a,", f"{{a_{kind},").replace("{b,", f"{{b_{kind},")
            body.append(f"assign o_{kind} = {text};")
    return SOURCE.format(ports="".join(ports), body="\n".join(body))


@pytest.fixture(scope="module")
def netlists(tmp_path_factory):
    """Return a directory with a netlist before and after."""
    directory = tmp_path_factory.mktemp("carries")
    (directory / "top.v").write_text(source())
    yosys(directory, "read_verilog -sv top.v; synth_ecp5 -nowidelut -top top; "
                     "write_json before.json")
    top = json.loads((directory / "before.json").read_text())["modules"]["top"]
    for name in ("before", "after"):        # without the part's cells, which the proof reads
        (directory / f"{name}.json").write_text(json.dumps({"modules": {"top": top}}))
    assert shorten_file(directory / "after.json") >= len(WIDTHS) * (len(OPERATIONS) - 2)
    return directory


def cells(path) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["modules"]["top"]["cells"].values()
            if cell["type"] == "CCU2C"]


def test_every_net_keeps_its_value(netlists):
    path = netlists / "after.json"
    netlist = json.loads(path.read_text())
    for cell in netlist["modules"]["top"]["cells"].values():    # Yosys drives no "x"
        cell["connections"] = {port: bits for port, bits in cell["connections"].items()
                               if bits != ["x"]}
    (netlists / "driven.json").write_text(json.dumps(netlist))
    yosys(netlists, PROOF)


def test_no_chain_is_led_in_or_out(netlists):
    before, after = (cells(netlists / f"{name}.json") for name in ("before", "after"))
    assert any(cell["connections"]["CIN"][0] in ("0", "1") for cell in before)
    carries = {cell["connections"]["COUT"][0] for cell in after}
    read = {cell["connections"]["CIN"][0] for cell in after}
    assert carries == read
    assert len(after) <= len(before) + len(WIDTHS) * len(OPERATIONS)
