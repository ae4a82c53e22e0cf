"""Products of matrices by the machine's fast kernels, without their false alarms."""

import numpy as np

__all__ = ["product"]


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` of two float32 arrays of finite numbers; exact if all sums are integers below 2**24.

    A BLAS kernel may fill the lanes of a vector beyond an odd edge with whatever lies there, and
    raise "invalid value" for one of them although no number of the result is touched (OpenBLAS
    issue 1924, NumPy issue 24067). That flag tells nothing, so it is not heeded.
    """
    with np.errstate(invalid="ignore"):
        return a @ b
