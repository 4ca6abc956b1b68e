"""What the loader finds inside a wheel by run paths alone, and what only if something else loads it first. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from nativelib.facts.wheel import place_of
from nativelib.plan.graft import canonical, inside
from nativelib.plan.needs import Answer, by_requester, index_inside

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.plan.needs import Need


def missing_leads(
    files: Mapping[str, ElfFacts], needs: Sequence[Need], system: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return for each of *files* the directories of its scheme to which a run path is missing.

    Such a file works only after Python code, or another file, has loaded what it needs; on musl, where a library that
    was opened by its path does not serve others, not even then. Where several files of the wheel could be meant, or one
    of the *system* (sonames), the wheel's code chooses, and nothing is said.
    """
    names = index_inside(files)
    out: dict[str, dict[str, None]] = {}
    for need in _not_found(files, needs):
        home, target = place_of(need.requester), place_of(need.source or "")
        rivals = [name for name in names[need.soname] if place_of(name).scheme is home.scheme]
        exact = posixpath.basename(target.path) == need.soname and need.soname not in system
        if exact and home.scheme is target.scheme and len({files[name].sha256 for name in rivals}) == 1:
            out.setdefault(need.requester, {})[target.directory] = None
    return {member: tuple(directories) for member, directories in out.items() if files[member].sections}


def _not_found(files: Mapping[str, ElfFacts], needs: Sequence[Need]) -> Iterator[Need]:
    """Yield the needs of *files*, answered by the wheel, that the loader does not find by run path."""
    inner = by_requester([need for need in needs if need.answer is Answer.WHEEL and need.requester in files])
    needed = {need.source for group in inner.values() for need in group}
    seen: set[str] = set()
    # Files that need each other in a circle are nobody's, and any may be opened first.
    for root in sorted(files, key=lambda name: name in needed):
        if root not in needed or root not in seen:
            yield from _walk(root, files, inner, seen)


def _walk(
    root: str, files: Mapping[str, ElfFacts], inner: Mapping[str, Sequence[Need]], seen: set[str]
) -> Iterator[Need]:
    """Load *root* breadth first, as ld.so(8) does, and yield what no run path leads to; *seen* gets what is loaded."""
    loaded = {root}
    names = {posixpath.basename(root), files[root].soname}
    queue: list[tuple[str, tuple[str, ...]]] = [(root, ())]
    while queue:
        member, inherited = queue.pop(0)
        seen.add(member)
        facts, home = files[member], place_of(member)
        own = tuple(canonical(home, entry) for entry in facts.run_path if inside(home, entry))
        # DT_RPATH counts for what is loaded on behalf of a file as well, unless that has a DT_RUNPATH of its own.
        passed = inherited if facts.runpath else (*own, *inherited)
        for need in inner.get(member, ()):
            source = need.source or ""
            if need.soname not in names and f"/{place_of(source).directory}".rstrip("/") not in {
                path.rstrip("/") for path in (own if facts.runpath else passed)
            }:
                yield need
            names |= {need.soname, files[source].soname}
            if source not in loaded:
                loaded.add(source)
                queue.append((source, passed))
