"""A spec, a prefix and what its libraries need to the Plan of a library wheel. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nativelib.facts.core_metadata import core_metadata
from nativelib.facts.elf import ElfEdit
from nativelib.facts.manifest import ANCHOR, MANIFEST, Manifest, ManifestRequire
from nativelib.facts.wheel import WheelName
from nativelib.findings import Code
from nativelib.plan.answers import answer_findings, raise_errors
from nativelib.plan.dist_info import SBOM
from nativelib.plan.layout import Layout, planned_libraries, program_edits, soname_findings
from nativelib.plan.library_files import function_names, library_files
from nativelib.plan.library_manifest import alias_findings, plan_manifest, requirement_of
from nativelib.plan.needs import system_needs
from nativelib.plan.proofs import prove_all
from nativelib.plan.requirement import marker_for, requirement, specifier
from nativelib.plan.retag import beyond_tag, choose, shown, unread_run_paths, vouched
from nativelib.plan.sbom import component, extend_sbom
from nativelib.plan.values import Adapt, Assemble, Describe, Graft, Grafted, Plan, Provided, Summary, Write
from nativelib.policy.judge import judge

if TYPE_CHECKING:
    from nativelib.findings import Finding
    from nativelib.plan.inputs import LibraryInput
    from nativelib.plan.layout import PlannedLibrary
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Action


def plan_library(given: LibraryInput, options: RepairOptions) -> Plan:
    """Return the plan that makes a library wheel. Raises PlanError with every reason at once."""
    version = given.project.version or ""
    findings: list[Finding] = [*given.prefix.findings, *answer_findings(given.needs, given.outside, options)]
    findings += [*alias_findings(given), *soname_findings(given)]
    raise_errors(findings, options)
    members = {library.source: library.elf for library in given.prefix.libraries}
    members |= {program.source: program.elf for program in given.prefix.programs if program.elf is not None}
    members |= {adapter.soname: adapter.facts for adapter in given.adapters}
    proofs = prove_all(members, given.outside.files, given.needs, given.evidence, options)
    # The names of what an adapter calls do not show the width of its integers; that was compared when it was planned.
    compared = {a.need.provider.origin for a in given.adapters if a.blas_int and a.need and a.need.provider}
    findings += [f for f in proofs.findings if not (f.code is Code.ABI_UNKNOWN and f.where in compared)]
    raise_errors(findings, options)
    stem = re.sub(r"[-_.]+", "_", given.project.name).lower()
    requires = tuple(
        ManifestRequire(
            name=provider.name,
            import_name=provider.import_name,
            requirement=requirement(
                provider.name,
                specifier(provider, proofs.used.get(provider.name, {}), pin=options.pin),
                marker_for(given.libc),
            ),
            sonames=_sonames_from(provider.name, given),
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
    findings += [*tag_findings, *given.owners.findings]
    raise_errors(findings, options)
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


def _sonames_from(provider: str, given: LibraryInput) -> tuple[str, ...]:
    """Return the sonames that come from the distribution *provider*, which may have been named once for each."""
    needs = (need for need in given.needs if need.provider is not None and need.provider.name == provider)
    return tuple(sorted({need.library.soname for need in needs if need.library is not None}))


def _library_action(layout: Layout, library: PlannedLibrary) -> Graft | Adapt:
    if library.forwards:
        return _adapt(layout.lib, library)
    return Graft(
        member=f"{layout.lib}/{library.soname}",
        source=library.source,
        sha256=library.before.sha256,
        edit=library.edit,
        mode=0o755,
    )


def _adapt(directory: str, library: PlannedLibrary) -> Adapt:
    facts = library.facts
    return Adapt(
        member=f"{directory}/{library.soname}",
        machine=facts.machine,
        soname=library.soname,
        needed=facts.needed,
        forwards=library.forwards,
        run_path=facts.run_path,
        run_path_tag="runpath" if facts.runpath else "rpath",
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
        run_path_tag=given.libc.run_path_tag,
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
        if not library.forwards
    ]
    # The system has no adapters: the same ones lead to the stubs that lie beside them there.
    adapters = [_adapt(system, library) for library in unique if library.forwards]
    over = Assemble(
        member=f"{system}/{ANCHOR}",
        machine=machine,
        soname=f"nativelib-anchor-system-{label}",
        needed=tuple(library.soname for library in unique),
        run_path_tag=given.libc.run_path_tag,
    )
    return [anchor, *stubs, *adapters, over]


def _platforms(given: LibraryInput, layout: Layout, options: RepairOptions) -> tuple[tuple[str, ...], list[Finding]]:
    files = {library.source: library.facts for library in layout.libraries}
    edits = program_edits(given, layout)
    files |= {
        program.source: edits.get(program.source, ElfEdit()).apply_to(program.elf)
        for program in given.prefix.programs
        if program.elf is not None
    }
    verdict = judge(
        files,
        system_needs(files, given.needs),
        libc=given.libc,
        architecture=given.architecture,
        ignore_isa=options.ignore_isa,
        vouched=vouched((), options.plat) or shown(given.musl, files, given.architecture),
    )
    platforms, findings = choose(verdict, (f"linux_{given.architecture}",), given.architecture, options)
    findings += unread_run_paths({}, files, platforms)
    return platforms, findings or list(beyond_tag(files, given.libc))


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
        names = function_names(program.name for program in given.prefix.programs)
        lines = "".join(f"{name} = {layout.import_name}._programs:{function}\n" for name, function in names.items())
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
            package=given.owners.packages.get(library.source),
        )
        for library in layout.libraries
        if not library.forwards
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
            Grafted(
                soname=library.original_soname,
                path=f"{layout.lib}/{library.soname}",
                source=library.source,
                package=given.owners.purl(library.source),
            )
            for library in layout.private
        ),
    )
