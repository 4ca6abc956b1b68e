"""Fuzzing of the two readers of foreign bytes: ``python -m tests.fuzz.run``, and what it once found."""
