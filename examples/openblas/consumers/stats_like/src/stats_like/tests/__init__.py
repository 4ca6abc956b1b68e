"""Tests of the numbers: ``python -m unittest stats_like.tests.test_numbers``."""
