"""A spec, a prefix and what its libraries need to the Plan of a library wheel. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nativelib.errors import PlanError
from nativelib.facts.core_metadata import core_metadata
from nativelib.facts.elf import ElfEdit, ElfFacts, Libc
from nativelib.facts.manifest import MANIFEST, Manifest, ManifestLibrary, ManifestPrivate, ManifestRequire
from nativelib.facts.provider import Provider, ProviderKind
from nativelib.facts.spec import SonameRule
from nativelib.facts.wheel import WheelName
from nativelib.findings import Finding, Severity
from nativelib.plan.dist_info import SBOM
from nativelib.plan.graft import depend_first, hashed_name, unique_soname
from nativelib.plan.library_files import ANCHOR, function_name, library_files
from nativelib.plan.needs import Answer, by_requester
from nativelib.plan.proofs import prove_all
from nativelib.plan.repair import answer_findings
from nativelib.plan.requirement import MARKER, requirement, specifier
from nativelib.plan.retag import choose
from nativelib.plan.sbom import component, extend_sbom
from nativelib.plan.values import Assemble, Describe, Graft, Grafted, Plan, Provided, Summary, Write
from nativelib.policy.judge import judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.outside import Outside
    from nativelib.facts.prefix import PrefixFacts
    from nativelib.facts.project import Project
    from nativelib.facts.spec import Spec
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.proofs import Evidence
    from nativelib.plan.values import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryInput:
    """All that a library wheel is decided from."""

    project: Project
    """With its version known."""
    spec: Spec
    prefix: PrefixFacts
    libc: Libc
    architecture: str
    needs: tuple[Need, ...]
    """Final answers for the libraries and programs, by path of the real file."""
    outside: Outside
    evidence: Evidence
    earlier: Manifest | None
    """Manifest of an earlier release, for the history of exports."""
    generator: str

    @property
    def providers(self) -> tuple[Provider, ...]:
        """The library wheels that answer a need, in order of name."""
        found = {need.provider.name: need.provider for need in self.needs if need.provider is not None}
        return tuple(found[name] for name in sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLibrary:
    """One library of the wheel to be."""

    source: str
    """Path of the real file."""
    soname: str
    """``DT_SONAME`` and file name in the wheel."""
    original_soname: str
    before: ElfFacts
    edit: ElfEdit
    private: bool = False

    @property
    def facts(self) -> ElfFacts:
        """Facts after the edit."""
        return self.edit.apply_to(self.before)

    @property
    def unique(self) -> bool:
        """Whether the soname was made this wheel's own."""
        return self.soname != self.original_soname


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
    def private(self) -> tuple[PlannedLibrary, ...]:
        """The grafts."""
        return tuple(library for library in self.libraries if library.private)


def plan_library(given: LibraryInput, options: RepairOptions) -> Plan:
    """Return the plan that makes a library wheel. Raises PlanError with every reason at once."""
    version = given.project.version or ""
    findings: list[Finding] = [*given.prefix.findings, *answer_findings(given.needs, given.outside, options)]
    _raise_errors(findings, options)
    members = {library.source: library.elf for library in given.prefix.libraries}
    members |= {program.source: program.elf for program in given.prefix.programs if program.elf is not None}
    proofs = prove_all(members, given.outside.files, given.needs, given.evidence, options)
    findings += proofs.findings
    _raise_errors(findings, options)
    stem = re.sub(r"[-_.]+", "_", given.project.name).lower()
    requires = tuple(
        ManifestRequire(
            name=provider.name,
            import_name=provider.import_name,
            requirement=requirement(
                provider.name, specifier(provider, proofs.used.get(provider.name, {}), pin=options.pin), MARKER
            ),
            sonames=tuple(sorted({n.library.soname for n in given.needs if n.provider is provider and n.library})),
        )
        for provider in given.providers
    )
    layout = Layout(
        import_name=given.spec.import_name,
        dist_info=f"{stem}-{version}.dist-info",
        libraries=planned_libraries(given),
        requires=requires,
    )
    platforms, tag_findings = _platforms(given, layout, options)
    findings += tag_findings
    _raise_errors(findings, options)
    name = WheelName(distribution=stem, version=version, pythons=("py3",), abis=("none",), platforms=platforms)
    manifest = plan_manifest(given, layout)
    actions: list[Action] = [
        *(_library_action(layout, library) for library in layout.libraries),
        *_anchors(given, layout),
        *library_files(given, layout, requirement_of(manifest), program_edits(given, layout)),
        *_dist_info(given, layout, name, manifest),
    ]
    return Plan(
        source=None,
        source_sha256=None,
        output=str(name),
        dist_info=layout.dist_info,
        actions=tuple(actions),
        summary=_summary(given, layout, platforms),
        findings=tuple(findings),
        level=options.level,
    )


