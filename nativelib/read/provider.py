"""Providers: a wheel file, an unpacked wheel, or an installed distribution, read into facts."""

from __future__ import annotations

import posixpath
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nativelib.errors import ReadError
from nativelib.facts.manifest import MANIFEST, parse_manifest
from nativelib.facts.metadata import parse_metadata, parse_wheel_text
from nativelib.facts.provider import ProvidedLibrary, Provider, ProviderKind
from nativelib.facts.wheel import Place, Scheme, place_of
from nativelib.findings import Code, Severity
from nativelib.read.command import python_paths
from nativelib.read.elf import is_elf, read_elf_file
from nativelib.read.wheel import read_wheel

if TYPE_CHECKING:
    import importlib.metadata
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from packaging.specifiers import SpecifierSet

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.manifest import Manifest

_OUT = "../../../"
_LOADABLE = (Scheme.SITE, Scheme.DATA)

_FOR_SONAME = re.compile(r"^(?P<soname>[^=<>~!;\s/]*\.so[^=<>~!;\s/]*)=(?!=)(?P<target>.+)$")


def read_provider(
    text: str, *, python: str | None = None, imported: Collection[str] = (), search: Sequence[str] | None = None
) -> Provider:
    """Return the provider that ``--provided-by`` *text* names.

    *text* is a wheel file, a directory with an unpacked wheel, or a distribution with an optional specifier, each
    perhaps behind ``SONAME=``. An installed distribution is one of the running interpreter, of *python*, or found in
    the directories *search*. *imported* are normalised names whose package is meant to be imported. Raises ReadError.
    """
    try:
        return _read(text, python=python, imported=imported, search=search)
    except OSError as cause:  # a name that is too long, a directory that may not be read
        raise ReadError.of(Code.NOT_FOUND, text, f"It cannot be read: {cause.strerror}.") from cause


def split_target(text: str) -> tuple[str | None, str]:
    """Return the soname of ``SONAME=X``, or ``None``, and X."""
    match = _FOR_SONAME.match(text)
    return (match["soname"], match["target"]) if match else (None, text)


def _read(text: str, *, python: str | None, imported: Collection[str], search: Sequence[str] | None) -> Provider:
    only, target = split_target(text)
    path = Path(target)
    if target.endswith(".whl") or path.is_file():
        return _from_wheel(path, text, only, imported)
    if path.is_dir() and not _installed_name(target):
        return _from_directory(path, text, only, imported)
    return _from_installed(target, text, only, imported, python, search)


def _installed_name(target: str) -> bool:
    """Return whether *target* is meant as a distribution although a directory has that name: it holds no dist-info."""
    return "/" not in target and not any(Path(target).glob("*.dist-info"))


def _from_wheel(path: Path, origin: str, only: str | None, imported: Collection[str]) -> Provider:
    # Published providers exist whose RECORD is wrong (scipy-openblas64 0.3.31.188.0), and installers take them: what
    # counts here is what will be installed, and CRCs are checked all the same.
    try:
        facts = read_wheel(path, check_record=False)
    except ReadError as cause:
        raise ReadError(
            f if f.where == str(path) else replace(f, where=f"{path}: {f.where}") for f in cause.findings
        ) from None
    broken = [f for f in facts.findings if f.code is Code.BAD_ELF and ".so" in posixpath.basename(f.where)]
    if broken:
        raise ReadError(replace(f, severity=Severity.ERROR, where=f"{path}: {f.where}") for f in broken)
    files = {place_of(name): elf for name, elf in facts.elf.items()}
    raw = facts.texts.get(f"{facts.dist_info}/{MANIFEST}")
    if raw is None and facts.member(f"{facts.dist_info}/{MANIFEST}") is not None:
        raise ReadError.of(Code.NOT_A_PROVIDER, str(path), f"Its {MANIFEST} is too large to be a manifest.")
    manifest = parse_manifest(raw.decode("utf-8", "replace"), where=f"{path}: {MANIFEST}") if raw is not None else None
    return _provider(
        name=facts.name.normalized,
        version=parse_metadata(facts.metadata).version,
        origin=origin,
        only=only,
        imported=imported,
        files=files,
        names=[place_of(member.name).path for member in facts.members],
        manifest=manifest,
        platforms=facts.name.platforms,
    )


