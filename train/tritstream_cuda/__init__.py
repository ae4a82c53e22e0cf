"""Packed models on a GPU: the integers of the hardware, digests included, at a GPU's speed.

`CudaEngine` is what `tritstream --device cuda` opens.
"""

from tritstream_cuda.engine import CudaEngine, find_gpu
from tritstream_cuda.model import CudaModel

__all__ = ["CudaEngine", "CudaModel", "find_gpu"]
