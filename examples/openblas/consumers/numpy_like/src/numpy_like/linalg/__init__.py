"""Linear equations through LAPACK."""

from numpy_like.linalg._lapack import solve_into


def solve(a: memoryview, b: memoryview) -> memoryview:
    """Return x with ``a x = b``, one column for each of `b`; raise `ZeroDivisionError` when `a` is singular."""
    out = memoryview(bytearray(b.nbytes)).cast("d", b.shape)
    solve_into(a, b, out)
    return out
