"""What is printed: one row for each figure, with its target and whether it holds."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timing import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from timing import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one benchmark is run."""

    rounds: int
    scratch: Path
    """An empty directory."""
    quick: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    what: str
    figure: str
    target: str = ""
    holds: bool | None = None
    """``None`` where there is no target."""

    @classmethod
    def ratio(
        cls,
        what: str,
        costs: Mapping[str, Sequence[Cost]],
        one: str,
        other: str,
        *,
        most: float | None = None,
        least: float | None = None,
        memory: bool = False,
    ) -> Row:
        """Return the row of the quotients of *one* and *other*, taken round by round.

        The median may be *most*, or must be *least*. With *memory* the quotient of the peaks stands there, too.
        """
        pairs = list(zip(costs[one], costs[other], strict=True))
        spread = Spread.of([a.wall / b.wall for a, b in pairs])
        cpu = Spread.of([a.cpu / max(b.cpu, 0.001) for a, b in pairs])
        figure = f"{spread}, cpu {cpu.median:.2f}"
        if memory:
            figure += f", memory {statistics.median(a.peak / b.peak for a, b in pairs):.2f}"
        if most is not None:
            return cls(what=what, figure=figure, target=f"<= {most:.2f}", holds=spread.median <= most)
        if least is not None:
            return cls(what=what, figure=figure, target=f">= {least:.2f}", holds=spread.median >= least)
        return cls(what=what, figure=figure)

    @classmethod
    def amount(cls, what: str, value: float, unit: str, most: float | None = None) -> Row:
        """Return the row of *value*, which may be *most*."""
        target = "" if most is None else f"<= {most:g} {unit}"
        return cls(
            what=what, figure=f"{value:.1f} {unit}", target=target, holds=None if most is None else value <= most
        )

    def __str__(self) -> str:
        verdict = {None: "", True: "PASS", False: "MISS"}[self.holds]
        return f"{self.what:<58} {self.figure:>46} {self.target:>12} {verdict}".rstrip()

    def markdown(self) -> str:
        """Return the row of a Markdown table."""
        verdict = {None: "", True: "PASS", False: "**MISS**"}[self.holds]
        return f"| {self.what} | {self.figure} | {self.target.replace('<', '&lt;')} | {verdict} |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The figures of one benchmark."""

    name: str
    rows: tuple[Row, ...]
    problem: str = ""
    """Why there are no more."""


def document(head: Sequence[str], parts: Sequence[Part]) -> str:
    """Return a Markdown page with the lines of *head* and a table for each of *parts*."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench MARKDOWN=FILE`; what is measured, and how, is said in",
        "[benchmarks/README.md](../benchmarks/README.md). A ratio is that of the wall times, with the least and the",
        "greatest; `cpu` and `memory` are the ratios of processor time and of peak memory.",
        "",
        *(f"* {line}" for line in head),
    ]
    for part in parts:
        lines += ["", f"## {part.name}", ""]
        if part.rows:
            lines += ["| what | figure | target | |", "| --- | --- | --- | --- |"]
            lines += [row.markdown() for row in part.rows]
        lines += [*([""] if part.rows else []), f"Not measured: {part.problem}"] if part.problem else []
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Return one line about this machine."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.lower().startswith(("model name", "cpu model")):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    load = os.getloadavg()[0]  # what else the machine does
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, {python}, load {load:.1f}"
    )
