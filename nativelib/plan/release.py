"""One release: which files belong to it, and whether their metadata says the same. Pure.

An index has one page for a release, and lockers read the METADATA of one of its wheels for all of them. A field that
a source distribution does not call dynamic must be the same in every wheel (PEP 643).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from nativelib.errors import PlanError
from nativelib.findings import Code, error, listing, note, warning
from nativelib.plan.local_version import published_version
from nativelib.plan.markers import may_hold, meanings
from nativelib.plan.requirement import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.requirements import Requirement

    from nativelib.facts.release import DistFile
    from nativelib.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The files that installers and lockers take for one release: of one name and one version, local part included."""

    name: str
    """Normalised distribution name."""
    version: str
    wheels: tuple[DistFile, ...]
    """In the order of their file names."""
    sdist: DistFile | None = None

    @property
    def label(self) -> str:
        """Name and version for messages."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What is compared, in a form in which equal things are equal."""

    requires: frozenset[str]
    extras: frozenset[str]
    python: str


def wheels_named(wheels: Sequence[DistFile]) -> str:
    """Return how many *wheels* there are, in words for a message, with what tells the first of them apart."""
    return f"{len(wheels)} {'wheel' if len(wheels) == 1 else 'wheels'} ({listing([w.label for w in wheels], 3)})"


def releases(files: Sequence[DistFile]) -> tuple[Release, ...]:
    """Return the releases that *files* are to an installer: one for each local version, in the order of versions.

    Raises PlanError (``NOT_ONE_RELEASE``) for files of several distributions or public versions, for two of one name,
    and for two source distributions.
    """
    problems = [*_strangers(files), *_twins(files)]
    sdists = [file for file in files if file.wheel is None]
    if len(sdists) > 1:
        text = f"There is more than one source distribution: {listing([f.filename for f in sdists], 4)}."
        problems.append(error(Code.NOT_ONE_RELEASE, sdists[1].path, text, "Give the one that is to be published."))
    if len(sdists) == len(files) and not problems:
        text = "There is no wheel to compare."
        problems.append(error(Code.NOT_ONE_RELEASE, sdists[0].path, text, "Give all wheels of the release."))
    if problems:
        raise PlanError(problems)
    versions = sorted({file.version for file in files})
    return tuple(_release(version, [file for file in files if file.version == version]) for version in versions)


def _release(version: Version, files: Sequence[DistFile]) -> Release:
    wheels = sorted((file for file in files if file.wheel is not None), key=lambda file: file.filename)
    sdist = next((file for file in files if file.wheel is None), None)
    name = str(canonicalize_name(files[0].metadata.name))
    return Release(name=name, version=str(version), wheels=tuple(wheels), sdist=sdist)


def _strangers(files: Sequence[DistFile]) -> Iterator[Finding]:
    """Yield an error for each file that is not of the release of the first one."""
    first = files[0]
    for file in files[1:]:
        same_name = canonicalize_name(file.metadata.name) == canonicalize_name(first.metadata.name)
        if not same_name or _published(first) != _published(file):
            text = (
                f"It is {file.metadata.name} {file.version}, and {first.filename} is {first.metadata.name} "
                f"{first.version}: they are no files of one release."
            )
            yield error(Code.NOT_ONE_RELEASE, file.path, text, "Give the files of one release at a time.")


def _published(file: DistFile) -> Version:
    """Return the version of *file*, without the local part that an un-vendored wheel gets."""
    return Version(published_version(file.metadata.version))


def _twins(files: Sequence[DistFile]) -> Iterator[Finding]:
    seen: dict[str, DistFile] = {}
    for file in files:
        first = seen.setdefault(file.filename, file)
        if first is not file:
            text = f"{first.path} has the same file name, and an index takes only one of them."
            yield error(Code.NOT_ONE_RELEASE, file.path, text, "Give the one that is to be published.")


def local_findings(found: Sequence[Release]) -> list[Finding]:
    """Return the warning that files with different local versions are different releases to installers, if any are."""
    if len(found) < 2:
        return []
    files = [f"{release.version} with {wheels_named(release.wheels)}" for release in found]
    return [
        warning(
            Code.LOCAL_VERSIONS,
            found[0].name,
            f"To installers and lockers these are {len(found)} versions: {listing(files, 6)}. pip and 'uv pip' take "
            "the highest that has a wheel for the machine. 'uv lock' takes the highest of all and, for machines "
            "without a wheel of it, at most one other. Each version was compared by itself.",
            "Repair all wheels of a release with one --local-version, or serve each local version where only machines "
            "of its kind look.",
        )
    ]


def canonical_texts(values: Iterable[str]) -> dict[str, str]:
    """Return for each requirement a text that it shares with all that mean the same.

    Names are normalised, specifiers are sets, and markers are the same where they hold in the same environments. What
    is no requirement (PEP 508) stands for itself.
    """
    groups: dict[tuple[object, ...], list[tuple[str, Requirement]]] = {}
    out: dict[str, str] = {}
    for value in sorted(set(values)):
        found = parsed(value)
        if found is None:
            out[value] = value
        else:
            key = (found.name, frozenset(map(canonicalize_name, found.extras)), found.specifier, found.url)
            groups.setdefault(key, []).append((value, found))
    for group in groups.values():
        first: dict[object, str] = {}
        for meaning, (value, found) in zip(meanings([found.marker for _, found in group]), group, strict=True):
            out[value] = first.setdefault(meaning, str(found))
    return out


