"""The proof: everything that a file takes from a provided library is exported by the provider's file. Pure.

A symbol belongs to a library if its version need names the library; else if the copy that the file was linked with
exports it. What remains, less what the Python ABI and the system's libraries export, must be exported by something that
is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.plan.needs import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts, Import, Symbol
    from nativelib.facts.provider import Provider
    from nativelib.plan.needs import Need

_PYTHON_ABI = ("Py", "_Py", "PyPy", "_PyPy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Libraries that are not part of the result, but tell whose a symbol is."""

    references: Mapping[tuple[str, str], ElfFacts] = field(default_factory=dict)
    """(requester, needed soname) to the copy on the search path that it was linked with."""
    system: Mapping[str, ElfFacts] = field(default_factory=dict)
    """Soname to the system's library."""
    policy: frozenset[str] = frozenset()
    """Libraries of the policies: none of their symbols is bound to without a version on glibc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a file takes from the libraries that are provided to it."""

    used: Mapping[str, frozenset[Symbol]]
    """Needed soname to the symbols taken from it and exported by the provider."""
    missing: Mapping[str, frozenset[Symbol]]
    """Needed soname to the symbols that belong to it and that the provider lacks."""
    homeless: frozenset[Symbol]
    """Symbols that nothing that is loaded exports; certain only if ``complete``."""
    complete: bool
    """Whether the exports of everything that is loaded were known."""

    @property
    def holds(self) -> bool:
        """Whether nothing is certain to be missing."""
        return not self.missing and not (self.homeless and self.complete)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is loaded together with one file, and what it was linked with."""

    provided: Mapping[str, ElfFacts]
    """Needed soname to the provider's file, in DT_NEEDED order."""
    references: Mapping[str, ElfFacts] = field(default_factory=dict)
    """Needed soname to the copy that the file was linked with, where one is known."""
    others: Sequence[ElfFacts] = ()
    """All else that is loaded with it and known: files of the wheel, grafts, the system's libraries."""
    complete: bool = True
    """Whether nothing unknown is loaded with it."""


def prove(facts: ElfFacts, scope: Scope) -> Proof:
    """Return what *facts* takes from the provided libraries of *scope*, and what they lack."""
    used: dict[str, set[Symbol]] = {soname: set() for soname in scope.provided}
    missing: dict[str, set[Symbol]] = {}
    homeless: set[Symbol] = set()
    names = {soname: _names(library.exports) for soname, library in scope.provided.items()}
    linked = {soname: _names(library.exports) for soname, library in scope.references.items()}
    elsewhere: frozenset[str] | None = None
    for wanted in sorted(facts.imports):
        if wanted.weak or (wanted.version and wanted.library not in scope.provided):
            continue
        owner = wanted.library if wanted.version else _owner(wanted, linked)
        if owner is None:
            if wanted.name.startswith(_PYTHON_ABI):
                continue
            owner = next((soname for soname, exported in names.items() if wanted.name in exported), None)
        if owner is None:
            if elsewhere is None:
                elsewhere = frozenset().union(*(_names(other.exports) for other in scope.others))
            if wanted.name not in elsewhere:
                homeless.add(wanted.symbol)
        elif _exported(wanted, scope.provided[owner], names[owner]):
            used[owner].add(wanted.symbol)
        else:
            missing.setdefault(owner, set()).add(wanted.symbol)
    return Proof(
        used={soname: frozenset(symbols) for soname, symbols in used.items()},
        missing={soname: frozenset(symbols) for soname, symbols in missing.items()},
        homeless=frozenset(homeless),
        complete=scope.complete,
    )


def _names(exports: Iterable[Symbol]) -> frozenset[str]:
    return frozenset(symbol.name for symbol in exports)


def _owner(wanted: Import, linked: Mapping[str, frozenset[str]]) -> str | None:
    return next((soname for soname, exported in linked.items() if wanted.name in exported), None)


def _exported(wanted: Import, library: ElfFacts, names: frozenset[str]) -> bool:
    """Return whether the loader would bind *wanted* to *library*.

    glibc binds a reference without version to any version of the name, and a versioned one to that pair only; a library
    without version definitions would end the process there (``dl-lookup.c``, ``check_match``). musl ignores versions,
    but a wheel that relies on that is one release from failing, so the pair is asked for there too.
    """
    if not wanted.version:
        return wanted.name in names
    return wanted.symbol in library.exports


def scope_of(
    requester: str, needs: Mapping[str, Sequence[Need]], files: Mapping[str, ElfFacts], evidence: Evidence
) -> Scope:
    """Return the scope of *requester*: its own needs decide what is provided, its whole tree what else is loaded.

    *files* are the facts of members and grafts by name.
    """
    provided: dict[str, ElfFacts] = {}
    linked: dict[str, ElfFacts] = {}
    others: dict[str, ElfFacts] = {}
    complete = True
    queue, seen = [requester], {requester}
    while queue:
        current = queue.pop(0)
        for need in needs.get(current, ()):
            if need.answer is Answer.PROVIDED and need.library is not None and need.provider is not None:
                if current == requester:
                    provided[need.soname] = need.library.facts
                    if need.replaces is not None:
                        linked[need.soname] = files[need.replaces]
                others.update({library.file: library.facts for library in need.provider.every})
                # The loader searches what a library brings along too (ld.so(8): breadth first).
                brought = {soname for library in need.provider.every for soname in library.facts.needed}
                others.update({name: facts for name, facts in evidence.system.items() if name in brought})
                complete = complete and _self_contained(need.provider, evidence.policy)
            elif need.source is not None and need.source in files and need.source not in seen:
                seen.add(need.source)
                others[need.source] = files[need.source]
                queue.append(need.source)
            elif need.answer in {Answer.POLICY, Answer.EXCLUDED} and need.soname in evidence.system:
                others[need.soname] = evidence.system[need.soname]
            elif need.answer in {Answer.POLICY, Answer.EXCLUDED}:
                complete = False
    # The copy in the wheel is what the file was really used with.
    references = {soname: linked.get(soname, evidence.references.get((requester, soname))) for soname in provided}
    return Scope(
        provided=provided,
        references={soname: facts for soname, facts in references.items() if facts is not None},
        others=tuple(others.values()),
        complete=complete,
    )


def _self_contained(provider: Provider, policy: frozenset[str]) -> bool:
    """Return whether all that the provider's libraries load is known: its own files and the system's."""
    own = {library.soname for library in provider.every} | policy
    return all(soname in own for library in provider.every for soname in library.facts.needed)
