"""What is known of included libraries before anything is planned: which there are, and which the wheel has. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.facts.manifest import SYSTEM_STUBS
from nativelib.findings import Code, Finding, error, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.outside import Included
    from nativelib.facts.wheel import WheelFacts

ANCHOR_SONAME = "nativelib-anchor-"
"""What the soname of every anchor begins with."""


def with_needs(wheel: WheelFacts) -> dict[str, ElfFacts]:
    """Return the ELF files of *wheel* whose needs are to be answered.

    The stubs of a library wheel need the system's libraries on purpose, and are used under ``NATIVELIB_SYSTEM`` only.
    The anchors of a consumer need what code opens by its name: no other library may take its place.
    """
    if wheel.is_library_wheel:
        return {name: facts for name, facts in wheel.elf.items() if SYSTEM_STUBS not in name}
    return {name: f for name, f in wheel.elf.items() if not (f.soname or "").startswith(ANCHOR_SONAME)}


def settle(
    found: Sequence[Included], there: Sequence[str], inside: Mapping[str, Sequence[str]]
) -> tuple[tuple[Included, ...], tuple[Finding, ...]]:
    """Return those of *found* whose names the wheel does not have, and a note for each that it has.

    *inside* maps names to the wheel's files; *there* are such names that were asked for, too.
    """
    had = dict.fromkeys([*there, *(item.name for item in found if item.name in inside)])
    message = "The wheel has {} already, as {}; --include copies nothing."
    notes = [note(Code.UNUSED_INCLUDE, name, message.format(name, inside[name][0])) for name in had]
    return tuple(item for item in found if item.name not in inside), tuple(notes)


def one_name_each(found: Sequence[Included]) -> list[Finding]:
    """Return an error for each file of *found* that is asked for under two names: a copy has one."""
    first: dict[str, str] = {}
    message = "{} and {} are one file, {}, and its copy has one name."
    remedy = "Include it under the name by which code opens it."
    return [
        error(Code.UNUSED_INCLUDE, item.name, message.format(first[item.path], item.name, item.path), remedy)
        for item in found
        if first.setdefault(item.path, item.name) != item.name
    ]
