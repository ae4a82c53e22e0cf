"""The golden model: NumPy integers, bit for bit what the gateware computes."""

from tritstream.golden.model import GoldenModel, Logits, candidates, chain

__all__ = ["GoldenModel", "Logits", "candidates", "chain"]
