"""What a wheel must show when it runs: modules that import, files that open, libraries that a provider lends. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from nativelib.facts.elf import ElfEdit
from nativelib.facts.provider import ProviderKind
from nativelib.facts.wheel import Scheme, companion_of, place_of
from nativelib.plan.foreign import chain, closure
from nativelib.plan.graft import depend_first, plain_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.needs import Need

_RUNTIMES = (
    *("libgomp", "libomp", "libiomp5", "libopenblas", "libscipy_openblas", "libblas", "libcblas", "liblapack"),
    *("libblis", "libmkl", "libatlas", "libflexiblas", "libnvpl_blas", "libarmpl"),
)


def packages(wheel: WheelFacts) -> tuple[str, ...]:
    """Return the regular packages at the top of *wheel* that hold ELF files; without ELF files, all at the top."""
    names = {place_of(member.name).path for member in wheel.members if place_of(member.name).scheme is Scheme.SITE}
    native = {place_of(member).path.partition("/")[0] for member in wheel.elf}
    tops = sorted({name.partition("/")[0] for name in names if name.endswith("/__init__.py")})
    regular = [top for top in tops if top.isidentifier() and f"{top}/__init__.py" in names]
    return tuple(top for top in regular if top in native or not native)


def modules(wheel: WheelFacts, suffixes: Sequence[str]) -> dict[str, str]:
    """Return the extension modules of *wheel*, each with its member.

    *suffixes* are what the interpreter wants their file names to end with, the preferred one first. A file behind a
    loader module is imported through that.
    """
    names = {member.name for member in wheel.members}
    found: dict[str, str] = {}
    for suffix in suffixes:
        for member, facts in sorted(wheel.elf.items()):
            name = _module(member, facts, suffix, wheel, names)
            if name is not None:
                found.setdefault(name, member)
    return found


def _module(member: str, facts: ElfFacts, suffix: str, wheel: WheelFacts, names: set[str]) -> str | None:
    place = place_of(member)
    directory, file = posixpath.split(place.path)
    if place.scheme is not Scheme.SITE or not file.endswith(suffix):
        return None
    companion = companion_of(member, wheel.data_dir)
    if companion in names and companion is not None:
        file = f"{posixpath.basename(companion).removesuffix('.py')}{suffix}"
    name = file.removesuffix(suffix)
    parts = [*filter(None, directory.split("/")), name]
    # PEP 489: the initialiser of a name that is not ASCII is called otherwise.
    wanted = f"PyInit_{name}" if name.isascii() else f"PyInitU_{name.encode('punycode').decode().replace('-', '_')}"
    exported = any(symbol.name == wanted for symbol in facts.exports)
    return ".".join(parts) if exported and all(part.isidentifier() for part in parts) else None


def openable(wheel: WheelFacts, architecture: str) -> tuple[str, ...]:
    """Return the members of *wheel* that a loader must be able to open: shared libraries and extension modules."""
    return tuple(
        member
        for member, facts in wheel.elf.items()
        if facts.dynamic
        and facts.interpreter is None
        and facts.architecture == architecture
        and place_of(member).scheme in {Scheme.SITE, Scheme.DATA}
        # They lead to the system's copies, which need not be there.
        and not (wheel.is_library_wheel and "/lib/system/" in member)
    )


def lent(needs: Sequence[Need], offered: Sequence[Provider]) -> tuple[tuple[Provider, ProvidedLibrary], ...]:
    """Return the libraries that providers lend, to *needs* or to each other. Their private copies are their affair."""
    found: dict[tuple[str, str], tuple[Provider, ProvidedLibrary]] = {}
    queue = [(n.provider, n.library) for n in needs if n.provider is not None and n.library is not None]
    while queue:
        provider, library = queue.pop(0)
        if (provider.name, library.soname) in found:
            continue
        found[provider.name, library.soname] = (provider, library)
        further = ((other, _offer(other, soname)) for soname in library.facts.needed for other in offered)
        queue += [(other, offer) for other, offer in further if offer is not None]
    return tuple(found.values())


def _offer(provider: Provider, soname: str) -> ProvidedLibrary | None:
    if plain_name(soname) != soname:
        return None
    return next((library for library in provider.libraries if library.soname == soname), None)


def loaded_first(needs: Sequence[Need], offered: Sequence[Provider]) -> Iterator[tuple[Provider, ProvidedLibrary]]:
    """Yield the libraries that are opened by path where another package has loaded the foreign providers' before.

    Their packages are not imported: some open their libraries for everybody, which is another matter.
    """
    for link in chain(needs, offered):
        if link.provider.kind is ProviderKind.FOREIGN:
            found = {library.soname: library for library in closure(link.provider, link.sonames)}
            for soname in depend_first([(soname, found[soname].facts) for soname in sorted(found)]):
                yield link.provider, found[soname]


def imported_first(needs: Sequence[Need], offered: Sequence[Provider]) -> tuple[str, ...]:
    """Return the packages of the other providers that *needs* lead to."""
    kinds = {ProviderKind.OWN, ProviderKind.IMPORT}
    return tuple(link.provider.import_name for link in chain(needs, offered) if link.provider.kind in kinds)


def without_ways_out(wheel: WheelFacts) -> dict[str, ElfEdit]:
    """Return the edits that remove every run path entry which leads out of what *wheel* itself installs."""
    own = {place_of(member.name) for member in wheel.members}
    homes = {(place.scheme, place.directory) for place in own}
    edits: dict[str, ElfEdit] = {}
    for member, facts in wheel.elf.items():
        place = place_of(member)
        kept = []
        for entry in facts.run_path:
            tail = entry.replace("${ORIGIN}", "$ORIGIN")
            way = tail.removeprefix("$ORIGIN").lstrip("/")
            target = posixpath.normpath(posixpath.join(place.directory or ".", way))
            inside = (place.scheme, "" if target == "." else target) in homes
            if tail.startswith("$ORIGIN") and inside:
                kept.append(entry)
        if tuple(kept) != facts.run_path:
            edits[member] = ElfEdit(run_path=tuple(kept), run_path_tag="runpath" if facts.runpath else "rpath")
    return edits


def is_runtime(name: str) -> bool:
    """Return whether a library of that name starts threads to compute with: an OpenMP or BLAS runtime."""
    return name.startswith(_RUNTIMES)