def _raise_errors(findings: list[Finding], options: RepairOptions) -> None:
    if any(f.severity is Severity.ERROR or (options.strict and f.severity is Severity.WARNING) for f in findings):
        raise PlanError(findings)


def planned_libraries(given: LibraryInput) -> tuple[PlannedLibrary, ...]:
    """Return the libraries with new names and edits: what the spec names, then what had to be grafted."""
    unique = given.spec.soname is SonameRule.UNIQUE
    names = {
        library.source: unique_soname(library.soname, given.spec.import_name) if unique else library.soname
        for library in given.prefix.libraries
    }
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
                edit=_edit(facts, names[source], needs.get(source, ()), names),
                private=source in private,
            )
        )
    order = depend_first([(library.soname, library.facts) for library in out])
    return tuple(sorted(out, key=lambda library: (library.private, order.index(library.soname))))


def _edit(facts: ElfFacts, soname: str | None, needs: tuple[Need, ...], names: Mapping[str, str]) -> ElfEdit:
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
    return ElfEdit(
        soname=soname if soname != facts.soname else None,
        replace_needed=tuple(dict.fromkeys(replaced)),
        remove_needed=tuple(need.soname for need in needs if need.answer is Answer.PYTHON),
        run_path=path if path != facts.rpath or facts.runpath else None,
    )


def program_edits(given: LibraryInput, layout: Layout) -> dict[str, ElfEdit]:
    """Return the edit of each ELF program, by the path of its real file."""
    names = {library.source: library.soname for library in layout.libraries}
    needs = by_requester(given.needs)
    return {
        program.source: _edit(program.elf, None, needs.get(program.source, ()), names)
        for program in given.prefix.programs
        if program.elf is not None and program.elf.dynamic
    }


def _library_action(layout: Layout, library: PlannedLibrary) -> Graft:
    return Graft(
        member=f"{layout.lib}/{library.soname}",
        source=library.source,
        sha256=library.before.sha256,
        edit=library.edit,
        mode=0o755,
    )


def _anchors(given: LibraryInput, layout: Layout) -> list[Action]:
    """Return the anchor over all libraries, and stubs with an anchor of their own for the system's copies."""
    machine = layout.libraries[0].before.machine
    label = f"{given.project.normalized_name}-{given.project.version}"
    anchor = Assemble(
        member=f"{layout.lib}/{ANCHOR}",
        machine=machine,
        soname=f"nativelib-anchor-{label}",
        needed=tuple(library.soname for library in layout.libraries),
    )
    unique = [library for library in layout.offered if library.unique]
    if not unique:
        return [anchor]
    system = f"{layout.lib}/system"
    stubs = [
        Assemble(
            member=f"{system}/{library.soname}",
            machine=machine,
            soname=library.soname,
            needed=(library.original_soname,),
            run_path=(),
        )
        for library in unique
    ]
    over = Assemble(
        member=f"{system}/{ANCHOR}",
        machine=machine,
        soname=f"nativelib-anchor-system-{label}",
        needed=tuple(library.soname for library in unique),
    )
    return [anchor, *stubs, over]


def _platforms(given: LibraryInput, layout: Layout, options: RepairOptions) -> tuple[tuple[str, ...], list[Finding]]:
    files = {library.source: library.facts for library in layout.libraries}
    edits = program_edits(given, layout)
    files |= {
        program.source: edits.get(program.source, ElfEdit()).apply_to(program.elf)
        for program in given.prefix.programs
        if program.elf is not None
    }
    external: dict[str, set[str]] = {source: set() for source in files}
    for need in given.needs:
        if need.answer is Answer.POLICY:
            external[need.requester].add(need.soname)
    verdict = judge(
        files,
        {source: frozenset(sonames) for source, sonames in external.items()},
        libc=given.libc,
        architecture=given.architecture,
        ignore_isa=options.ignore_isa,
    )
    return choose(verdict, (f"linux_{given.architecture}",), given.architecture, options)


