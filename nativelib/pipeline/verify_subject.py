"""What is tried of one wheel, and where a layout has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.trial import Expected
from nativelib.facts.wheel import Place, place_of
from nativelib.plan.expected import lent, modules, openable, packages, without_ways_out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfEdit
    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.pipeline.consumer import WheelNeeds
    from nativelib.trial.environment import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One wheel that is tried, and what is expected of it."""

    name: str
    read: WheelNeeds
    packages: tuple[str, ...]
    modules: Mapping[str, str]
    """Extension module to member."""
    files: tuple[str, ...]
    """Members that must open."""
    lent: tuple[tuple[Provider, ProvidedLibrary], ...]
    edits: Mapping[str, ElfEdit]
    """What removes the run paths that lead out of it."""

    @property
    def imports(self) -> tuple[str, ...]:
        """Packages first, as a user imports them, then every extension module."""
        return tuple(dict.fromkeys((*self.packages, *self.modules)))


def make_subject(read: WheelNeeds, providers: Sequence[Provider], suffixes: Sequence[str]) -> Subject:
    """Return what is to be tried of a wheel that was read, by an interpreter with these *suffixes*."""
    wheel = read.wheel
    return Subject(
        name=wheel.name.normalized,
        read=read,
        packages=packages(wheel),
        modules=modules(wheel, suffixes),
        files=openable(wheel, read.architecture),
        lent=lent(read.needs, providers),
        edits=without_ways_out(wheel),
    )


def member_path(layout: Layout, subject: Subject, member: str) -> str:
    """Return where *member* of the wheel is installed in *layout*."""
    return layout.find(subject.name, place_of(member))


def library_path(layout: Layout, provider: Provider, library: ProvidedLibrary) -> str:
    """Return where the provider's *library* is installed in *layout*."""
    return layout.find(provider.name, Place(library.scheme, library.file))


def expected_library(provider: Provider, library: ProvidedLibrary, layout: Layout) -> Expected:
    """Return what must be mapped of a library that is lent."""
    base = library.facts.version_base
    return Expected(
        soname=library.soname,
        names=frozenset((*library.names, *([base] if base else []))),
        provider=provider.name,
        path=library_path(layout, provider, library),
        singleton=provider.manifest is not None and provider.manifest.singleton,
    )
