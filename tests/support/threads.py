"""Consumers of an OpenMP runtime: a small extension that computes with threads, as gcc compiles it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cc import extension, simple_module

if TYPE_CHECKING:
    from pathlib import Path

_SUM = """
static long sum(void) {
    long total = 0;
    #pragma omp parallel for reduction(+:total) num_threads(2)
    for (long i = 0; i < 100000; i++) total += i % 7;
    return total;
}
"""


def threaded_extension(directory: Path, module: str = "_ext") -> Path:
    """Compile the extension *module*, whose ``value()`` adds up numbers in two threads; it needs ``libgomp.so.1``."""
    return extension(directory, module, simple_module(module, "sum()", _SUM), flags=["-fopenmp"])
