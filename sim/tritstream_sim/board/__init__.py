"""The simulated board: the Verilated device, a memory and a TCP port, in a process of its own."""

from tritstream_sim.board.build import build
from tritstream_sim.board.configs import board_config, config_for
from tritstream_sim.board.launch import launch
from tritstream_sim.board.process import Board

__all__ = ["Board", "board_config", "build", "config_for", "launch"]
