"""Packed models on a GPU: the integers of the hardware, digests included, at a GPU's speed.

`CudaEngine` is what `tritstream --device cuda` opens; `Conversations` continues many at once.
"""

from tritstream_cuda.conversations import Conversations, Greedy
from tritstream_cuda.engine import CudaEngine, find_gpu
from tritstream_cuda.model import CudaModel

__all__ = ["Conversations", "CudaEngine", "CudaModel", "Greedy", "find_gpu"]
