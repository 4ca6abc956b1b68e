"""The numbers are those of the standard library's `statistics`, and those that the data were made from."""

# ruff: noqa: PT009, PT027 - users run these tests with the standard library alone.

import random
import statistics
import unittest
from array import array

import stats_like


def matrix(rows: list[list[float]]) -> memoryview:
    """Return a float64 matrix with the values of `rows`."""
    values = array("d", [value for row in rows for value in row])
    return memoryview(values).cast("B").cast("d", (len(rows), len(rows[0])))


class Numbers(unittest.TestCase):
    """What BLAS, LAPACK and OpenMP compute."""

    def test_covariance(self) -> None:
        """Every covariance of 12 variables is that of `statistics`."""
        source = random.Random(6)
        samples = [[source.gauss(column, 1 + column) for column in range(12)] for _ in range(3000)]
        columns = list(zip(*samples, strict=True))
        result = stats_like.covariance(matrix(samples)).tolist()
        for row in range(12):
            for column in range(0, 12, 5):
                exact = statistics.covariance(columns[row], columns[column])
                self.assertAlmostEqual(result[row][column], exact, places=9)

    def test_fit(self) -> None:
        """Data without noise give back the coefficients."""
        source = random.Random(7)
        coefficients = [source.uniform(-5, 5) for _ in range(20)]
        x = [[source.gauss(0, 1) for _ in coefficients] for _ in range(400)]
        y = [[sum(a * b for a, b in zip(row, coefficients, strict=True))] for row in x]
        for found, wanted in zip(stats_like.fit(matrix(x), matrix(y)), coefficients, strict=True):
            self.assertAlmostEqual(found, wanted, places=10)

    def test_dependent_columns(self) -> None:
        """Columns of zeros determine nothing."""
        with self.assertRaises(ZeroDivisionError):
            stats_like.fit(matrix([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), matrix([[1.0], [2.0], [3.0]]))

    def test_wrong_shapes(self) -> None:
        """Shapes that do not fit are an error, not a crash."""
        with self.assertRaises(ValueError):
            stats_like.fit(matrix([[1.0, 2.0]]), matrix([[1.0]]))


if __name__ == "__main__":
    unittest.main()
