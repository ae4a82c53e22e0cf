"""Messages: commands and replies, see `docs/link.md`."""

from tritstream_hw.control.control import Control

__all__ = ["Control"]
