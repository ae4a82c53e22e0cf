"""The user's cache, for what can be made again: packed checkpoints, simulated boards, tokens."""

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory(kind: str) -> Path:
    """Where things of one kind are kept; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritstream" / kind
