"""Differences between the two tools, and the table that explains them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.conformance.pins import HERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.conformance.pins import Pin


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that the tools see or do differently."""

    field: str
    """What was compared: ``tag``, ``versioned symbols``, ``needed`` ..."""
    item: str
    """Of which library or member of the wheel; empty for the whole wheel."""
    theirs: str
    ours: str
    reason: str = ""
    """Why, where the table explains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """An entry of ``differences.toml``. Everything but *fields* and *reason* is a glob, or a list of them."""

    wheels: tuple[str, ...]
    """Labels of wheels."""
    fields: tuple[str, ...]
    item: str = "*"
    theirs: str = "*"
    ours: str = "*"
    reason: str

    def applies(self, pin: Pin) -> bool:
        """Return whether it speaks of the wheel *pin*."""
        return any(fnmatchcase(pin.label, glob) for glob in self.wheels)

    def explains(self, found: Difference) -> bool:
        """Return whether *found* is what it speaks of."""
        pairs = ((found.item, self.item), (found.theirs, self.theirs), (found.ours, self.ours))
        return found.field in self.fields and all(fnmatchcase(text, glob) for text, glob in pairs)


def _table() -> tuple[Explanation, ...]:
    document = tomllib.loads((HERE / "differences.toml").read_text(encoding="utf-8"))
    entries: list[dict[str, Any]] = document["difference"]
    lists = ("wheels", "fields")
    return tuple(Explanation(**{**entry, **{key: tuple(entry[key]) for key in lists}}) for entry in entries)


EXPLANATIONS = _table()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The differences of one wheel, held against the table."""

    explained: tuple[Difference, ...]
    """Each with its reason."""
    unexplained: tuple[Difference, ...]
    stale: tuple[Explanation, ...]
    """Entries that speak of this wheel, and of nothing that was found."""


def judge_differences(
    pin: Pin, found: Iterable[Difference], fields: Sequence[str], table: Iterable[Explanation] = EXPLANATIONS
) -> Judged:
    """Hold the differences *found* for *pin* against *table*; *fields* are what was compared."""
    entries = [entry for entry in table if not set(fields).isdisjoint(entry.fields) and entry.applies(pin)]
    used: set[Explanation] = set()
    explained, unexplained = [], []
    for difference in found:
        entry = next((entry for entry in entries if entry.explains(difference)), None)
        if entry is None:
            unexplained.append(difference)
        else:
            used.add(entry)
            explained.append(replace(difference, reason=entry.reason))
    stale = tuple(entry for entry in entries if entry not in used)
    return Judged(explained=tuple(explained), unexplained=tuple(unexplained), stale=stale)
