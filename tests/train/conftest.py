"""Kernels run in Triton's interpreter where there is no GPU; it has to be told before its import."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
