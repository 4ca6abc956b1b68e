"""The numbers are those of plain Python, for matrices small enough to check and large enough to use threads."""

# ruff: noqa: PT009, PT027 - users run these tests with the standard library alone.

import math
import random
import unittest

import numpy_like
from numpy_like import linalg

SIZE = 240


def random_matrix(rows: int, columns: int, seed: int) -> memoryview:
    """Return a matrix of reproducible values between -1 and 1."""
    source = random.Random(seed)
    return numpy_like.matrix([[source.uniform(-1, 1) for _ in range(columns)] for _ in range(rows)])


def flat(values: memoryview) -> list[float]:
    """Return all elements of a matrix, row by row."""
    return [value for row in values.tolist() for value in row]


class Numbers(unittest.TestCase):
    """What BLAS, LAPACK and OpenMP compute."""

    def test_small_product(self) -> None:
        """A product that can be done in the head."""
        product = numpy_like.matmul(numpy_like.matrix([[1, 2], [3, 4]]), numpy_like.matrix([[5, 6, 7], [8, 9, 10]]))
        self.assertEqual(product.tolist(), [[21, 24, 27], [47, 54, 61]])

    def test_large_product(self) -> None:
        """A product that BLAS gives to its threads; every 37th row is checked against exact sums."""
        a, b = random_matrix(SIZE, SIZE + 1, 1), random_matrix(SIZE + 1, SIZE - 1, 2)
        product, columns = numpy_like.matmul(a, b).tolist(), list(zip(*b.tolist(), strict=True))
        for row, values in list(enumerate(a.tolist()))[::37]:
            for column, others in enumerate(columns):
                exact = math.fsum(x * y for x, y in zip(values, others, strict=True))
                self.assertAlmostEqual(product[row][column], exact, places=11)

    def test_norm(self) -> None:
        """The OpenMP loop adds up every element once."""
        a = random_matrix(SIZE, SIZE, 3)
        exact = math.sqrt(math.fsum(value * value for value in flat(a)))
        self.assertAlmostEqual(numpy_like.norm(a), exact, places=9)

    def test_solve(self) -> None:
        """The solution of a well-conditioned system is the one it was made from."""
        a, x = random_matrix(SIZE, SIZE, 4), random_matrix(SIZE, 3, 5)
        for index in range(SIZE):
            a[index, index] += SIZE
        solution = linalg.solve(a, numpy_like.matmul(a, x))
        difference = [p - q for p, q in zip(flat(solution), flat(x), strict=True)]
        self.assertLess(max(map(abs, difference)), 1e-12)

    def test_singular(self) -> None:
        """A singular system is refused."""
        with self.assertRaises(ZeroDivisionError):
            linalg.solve(numpy_like.matrix([[1, 2], [2, 4]]), numpy_like.matrix([[1], [1]]))

    def test_wrong_shapes(self) -> None:
        """Shapes that do not fit are an error, not a crash."""
        with self.assertRaises(ValueError):
            numpy_like.matmul(numpy_like.zeros(2, 3), numpy_like.zeros(2, 3))
        with self.assertRaises(TypeError):
            numpy_like.norm(memoryview(b"abc"))


if __name__ == "__main__":
    unittest.main()
