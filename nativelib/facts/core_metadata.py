"""``METADATA`` and ``PKG-INFO`` of a library wheel: core metadata 2.4 (PEP 639, PEP 643). No I/O."""

from __future__ import annotations

from email.headerregistry import Address
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nativelib.facts.project import Person, Project


def core_metadata(
    project: Project,
    version: str,
    license_files: Sequence[str],
    requires: Sequence[str],
    *,
    dynamic: Sequence[str] = (),
) -> str:
    """Return the text of ``METADATA``.

    *license_files* are the paths below ``.dist-info/licenses``, *requires* the requirements on other library wheels
    (they follow the project's own dependencies). *dynamic* names the fields that a wheel may have and this file has
    not: a source distribution's ``PKG-INFO`` needs them (PEP 643).
    """
    headers = [
        ("Metadata-Version", "2.4"),
        ("Name", project.name),
        ("Version", version),
        *(("Dynamic", field) for field in dynamic),
        *_description(project),
        *(("License-File", path) for path in license_files),
        *(("Classifier", classifier) for classifier in project.classifiers),
        *(("Project-URL", f"{label}, {url}") for label, url in project.urls),
        *_requires(project, requires),
    ]
    if project.readme:
        headers.append(("Description-Content-Type", project.readme.content_type))
    body = project.readme.text if project.readme else ""
    text = "".join(f"{name}: {_folded(value)}\n" for name, value in headers)
    return f"{text}\n{_newlines(body)}" if body else text


def _description(project: Project) -> Iterator[tuple[str, str]]:
    if project.description:
        yield "Summary", project.description
    if project.keywords:
        yield "Keywords", ",".join(project.keywords)
    yield from _people("Author", project.authors)
    yield from _people("Maintainer", project.maintainers)
    if project.license_expression:
        yield "License-Expression", project.license_expression
    if project.license_text:
        yield "License", project.license_text


def _people(role: str, people: Sequence[Person]) -> Iterator[tuple[str, str]]:
    """PEP 621: who has an address goes to ``Author-email``, who has none to ``Author``."""
    names = [person.name for person in people if person.name and not person.email]
    if names:
        yield role, ", ".join(names)
    addresses = [str(Address(person.name or "", addr_spec=person.email)) for person in people if person.email]
    if addresses:
        yield f"{role}-email", ", ".join(addresses)


def _requires(project: Project, requires: Sequence[str]) -> Iterator[tuple[str, str]]:
    if project.requires_python:
        yield "Requires-Python", project.requires_python
    yield from (("Requires-Dist", requirement) for requirement in (*project.dependencies, *requires))
    for extra, requirements in project.optional_dependencies:
        yield "Provides-Extra", extra
        yield from (("Requires-Dist", _of_extra(requirement, extra)) for requirement in requirements)


def _of_extra(text: str, extra: str) -> str:
    requirement = Requirement(text)
    condition = f'extra == "{extra}"'
    requirement.marker = Marker(f"({requirement.marker}) and {condition}" if requirement.marker else condition)
    return str(requirement)


def _folded(value: str) -> str:
    """Continuation lines are indented, as the core metadata specification shows it for ``License``."""
    return "\n        ".join(value.splitlines())


def _newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