def plan_manifest(given: LibraryInput, layout: Layout) -> Manifest:
    """Return the manifest; digests and sizes are those of the files before they are written."""
    version = given.project.version or ""
    return Manifest(
        name=given.project.normalized_name,
        version=version,
        import_name=layout.import_name,
        libraries=tuple(_manifest_library(given, layout, library) for library in layout.offered),
        private=tuple(
            ManifestPrivate(
                file=f"{layout.lib}/{library.soname}",
                soname=library.soname,
                original_soname=library.original_soname,
                sha256=library.before.sha256,
            )
            for library in layout.private
        ),
        requires=layout.requires,
        singleton=given.spec.singleton,
        compatible=given.spec.compatible,
        pkg_config_names=given.spec.pkg_config_names,
        cmake_name=given.spec.cmake_name,
        abi=dict(given.spec.abi),
        exports={library.soname: exports_history(library, version, given.earlier) for library in layout.offered},
    )


def _manifest_library(given: LibraryInput, layout: Layout, library: PlannedLibrary) -> ManifestLibrary:
    only = len(layout.offered) == 1
    stem = library.original_soname.partition(".so")[0]
    aliases = tuple(alias for alias in given.spec.aliases if only or alias.partition(".so")[0] == stem)
    return ManifestLibrary(
        file=f"{layout.lib}/{library.soname}",
        soname=library.soname,
        original_soname=library.original_soname,
        aliases=aliases,
        needed=library.facts.needed,
        sha256=library.before.sha256,
        build_id=library.before.build_id,
        size=library.before.size,
    )


def exports_history(library: PlannedLibrary, version: str, earlier: Manifest | None) -> dict[Any, str]:
    """Return every exported symbol with the first release that had it under this soname."""
    known = earlier.exports.get(library.soname, {}) if earlier is not None else {}
    return {symbol: known.get(symbol, version) for symbol in library.before.exports}


def requirement_of(manifest: Manifest) -> str:
    """Return the requirement of a consumer that uses everything: what ``get_requirement()`` answers."""
    used = {soname: frozenset(symbols) for soname, symbols in manifest.exports.items()}
    provider = Provider(
        name=manifest.name,
        version=manifest.version,
        origin=manifest.name,
        kind=ProviderKind.OWN,
        import_name=manifest.import_name,
        libraries=(),
        every=(),
        manifest=manifest,
    )
    return requirement(manifest.name, specifier(provider, used))


def _dist_info(given: LibraryInput, layout: Layout, name: WheelName, manifest: Manifest) -> list[Action]:
    info = layout.dist_info
    licenses = given.prefix.licenses
    metadata = core_metadata(
        given.project,
        given.project.version or "",
        [licence.destination for licence in licenses],
        [require.requirement for require in layout.requires],
    )
    wheel = [
        "Wheel-Version: 1.0",
        f"Generator: {given.generator}",
        "Root-Is-Purelib: false",
        *(f"Tag: {tag}" for tag in name.tags),
    ]
    entries = [
        f"[pkg_config]\n{given.project.normalized_name} = {layout.import_name}.lib.pkgconfig\n",
        f"[cmake.prefix]\n{given.project.normalized_name} = {layout.import_name}_cmake\n",
    ]
    if given.prefix.programs:
        lines = "".join(
            f"{p.name} = {layout.import_name}._programs:{function_name(p.name)}\n" for p in given.prefix.programs
        )
        entries.append(f"[console_scripts]\n{lines}")
    return [
        Write(member=f"{info}/METADATA", text=metadata),
        Write(member=f"{info}/WHEEL", text="\n".join(wheel) + "\n"),
        Write(member=f"{info}/entry_points.txt", text="\n".join(entries)),
        Write(member=f"{info}/{SBOM}", text=_sbom(given, layout)),
        Describe(member=f"{info}/{MANIFEST}", document=manifest.document()),
        *(
            Graft(member=f"{info}/licenses/{licence.destination}", source=licence.source, sha256=licence.sha256)
            for licence in licenses
        ),
    ]


def _sbom(given: LibraryInput, layout: Layout) -> str:
    components = [
        component(
            library.original_soname,
            library.before.sha256,
            f"{layout.lib}/{library.soname}",
            version="" if library.private else given.project.version or "",
            licence="" if library.private else given.project.license_expression or "",
        )
        for library in layout.libraries
    ]
    return extend_sbom(None, given.project.normalized_name, given.project.version or "", components)


def _summary(given: LibraryInput, layout: Layout, platforms: tuple[str, ...]) -> Summary:
    provided = {
        need.soname: Provided(soname=need.soname, provider=need.provider.name, written=need.library.soname)
        for need in given.needs
        if need.provider is not None and need.library is not None
    }
    return Summary(
        tags=platforms,
        requires=tuple(require.requirement for require in layout.requires),
        provided=tuple(provided[soname] for soname in sorted(provided)),
        grafted=tuple(
            Grafted(soname=library.original_soname, path=f"{layout.lib}/{library.soname}", source=library.source)
            for library in layout.private
        ),
    )
