"""Who needs what, and where it comes from: every needed soname of every file gets exactly one answer. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nativelib.facts.elf import Libc, is_libpython
from nativelib.facts.wheel import place_of
from nativelib.plan.vendored import is_graft, one_offer, vendored_offers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.outside import Outside
    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.plan.vendored import Offer


class Answer(StrEnum):
    """Where a needed library comes from."""

    WHEEL = "wheel"
    PROVIDED = "provided"
    POLICY = "policy"
    EXCLUDED = "excluded"
    GRAFT = "graft"
    MISSING = "missing"
    PYTHON = "python"
    """libpython: the interpreter brings it, so the need is removed (PEP 513, extension modules must not link to it)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One ``DT_NEEDED`` entry and its answer."""

    requester: str
    """Member of the wheel, or path of a file outside that is grafted."""
    soname: str
    answer: Answer
    source: str | None = None
    """Member, path, or the provider's file."""
    provider: Provider | None = None
    library: ProvidedLibrary | None = None
    replaces: str | None = None
    """Member of the wheel that the provider makes needless."""
    unread: str | None = None
    """Member that the loader would take, and of which nothing is known: the reason why the answer is ``missing``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the answers are taken from, apart from the search path."""

    files: Mapping[str, ElfFacts]
    """ELF files whose needs are asked: members of a wheel, or the libraries of a library wheel."""
    inside: Mapping[str, tuple[str, ...]]
    """Soname to the files that have it."""
    providers: Sequence[Provider] = ()
    policy: frozenset[str] = frozenset()
    """Libraries that the platform tag allows from the system."""
    excludes: Sequence[str] = ()
    """Globs over sonames and paths."""
    replace: frozenset[str] = frozenset()
    """Sonames for which a provider beats the wheel's own file."""
    libc: Libc | None = None
    """Android's loader finds the interpreter's symbols in libpython alone, so that the need of it stays (PEP 738)."""
    included: Sequence[str] = ()
    """Paths of files outside that are copied in although no file needs them."""
    unread: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """File name to the further files of the wheel that have it, of which nothing is known."""


def index_inside(files: Mapping[str, ElfFacts]) -> dict[str, tuple[str, ...]]:
    """Return soname to members for the shared libraries among *files*; without DT_SONAME the file name counts."""
    out: dict[str, list[str]] = {}
    for name, facts in files.items():
        if facts.dynamic:
            names = {facts.soname or posixpath.basename(name), posixpath.basename(name)}
            for soname in names:
                out.setdefault(soname, []).append(name)
    return {soname: tuple(members) for soname, members in out.items()}


def by_file_name(members: Iterable[str]) -> dict[str, list[str]]:
    """Return file name to those of *members* that have it."""
    out: dict[str, list[str]] = {}
    for name in members:
        out.setdefault(posixpath.basename(name), []).append(name)
    return out


def resolve(ground: Ground, outside: Outside) -> tuple[Need, ...]:
    """Return the needs of all files of *ground* and of what would be grafted, each with its answer.

    A need that is answered ``missing`` may only not have been searched yet: see *outside*.
    """
    needs: list[Need] = []
    queue = [*ground.files, *ground.included]
    seen = set(queue)
    while queue:
        requester = queue.pop(0)
        facts = ground.files.get(requester) or outside.files[requester]
        for soname in facts.needed:
            need = _answer(requester, facts, soname, ground, outside)
            needs.append(need)
            if need.answer is Answer.GRAFT and need.source is not None and need.source not in seen:
                seen.add(need.source)
                queue.append(need.source)
    return tuple(needs)


def unsearched(needs: Sequence[Need], outside: Outside) -> tuple[tuple[str, str], ...]:
    """Return the (requester, soname) pairs that must be searched before the answers are final."""
    keys = ((n.requester, n.soname) for n in needs if n.answer is Answer.MISSING and n.unread is None)
    return tuple(dict.fromkeys(key for key in keys if key not in outside.paths))


