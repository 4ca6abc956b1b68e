"""The ``[project]`` table (PEP 621, PEP 639) of a library wheel. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import TYPE_CHECKING, NamedTuple

from packaging.licenses import canonicalize_license_expression
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from nativelib.facts.table import glob_pattern, one_line, relative_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nativelib.facts.table import Table

README_TYPES = {".md": "text/markdown", ".rst": "text/x-rst", ".txt": "text/plain"}
"""Content type of each suffix that a readme may have (PEP 621)."""

_NAME = re.compile(r"[A-Z0-9]|[A-Z0-9][A-Z0-9._-]*[A-Z0-9]", re.IGNORECASE)
_KEYS = (
    *("name", "version", "dynamic", "description", "readme", "requires-python", "license", "license-files"),
    *("authors", "maintainers", "keywords", "classifiers", "urls", "dependencies", "optional-dependencies"),
)
_GENERATED = ("scripts", "gui-scripts", "entry-points")


class Person(NamedTuple):
    """An author or maintainer; at least one of the two is there."""

    name: str | None
    email: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Readme:
    """The long description."""

    content_type: str
    """Media type, parameters included."""
    file: str | None = None
    """Path below the project's directory that the text comes from, if it comes from a file."""
    text: str = ""
    """The text; empty until the file has been read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What ``[project]`` says. Field names follow PEP 621."""

    name: str
    """As written."""
    version: str | None = None
    """Normalised; ``None`` if the build script says it."""
    description: str | None = None
    readme: Readme | None = None
    requires_python: str | None = None
    license_expression: str | None = None
    """SPDX expression, normalised (PEP 639)."""
    license_text: str | None = None
    """Text of the deprecated ``license = {text = ...}``."""
    license_files: tuple[str, ...] = ()
    """Globs below the project's directory; that of ``license = {file = ...}`` too."""
    authors: tuple[Person, ...] = ()
    maintainers: tuple[Person, ...] = ()
    keywords: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    """Pairs of label and address."""
    dependencies: tuple[str, ...] = ()
    """Requirements (PEP 508), normalised."""
    optional_dependencies: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Pairs of normalised extra and requirements."""

    @property
    def normalized_name(self) -> str:
        """The normalised distribution name (PEP 503)."""
        return str(canonicalize_name(self.name))


def parse_project(table: Table, *, build_script: bool) -> Project:
    """Return the project that *table* describes; mistakes go to the table's findings.

    A dynamic version is right only with a *build_script*, which can say it.
    """
    table.refuse_others((*_KEYS, *_GENERATED))
    for key in _GENERATED:
        if key in table:
            table.fail(key, "A library wheel holds generated modules only.", "Use tool.nativelib.programs.")
    classifiers = table.texts("classifiers", one_line)
    expression, text, license_files = _license(table, classifiers)
    return Project(
        name=_required(table, "name", _name),
        version=_version(table, build_script=build_script),
        description=table.text("description", one_line),
        readme=_readme(table),
        requires_python=table.text("requires-python", specifiers),
        license_expression=expression,
        license_text=text,
        license_files=license_files,
        authors=_people(table, "authors"),
        maintainers=_people(table, "maintainers"),
        keywords=table.texts("keywords", _keyword),
        classifiers=classifiers,
        urls=_urls(table),
        dependencies=table.texts("dependencies", requirement),
        optional_dependencies=_optional_dependencies(table),
    )


def requirement(value: str) -> str:
    """Return the requirement *value* in normal form (PEP 508); ``ValueError`` if it is none."""
    try:
        return str(Requirement(one_line(value)))
    except InvalidRequirement as cause:
        raise ValueError(f"{value!r} is not a requirement (PEP 508): {str(cause).splitlines()[0]}") from cause


def specifiers(value: str) -> str:
    """Return the version specifiers *value* in normal form (PEP 440); ``ValueError`` if they are none."""
    try:
        return str(SpecifierSet(one_line(value)))
    except InvalidSpecifier as cause:
        raise ValueError(f"{value!r} is not a version specifier (PEP 440).") from cause


def version_number(value: str) -> str:
    """Return the version *value* in normal form (PEP 440); ``ValueError`` if it is none."""
    try:
        return str(Version(value))
    except InvalidVersion as cause:
        raise ValueError(f"{value!r} is not a version (PEP 440).") from cause


def _required(table: Table, key: str, check: Callable[[str], str]) -> str:
    if key not in table:
        table.fail(key, f"The project needs a {key}.")
    return table.text(key, check) or ""


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a distribution name: letters, digits and inner '.', '-', '_' (PEP 508).")
    return value


def _keyword(value: str) -> str:
    if "," in one_line(value):
        raise ValueError(f"The keyword {value!r} must not contain a comma.")
    return value


def _version(table: Table, *, build_script: bool) -> str | None:
    dynamic = table.texts("dynamic", one_line)
    for index, field in enumerate(dynamic):
        if field != "version":
            table.fail(f"dynamic[{index}]", f"{field!r} cannot be dynamic; only the version can, from a build script.")
    if "version" in table:
        if "version" in dynamic:
            table.fail("version", "The version is given, and it is listed as dynamic too.")
        return table.text("version", version_number)
    if "version" not in dynamic:
        table.fail("version", "The project needs a version.", 'Write it, or dynamic = ["version"] with a build script.')
    elif not build_script:
        table.fail("dynamic", "Only a build script can say a dynamic version.", "Write the version.")
    return None


def _readme(table: Table) -> Readme | None:
    if not table.holds_table("readme"):
        file = table.text("readme", _readme_file)
        return Readme(file=file, content_type=_suffix_type(file)) if file else None
    readme = table.table("readme")
    if readme is None:
        return None
    readme.refuse_others(("file", "text", "content-type"))
    file, text = readme.text("file", relative_path), readme.text("text", str)
    if ("file" in readme) == ("text" in readme):
        readme.fail("", "It needs either file or text.")
    return Readme(file=file, text=text or "", content_type=_required(readme, "content-type", _content_type))


def _readme_file(value: str) -> str:
    if not _suffix_type(relative_path(value)):
        raise ValueError(f"The type of {value!r} does not follow from its suffix; write file and content-type.")
    return value


def _suffix_type(file: str) -> str:
    return next((kind for suffix, kind in README_TYPES.items() if file.lower().endswith(suffix)), "")


def _content_type(value: str) -> str:
    kind, *parameters = [part.strip().lower() for part in one_line(value).split(";")]
    if kind not in README_TYPES.values():
        raise ValueError(f"It must be one of {', '.join(README_TYPES.values())}, not {value!r}.")
    if any(p.startswith("charset=") and p != "charset=utf-8" for p in parameters):
        raise ValueError("The only charset of core metadata is UTF-8.")
    return value


def _license(table: Table, classifiers: Sequence[str]) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Return SPDX expression, text and globs."""
    files = table.texts("license-files", glob_pattern)
    if not table.holds_table("license"):
        expression = table.text("license", _expression)
        if expression and any(classifier.startswith("License ::") for classifier in classifiers):
            table.fail("classifiers", "License classifiers must not stand beside a license expression (PEP 639).")
        return expression, None, files
    licence = table.table("license")
    if licence is None:
        return None, None, files
    licence.refuse_others(("file", "text"))
    if "license-files" in table:
        remedy = 'Write license = "<SPDX expression>".'
        table.fail("license", "A table must not stand beside license-files (PEP 639).", remedy)
    if ("file" in licence) == ("text" in licence):
        licence.fail("", "It needs either file or text.", 'Better: license = "<SPDX expression>" and license-files.')
    file = licence.text("file", relative_path)
    return None, licence.text("text", str), (_literal_glob(file),) if file else files


