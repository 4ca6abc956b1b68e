"""Files that a wheel no longer needs once providers have what it carried. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.facts.wheel import place_of
from nativelib.plan.include import earlier_included
from nativelib.plan.needs import Answer
from nativelib.plan.vendored import is_graft

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from nativelib.facts.wheel import Place, WheelFacts
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.needs import Need


def without_unneeded(given: RepairInput) -> RepairInput:
    """Return *given* with the members that are left out, and without the needs that these had."""
    removed = unneeded(given.wheel, given.needs)
    return replace(given, needs=remaining(given.needs, removed), removed=removed)


def remaining(needs: Sequence[Need], removed: Collection[str]) -> tuple[Need, ...]:
    """Return those of *needs* that are not of the members *removed*: what only these need, nobody does."""
    return tuple(need for need in needs if need.requester not in removed)


def unneeded(wheel: WheelFacts, needs: Sequence[Need]) -> frozenset[str]:
    """Return members that the providers replace, and graft-directory files that only those needed."""
    # What code opens by name must stay, whoever else has it.
    opened = set(earlier_included(wheel).values())
    gone = {need.replaces for need in needs if need.replaces is not None} - opened
    inner = [(need.requester, need.source) for need in needs if need.answer is Answer.WHEEL and need.source]
    # One file can be needed under several names, of which the provider has some only.
    while kept := gone & {source for requester, source in inner if requester not in gone}:
        gone -= kept
    while True:
        wanted = {source for requester, source in inner if requester not in gone}
        # Who else opens a file is known of graft directories only: nobody.
        served = {source for requester, source in inner if requester in gone and is_graft(source)} - opened
        if served <= wanted | gone:
            return frozenset(gone)
        gone |= served - wanted


def empty_directories(members: Iterable[str], removed: Collection[str]) -> frozenset[Place]:
    """Return the places of the directories that hold no member any more once *removed* are gone.

    *members* are all of the wheel.
    """
    left = {directory for name in members if name not in removed for directory in _around(name)}
    return frozenset(place_of(directory) for name in removed for directory in _around(name) if directory not in left)


def _around(member: str) -> list[str]:
    """Return the directories that lead to *member*."""
    parts = posixpath.dirname(member).split("/")
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
