"""Run nativelib with the given arguments, then print the peak memory of this process and of its children as JSON."""

import json
import re
import resource
import sys
from contextlib import redirect_stdout
from pathlib import Path

from nativelib.cli import main

MIB = 1024


def own_peak() -> float:
    """Return the peak of this process in MiB; ``ru_maxrss`` would count the process that started it, too."""
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(peak) / MIB


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        status = main(sys.argv[1:])
    own = own_peak()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / MIB
    print(json.dumps({"own": own, "children": children}))
    raise SystemExit(status)
