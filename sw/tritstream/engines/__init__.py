"""Devices behind one interface: the float reference, the golden model, boards, and what joins."""

from tritstream.engines.base import Engine, Pass, Work
from tritstream.engines.conversation import Conversation
from tritstream.engines.registry import DEVICES, open_engine

__all__ = ["DEVICES", "Conversation", "Engine", "Pass", "Work", "open_engine"]
