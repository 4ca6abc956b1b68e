"""The spec of a library wheel: ``[tool.nativelib]`` and ``[project]`` of a ``pyproject.toml``. No I/O."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from nativelib.errors import SpecError
from nativelib.facts.adapter import BLAS_INT, AdapterRule, parse_adapters
from nativelib.facts.core_metadata import core_metadata
from nativelib.facts.project import Person, Project, Readme, parse_project, version_number
from nativelib.facts.table import Table, file_stem, glob_pattern, one_line, relative_path
from nativelib.findings import Code, error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.findings import Finding

__all__ = [
    "HeaderRule",
    "Person",
    "Project",
    "Readme",
    "SonameRule",
    "Spec",
    "core_metadata",
    "parse_spec",
    "with_version",
]

_SOURCES = ("prefix", "pkg-config", "build-script")
_KEYS = (
    *("import-name", *_SOURCES, "libraries", "headers", "programs", "licenses", "soname", "singleton", "incumbent"),
    *("alias", "provided-by", "compatible", "pkg-config-names", "cmake-name", "static", "abi", "adapter"),
)
_WELL_KNOWN_ABI = {"blas-int": BLAS_INT, "threading": ("pthreads", "openmp", "serial")}
_SONAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.so(\.[A-Za-z0-9._+-]+)?")


class SonameRule(StrEnum):
    """What happens to the sonames of the libraries."""

    UNIQUE = "unique"
    """The import name becomes part of them."""
    KEEP = "keep"
    GIVEN = "given"
    """The spec has one library and says its soname."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """Which headers are taken, and where they go."""

    glob: str
    """Glob below the prefix."""
    to: str | None = None
    """Directory below the wheel's ``include/``; ``None`` for ``include/`` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What ``[tool.nativelib]`` says, defaults filled in."""

    import_name: str
    prefix: str | None = None
    """Path of the prefix, relative to the project's directory."""
    pkg_config: str | None = None
    """Name of the ``pkg-config`` package whose prefix it is."""
    build_script: str | None = None
    """Path of the script that fills a prefix, relative to the project's directory."""
    libraries: tuple[str, ...]
    """Globs below the prefix."""
    headers: tuple[HeaderRule, ...] = ()
    programs: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    soname: SonameRule = SonameRule.UNIQUE
    given_soname: str | None = None
    """The soname of the only library, if the rule is that it is given."""
    singleton: bool = False
    """Whether a process must have just one of it, whoever loads it."""
    incumbent: tuple[str, ...] = ()
    """Version definitions that suffice in a library which has the soname already; empty for all that this one has."""
    aliases: tuple[str, ...] = ()
    """Further sonames that consumers may have had."""
    provided_by: tuple[str, ...] = ()
    """Requirements on library wheels, or paths of wheel files relative to the project's directory."""
    compatible: str | None = None
    """What consumers inherit: specifiers, ``{version}`` not yet filled in."""
    pkg_config_names: tuple[str, ...]
    cmake_name: str
    static: bool = False
    """Whether static archives are taken too."""
    abi: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    adapters: tuple[AdapterRule, ...] = ()

    @property
    def provided_by_names(self) -> tuple[str, ...]:
        """Those of :attr:`provided_by` that are distributions and not wheel files."""
        return tuple(provider for provider in self.provided_by if not is_path(provider))


def parse_spec(document: Mapping[str, object], *, where: str) -> tuple[Project, Spec]:
    """Return what the TOML *document* of the file *where* says about a library wheel.

    Files are not looked at: a readme has no text yet, ``license_files`` are globs. Raises :class:`SpecError` with a
    finding for every mistake; each finding's ``where`` is the dotted key.
    """
    findings: list[Finding] = []
    root = Table(document, "", findings)
    tool = root.table("tool") or Table({}, "tool", findings)
    remedy = "A library wheel is described by [project] and [tool.nativelib]."
    for parent, name in ((root, "project"), (tool, "nativelib")):
        if name not in parent:
            parent.fail(name, f"{where} has no [{parent.at(name)}] table.", remedy)
    project_table, spec_table = root.table("project"), tool.table("nativelib")
    script = spec_table is not None and "build-script" in spec_table
    project = parse_project(project_table, build_script=script) if project_table else Project(name="")
    spec = _parse_tool(spec_table, project) if spec_table else None
    if findings or spec is None:
        raise SpecError(findings)
    return project, spec


def with_version(project: Project, spec: Spec, version: str | None) -> Project:
    """Return *project* with the *version* that its build script said, or unchanged if it has one.

    Raises :class:`SpecError` if no version is said, or one that is not a version (PEP 440), or that contradicts
    ``compatible``.
    """
    if project.version is not None:
        return project
    try:
        if version is None:
            raise ValueError("The version is dynamic, and the build script has said none.")
        number = version_number(version)
        if spec.compatible is not None:
            _check_compatible(number, spec.compatible)
    except ValueError as problem:
        remedy = "The build script writes the version into the file .nativelib-version of the prefix."
        raise SpecError([error(Code.BAD_SPEC, "project.version", str(problem), remedy)]) from problem
    return replace(project, version=number)


def is_path(provider: str) -> bool:
    """Return whether an item of ``provided-by`` is the path of a wheel file, and not a requirement."""
    return provider.endswith(".whl")


