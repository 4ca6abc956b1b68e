"""Libraries of a wheel that stay although a provider has something like them, and why. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from nativelib.findings import Code, Finding, note
from nativelib.plan.needs import Answer
from nativelib.plan.vendored import is_graft, is_renamed, old_sonames, original_sonames, stem_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.plan.needs import Need


def left_findings(files: Mapping[str, ElfFacts], needs: Sequence[Need], offered: Sequence[Provider]) -> list[Finding]:
    """Return a note for each of *files* that stays although one of *offered* has a library of its family: why."""
    used = {need.source for need in needs if need.answer is Answer.WHEEL and need.source}
    out: list[Finding] = []
    for member in sorted(used & files.keys()):
        facts = files[member]
        for provider in offered:
            relative = next((lib for lib in provider.libraries if _related(facts, member, lib)), None)
            if relative is not None:
                text = f"It stays, although {provider.label} has {relative.original_soname}: {_reason(facts, member)}."
                remedy = f"If it is the same library: --provided-by {posixpath.basename(member)}={provider.origin}"
                out.append(note(Code.VENDORED_LEFT, member, text, remedy))
    return out


def _related(facts: ElfFacts, member: str, library: ProvidedLibrary) -> bool:
    stems = {stem_of(name) for name in library.names}
    return not stems.isdisjoint({stem_of(name) for name in (facts.soname or member, member, *_own(facts, member))})


def _own(facts: ElfFacts, member: str) -> list[str]:
    return [name for name in old_sonames(facts) if stem_of(member).startswith(stem_of(name))]


def _reason(facts: ElfFacts, member: str) -> str:
    if not is_graft(member):
        return "it is the package's own, no copy that a graft left"
    if is_renamed(facts, member):
        return f"its name was changed by another tool, and its DT_SONAME {facts.soname} was not"
    known = original_sonames(facts, member)
    if known:
        return f"it was {' or '.join(known)}, and another soname is another interface"
    own = _own(facts, member)
    if own:
        return f"{own[0]} was renamed before it was copied in, so that it would not be shared"
    return "nothing in it says what soname it had"
