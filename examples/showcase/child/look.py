"""Import the packages named in the arguments, let all compute, and print what the process looks like, as JSON."""

import importlib
import json
import re
import sys
import time
from pathlib import Path

FAMILIES = {
    "OpenBLAS": r"lib(scipy_)?openblas.*\.so",
    "OpenMP": r"lib(gomp|iomp5|omp)\b.*\.so",
    "Fortran": r"libgfortran.*\.so",
}
# An adapter has the name of an OpenBLAS, and holds none.
SMALL = 2**23
MODULES = {"sklearn": "sklearn.ensemble", "scipy": "scipy.linalg"}


def mapped():
    """Return for each family the files that this process has mapped; a file counts once."""
    with Path("/proc/self/maps").open(encoding="utf-8") as maps:
        paths = sorted({line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")})
    families = {
        family: [path for path in paths if re.match(pattern, Path(path).name)] for family, pattern in FAMILIES.items()
    }
    families["OpenBLAS"] = [path for path in families["OpenBLAS"] if Path(path).stat().st_size > SMALL]
    return families


def threads():
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def main():
    """Import, compute, look around, print."""
    started = time.perf_counter()
    for name in sys.argv[1:]:
        importlib.import_module(MODULES.get(name, name))
    imported = time.perf_counter() - started
    idle = threads()
    # Only now, because it imports numpy.
    from parts import PARTS

    for name in sys.argv[1:]:
        call = PARTS[name]()
        call()
    report = {"mapped": mapped(), "import_seconds": imported, "threads_idle": idle, "threads": threads()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
