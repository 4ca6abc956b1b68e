"""Import the packages named in the arguments, let them compute, and print what the process looks like, as JSON.

Runs in the demo's fresh environments, which hold the consumers and nothing of the tool.
"""

import importlib
import json
import os
import re
import sys
import time
from array import array
from pathlib import Path

FAMILIES = {"OpenBLAS": r"lib(scipy_)?openblas", "OpenMP": r"lib(gomp|iomp|omp)\d?\b", "GNU Fortran": r"libgfortran"}
SIZE = 400


def matrix(rows, columns):
    """Return a matrix whose rows are independent, without a package that the demo does not install."""
    values = array("d", (1.0 / (1 + (3 * row + column) % 17) for row in range(rows) for column in range(columns)))
    return memoryview(values).cast("B").cast("d", (rows, columns))


def compute(packages):
    """Let every package use BLAS and its OpenMP loop, so that all thread pools exist."""
    for name in packages:
        package = importlib.import_module(name)
        if name == "numpy_like":
            package.norm(package.matmul(matrix(SIZE, SIZE), matrix(SIZE, SIZE)))
        else:
            package.covariance(matrix(5 * SIZE, SIZE // 4))


def mapped():
    """Return, for each family of libraries, the files that this process has mapped; a file counts once."""
    with Path("/proc/self/maps").open(encoding="utf-8") as maps:
        paths = sorted({line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")})
    return {
        family: [path for path in paths if re.match(pattern, Path(path).name)] for family, pattern in FAMILIES.items()
    }


def resident():
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main():
    """Import, compute, look around, print."""
    packages = sys.argv[1:]
    started = time.perf_counter()
    for name in packages:
        importlib.import_module(name)
    imported = time.perf_counter() - started
    compute(packages)
    report = {
        "mapped": mapped(),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "resident": resident(),
        "import_seconds": imported,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
