"""Float64 matrices: products through BLAS, norms through an OpenMP loop, equations in `numpy_like.linalg`."""

# ruff: noqa: I001 - the extension module comes first, as it does in many packages: whatever loads its libraries must run
# before this line.
from numpy_like._core import multiply_into, sum_of_squares

import math
from array import array
from collections.abc import Sequence

__version__ = "1.0"


def zeros(rows: int, columns: int) -> memoryview:
    """Return a writable matrix of zeros."""
    return memoryview(bytearray(8 * rows * columns)).cast("d", (rows, columns))


def matrix(rows: Sequence[Sequence[float]]) -> memoryview:
    """Return a matrix with the values of `rows`; raise `ValueError` when they differ in length."""
    if len({len(row) for row in rows}) != 1:
        raise ValueError("the rows of a matrix have one length")
    values = array("d", [value for row in rows for value in row])
    return memoryview(values).cast("B").cast("d", (len(rows), len(rows[0])))


def matmul(a: memoryview, b: memoryview) -> memoryview:
    """Return the product of two matrices."""
    out = zeros(a.shape[0], b.shape[1])
    multiply_into(a, b, out)
    return out


def norm(a: memoryview) -> float:
    """Return the Frobenius norm of a matrix."""
    return math.sqrt(sum_of_squares(a))
