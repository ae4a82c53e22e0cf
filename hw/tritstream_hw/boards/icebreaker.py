"""iCEBreaker, a small open board with an iCE40UP5K and a USB serial adapter."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from tritstream_hw.boards.ice40 import micro_target

__all__ = ["ICEBREAKER"]

ICEBREAKER = micro_target(
    ICEBreakerPlatform, name="icebreaker", link="UART 1 Mbaud",
    loader="openFPGALoader -b ice40_generic", evidence="routed")
