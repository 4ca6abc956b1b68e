"""The values of the policy room. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from nativelib.facts.elf import Libc, is_libpython
from nativelib.facts.tags import ANDROID_ABIS

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one platform tag allows on one architecture (PEP 600, PEP 656, PEP 738)."""

    name: str
    """The tag without its architecture: ``manylinux_2_17``; of a user's own policy, the name that the user gave it."""
    aliases: tuple[str, ...]
    """Legacy names without architecture: ``manylinux2014``."""
    libc: Libc
    version: tuple[int, ...]
    """Version of the C library; Android's API level. Zeros in a user's own policy that extends none."""
    architecture: str
    libraries: frozenset[str] = field(hash=False)
    """Sonames that every such system has."""
    symbol_versions: Mapping[str, frozenset[str]] = field(hash=False)
    """Prefix -> versions that every such system has: ``GLIBC`` -> ``2.17``. Other prefixes are not judged."""
    forbidden: Mapping[str, frozenset[str]] = field(hash=False)
    """Soname -> symbols that some of these systems do not export, though their version node is allowed."""

    platform: str = ""
    """The tag without its architecture, where *name* is not that."""

    @property
    def machine(self) -> str:
        """The architecture as the tag spells it: Android's tags have names of their own."""
        return ANDROID_ABIS[self.architecture] if self.libc is Libc.BIONIC else self.architecture

    @property
    def tag(self) -> str:
        """The platform tag, without aliases."""
        return f"{self.platform or self.name}_{self.machine}"

    @property
    def relr(self) -> bool:
        """Whether the loader knows ``DT_RELR``.

        glibc does since 2.36, musl since 1.2.4, Android since API level 30 (bionic, "Android changes for NDK
        developers"). A tag cannot tell musl 1.2.4 from 1.2.0 (PEP 656), and the compiler's own libraries are linked so
        where musllinux_1_2 wheels are built: musl 1.2 passes.
        """
        if self.libc is Libc.GLIBC:
            return self.allows_version("GLIBC_ABI_DT_RELR")
        # A user's own policy that extends nothing says no version, and nothing is judged that it does not say.
        return not any(self.version) or self.version >= ((1, 2) if self.libc is Libc.MUSL else (30,))

    def allows_library(self, soname: str) -> bool:
        """Return whether the system brings *soname*.

        On Android extension modules need libpython, which is the interpreter's (PEP 738).
        """
        return soname in self.libraries or (self.libc is Libc.BIONIC and is_libpython(soname))

    def allows_version(self, version: str) -> bool:
        """Return whether the version node *version* (``GLIBC_2.17``) is there, or its prefix is not judged."""
        prefix, _, number = version.partition("_")
        known = self.symbol_versions.get(prefix)
        return known is None or number in known


class ObstacleKind(StrEnum):
    """Why a policy is not met."""

    VERSION = "version"
    """A symbol version that the policy does not have."""
    LIBRARY = "library"
    """A library from the system that the policy does not allow."""
    FORBIDDEN = "forbidden"
    """A symbol that some systems of the policy do not export."""
    ISA = "isa"
    """Instructions beyond the baseline of the architecture."""
    MACHINE = "machine"
    """A calling convention other than the architecture's, or no file for it at all."""
    RELR = "relr"
    """Relative relocations (``DT_RELR``) that the loader does not know."""
    PYFPE = "pyfpe"
    """Symbols of Python's ``--with-fpectl``, which most interpreters lack."""
    UCS2 = "ucs2"
    """Symbols of narrow Unicode builds of Python 2."""
    UNVERSIONED = "unversioned"
    """Nothing shows that an older musl, or an API level of Android, suffices."""
    API_LEVEL = "api-level"
    """Built for a newer Android."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One reason why one policy is not met."""

    policy: str
    """Name of the policy, without architecture."""
    member: str
    """The file that it is about; empty if it is about all of them."""
    kind: ObstacleKind
    detail: str
    """One plain line that begins with a verb: ``needs GLIBC_2.34 of libc.so.6 (pthread_create)``."""
    symbols: tuple[str, ...] = ()
    """The names behind it, all of them, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a set of files deserves."""

    policy: Policy | None
    """The oldest policy that everything meets, or ``None``."""
    tag: str
    """Its platform tag, or ``linux_<architecture>``."""
    obstacles: tuple[Obstacle, ...]
    """For every policy older than the one reached: why not. The newest of these policies comes first."""
    versioned_symbols: Mapping[str, frozenset[str]] = field(hash=False)
    """Library -> versions needed from the system, over all files. Loaders are judged, but not listed."""
    ignored: tuple[str, ...] = ()
    """Files that were not judged, because they are for another architecture or C library."""
