"""What a vendored copy was before an earlier graft renamed it, and who provides that. Pure.

A copy is recognised by content: by the hash that the graft put into its name, which is that of the original file, by
its build-id, and by its original soname where the file itself still has it. The name of the file alone is no evidence.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import ProvidedLibrary, Provider

    Offer = tuple[Provider, ProvidedLibrary]

_HASH = re.compile(r"-(?P<hash>[0-9a-f]{8})(?=\.|$|-[0-9a-f]{8}(?:\.|$|-))")
_VERSION = re.compile(r"([-.]r?\d[\w.]*)?")
_BEFORE_SO = re.compile(r"(?P<stem>.+?)\.so(?:\.[0-9.]+)?$")


def is_graft(member: str) -> bool:
    """Return whether *member* lies in a directory of grafts, as every tool that makes them calls it."""
    return any(part.endswith((".libs", ".dylibs")) for part in member.split("/")[:-1])


def hashes_of(name: str) -> tuple[str, ...]:
    """Return the hashes that grafts put into the file *name*: each is the start of the original file's SHA-256.

    auditwheel puts one before the first dot of the name, nativelib one before ``.so``; a library that was grafted twice
    has two.
    """
    return tuple(match["hash"] for match in _HASH.finditer(name))


def stem_of(name: str) -> str:
    """Return the part of a library's *name* before ``.so``, without hashes: ``libgomp`` (``libgomp-e985bcbb.so.1``)."""
    plain = _HASH.sub("", posixpath.basename(name))
    match = _BEFORE_SO.match(plain)
    return match["stem"] if match else plain


def is_renamed(facts: ElfFacts, member: str) -> bool:
    """Return whether *member* got another file name but kept its soname, as other tools than auditwheel leave it."""
    return facts.soname != posixpath.basename(member)


def original_sonames(facts: ElfFacts, member: str) -> tuple[str, ...]:
    """Return the sonames that the copy *member* had before, as far as the file itself still says so, surest first.

    They are the base entry of its version definitions, which the linker took from ``-soname``, and names left over in
    its string table. The string table also has old names of what it needs: those are another family.
    """
    known = old_sonames(facts)
    return tuple(name for name in known if name != facts.soname and _same_file(stem_of(name), stem_of(member)))


def old_sonames(facts: ElfFacts) -> tuple[str, ...]:
    """Return every soname that the file has from before, of its own or of what it needs."""
    base = [facts.version_base] if facts.version_base and ".so" in facts.version_base else []
    return tuple(dict.fromkeys([*base, *facts.leftovers]))


def _same_file(original: str, own: str) -> bool:
    """Return whether a library with the stem *original* may lie in a file with the stem *own* before it is grafted.

    Such a file may have a version in its name: ``libopenblas.so.0`` lies in ``libopenblas-r0.3.15.so``.
    """
    return own.startswith(original) and _VERSION.fullmatch(own[len(original) :]) is not None


def vendored_offers(member: str, facts: ElfFacts, providers: Sequence[Provider]) -> list[Offer]:
    """Return who provides what the copy *member* is, surest evidence first: the hash, the build-id, the old soname.

    Raises PlanError if more than one provider has it by the same evidence.
    """
    hashes = hashes_of(posixpath.basename(member))
    names = () if is_renamed(facts, member) else original_sonames(facts, member)
    evidence: tuple[Callable[[ProvidedLibrary], bool], ...] = (
        lambda library: library.facts.sha256 == facts.sha256 or library.facts.sha256[:8] in hashes,
        lambda library: facts.build_id is not None and library.facts.build_id == facts.build_id,
    )
    for fits in evidence:
        offers = one_offer(member, [(p, lib) for p in providers if p.only is None for lib in p.libraries if fits(lib)])
        if offers:
            return offers
    for name in names:
        offers = one_offer(member, [(p, lib) for p in providers if (lib := p.find(name)) is not None])
        if offers:
            return offers
    return []


def one_offer(soname: str, offers: Iterable[Offer]) -> list[Offer]:
    """Return *offers* of *soname*, at most one. Raises PlanError if several providers have it."""
    found = {provider.name: (provider, library) for provider, library in offers}
    if len(found) > 1:
        labels = " and ".join(f"{provider.label} ({library.soname})" for provider, library in found.values())
        first = next(iter(found.values()))[0]
        raise PlanError.of(
            Code.AMBIGUOUS_PROVIDER,
            soname,
            f"More than one provider has {soname}: {labels}.",
            f"Say which, as in --provided-by {posixpath.basename(soname)}={first.origin}",
        )
    return list(found.values())
