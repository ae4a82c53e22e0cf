"""Products of matrices by the machine's fast kernels: no false alarms, and no idle spinning."""

import contextlib
import functools

import numpy as np
import threadpoolctl

__all__ = ["product", "short_products"]

LARGE = 1 << 21             # elements of a matrix whose products are worth several threads


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` of two float32 arrays of finite numbers; exact if all sums are integers below 2**24.

    A BLAS kernel may fill the lanes of a vector beyond an odd edge with whatever lies there, and
    raise "invalid value" for one of them although no number of the result is touched (OpenBLAS
    issue 1924, NumPy issue 24067). That flag tells nothing, so it is not heeded.
    """
    with np.errstate(invalid="ignore"):
        return a @ b


@contextlib.contextmanager
def short_products(elements: int):
    """Make products one after the other, by one thread if they are short.

    BLAS's threads wait for the next product by spinning, and take the processors from everything
    else meanwhile. Where products are short there is more of that than of work.

    Parameters
    ----------
    elements : int
        Of the largest of the matrices.
    """
    if elements >= LARGE:
        yield
        return
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()