def _from_directory(path: Path, origin: str, only: str | None, imported: Collection[str]) -> Provider:
    from importlib.metadata import PathDistribution

    infos = sorted(path.glob("*.dist-info"))
    if len(infos) != 1:
        text = f"It holds {len(infos)} .dist-info directories, and an unpacked wheel has one."
        raise ReadError.of(
            Code.NOT_A_PROVIDER, str(path), text, "Give the wheel file, or unpack it into a directory of its own."
        )
    return _from_distribution(PathDistribution(infos[0]), origin, only, imported, None)


def _from_installed(
    target: str,
    origin: str,
    only: str | None,
    imported: Collection[str],
    python: str | None,
    search: Sequence[str] | None,
) -> Provider:
    from importlib.metadata import distributions

    try:
        wanted = Requirement(target)
    except InvalidRequirement as cause:
        raise ReadError.of(
            Code.NOT_FOUND,
            origin,
            f"It is neither a file, nor a directory, nor the name of a distribution: {cause}.",
            "Write a wheel's path, or a name such as 'openblas-lib' or 'openblas-lib>=0.3'.",
        ) from cause
    paths = list(search) if search is not None else list(python_paths(python)) if python else sys.path
    for distribution in distributions(name=wanted.name, path=paths):
        return _from_distribution(distribution, origin, only, imported, wanted.specifier)
    where = f"for {python}" if python else f"for {sys.executable}"
    raise ReadError.of(
        Code.NOT_FOUND,
        origin,
        f"{wanted.name} is not installed {where}.",
        "Install it there, give its wheel file, or name another interpreter with --python.",
    )


def _from_distribution(
    distribution: importlib.metadata.Distribution,
    origin: str,
    only: str | None,
    imported: Collection[str],
    pin: SpecifierSet | None,
) -> Provider:
    try:
        name, version = str(canonicalize_name(distribution.metadata["Name"])), str(Version(distribution.version))
        entries = distribution.files or ()
        raw, wheel = distribution.read_text(MANIFEST), distribution.read_text("WHEEL")
    except (AttributeError, KeyError, TypeError, ValueError) as cause:
        text = f"Its metadata is missing or broken ({type(cause).__name__}: {cause})."
        raise ReadError.of(Code.BAD_METADATA, origin, text, "Install or unpack it again.") from cause
    files: dict[Place, ElfFacts] = {}
    site = str(distribution.locate_file(""))
    for entry in entries:
        place = installed_place(site, entry.as_posix())
        if place is None or ".so" not in entry.name:
            continue
        located = Path(str(distribution.locate_file(entry)))
        if located.is_file() and _starts_as_elf(located):
            files[place] = read_elf_file(located)
    platforms = tuple(tag.rsplit("-", 1)[-1] for tag in parse_wheel_text(wheel).tags) if wheel else ()
    return _provider(
        name=name,
        version=version,
        origin=origin,
        only=only,
        imported=imported,
        files=files,
        names=[entry.as_posix() for entry in entries],
        manifest=parse_manifest(raw, where=f"{origin}: {MANIFEST}") if raw else None,
        platforms=tuple(dict.fromkeys(platforms)),
        pin=pin,
    )


def installed_place(site: str, name: str) -> Place | None:
    """Return where the file *name*, as RECORD has it, is in relation to the directory *site*.

    The way out to the data scheme leads through lib/pythonX.Y/site-packages. Installers spell it in full (pip:
    ``../../../lib/libx.so``) or as short as can be (uv: ``../../libx.so``).
    """
    home = Path(site).absolute().as_posix()
    path = posixpath.normpath(posixpath.join(home, name))
    for scheme, root in ((Scheme.SITE, home), (Scheme.DATA, posixpath.normpath(posixpath.join(home, _OUT)))):
        relative = posixpath.relpath(path, root)
        if not relative.startswith("../"):
            return Place(scheme, relative)
    return None


def _starts_as_elf(path: Path) -> bool:
    with path.open("rb") as stream:
        return is_elf(stream.read(16))


