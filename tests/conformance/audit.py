"""``show`` of both tools on a published wheel."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conformance.explained import Difference
from tests.conformance.tools import auditwheel_show, nativelib_show
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FIELDS = ("tag", "versioned symbols", "external")

_OWN = "vendored "
"""In front of a library that the wheel itself carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The tags, and all that is not the same."""

    theirs: str
    ours: str
    differences: tuple[Difference, ...]


def audit(wheel: Path) -> Audit:
    """Ask both tools about *wheel*."""
    theirs, ours = auditwheel_show(wheel), nativelib_show(wheel)
    their_tag = "any" if theirs["pure"] else theirs["overall_tag"]
    found = []
    if their_tag != ours["tag"]:
        found.append(Difference(field="tag", item="", theirs=their_tag, ours=ours["tag"]))
    own = {posixpath.basename(name) for name in members(wheel)}
    found += _symbols(theirs.get("versioned_symbols", {}), ours["versioned_symbols"], own)
    found += _external(theirs.get("external_libs", {}), ours["external"])
    return Audit(theirs=their_tag, ours=ours["tag"], differences=tuple(found))


def _symbols(theirs: Mapping[str, list[str]], ours: Mapping[str, list[str]], own: set[str]) -> Iterator[Difference]:
    for library in sorted(theirs.keys() | ours.keys()):
        their_versions, our_versions = sorted(theirs.get(library, [])), sorted(ours.get(library, []))
        if their_versions != our_versions:
            item = f"{_OWN if library in own else ''}{library}"
            yield Difference(
                field="versioned symbols", item=item, theirs=" ".join(their_versions), ours=" ".join(our_versions)
            )


def _external(theirs: Mapping[str, str | None], ours: Mapping[str, str | None]) -> Iterator[Difference]:
    for soname in sorted(theirs.keys() | ours.keys()):
        their_place, our_place = str(theirs.get(soname, "absent")), str(ours.get(soname, "absent"))
        if their_place != our_place:
            yield Difference(field="external", item=soname, theirs=their_place, ours=our_place)