def _parse_tool(table: Table, project: Project) -> Spec:
    table.refuse_others(_KEYS)
    sources = [key for key in _SOURCES if key in table]
    if len(sources) > 1:
        table.fail("", f"{' and '.join(sources)} exclude each other.", "Keep one of them.")
    if table.lacks("libraries"):
        table.fail("libraries", "A library wheel needs libraries.", 'For example libraries = ["lib/libfoo.so.1"].')
    singleton, version = table.flag("singleton"), project.version
    rule, given = _soname(table, singleton=singleton)
    return Spec(
        import_name=_import_name(table, project.name),
        prefix=table.text("prefix", one_line),
        pkg_config=table.text("pkg-config", file_stem),
        build_script=table.text("build-script", relative_path),
        libraries=table.texts("libraries", glob_pattern),
        headers=_headers(table),
        programs=table.texts("programs", glob_pattern),
        licenses=table.texts("licenses", glob_pattern),
        soname=rule,
        given_soname=given,
        singleton=singleton,
        incumbent=table.texts("incumbent", one_line),
        aliases=table.texts("alias", _plain_name),
        provided_by=table.texts("provided-by", _provider),
        compatible=table.text("compatible", lambda text: _check_compatible(version, text)),
        pkg_config_names=table.texts("pkg-config-names", file_stem) or (project.name,),
        cmake_name=table.text("cmake-name", file_stem) or project.name,
        static=table.flag("static"),
        abi=_abi(table),
        adapters=parse_adapters(table),
    )


def _import_name(table: Table, distribution: str) -> str:
    if "import-name" in table:
        return table.text("import-name", _identifier) or ""
    try:
        return _identifier(distribution.replace("-", "_").replace(".", "_")) if distribution else ""
    except ValueError as problem:
        table.fail("import-name", f"It is needed, for none follows from the distribution's name: {problem}")
        return ""


def _identifier(value: str) -> str:
    # It becomes part of sonames and of file names, so it is ASCII.
    if not (value.isascii() and value.isidentifier()):
        raise ValueError(f"{value!r} is not a single ASCII identifier.")
    if keyword.iskeyword(value):
        raise ValueError(f"{value!r} is a keyword of Python.")
    return value


def _headers(table: Table) -> tuple[HeaderRule, ...]:
    rules = []
    for where, value in table.items("headers"):
        entry = table.subtable(where, value)
        if entry is None:
            text = table.item(where, value, glob_pattern)
            rules += [HeaderRule(glob=text)] if text else []
            continue
        entry.refuse_others(("glob", "to"))
        if "glob" not in entry:
            entry.fail("glob", "A table of headers needs a glob.")
        text, to = entry.text("glob", glob_pattern), entry.text("to", _directory)
        rules += [HeaderRule(glob=text, to=to or None)] if text else []
    return tuple(rules)


def _directory(value: str) -> str:
    return "" if value in ("", ".") else relative_path(value)


def _soname(table: Table, *, singleton: bool) -> tuple[SonameRule, str | None]:
    """Return the rule, and the soname if the rule is that it is given."""
    text = table.text("soname", _rule_or_soname)
    if text is not None and text not in set(SonameRule):
        return SonameRule.GIVEN, text
    if not singleton:
        return SonameRule(text or SonameRule.UNIQUE), None
    if text == SonameRule.UNIQUE:
        remedy = "Leave one of them out: a singleton keeps its soname, so that all who need it find the same one."
        table.fail("soname", 'soname = "unique" contradicts singleton = true.', remedy)
    return SonameRule.KEEP, None


def _rule_or_soname(value: str) -> str:
    rules = (SonameRule.UNIQUE, SonameRule.KEEP)
    if value not in rules and not _SONAME.fullmatch(value):
        words = ", ".join(repr(str(rule)) for rule in rules)
        raise ValueError(f"It must be one of {words}, or a soname such as 'libfoo.so.1', not {value!r}.")
    return value


def _plain_name(value: str) -> str:
    if "/" in one_line(value):
        raise ValueError(f"{value!r} must be a file name, not a path.")
    return value


def _provider(value: str) -> str:
    if is_path(one_line(value)):
        return value
    try:
        requirement = Requirement(value)
    except InvalidRequirement as cause:
        raise ValueError(f"{value!r} is neither a distribution nor a wheel file.") from cause
    if requirement.url or requirement.extras or requirement.marker:
        raise ValueError(f"{value!r} must be a name, perhaps with a version specifier, and nothing else.")
    return str(requirement)


def _check_compatible(version: str | None, text: str) -> str:
    """Return *text* if it is a specifier that the library's own *version* meets (any version while it is unknown)."""
    public = Version(version or "1.0").public
    expanded = one_line(text).replace("{version}", public)
    try:
        specifiers = SpecifierSet(expanded)
    except InvalidSpecifier as cause:
        raise ValueError(f"{expanded!r} is not a version specifier (PEP 440).") from cause
    if version and not specifiers.contains(public, prereleases=True):
        raise ValueError(f"{expanded!r} excludes the project's own version {version}.")
    return text


def _abi(table: Table) -> Mapping[str, str]:
    abi = table.table("abi")
    return MappingProxyType(dict(abi.pairs(_abi_fact)) if abi else {})


def _abi_fact(key: str, value: str) -> str:
    known = _WELL_KNOWN_ABI.get(key)
    if known and value not in known:
        raise ValueError(f"It must be one of {', '.join(map(repr, known))}, not {value!r}.")
    return one_line(value)
