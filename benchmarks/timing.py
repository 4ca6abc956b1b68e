"""Run commands in turns, so that a busy machine counts against all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
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
class Cost:
    """Seconds that one run took."""

    wall: float
    cpu: float
    """Of the processor, in user and system mode, in all threads and child processes."""
    peak: float
    """MiB of the largest of its processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Peak memory in MiB."""

    own: float
    """Of the process itself."""
    children: float
    """Of the largest process that it started; 0 if it started none."""


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what steers loaders and the tools, its own programs first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NATIVELIB_", "AUDITWHEEL_", "LD_", "PYTHON"))
    }
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return {**kept, **(extra or {})}


def cost(command: Command) -> Cost:
    """Run *command* and return what it took; raise :class:`BenchmarkError` with its words if it fails."""
    argv = (sys.executable, "-I", "-S", str(HERE / "child.py"), *command.argv)
    environment = clean_environment(command.environment)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise BenchmarkError(done.stderr.strip())
    return Cost(**json.loads(done.stdout))


def interleaved(commands: Sequence[Command], rounds: int) -> dict[str, list[Cost]]:
    """Return the costs of each of *commands* by label, after one round that does not count.

    All commands take turns; every other round goes backwards, so that none always follows the same one.
    """
    costs: dict[str, list[Cost]] = {command.label: [] for command in commands}
    for number in range(rounds + 1):
        for command in commands if number % 2 else reversed(commands):
            found = cost(command)
            if number:
                costs[command.label].append(found)
    return costs


def median_seconds(costs: Sequence[Cost]) -> float:
    """Return the median of the wall times."""
    return statistics.median(found.wall for found in costs)


def peak(command: Command) -> Peak:
    """Run a nativelib *command* (``argv`` without the interpreter) and return its peak memory."""
    argv = (sys.executable, str(HERE / "peak.py"), *command.argv)
    done = subprocess.run(
        argv, env=clean_environment(command.environment), capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode:
        raise BenchmarkError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))
