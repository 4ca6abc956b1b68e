"""What is known about a provider: where a soname comes from, seen from a consumer. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from nativelib.facts.tags import PlatformTag
from nativelib.facts.wheel import Scheme

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.specifiers import SpecifierSet

    from nativelib.facts.elf import ElfFacts, Libc
    from nativelib.facts.manifest import Manifest


class ProviderKind(StrEnum):
    """How the hook loads it."""

    OWN = "own"
    """Built by nativelib: importing the package preloads, on glibc and on musl."""
    FOREIGN = "foreign"
    """Found without importing and opened by path."""
    IMPORT = "import"
    """Foreign, and meant to be imported (``--import-provider``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvidedLibrary:
    """One library of a provider."""

    soname: str
    """``DT_SONAME``, or the file name without one."""
    original_soname: str
    """The soname before it was made unique; the same where it was kept."""
    aliases: tuple[str, ...] = ()
    """Further sonames that consumers may have had."""
    file: str
    """Path below the root of its scheme: site-packages, or the environment's prefix."""
    scheme: Scheme = Scheme.SITE
    package: str = ""
    """Of foreign providers: the package, perhaps with dots, that leads to it."""
    facts: ElfFacts

    @property
    def names(self) -> tuple[str, ...]:
        """Every name under which a consumer may need it."""
        return (self.soname, self.original_soname, *self.aliases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A library wheel, an installed distribution or an unpacked wheel."""

    name: str
    """Normalised distribution name."""
    version: str
    """Version as its metadata has it."""
    origin: str
    """What the user wrote, for messages."""
    kind: ProviderKind
    import_name: str
    """Package that is imported, or looked up without importing."""
    libraries: tuple[ProvidedLibrary, ...]
    """What it offers; private grafts are not among them."""
    every: tuple[ProvidedLibrary, ...]
    """All its shared libraries, private ones too: what the loader will see."""
    manifest: Manifest | None = None
    platforms: tuple[str, ...] = ()
    """Platform tags."""
    pin: SpecifierSet | None = None
    """The specifier that the user wrote behind the name."""
    only: str | None = None
    """With ``--provided-by SONAME=X``: the only soname that it answers for."""

    def find(self, soname: str) -> ProvidedLibrary | None:
        """Return the library that consumers know as *soname*: its soname first, then the original one and aliases."""
        if self.only is not None and soname != self.only:
            return None
        for library in self.libraries:
            if soname == library.soname:
                return library
        for library in self.libraries:
            if soname in library.names:
                return library
        if self.only is None:
            return None
        # The user says that it has it: then it is the one library that none of its others needs.
        needed = {name for library in self.every for name in library.facts.needed}
        roots = [library for library in self.libraries if library.soname not in needed]
        return roots[0] if len(roots) == 1 else None

    def machines(self) -> Iterator[str]:
        """Yield the architecture of each library."""
        return (library.facts.architecture for library in self.libraries)

    @property
    def libc(self) -> Libc | None:
        """The C library of its files, by their own evidence; without any, that of its platform tags if they agree."""
        seen = next((lib.facts.libc for lib in self.every if lib.facts.libc is not None), None)
        promised = {PlatformTag.parse(tag).libc for tag in self.platforms} - {None}
        return seen or (promised.pop() if len(promised) == 1 else None)

    @property
    def label(self) -> str:
        """Name and version for messages."""
        return f"{self.name} {self.version}"
