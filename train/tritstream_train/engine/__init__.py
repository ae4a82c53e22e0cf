"""Packed models on a GPU: the integers of the hardware, digests included, at a GPU's speed.

`CudaEngine` is what `tritstream --device cuda` opens; `Conversations` continues many at once.
"""

from tritstream_train.engine.conversations import Conversations, Greedy
from tritstream_train.engine.engine import CudaEngine, find_gpu
from tritstream_train.engine.model import CudaModel

__all__ = ["Conversations", "CudaEngine", "CudaModel", "Greedy", "find_gpu"]
