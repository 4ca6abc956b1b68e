"""Run the programs of ``child/`` and the libraries' own tests in the environments that are compared, in turns.

The machine is never quite quiet, so what is compared runs one after the other in each round, and medians are taken.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steps import DemoError, clean_environment, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stacks import Stack

CHILD = Path(__file__).resolve().parent / "child"
UNWANTED_PREFIXES = ("KMP_", "MKL_", "BLIS_", "NUMEXPR_", "VECLIB_", "TORCH_", "PYTEST_", "XDG_")
MODES: dict[str, tuple[str, dict[str, str]]] = {
    "untouched": ("untouched", {}),
    "passive": ("untouched", {"OMP_WAIT_POLICY": "PASSIVE"}),
    "shared": ("shared", {}),
}
"""Columns of the table: which environment, and with which variables."""
METHODS = ("os", "multiprocessing", "futures")
PATIENCE = 120.0
"""Seconds after which a program that forks is ended, should it not do so itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Parts that are called in turns."""

    title: str
    parts: tuple[str, ...]


WORKLOADS = (
    Workload(title="numpy product + torch.tanh", parts=("numpy", "torch")),
    Workload(title="HistGB.predict + numpy product", parts=("sklearn", "numpy")),
    Workload(title="HistGB.predict + torch.tanh", parts=("sklearn", "torch")),
    Workload(title="HistGB.predict + scipy lu_factor", parts=("sklearn", "scipy")),
    Workload(title="xgboost + lightgbm predict", parts=("xgboost", "lightgbm")),
    Workload(title="HistGB + lightgbm predict", parts=("sklearn", "lightgbm")),
    Workload(title="HistGB + xgboost + lightgbm predict", parts=("sklearn", "xgboost", "lightgbm")),
    Workload(title="numpy product + scipy lu_factor", parts=("numpy", "scipy")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests that come with a library."""

    title: str
    needs: str
    words: tuple[str, ...]
    """For pytest, after ``--pyargs``."""
    quick: tuple[str, ...] = ()
    """The same for a quick run; a suite without it does not take part in one."""


_HIST = "sklearn.ensemble._hist_gradient_boosting"
_SKLEARN = (
    "sklearn.cluster.tests.test_k_means",
    f"{_HIST}.tests",
    "sklearn.decomposition.tests.test_pca",
    "sklearn.neighbors",
    "sklearn.utils.tests.test_parallel",
)
SUITES = (
    Suite(title="numpy.linalg", needs="numpy", words=("numpy.linalg",), quick=("numpy.linalg",)),
    Suite(title="numpy._core multiarray", needs="numpy", words=("numpy._core.tests.test_multiarray",)),
    Suite(title="scipy.linalg", needs="scipy", words=("scipy.linalg",)),
    Suite(
        title="scikit-learn",
        needs="sklearn",
        words=_SKLEARN,
        quick=(f"{_HIST}.tests.test_predictor", f"{_HIST}.tests.test_histogram", "sklearn.utils.tests.test_parallel"),
    ),
)


