"""The demo's report: values in, text out. It fits on a terminal of 100 columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SHOWN = ("OpenBLAS", "OpenMP")
"""The families of libraries that the report is about, of those that `measure.py` looks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """One wheel file."""

    name: str
    """The distribution, as the file name spells it."""
    size: int
    """Bytes."""
    tag: str
    """The platform tag of the file name; of several for the same platform the one of PEP 600 or PEP 656."""


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
    rewritten: tuple[tuple[str, str], ...]
    """What the repair did, in lines, each after the name of the consumer."""
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

    def files(self) -> list[str]:
        """Return the files of the families shown that one process has mapped: the process that has the most."""
        found = [[path for family in SHOWN for path in process["mapped"][family]] for process in self.processes]
        return max(found, key=len)


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
    parts = (_libraries(libraries), _rewritten(scenarios), _files(scenarios), _comparison(built, scenarios, cores))
    return "\n".join(line for part in parts for line in ["", *part])


def verdict(scenarios: Sequence[Scenario]) -> str:
    """Return the result of a demo without `shortcomings` in two lines."""
    alone = scenarios[0]
    lines = [f"The numbers are right in every environment ({alone.tests} tests)."]
    if all(alone.copies(family) > 1 for family in SHOWN):
        before = " and ".join(f"{alone.copies(family)} {family}" for family in SHOWN)
        lines.append(f"One OpenBLAS and one OpenMP in the process that uses both packages, instead of {before}.")
    else:
        lines.append(
            "One OpenBLAS and one OpenMP in the process that uses both packages. With own copies there may be more:\n"
            "here both packages were built with the same file of a library, which the loader then maps just once."
        )
    return "\n".join(lines)


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
    rows = []
    for library in libraries:
        wheel = library.wheel
        renamed = [f"{old} -> {new}" if old != new else f"{old} (name kept)" for old, new in library.sonames]
        rows.append((wheel.name, human(wheel.size).rjust(8), ", ".join(renamed)))
    width = max(len(name) for name, *_ in rows)
    lines = ["Library wheels: " + ", ".join(dict.fromkeys(library.wheel.tag for library in libraries))]
    lines += [f"  {name.ljust(width)}  {size}  {sonames}" for name, size, sonames in rows]
    private = sorted({name.partition("-")[0] for library in libraries for name in library.private})
    if private:
        lines.append(f"  private to the wheels that need them: {', '.join(private)}")
    return lines


def _rewritten(scenarios: Sequence[Scenario]) -> list[str]:
    """Say what is the same for both consumers once, and what is the same as in an earlier scenario not again."""
    lines, told = ["What repair did (what repeats itself is left out)"], set[tuple[str, str]]()
    for scenario in scenarios:
        consumers: dict[str, list[str]] = {}
        for name, line in scenario.rewritten:
            consumers.setdefault(line, []).append(name)
        names = {name for name, _ in scenario.rewritten}
        lines.append(f"  {scenario.title}")
        # A stable sort: what concerns one consumer comes before what concerns both.
        for line, owners in sorted(consumers.items(), key=lambda item: len(item[1])):
            owner = "both" if len(owners) == len(names) > 1 else ", ".join(owners)
            if (owner, line) not in told:
                lines.append(f"    {owner.ljust(10)}  {line}")
            told.add((owner, line))
    return lines


def _files(scenarios: Sequence[Scenario]) -> list[str]:
    lines, width = ["OpenBLAS and OpenMP files that a process with both packages has mapped"], 2
    width += max(len(scenario.title) for scenario in scenarios)
    for scenario in scenarios:
        for index, path in enumerate(scenario.files()):
            title = "" if index else scenario.title
            lines.append(f"  {title.ljust(width)}{path.rpartition('/site-packages/')[2]}")
    return lines


def _comparison(built: Sequence[Wheel], scenarios: Sequence[Scenario], cores: int) -> list[str]:
    def row(label: str, value: Callable[[Scenario], object], first: str = "") -> tuple[str, ...]:
        return (label, first, *(str(value(scenario)) for scenario in scenarios))

    def size_of(scenario: Scenario, name: str) -> str:
        return human(next(wheel.size for wheel in scenario.consumers if wheel.name == name))

    def worst(scenario: Scenario, key: str) -> float:
        return max(process[key] for process in scenario.processes)

    _, _, machine = _split(built[0].tag)
    rows = [
        ("", "as built", *(scenario.title for scenario in scenarios)),
        *(row(f"{wheel.name} wheel", lambda s, w=wheel: size_of(s, w.name), human(wheel.size)) for wheel in built),
        row("library wheels", lambda s: human(sum(wheel.size for wheel in s.providers)) if s.providers else "-"),
        row("all wheels", lambda s: human(s.download), human(sum(wheel.size for wheel in built))),
        row("libraries installed", lambda s: human(s.installed)),
        row(f"consumers' tag ({machine})", lambda s: _tags(s.consumers), _tags(built)),
        *(row(f"{family} files mapped", lambda s, f=family: s.copies(f)) for family in SHOWN),
        row(f"threads ({cores} cores)", lambda s: worst(s, "threads")),
        row("resident memory", lambda s: human(worst(s, "resident"))),
        row("import of both", lambda s: f"{worst(s, 'import_seconds') * 1000:.0f} ms"),
        row("tests of the numbers", lambda s: f"{s.tests} passed"),
    ]
    return ["Comparison", *table(rows)]


def _tags(wheels: Iterable[Wheel]) -> str:
    """Return the tags without the machine, which is the same in all."""
    return " or ".join(sorted({_split(wheel.tag)[0] for wheel in wheels}))


def _split(tag: str) -> tuple[str, str, str]:
    """Split a platform tag into platform, ``_`` and machine; the machine may hold underscores, the platform digits."""
    words = tag.split("_")
    cut = next((index for index, word in enumerate(words) if index and not word.isdigit()), len(words))
    return "_".join(words[:cut]), "_", "_".join(words[cut:])