def _expression(value: str) -> str:
    try:
        return canonicalize_license_expression(value)
    except ValueError as cause:
        raise ValueError(f"{value!r} is not a license expression (SPDX): {cause}") from cause


def _literal_glob(path: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", path)


def _people(table: Table, key: str) -> tuple[Person, ...]:
    people = []
    for where, value in table.items(key):
        entry = table.subtable(where, value)
        if entry is None:
            table.fail(where, "It must be a table with name or email.")
            continue
        entry.refuse_others(("name", "email"))
        person = Person(entry.text("name", _person_name), entry.text("email", _email))
        if not entry.names():
            entry.fail("", "It needs a name or an email.")
        people.append(person)
    return tuple(people)


def _person_name(value: str) -> str:
    if "," in one_line(value):
        raise ValueError(f"The name {value!r} must not contain a comma.")
    return value


def _email(value: str) -> str:
    try:
        Address(addr_spec=one_line(value))
    except (HeaderParseError, ValueError, IndexError) as cause:
        raise ValueError(f"{value!r} is not an email address.") from cause
    if "@" not in value:
        raise ValueError(f"{value!r} is not an email address.")
    return value


def _urls(table: Table) -> tuple[tuple[str, str], ...]:
    urls = table.table("urls")
    return urls.pairs(_url) if urls else ()


def _url(label: str, value: str) -> str:
    if len(label) > 32 or "," in one_line(label):  # core metadata, Project-URL
        raise ValueError(f"The label {label!r} must have at most 32 characters and no comma.")
    return one_line(value)


def _optional_dependencies(table: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    extras = table.table("optional-dependencies")
    if extras is None:
        return ()
    found = [(str(canonicalize_name(extra)), extras.texts(extra, requirement)) for extra in extras.names()]
    for extra in extras.names():
        if not _NAME.fullmatch(extra):
            extras.fail(extra, f"{extra!r} is not the name of an extra.")
    if len({name for name, _ in found}) < len(found):
        extras.fail("", "Two extras have the same normalised name (PEP 685).")
    return tuple(found)
