"""Run commands in turns, and compare what they cost: each ratio is taken within one round, so that a busy machine counts on both sides."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HERE = Path(__file__).resolve().parent


class BenchmarkError(Exception):
    """A benchmark cannot be run; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is measured."""

    label: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that are set besides the machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median, least and greatest of some measurements."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of *values*."""
        return cls(median=statistics.median(values), least=min(values), most=max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Peak memory in MiB."""

    own: float
    """Of the process itself."""
    children: float
    """Of the largest process that it started; 0 if it started none."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what steers loaders and the tools; programs of this environment come first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NATIVELIB_", "AUDITWHEEL_", "LD_", "PYTHON"))
    }
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return {**kept, **(extra or {})}


def seconds(command: Command) -> float:
    """Run *command* and return its wall time in seconds; raise :class:`BenchmarkError` with its words if it fails."""
    environment = clean_environment(command.environment)
    started = time.perf_counter()
    done = subprocess.run(command.argv, env=environment, capture_output=True, check=False, cwd="/")
    elapsed = time.perf_counter() - started
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise BenchmarkError(f"{' '.join(command.argv)} ended with {done.returncode}: {words[-500:]}")
    return elapsed


def interleaved(commands: Sequence[Command], rounds: int) -> dict[str, list[float]]:
    """Return the wall times of each of *commands* by label, after one round that does not count.

    All commands take turns; every other round goes backwards, so that none always follows the same one.
    """
    times: dict[str, list[float]] = {command.label: [] for command in commands}
    for number in range(rounds + 1):
        for command in commands if number % 2 else reversed(commands):
            elapsed = seconds(command)
            if number:
                times[command.label].append(elapsed)
    return times


def ratios(times: Mapping[str, Sequence[float]], one: str, other: str) -> Spread:
    """Return the spread of the quotients of *one* and *other*, round by round."""
    return Spread.of([a / b for a, b in zip(times[one], times[other], strict=True)])


def peak(command: Command) -> Peak:
    """Run a nativelib *command* (``argv`` without the interpreter) and return its peak memory."""
    argv = (sys.executable, str(HERE / "peak.py"), *command.argv)
    done = subprocess.run(
        argv, env=clean_environment(command.environment), capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise BenchmarkError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))
