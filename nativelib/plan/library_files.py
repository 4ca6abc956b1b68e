"""The files of a library wheel that are not libraries: Python, headers, pkg-config, CMake, programs. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.version import Version

from nativelib.plan.graft import link_name, link_stem
from nativelib.plan.hooks import TEMPLATE_FILE
from nativelib.plan.requirement import minimum
from nativelib.plan.values import HOOK_BEGIN, HOOK_END, Generate, Graft, Write

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nativelib.facts.elf import ElfEdit
    from nativelib.facts.manifest import ManifestRequire
    from nativelib.facts.project import Project
    from nativelib.plan.inputs import LibraryInput
    from nativelib.plan.layout import Layout, PlannedLibrary
    from nativelib.plan.values import Action


def function_names(programs: Iterable[str]) -> dict[str, str]:
    """Return the name of the function that runs each of *programs*; no two have the same."""
    names: dict[str, str] = {}
    for program in programs:
        name = plain = "run_" + re.sub(r"\W", "_", program, flags=re.ASCII)
        while name in names.values():
            name = f"{plain}_{len(names)}"
        names[program] = name
    return names


def library_files(
    given: LibraryInput, layout: Layout, requirement: str, program_edits: Mapping[str, ElfEdit]
) -> list[Action]:
    """Return the actions for everything in the packages but the libraries and anchors.

    *requirement* is what ``get_requirement()`` answers, *program_edits* the edit of each ELF program by path.
    """
    return [
        *_modules(given, layout, requirement),
        *_link_names(layout),
        *_pkg_config(given, layout),
        *_cmake(given, layout),
        *(
            Graft(member=f"{layout.import_name}/include/{h.destination}", source=h.source, sha256=h.sha256)
            for h in given.prefix.headers
        ),
        *(
            Graft(member=f"{layout.lib}/{archive.name}", source=archive.source, sha256=archive.sha256)
            for archive in given.prefix.archives
        ),
        *_programs(given, layout, program_edits),
    ]


def _modules(given: LibraryInput, layout: Layout, requirement: str) -> list[Action]:
    package = layout.import_name
    version = given.project.version or ""
    init: dict[str, Any] = {
        "name": given.project.normalized_name,
        "version": version,
        "version_info": list(Version(version).release),
        "import_name": package,
        "requirement": requirement,
        "libraries": [_library_values(library, given.spec.incumbent) for library in layout.offered],
        "private": [library.soname for library in layout.private],
        "singleton": given.spec.singleton,
        "requires": [_require_values(require) for require in layout.requires],
        "pkg_config_names": list(given.spec.pkg_config_names),
    }
    plain = Requirement(requirement)
    hook = {
        "begin": HOOK_BEGIN,
        "end": HOOK_END,
        "strict": False,
        "providers": [
            {
                "kind": "own",
                "name": given.project.normalized_name,
                "import_name": package,
                "requirement": f"{plain.name}{plain.specifier}",
                "minimum": list(minimum(plain.specifier)),
                "sonames": [library.soname for library in layout.offered],
                "files": [],
            }
        ],
    }
    return [
        Generate(member=f"{package}/__init__.py", template="library/__init__.py.j2", values=init),
        Generate(member=f"{package}/__main__.py", template="library/__main__.py.j2", values={"import_name": package}),
        Generate(member=f"{package}/_why.py", template="library/_why.py.j2", values={}),
        Generate(member=f"{package}/_distributor_init.txt", template=TEMPLATE_FILE, values=hook),
        Write(member=f"{package}/py.typed", text=""),
    ]


def _library_values(library: PlannedLibrary, incumbent: Sequence[str]) -> dict[str, Any]:
    name = link_name(library.original_soname)
    return {
        "soname": library.soname,
        "original_soname": library.original_soname,
        "link_name": name if name != library.soname else "",
        "unique": library.unique,
        "versions": {} if library.unique else version_symbols(library, incumbent),
    }


def version_symbols(library: PlannedLibrary, incumbent: Sequence[str]) -> dict[str, str]:
    """Return one exported symbol of each version node, so that a copy found in a process can be asked for it.

    *incumbent* are the nodes that suffice; all, if there are none.
    """
    out: dict[str, str] = {}
    for symbol in sorted(library.before.exports, reverse=True):
        if symbol.version and (not incumbent or symbol.version in incumbent):
            out[symbol.version] = symbol.name
    return dict(sorted(out.items()))


def _require_values(require: ManifestRequire) -> dict[str, Any]:
    parsed = Requirement(require.requirement)
    return {
        "import_name": require.import_name,
        "name": require.name,
        "requirement": f"{parsed.name}{parsed.specifier}",
        "minimum": list(minimum(parsed.specifier)),
    }


def _link_names(layout: Layout) -> list[Action]:
    out: dict[str, Action] = {}
    taken = {library.soname for library in layout.libraries}
    for library in layout.offered:
        name = link_name(library.original_soname)
        if name not in taken and name not in out:
            out[name] = Generate(
                member=f"{layout.lib}/{name}", template="library/link_name.ld.j2", values={"soname": library.soname}
            )
    return list(out.values())


def _pkg_config(given: LibraryInput, layout: Layout) -> list[Action]:
    requires = [
        (provider.manifest.pkg_config_names or (provider.name,))[0]
        for provider in given.providers
        if provider.manifest is not None
    ]
    return [
        Generate(
            member=f"{layout.lib}/pkgconfig/{name}.pc",
            template="library/pkgconfig.pc.j2",
            values={
                "name": name,
                "description": _description(given.project),
                "version": given.project.version,
                "sonames": [library.soname for library in layout.linkable],
                "requires": requires,
            },
        )
        for name in given.spec.pkg_config_names
    ]


def _description(project: Project) -> str:
    # $ begins a variable in .pc files, # a comment, and a backslash is read in more than one way.
    usable = project.description and not re.search(r"[$#\\]", project.description)
    return project.description or "" if usable else f"{project.name}, from a library wheel"


def _cmake(given: LibraryInput, layout: Layout) -> list[Action]:
    name = given.spec.cmake_name
    package = f"{layout.import_name}_cmake"
    common = {"cmake_name": name, "import_name": layout.import_name}
    values = {
        **common,
        "version": given.project.version,
        "libraries": [{"stem": link_stem(lib.original_soname), "soname": lib.soname} for lib in layout.linkable],
        "requires": [
            {"name": provider.manifest.cmake_name or provider.name, "import_name": provider.manifest.import_name}
            for provider in given.providers
            if provider.manifest is not None
        ],
        "compatibility": "AnyNewerVersion",
    }
    files = {"Config": f"{name}Config.cmake", "ConfigVersion": f"{name}ConfigVersion.cmake"}
    actions: list[Action] = [
        Generate(member=f"{package}/__init__.py", template="library/cmake_init.py.j2", values=common)
    ]
    for template, file in files.items():
        actions += [
            Generate(
                member=f"{layout.lib}/cmake/{name}/{file}", template=f"library/{template}.cmake.j2", values=values
            ),
            Generate(
                member=f"{package}/lib/cmake/{name}/{file}",
                template="library/cmake_forward.cmake.j2",
                values={**common, "file": file},
            ),
        ]
    return actions


def _programs(given: LibraryInput, layout: Layout, edits: Mapping[str, ElfEdit]) -> list[Action]:
    if not given.prefix.programs:
        return []
    names = function_names(program.name for program in given.prefix.programs)
    functions = [{"function": function, "file": file} for file, function in names.items()]
    actions: list[Action] = [
        Generate(
            member=f"{layout.import_name}/_programs.py",
            template="library/_programs.py.j2",
            values={"import_name": layout.import_name, "programs": functions},
        )
    ]
    actions += [
        Graft(
            member=f"{layout.import_name}/bin/{program.name}",
            source=program.source,
            sha256=program.sha256,
            edit=edits.get(program.source),
            mode=0o755,
        )
        for program in given.prefix.programs
    ]
    return actions
