"""The manifest of a library wheel, and the requirement that follows from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.facts.manifest import Manifest, ManifestLibrary, ManifestPrivate
from nativelib.facts.provider import Provider, ProviderKind
from nativelib.findings import Code, error
from nativelib.plan.requirement import requirement, specifier

if TYPE_CHECKING:
    from nativelib.facts.elf import Symbol
    from nativelib.findings import Finding
    from nativelib.plan.inputs import LibraryInput
    from nativelib.plan.layout import Layout, PlannedLibrary


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
    only = len(layout.linkable) == 1
    meant = () if library.forwards else given.spec.aliases
    aliases = tuple(alias for alias in meant if only or _stem(alias) == _stem(library.original_soname))
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


def alias_findings(given: LibraryInput) -> list[Finding]:
    """Return an error for each alias that no library gets: of several libraries, the one with the same stem has it."""
    stems = [_stem(library.soname) for library in given.prefix.libraries]
    remedy = f"The libraries are {', '.join(library.soname for library in given.prefix.libraries)}."
    return [
        error(Code.BAD_SPEC, "tool.nativelib.alias", f"{alias!r} has the stem of no library of the wheel.", remedy)
        for alias in given.spec.aliases
        if len(stems) > 1 and _stem(alias) not in stems
    ]


def _stem(soname: str) -> str:
    return soname.partition(".so")[0]


def exports_history(library: PlannedLibrary, version: str, earlier: Manifest | None) -> dict[Symbol, str]:
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