def is_of_extra(text: str) -> bool:
    """Return whether the requirement *text* counts only where an extra is asked for."""
    found = parsed(text)
    return found is not None and not may_hold(found.marker, {"extra": ""})


def all_requires(release: Release) -> list[str]:
    """Return the ``Requires-Dist`` values of all files of *release*."""
    files = (*release.wheels, release.sdist) if release.sdist is not None else release.wheels
    return [value for file in files for value in file.metadata.requires]


def fields_of(file: DistFile, texts: Mapping[str, str]) -> Fields:
    """Return what is compared of *file*; *texts* are those of :func:`canonical_texts`."""
    python = file.metadata.requires_python
    try:
        python = str(SpecifierSet(python))
    except InvalidSpecifier:
        pass
    return Fields(
        requires=frozenset(texts[value] for value in file.metadata.requires),
        extras=frozenset(map(canonicalize_name, file.metadata.extras)),
        python=python,
    )


def requirement_findings(release: Release) -> list[Finding]:
    """Return an error for each requirement that some wheels of *release* have and others have not.

    A marker that never holds on the systems of the others does not excuse it: lockers may read one of these.
    """
    remedy = "'nativelib metadata sync' writes the same into all, with markers where they differ by platform."
    return _apart(release, "requires", "requirement", remedy)


def other_findings(release: Release) -> list[Finding]:
    """Return what differs between the wheels of *release* beside their requirements.

    Extras and Requires-Python are errors, versions of the format a note.
    """
    out = _apart(release, "extras", "extra", "Declare the same extras for all platforms, with markers inside of them.")
    pythons = sorted({f.python for f in _fields(release).values()})
    if len(pythons) > 1:
        said = ", ".join(repr(python) if python else "nothing" for python in pythons)
        message = f"The wheels disagree about Requires-Python: {said}. Lockers read one of them for all."
        out.append(error(Code.RELEASE_DIFFERS, release.label, message, "Build all wheels from the same sources."))
    versions = sorted({wheel.metadata.metadata_version for wheel in release.wheels})
    if len(versions) > 1:
        message = f"The wheels have different Metadata-Versions, {', '.join(versions)}. Installers read all of them."
        out.append(note(Code.RELEASE_DIFFERS, release.label, message))
    return out


def _fields(release: Release) -> dict[DistFile, Fields]:
    texts = canonical_texts(all_requires(release))
    return {wheel: fields_of(wheel, texts) for wheel in release.wheels}


def _apart(release: Release, key: str, what: str, remedy: str) -> list[Finding]:
    """Return an error for each value of the set *key* of :class:`Fields` that is not in all wheels."""
    values = {wheel: getattr(fields, key) for wheel, fields in _fields(release).items()}
    out: list[Finding] = []
    for text in sorted(frozenset().union(*values.values())):
        have = [wheel for wheel, found in values.items() if text in found]
        lack = [wheel for wheel in values if wheel not in have]
        if lack:
            message = f"The {what} {text!r} is in {wheels_named(have)} and not in {wheels_named(lack)}."
            out.append(error(Code.RELEASE_DIFFERS, release.label, message, remedy))
    return out


def sdist_findings(release: Release, target: frozenset[str] | None = None) -> list[Finding]:
    """Return what PEP 643 has against the wheels of *release*: fields that its sdist promises and they do not have.

    With *target*, the requirements that the wheels are about to get, these are compared, and what is found are
    warnings: the wheels are right, and the project has to declare the same. A sdist whose Metadata-Version is older
    than 2.2 promises nothing.
    """
    sdist = release.sdist
    if sdist is None or not release.wheels or not _promises(sdist.metadata.metadata_version):
        return []
    dynamic = {field.lower() for field in sdist.metadata.dynamic}
    texts = canonical_texts([*all_requires(release), *(target or ())])
    promised = fields_of(sdist, texts)
    wheels = [fields_of(wheel, texts) for wheel in release.wheels]
    if target is not None:
        requires = [frozenset(texts[value] for value in target)]
    else:
        requires = [wheel.requires for wheel in wheels]
    found = [
        ("Requires-Dist", promised.requires, requires),
        ("Provides-Extra", promised.extras, [wheel.extras for wheel in wheels]),
        ("Requires-Python", frozenset({promised.python}), [frozenset({wheel.python}) for wheel in wheels]),
    ]
    make = error if target is None else warning
    return [
        make(
            Code.SDIST_DIFFERS,
            sdist.path,
            f"It does not call {field} dynamic, so wheels must have the same (PEP 643): {_difference(own, theirs)}.",
            "Declare it in the project, or call it dynamic there: see the lines that are printed, and build again.",
        )
        for field, own, theirs in found
        if field.lower() not in dynamic and any(values != own for values in theirs)
    ]


def _promises(metadata_version: str) -> bool:
    """Return whether fields that are not said to be dynamic are a promise (PEP 643); no version, no promise."""
    try:
        return Version(metadata_version) >= Version("2.2")
    except InvalidVersion:
        return False


def _difference(own: frozenset[str], theirs: Sequence[frozenset[str]]) -> str:
    """Return in words what the sdist has and wheels have not, and the other way round."""
    more = sorted(frozenset().union(*theirs) - own)
    less = sorted(value for value in own if not all(value in values for values in theirs))
    parts = [f"wheels have {', '.join(map(repr, more))}"] if more else []
    parts += [f"not all wheels have its {', '.join(map(repr, less))}"] if less else []
    return ", and ".join(parts)
