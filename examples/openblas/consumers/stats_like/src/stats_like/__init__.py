"""Covariances and least squares of float64 matrices (memory views of two dimensions and format ``d``)."""

from stats_like._stats import covariance_into, fit_inplace

__version__ = "1.0"


def covariance(samples: memoryview) -> memoryview:
    """Return the covariance matrix of the columns of `samples`."""
    columns = samples.shape[1]
    out = memoryview(bytearray(8 * columns * columns)).cast("d", (columns, columns))
    covariance_into(samples, out)
    return out


def fit(x: memoryview, y: memoryview) -> list[float]:
    """Return the coefficients c for which ``x c`` is nearest to the column `y`.

    Raise `ZeroDivisionError` when the columns of x depend on each other.
    """
    work, out = (memoryview(bytearray(view.tobytes())).cast("d", view.shape) for view in (x, y))
    fit_inplace(work, out)
    return [row[0] for row in out.tolist()[: x.shape[1]]]