def environment() -> dict[str, str]:
    """Return the variables of every child: nothing that steers threads or the choice of kernels, on either side."""
    kept = {name: value for name, value in clean_environment().items() if not name.startswith(UNWANTED_PREFIXES)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1"}


def run(
    stack: Stack, program: str, *words: str, extra: Mapping[str, str] | None = None, patience: float = 600
) -> subprocess.CompletedProcess[str] | None:
    """Run a program of ``child/`` in an environment; return None if it had to be ended, with its children."""
    process = subprocess.Popen(
        [stack.python, str(CHILD / f"{program}.py"), *words],
        env={**environment(), **(extra or {})},
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def answer(stack: Stack, program: str, *words: str, extra: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a program of ``child/`` and return the JSON object that it prints."""
    done = run(stack, program, *words, extra=extra)
    if done is None or done.returncode:
        said = "it did not end" if done is None else done.stderr.strip()[-2000:]
        raise DemoError(f"{program}.py {' '.join(words)} failed in the environment {stack.name}: {said}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def look(stacks: Mapping[str, Stack], parts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return for each stack and order of imports what the process maps, and the median time of the imports."""
    orders = {"forward": list(parts), "backward": list(reversed(parts))}
    # The first start of each reads the files from the disk.
    for stack in stacks.values():
        answer(stack, "look", *parts)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {name: {order: [] for order in orders} for name in stacks}
    for _ in range(rounds):
        for order, names in orders.items():
            for name, stack in stacks.items():
                found[name][order].append(answer(stack, "look", *names))
    return {
        name: {
            order: {**reports[0], "import_seconds": statistics.median(r["import_seconds"] for r in reports)}
            for order, reports in both.items()
        }
        for name, both in found.items()
    }


@dataclass(slots=True, kw_only=True)
class Timing:
    """Milliseconds of one turn of a workload, one value for each round and mode."""

    title: str
    parts: tuple[str, ...]
    ms: dict[str, list[float]] = field(default_factory=lambda: {mode: [] for mode in MODES})


def timings(stacks: Mapping[str, Stack], parts: Sequence[str], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Measure the workloads, and each part alone, of which all `parts` are there."""
    alone = [Workload(title=f"{part} alone", parts=(part,)) for part in parts]
    work = [Timing(title=w.title, parts=w.parts) for w in (*WORKLOADS, *alone) if set(w.parts) <= set(parts)]
    for number in range(rounds):
        started = time.perf_counter()
        for timing in work:
            for mode, (stack, extra) in MODES.items():
                found = answer(stacks[stack], "alternate", str(seconds), *timing.parts, extra=extra)
                timing.ms[mode].append(found["ms"])
        say(f"  round {number + 1} of {rounds}: {time.perf_counter() - started:.0f} s")
    return [asdict(timing) for timing in work]


def forks(stacks: Mapping[str, Stack], parts: Sequence[str], times: int) -> list[dict[str, Any]]:
    """Return for each part and way to fork how often of `times` the child answered, in each stack."""
    out = []
    for part in parts:
        for method in METHODS:
            row: dict[str, Any] = {"part": part, "method": method}
            for name, stack in stacks.items():
                row[name] = [_survives(stack, method, part) for _ in range(times)]
            out.append(row)
        say(f"  {part}: " + ", ".join(f"{row['method']} {_score(row, stacks)}" for row in out[-len(METHODS) :]))
    return out


def _survives(stack: Stack, method: str, part: str) -> bool:
    done = run(stack, "fork", method, part, patience=PATIENCE)
    return done is not None and done.returncode == 0


def _score(row: Mapping[str, Any], stacks: Mapping[str, Stack]) -> str:
    return " / ".join(f"{sum(row[name])} of {len(row[name])}" for name in stacks)


def suites(stacks: Mapping[str, Stack], parts: Sequence[str], *, quick: bool) -> list[dict[str, Any]]:
    """Run the libraries' own tests in each stack; return how many passed, failed and so on, and which failed."""
    out = []
    for suite in SUITES:
        words = suite.quick if quick else suite.words
        if suite.needs not in parts or not words:
            continue
        row: dict[str, Any] = {"title": suite.title, "modules": list(words)}
        for name, stack in stacks.items():
            started = time.perf_counter()
            row[name] = _pytest(stack, words)
            counts = ", ".join(f"{number} {word}" for word, number in row[name]["counts"].items())
            say(f"  {suite.title}, {name}: {counts} ({time.perf_counter() - started:.0f} s)")
        out.append(row)
    return out


def _pytest(stack: Stack, words: Sequence[str]) -> dict[str, Any]:
    command = [stack.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-rfE", "--tb=no"]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [*command, "--pyargs", *words], env=environment(), cwd=scratch, capture_output=True, text=True, check=False
        )
    counts, bad = outcome(done.stdout)
    if not counts:
        counts = {f"ended with {done.returncode}": 1}
    return {"counts": counts, "bad": bad}


def outcome(text: str) -> tuple[dict[str, int], list[str]]:
    """Return counts and the names of failed tests from what pytest printed; counts are empty if it was cut short."""
    bad = sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)))
    last = text.rstrip().rpartition("\n")[2]
    found = re.findall(r"(\d+) (passed|failed|skipped|xfailed|xpassed|errors?)\b", last)
    return {"errors" if word == "error" else word: int(number) for number, word in found}, bad
