"""The report: what the results say, as a table and as a verdict. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

STACKS = ("untouched", "shared")
METHODS = {"os": "os.fork", "multiprocessing": "multiprocessing", "futures": "concurrent.futures"}

EXPLAINED: dict[str, str] = {}
"""Tests that pass untouched and not shared, by pytest's name, with the reason, which is not the sharing itself."""


def median(workload: Mapping[str, Any], mode: str) -> float:
    """Return the median of a workload's rounds in milliseconds."""
    return statistics.median(workload["ms"][mode])


def render(results: Mapping[str, Any]) -> str:
    """Return all tables as Markdown, which reads well on a terminal, too."""
    parts = [_process(results), _workloads(results), _suites(results), _forks(results), _wheels(results)]
    return "\n\n".join(part for part in parts if part)


def shortcomings(results: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that sharing made worse than it was; none if the showcase holds."""
    out = []
    for order, report in results["process"].get("shared", {}).items():
        mapped = report["mapped"]["OpenMP"]
        if len(mapped) != 1:
            out.append(f"shared, imports {order}: {len(mapped)} OpenMP runtimes are mapped: {', '.join(mapped)}")
    for suite in results["suites"]:
        before, after = (suite[stack] for stack in STACKS)
        new = sorted(set(after["bad"]) - set(before["bad"]) - set(EXPLAINED))
        if new:
            out.append(f"{suite['title']}: fails in the shared stack only: {', '.join(new[:5])}")
        elif _run(before) != _run(after) or not before["counts"].get("passed"):
            out.append(f"{suite['title']}: {_counts(before)} untouched, {_counts(after)} shared")
    out += [
        f"{row['part']}, {METHODS[row['method']]}: survives untouched, and not shared"
        for row in results["forks"]
        if sum(row["shared"]) < sum(row["untouched"])
    ]
    return out


def _run(suite: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts with explained failures as passed, and unexpected passes as expected failures."""
    counts = dict(suite["counts"])
    explained = len(set(suite["bad"]) & set(EXPLAINED))
    counts["passed"] = counts.get("passed", 0) + explained
    counts["failed"] = counts.get("failed", 0) - explained
    counts["xfailed"] = counts.get("xfailed", 0) + counts.pop("xpassed", 0)
    return {word: number for word, number in counts.items() if number}


def _process(results: Mapping[str, Any]) -> str:
    both = {stack: results["process"].get(stack) for stack in STACKS}
    if not all(both.values()):
        return ""
    rows = [["one process with all of them", *STACKS]]
    families = ("OpenBLAS", "OpenMP", "Fortran")
    rows += [[f"{family} libraries mapped", *(_copies(both[stack], family) for stack in STACKS)] for family in families]
    for key, title in (("threads_idle", "threads after the imports"), ("threads", "threads after work")):
        rows.append([title, *(str(both[stack]["forward"][key]) for stack in STACKS)])
    rows.append(["imports, s", *(f"{both[stack]['forward']['import_seconds']:.2f}" for stack in STACKS)])
    rows.append(["installed, MB", *(f"{results['installed'][stack] / 1e6:.1f}" for stack in STACKS)])
    return _table(rows)


def _copies(report: Mapping[str, Any], family: str) -> str:
    forward, backward = (len(report[order]["mapped"][family]) for order in ("forward", "backward"))
    return str(forward) if forward == backward else f"{forward} ({backward} in reverse order)"


def _workloads(results: Mapping[str, Any]) -> str:
    if not results["workloads"]:
        return ""
    rows = [["ms per turn", "untouched", "untouched, `OMP_WAIT_POLICY=PASSIVE`", "shared", "untouched / shared"]]
    for workload in results["workloads"]:
        values = [median(workload, mode) for mode in ("untouched", "passive", "shared")]
        rows.append([workload["title"], *(f"{value:.2f}" for value in values), f"{values[0] / values[2]:.1f}"])
    return _table(rows)


def _suites(results: Mapping[str, Any]) -> str:
    if not results["suites"]:
        return ""
    rows = [["the libraries' own tests", *STACKS]]
    rows += [[suite["title"], *(_counts(suite[stack]) for stack in STACKS)] for suite in results["suites"]]
    return _table(rows)


def _counts(suite: Mapping[str, Any]) -> str:
    return ", ".join(f"{number} {word}" for word, number in suite["counts"].items())


def _forks(results: Mapping[str, Any]) -> str:
    if not results["forks"]:
        return ""
    rows = [["compute, fork, compute", *(f"{METHODS[m]}: {stack}" for m in METHODS for stack in STACKS)]]
    for part in dict.fromkeys(row["part"] for row in results["forks"]):
        mine = {row["method"]: row for row in results["forks"] if row["part"] == part}
        rows.append([part, *(f"{sum(mine[m][s])} of {len(mine[m][s])}" for m in METHODS for s in STACKS)])
    return _table(rows)


def _wheels(results: Mapping[str, Any]) -> str:
    rows = [["wheel", "published, MB", "shared, MB", "from"]]
    rows += [
        [wheel["name"], _megabytes(wheel["before"]), _megabytes(wheel["after"]), ", ".join(wheel["from"])]
        for wheel in results["wheels"]
    ]
    return _table(rows)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, the first column to the left and the others to the right, in even columns."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Iterable[str]) -> str:
        padded = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])
