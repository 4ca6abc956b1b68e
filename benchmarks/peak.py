"""Run nativelib with the given arguments in this process, then print its peak memory, and that of its children, as JSON."""

import json
import re
import resource
import sys
from contextlib import redirect_stdout
from pathlib import Path

from nativelib.cli import main

MIB = 1024


def own_peak() -> float:
    """Return the peak of this process in MiB, from /proc: ``ru_maxrss`` would count the process that started it, too."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) / MIB


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):
        status = main(sys.argv[1:])
    own = own_peak()
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / MIB
    print(json.dumps({"own": own, "children": children}))
    raise SystemExit(status)
