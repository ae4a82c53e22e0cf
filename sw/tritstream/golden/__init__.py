"""The golden model: NumPy integers, bit for bit what the gateware computes."""

from tritstream.golden.model import Banks, GoldenModel, Logits, candidates, chain, read_rows

__all__ = ["Banks", "GoldenModel", "Logits", "candidates", "chain", "read_rows"]
