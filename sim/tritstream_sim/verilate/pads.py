"""A board as the bitstream has it, from pad to pad, as an executable that the driver talks to."""

import pathlib

from tritstream_hw.boards import Target
from tritstream_sim.verilate.compile import compile_model
from tritstream_sim.verilate.export import export, ports
from tritstream_sim.verilate.stepped import SOURCE

__all__ = ["build_board"]

_PRIMITIVES = sorted((pathlib.Path(__file__).parent / "primitives").glob("*.v"))
_ARGUMENTS = ["--timing", "--no-sched-zero-delay", "--timescale", "1ns/1fs",
              "-CFLAGS", "-std=c++20"]      # which the wheel's makefile does not ask for

_LINES = {"uart_0__rx__io": "rx", "uart_0__tx__io": "tx"}
_WRAPPER = """
module {name}(input rx, output tx);
    {oscillators}
    {design} pads({connections});
endmodule
"""
_OSCILLATOR = "reg {pad} = 0; always #({half_period}) {pad} = ~{pad};"


def build_board(target: Target, build_id: bytes, cache: pathlib.Path) -> pathlib.Path:
    """Compile the top of a board, made for its platform, for a `SteppedTransport`.

    Its pads are those of the platform's file. An oscillator stands at each that has a clock there,
    the host's UART at the resource ``uart``. What Amaranth or the board's own file takes from the
    vendor is modelled in ``primitives``.

    Parameters
    ----------
    target : Target
        The board, and what is built for it.
    build_id : bytes
        Eight bytes by which the driver knows the build again.
    cache : path
        Where builds are kept, see `compile_model`.

    Raises
    ------
    ValueError
        The top has a pad at which nothing stands.
    """
    platform, name = target.platform(), f"board_{target.name}"
    text = export(target.top(target.config, build_id, target.baud), target.name, platform)
    clocks = {port.name: hz for port, hz in platform.iter_port_clock_constraints()}
    stands = _LINES | {pad: pad for pad in clocks}
    pads = ports(text, target.name)
    if unknown := sorted(set(pads) - set(stands)):
        raise ValueError(f"nothing stands at {target.name}'s pads {', '.join(unknown)}")
    wrapper = _WRAPPER.format(
        name=name, design=target.name,
        oscillators="\n    ".join(_OSCILLATOR.format(pad=pad, half_period=1e9 / hz / 2)
                                  for pad, hz in clocks.items()),
        connections=", ".join(f".{pad}({stands[pad]})" for pad in pads))
    models = [path.read_text() for path in _PRIMITIVES]
    return compile_model("\n".join([text, wrapper, *models]), name, cache, arguments=_ARGUMENTS,
                         sources=[SOURCE])
