"""The demo's report: values in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel file."""

    name: str
    """The distribution, as the file name spells it."""
    size: int
    """Bytes."""
    tag: str
    """The platform tag of the file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """One library wheel."""

    wheel: Wheel
    """The file."""
    sonames: tuple[tuple[str, str], ...]
    """Original soname and soname, for each library."""
    private: tuple[str, ...]
    """What was grafted into it."""
    requires: tuple[str, ...]
    """The library wheels it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to ship the two consumers, and what came of it."""

    title: str
    """Heading of its column."""
    consumers: tuple[Wheel, ...]
    """The repaired consumers."""
    providers: tuple[Wheel, ...]
    """The library wheels that were installed with them."""
    rewritten: tuple[str, ...]
    """What the repair did, in lines."""
    installed: int
    """Bytes of all shared libraries below site-packages."""
    processes: tuple[Mapping[str, Any], ...]
    """What `measure.py` saw, for each order of imports."""
    tests: int
    """Tests of the numbers that passed."""

    @property
    def download(self) -> int:
        """Bytes of all wheels that a user gets."""
        return sum(wheel.size for wheel in (*self.consumers, *self.providers))

    def copies(self, family: str) -> int:
        """Return how many files of a family of libraries a process has mapped, at most, over both orders."""
        return max(len(process["mapped"][family]) for process in self.processes)


def human(size: float) -> str:
    """Return a number of bytes in the decimal units that package indexes use."""
    if size < 1000:
        return f"{size:.0f} B"
    return f"{size / 1000:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    cells = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return ["  " + "  ".join(row).rstrip() for row in cells]


def render(libraries: Sequence[Library], built: Sequence[Wheel], scenarios: Sequence[Scenario], cores: int) -> str:
    """Return the whole report. The first scenario is the one without providers, which the others are compared with."""
    return "\n".join(
        [
            *_libraries(libraries),
            *_consumers(built, scenarios),
            *_rewritten(scenarios),
            *_process(scenarios, cores),
            *_files(scenarios),
        ]
    )


def shortcomings(scenarios: Sequence[Scenario], builds: Mapping[str, int]) -> list[str]:
    """Return what is not as the demo promises; nothing if all is well.

    `builds` says how many builds of each library the consumers were made with. So many are mapped without providers (in
    the first scenario), and one with them.
    """
    lines = [f"{scenario.title}: no test of the numbers ran" for scenario in scenarios if not scenario.tests]
    for index, scenario in enumerate(scenarios):
        expected = {family: 1 if index else count for family, count in builds.items()}
        lines += [
            f"{scenario.title}: {scenario.copies(family)} copies of {family} are mapped instead of {count}"
            for family, count in expected.items()
            if scenario.copies(family) != count
        ]
    return lines


def _libraries(libraries: Sequence[Library]) -> list[str]:
    lines = [
        "",
        "Library wheels",
        *table([(lib.wheel.name, human(lib.wheel.size), lib.wheel.tag) for lib in libraries]),
    ]
    for library in libraries:
        renamed = [f"{old} -> {new}" if old != new else f"{old} (kept)" for old, new in library.sonames]
        private = [f"private: {', '.join(library.private)}"] if library.private else []
        needs = [f"needs: {', '.join(library.requires)}"] if library.requires else []
        lines.append(f"  {library.wheel.name}: " + "; ".join([*renamed, *private, *needs]))
    return lines


def _consumers(built: Sequence[Wheel], scenarios: Sequence[Scenario]) -> list[str]:
    rows = [("", "as built", *(scenario.title for scenario in scenarios))]
    for wheel in built:
        sizes = [next(w for w in scenario.consumers if w.name == wheel.name).size for scenario in scenarios]
        rows.append((wheel.name, human(wheel.size), *(human(size) for size in sizes)))
    for name in sorted({wheel.name for scenario in scenarios for wheel in scenario.providers}):
        found = [[w.size for w in scenario.providers if w.name == name] for scenario in scenarios]
        rows.append((name, "", *(human(sizes[0]) if sizes else "-" for sizes in found)))
    rows.append(("all wheels of the environment", "", *(human(scenario.download) for scenario in scenarios)))
    rows.append(("libraries installed from them", "", *(human(scenario.installed) for scenario in scenarios)))
    tags = [
        f"  {wheel.name}: {wheel.tag} -> "
        + ", ".join(sorted({w.tag for s in scenarios for w in s.consumers if w.name == wheel.name}))
        for wheel in built
    ]
    return ["", "Sizes", *table(rows), "", "Platform tags", *tags]


def _rewritten(scenarios: Sequence[Scenario]) -> list[str]:
    lines = ["", "What repair did"]
    for scenario in scenarios:
        lines += [f"  {scenario.title}", *(f"    {line}" for line in scenario.rewritten)]
    return lines


def _process(scenarios: Sequence[Scenario], cores: int) -> list[str]:
    rows = [("", *(scenario.title for scenario in scenarios))]
    rows += [
        (f"copies of {family} mapped", *(str(scenario.copies(family)) for scenario in scenarios))
        for family in scenarios[0].processes[0]["mapped"]
    ]
    first = [scenario.processes[0] for scenario in scenarios]
    rows.append((f"threads ({cores} cores)", *(str(max(p["threads"] for p in s.processes)) for s in scenarios)))
    rows.append(("resident memory", *(human(process["resident"]) for process in first)))
    rows.append(("import of both", *(f"{process['import_seconds'] * 1000:.0f} ms" for process in first)))
    rows.append(("tests of the numbers", *(f"{scenario.tests} passed" for scenario in scenarios)))
    return ["", "One process that uses both consumers", *table(rows)]


def _files(scenarios: Sequence[Scenario]) -> list[str]:
    lines = ["", "Files that this process has mapped"]
    for scenario in scenarios:
        files = sorted(
            {path for process in scenario.processes for paths in process["mapped"].values() for path in paths}
        )
        lines += [f"  {scenario.title}", *(f"    {_below_site_packages(path)}" for path in files)]
    return lines


def _below_site_packages(path: str) -> str:
    return path.rpartition("/site-packages/")[2]
