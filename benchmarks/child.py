"""Run a command and print as JSON what it took.

A process of its own, because the kernel counts the memory of whoever starts a program as the program's.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

if __name__ == "__main__":
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(sys.argv[1:], stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
            sys.exit(f"{' '.join(sys.argv[1:])} ended with {process.returncode}: {words[-500:]}")
    print(json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}))
