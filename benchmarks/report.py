"""What is printed: one row for each figure, with its target and whether it holds."""

from __future__ import annotations

import os
import platform
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
    ) -> Row:
        """Return the row of the quotients of *one* and *other*, taken round by round.

        The median may be *most*, or must be *least*.
        """
        pairs = list(zip(costs[one], costs[other], strict=True))
        spread = Spread.of([a.wall / b.wall for a, b in pairs])
        cpu = Spread.of([a.cpu / max(b.cpu, 0.001) for a, b in pairs])
        figure = f"{spread}, cpu {cpu.median:.2f}"
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
        return f"{self.what:<58} {self.figure:>34} {self.target:>12} {verdict}".rstrip()


def machine() -> str:
    """Return one line about this machine."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.lower().startswith(("model name", "cpu model")):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    load = os.getloadavg()[0]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{model}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, {python}, load {load:.1f}"
    )
