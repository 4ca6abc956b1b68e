"""Names, edits and places of the libraries of a library wheel. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.facts.elf import ElfEdit
from nativelib.facts.spec import SonameRule
from nativelib.findings import Code, error
from nativelib.plan.graft import depend_first, hashed_name, unique_soname
from nativelib.plan.needs import Answer, by_requester

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.elf import ElfFacts, Libc
    from nativelib.facts.manifest import ManifestRequire
    from nativelib.facts.spec import Spec
    from nativelib.findings import Finding
    from nativelib.plan.inputs import LibraryInput
    from nativelib.plan.needs import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLibrary:
    """One library of the wheel to be."""

    source: str
    """Path of the real file; of an adapter its soname."""
    soname: str
    """``DT_SONAME`` and file name in the wheel."""
    original_soname: str
    before: ElfFacts
    edit: ElfEdit
    private: bool = False
    unique: bool = False
    """Whether no library of the system has the soname: it was made this wheel's own, or is an adapter's."""
    forwards: tuple[tuple[str, str], ...] = ()
    """Of an adapter, which has no file before: its names, and the functions that they lead to."""

    @property
    def facts(self) -> ElfFacts:
        """Facts after the edit."""
        return self.edit.apply_to(self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things go."""

    import_name: str
    dist_info: str
    libraries: tuple[PlannedLibrary, ...]
    """What the wheel offers, then private grafts; each group with dependencies first."""
    requires: tuple[ManifestRequire, ...] = field(default=())

    @property
    def lib(self) -> str:
        """Directory of the libraries."""
        return f"{self.import_name}/lib"

    @property
    def offered(self) -> tuple[PlannedLibrary, ...]:
        """The libraries that are not private."""
        return tuple(library for library in self.libraries if not library.private)

    @property
    def linkable(self) -> tuple[PlannedLibrary, ...]:
        """What programs are linked with: adapters are for those that were linked before."""
        return tuple(library for library in self.offered if not library.forwards)

    @property
    def private(self) -> tuple[PlannedLibrary, ...]:
        """The grafts."""
        return tuple(library for library in self.libraries if library.private)


def planned_libraries(given: LibraryInput) -> tuple[PlannedLibrary, ...]:
    """Return the libraries with new names and edits: what the spec names, then what had to be grafted."""
    names = {library.source: _new_soname(library.soname, given.spec) for library in given.prefix.libraries}
    original = {library.source: library.soname for library in given.prefix.libraries}
    before = {library.source: library.elf for library in given.prefix.libraries}
    private: dict[str, ElfFacts] = {}
    for need in given.needs:
        if need.answer is Answer.GRAFT and need.source is not None and need.source not in names:
            facts = given.outside.files[need.source]
            private[need.source] = facts
            original[need.source] = facts.soname or need.soname
            names[need.source] = hashed_name(original[need.source], facts.sha256)
    needs = by_requester(given.needs)
    out: list[PlannedLibrary] = []
    for source, facts in {**before, **private}.items():
        out.append(
            PlannedLibrary(
                source=source,
                soname=names[source],
                original_soname=original[source],
                before=facts,
                edit=_edit(facts, names[source], needs.get(source, ()), names, given.libc),
                private=source in private,
                unique=given.spec.soname is SonameRule.UNIQUE and names[source] != original[source],
            )
        )
    out += [
        PlannedLibrary(
            source=adapter.soname,
            soname=adapter.soname,
            original_soname=adapter.original_soname,
            before=adapter.facts,
            edit=ElfEdit(),
            unique=True,
            forwards=adapter.forwards,
        )
        for adapter in given.adapters
    ]
    order = depend_first([(library.soname, library.facts) for library in out])
    return tuple(sorted(out, key=lambda library: (library.private, order.index(library.soname))))


def soname_findings(given: LibraryInput) -> list[Finding]:
    """Return an error for each thing that the spec says about sonames and that does not fit the libraries."""
    libraries, spec, out = given.prefix.libraries, given.spec, []
    if spec.soname is SonameRule.GIVEN and len(libraries) != 1:
        names = ", ".join(library.soname for library in libraries)
        message = f"{spec.given_soname} can be the soname of one library only, and the globs take these: {names}."
        out.append(error(Code.BAD_SPEC, "tool.nativelib.soname", message, "Narrow the globs of libraries."))
    defined = {symbol.version for library in libraries for symbol in library.elf.exports if symbol.version}
    out += [
        error(
            Code.BAD_SPEC,
            "tool.nativelib.incumbent",
            f"No library of the wheel exports a symbol of the version {version!r}.",
            f"They have {', '.join(sorted(defined)) or 'none'}.",
        )
        for version in spec.incumbent
        if version not in defined
    ]
    return out


def _new_soname(soname: str, spec: Spec) -> str:
    if spec.soname is SonameRule.UNIQUE:
        return unique_soname(soname, spec.import_name)
    return spec.given_soname or soname


def _edit(
    facts: ElfFacts, soname: str | None, needs: tuple[Need, ...], names: Mapping[str, str], libc: Libc
) -> ElfEdit:
    """Return the edit of one file in ``lib/`` (or, without *soname*, of one in ``bin/``)."""
    replaced: list[tuple[str, str]] = []
    outward: list[str] = []
    for need in needs:
        if need.answer in {Answer.GRAFT, Answer.WHEEL} and need.source in names:
            new = names[need.source or ""]
        elif need.answer is Answer.PROVIDED and need.library is not None and need.provider is not None:
            new = need.library.soname
            outward.append(f"$ORIGIN/../../{need.provider.import_name}/lib")
        else:
            continue
        if new != need.soname:
            replaced.append((need.soname, new))
    own = "$ORIGIN" if soname is not None else "$ORIGIN/../lib"
    path = tuple(dict.fromkeys([own, *outward]))
    kept, other = facts.run_paths(libc.run_path_tag)
    return ElfEdit(
        soname=soname if soname != facts.soname else None,
        replace_needed=tuple(dict.fromkeys(replaced)),
        remove_needed=tuple(need.soname for need in needs if need.answer is Answer.PYTHON),
        run_path=path if path != kept or other else None,
        run_path_tag=libc.run_path_tag,
    )


def program_edits(given: LibraryInput, layout: Layout) -> dict[str, ElfEdit]:
    """Return the edit of each ELF program, by the path of its real file."""
    names = {library.source: library.soname for library in layout.libraries}
    needs = by_requester(given.needs)
    return {
        program.source: _edit(program.elf, None, needs.get(program.source, ()), names, given.libc)
        for program in given.prefix.programs
        if program.elf is not None and program.elf.dynamic
    }
