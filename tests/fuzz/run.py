"""Fuzz the readers with atheris: ``python -m tests.fuzz.run [--seconds N] [TARGET...]``.

The time is shared by the targets. Each runs in a process of its own, and again after every find until its time is
over. What is found lies in ``build/fuzz/<target>/finds``: mend it, and keep the file in ``tests/fuzz/cases/<target>``.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.mutate import mutate_member

_TARGETS = ("elf", "archive")
_BUILD = Path(__file__).parents[2] / "build" / "fuzz"
_LONGEST = 10  # seconds for one input; real ones of this size take milliseconds
_MEMORY = 1024  # MiB
_EXECUTIONS = re.compile(r"stat::number_of_executed_units: (\d+)|^#(\d+)\t", re.MULTILINE)


def main() -> int:
    """Fuzz, and return how many finds there are, at most 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", default=_TARGETS, metavar="TARGET", help="or ".join(_TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="time for all targets together (default: 60)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args, options = parser.parse_known_args()
    if args.inside:
        _fuzz(args.targets[0], options)
    return min(1, sum(_campaign(target, args.seconds / len(args.targets)) for target in args.targets))


def _campaign(target: str, seconds: float) -> int:
    """Fuzz *target* for so many *seconds*, say how it went, and return the number of finds."""
    from tests.fuzz.seeds import write_seeds  # brings in what is to be instrumented

    corpus, finds = _BUILD / target / "corpus", _BUILD / target / "finds"
    finds.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        write_seeds(target, corpus, Path(scratch))
    before = set(finds.iterdir())
    executions, end = 0, time.monotonic() + seconds
    while (left := int(end - time.monotonic())) > 0:
        argv = [sys.executable, "-m", "tests.fuzz.run", "--inside", target, str(corpus), f"-max_total_time={left}"]
        limits = [f"-timeout={_LONGEST}", f"-rss_limit_mb={_MEMORY}", "-max_len=65536"]
        argv += [*limits, "-print_final_stats=1", f"-artifact_prefix={finds}/"]
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        counts = [int(final or running) for final, running in _EXECUTIONS.findall(done.stderr)]
        executions += max(counts, default=0)
        if done.returncode:
            print(done.stdout[-2000:] + done.stderr[-4000:], flush=True)
        if not counts:  # it did not even begin
            return 1
    found = sorted(set(finds.iterdir()) - before)
    print(f"{target}: {executions} executions in {seconds:.0f} s, {len(found)} finds", *found, sep="\n  ", flush=True)
    return len(found)


def _fuzz(target: str, options: list[str]) -> None:
    """Run libFuzzer on *target*; it never returns."""
    import atheris

    with atheris.instrument_imports(include=["nativelib"]):
        from tests.fuzz.targets import TARGETS

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        source = random.Random(seed)
        whole = mutate_member(data, atheris.Mutate, source) if source.random() < 0.5 else None
        return bytes(atheris.Mutate(data, max_size)) if whole is None else whole[:max_size]

    more = {"custom_mutator": mutate} if target == "archive" else {}
    atheris.Setup([target, *options], TARGETS[target], **more)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
