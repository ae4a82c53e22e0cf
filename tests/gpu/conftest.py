"""Says which GPU the tests ran on, and ends in a sentence where there is none."""

import pathlib
import sys

import pytest
import torch

# Benchmarks are scripts, and import one another as such.
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "train" / "benchmarks"))

MISSING_DEVICE = 4


def pytest_report_header():
    name = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{name}, PyTorch {torch.__version__}"


def pytest_collection(session):
    if not torch.cuda.is_available():
        pytest.exit("These tests need a CUDA GPU, and PyTorch finds none: `make test` holds the "
                    "same kernels in Triton's interpreter.", returncode=MISSING_DEVICE)
