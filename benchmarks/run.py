"""Measure nativelib against ``unzip -t``, ``cp``, auditwheel and a bare ``dlopen``, and print ratios.

``python benchmarks/run.py`` runs all; README.md beside this file says what each figure means. The exit status is 1 if a
target is missed or something could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import imports
import wheels
from report import Run, machine
from timing import BenchmarkError

BENCHMARKS = {
    "start": wheels.start,
    "show": wheels.show,
    "repair": wheels.repair,
    "memory": wheels.memory,
    "import": imports.imports,
    "auditwheel": wheels.auditwheel,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure nativelib, as ratios taken in one run.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller inputs")
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="run this one; may be repeated")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison (default: 9, quick: 3)")
    args = parser.parse_args()
    rounds = args.rounds or (3 if args.quick else 9)
    print(f"{machine()}\nmedian (least-greatest) of {rounds} rounds, taken in turns")
    missed = failed = 0
    for name in args.only or BENCHMARKS:
        print(f"\n{name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="nativelib-benchmark-") as scratch:
            try:
                for row in BENCHMARKS[name](Run(rounds=rounds, scratch=Path(scratch), quick=args.quick)):
                    print(f"  {row}", flush=True)
                    missed += row.holds is False
            except BenchmarkError as problem:
                failed += 1
                print(f"  not measured: {problem}", flush=True)
    verdict = f"{missed} targets missed" if missed else "all targets hold"
    print(f"\n{verdict}{f', {failed} benchmarks not measured' if failed else ''}")
    return 1 if missed or failed else 0


if __name__ == "__main__":
    sys.exit(main())
