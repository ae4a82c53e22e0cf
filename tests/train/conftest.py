"""Without a GPU kernels run in Triton's interpreter, which must be set before its import."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Tests run side by side, and the last bit of a sum depends on how many threads make it.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
