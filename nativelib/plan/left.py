"""Libraries of a wheel that stay although a provider has something like them, and why. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from nativelib.findings import Code, Finding, note
from nativelib.plan.needs import Answer
from nativelib.plan.vendored import is_graft, is_renamed, original_sonames, stem_of

if TYPE_CHECKING:
    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import ProvidedLibrary
    from nativelib.plan.inputs import RepairInput


def left_findings(given: RepairInput) -> list[Finding]:
    """Return a note for each library of the wheel that stays although a provider has one of its family: why."""
    used = {need.source for need in given.needs if need.answer is Answer.WHEEL and need.source}
    out: list[Finding] = []
    for member in sorted(used & given.wheel.elf.keys()):
        facts = given.wheel.elf[member]
        for provider in given.offered:
            relative = next((lib for lib in provider.libraries if _related(facts, member, lib)), None)
            if relative is not None:
                text = f"It stays, although {provider.label} has {relative.original_soname}: {_reason(facts, member)}."
                remedy = f"If it is the same library: --provided-by {posixpath.basename(member)}={provider.origin}"
                out.append(note(Code.VENDORED_LEFT, member, text, remedy))
    return out


def _related(facts: ElfFacts, member: str, library: ProvidedLibrary) -> bool:
    stems = {stem_of(name) for name in library.names}
    return not stems.isdisjoint({stem_of(facts.soname or member), stem_of(member)})


def _reason(facts: ElfFacts, member: str) -> str:
    if not is_graft(member):
        return "it is the package's own, no copy that a graft left"
    if is_renamed(facts, member):
        return f"its name was changed by another tool, and its DT_SONAME {facts.soname} was not"
    known = original_sonames(facts, member)
    if known:
        return f"it was {' or '.join(known)}, and another soname is another interface"
    return "nothing in it says what soname it had"