def _answer(requester: str, facts: ElfFacts, soname: str, ground: Ground, outside: Outside) -> Need:
    # A program has no interpreter around it. And glibc ends the process if a version need names a library that
    # DT_NEEDED no longer does.
    brought = facts.interpreter is None and not any(need.library == soname for need in facts.version_needs)
    if is_libpython(soname) and (brought or ground.libc is Libc.BIONIC):
        answer = Answer.POLICY if ground.libc is Libc.BIONIC else Answer.PYTHON
        return Need(requester=requester, soname=soname, answer=answer)
    offers = _offers(soname, ground.providers)
    member = _member(requester, facts, soname, ground)
    if not offers and member is not None and is_graft(member):
        offers = vendored_offers(member, ground.files[member], ground.providers)
    if member is not None and not (offers and _provider_wins(member, soname, offers[0][1], ground)):
        return Need(requester=requester, soname=soname, answer=Answer.WHEEL, source=member)
    unread = _nearest(requester, facts, soname, ground.unread.get(soname, ()))
    if unread is not None and not excluded(soname, None, ground.excludes):
        return Need(requester=requester, soname=soname, answer=Answer.MISSING, unread=unread)
    if offers:
        provider, library = offers[0]
        return Need(
            requester=requester,
            soname=soname,
            answer=Answer.PROVIDED,
            source=library.file,
            provider=provider,
            library=library,
            replaces=member,
        )
    if soname in ground.policy:
        return Need(requester=requester, soname=soname, answer=Answer.POLICY)
    path = outside.paths.get((requester, soname))
    if excluded(soname, path, ground.excludes):
        return Need(requester=requester, soname=soname, answer=Answer.EXCLUDED, source=path)
    if path is not None:
        return Need(requester=requester, soname=soname, answer=Answer.GRAFT, source=path)
    return Need(requester=requester, soname=soname, answer=Answer.MISSING)


def excluded(soname: str, path: str | None, globs: Sequence[str]) -> bool:
    """Return whether a glob matches the soname, or the path of the file that was found for it."""
    return any(fnmatchcase(soname, glob) or (path is not None and fnmatchcase(path, glob)) for glob in globs)


def _offers(soname: str, providers: Sequence[Provider]) -> list[Offer]:
    offers = [(provider, library) for provider in providers if (library := provider.find(soname)) is not None]
    named = [offer for offer in offers if offer[0].only == soname]
    return one_offer(soname, named or offers)


def _member(requester: str, facts: ElfFacts, soname: str, ground: Ground) -> str | None:
    """Return the file of the wheel that the loader would take.

    It is looked for by run path, then beside, then anywhere in the same scheme.
    """
    candidates = [name for name in ground.inside.get(soname, ()) if name != requester]
    if not candidates:
        return None
    home = place_of(requester).scheme
    near = [name for name in candidates if place_of(name).scheme == home]
    return _nearest(requester, facts, soname, candidates) or (near or candidates)[0]


def _nearest(requester: str, facts: ElfFacts, soname: str, candidates: Collection[str]) -> str | None:
    """Return the one of *candidates* to which a run path leads, or that lies beside, under the name *soname*."""
    home = place_of(requester)
    places = {name: place_of(name) for name in candidates if posixpath.basename(name) == soname}
    if not places:
        return None
    origins = [entry for entry in facts.run_path if entry.startswith(("$ORIGIN", "${ORIGIN}"))]
    for entry in (*origins, "$ORIGIN"):
        tail = entry.replace("${ORIGIN}", "$ORIGIN").removeprefix("$ORIGIN").lstrip("/")
        directory = posixpath.normpath(posixpath.join(home.directory or ".", tail))
        for name, place in places.items():
            if place.scheme == home.scheme and posixpath.normpath(place.directory or ".") == directory:
                return name
    return None


def _provider_wins(member: str, soname: str, library: ProvidedLibrary, ground: Ground) -> bool:
    if soname in ground.replace:
        return True
    if is_graft(member):
        return True
    own, theirs = ground.files[member], library.facts
    return own.sha256 == theirs.sha256 or (own.build_id is not None and own.build_id == theirs.build_id)


def reachable(start: str, needs: Mapping[str, Collection[Need]]) -> tuple[Need, ...]:
    """Return all needs of *start* and of what it needs inside the wheel or grafted, breadth first."""
    out: list[Need] = []
    queue, seen = [start], {start}
    while queue:
        for need in needs.get(queue.pop(0), ()):
            out.append(need)
            if need.answer in {Answer.WHEEL, Answer.GRAFT} and need.source and need.source not in seen:
                seen.add(need.source)
                queue.append(need.source)
    return tuple(out)


def by_requester(needs: Sequence[Need]) -> dict[str, tuple[Need, ...]]:
    """Return the needs of each requester, in order."""
    out: dict[str, list[Need]] = {}
    for need in needs:
        out.setdefault(need.requester, []).append(need)
    return {name: tuple(group) for name, group in out.items()}


def system_needs(
    files: Collection[str],
    needs: Sequence[Need],
    answers: Collection[Answer] = (Answer.POLICY,),
    members: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, frozenset[str]]:
    """Return for each of *files* the sonames that it needs with one of *answers*: what the policy judge calls external.

    *members* maps requesters to the names that *files* has for them, where those differ.
    """
    names = members or {}
    out: dict[str, set[str]] = {name: set() for name in files}
    for need in needs:
        for name in names.get(need.requester, (need.requester,)):
            if need.answer in answers and name in out:
                out[name].add(need.soname)
    return {name: frozenset(sonames) for name, sonames in out.items()}
