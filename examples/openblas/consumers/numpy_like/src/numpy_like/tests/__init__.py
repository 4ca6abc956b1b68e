"""Tests of the numbers: ``python -m unittest numpy_like.tests.test_numbers``."""