def _provider(
    *,
    name: str,
    version: str,
    origin: str,
    only: str | None,
    imported: Collection[str],
    files: Mapping[Place, ElfFacts],
    names: Collection[str],
    manifest: Manifest | None,
    platforms: Iterable[str],
    pin: SpecifierSet | None = None,
) -> Provider:
    libraries, every = _own(files, manifest, origin) if manifest else _foreign(files, names, name)
    if not libraries:
        raise ReadError.of(
            Code.NOT_A_PROVIDER,
            origin,
            f"{name} {version} has no shared library in its packages, so it provides nothing.",
            "Name the distribution that carries the library.",
        )
    kind = ProviderKind.IMPORT if name in imported else ProviderKind.OWN if manifest else ProviderKind.FOREIGN
    return Provider(
        name=name,
        version=version,
        origin=origin,
        kind=kind,
        import_name=manifest.import_name if manifest else libraries[0].package,
        libraries=libraries,
        every=every,
        manifest=manifest,
        platforms=tuple(platforms),
        pin=pin if pin is not None and str(pin) else None,
        only=only,
    )


def _own(
    files: Mapping[Place, ElfFacts], manifest: Manifest, origin: str
) -> tuple[tuple[ProvidedLibrary, ...], tuple[ProvidedLibrary, ...]]:
    site = {place.path: facts for place, facts in files.items() if place.scheme is Scheme.SITE}
    named = [library.file for library in manifest.libraries] + [library.file for library in manifest.private]
    absent = [file for file in named if file not in site]
    if absent:
        raise ReadError.of(
            Code.NOT_A_PROVIDER,
            origin,
            f"Its manifest names files that are not there: {', '.join(absent)}.",
            "Build it again.",
        )

    def read(file: str, original: str, aliases: tuple[str, ...] = ()) -> ProvidedLibrary:
        facts = site[file]
        soname = facts.soname or posixpath.basename(file)
        return ProvidedLibrary(soname=soname, original_soname=original, aliases=aliases, file=file, facts=facts)

    libraries = tuple(read(item.file, item.original_soname, item.aliases) for item in manifest.libraries)
    private = tuple(read(item.file, item.original_soname) for item in manifest.private)
    return libraries, (*libraries, *private)


def _foreign(
    files: Mapping[Place, ElfFacts], names: Collection[str], name: str
) -> tuple[tuple[ProvidedLibrary, ...], tuple[ProvidedLibrary, ...]]:
    inits = frozenset(path for path in names if path.endswith(".py") or ("/" not in path and path.endswith(".so")))
    found: dict[str, ProvidedLibrary] = {}
    for place, facts in sorted(files.items(), key=_preferred):
        if not facts.dynamic or facts.python_extension or facts.interpreter or place.scheme not in _LOADABLE:
            continue
        soname = facts.soname or posixpath.basename(place.path)
        package = _package(place, inits, name) if place.scheme is Scheme.SITE else ""
        library = ProvidedLibrary(
            soname=soname, original_soname=soname, file=place.path, scheme=place.scheme, package=package, facts=facts
        )
        found.setdefault(soname, library)
    every = tuple(found.values())
    return tuple(library for library in every if "/" in library.file), every


def _preferred(item: tuple[Place, ElfFacts]) -> tuple[bool, bool, str]:
    """Return what copies of one library are sorted by.

    Site-packages first: what a package holds can be found wherever the package can. Then the file that the loader would
    find by run path, so that all users get the same one.
    """
    place, facts = item
    return place.scheme is not Scheme.SITE, posixpath.basename(place.path) != facts.soname, place.path


def _package(place: Place, names: Collection[str], distribution: str) -> str:
    """Return the outermost regular package around a file of site-packages, else a package or module beside it.

    The directory of grafts (``<distribution>.libs``) is no package, and need not be named like one.
    """
    parts = place.path.split("/")[:-1]
    for depth in range(1, len(parts) + 1):
        if "/".join([*parts[:depth], "__init__.py"]) in names:
            return ".".join(parts[:depth])
    if parts and parts[0].isidentifier():
        return parts[0]
    tops = {path.partition("/")[0].partition(".")[0] for path in names if path.count("/") <= 1}
    wanted = distribution.replace("-", "_")
    return min((top for top in tops if top.isidentifier()), key=lambda top: (top.lower() != wanted, top), default="")
