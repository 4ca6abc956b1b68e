"""Platform tags as values: parsing, legacy names, comparison. No I/O.

Sources: PEP 425 (tags), PEP 513, 571, 599 (manylinux1, 2010, 2014), PEP 600 (manylinux_X_Y), PEP 656 (musllinux),
PEP 738 (Android).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from nativelib.facts.elf import Libc


class Family(StrEnum):
    """What a platform tag promises something about."""

    MANYLINUX = "manylinux"
    """A glibc of at least the version of the tag."""
    MUSLLINUX = "musllinux"
    """A musl of at least the version of the tag."""
    LINUX = "linux"
    """Linux, with no promise about its libraries."""
    ANDROID = "android"
    """An Android API level."""
    ANY = "any"
    """Every platform."""
    FOREIGN = "foreign"
    """Another operating system, or a tag that is not understood."""


_LIBCS = {Family.MANYLINUX: Libc.GLIBC, Family.MUSLLINUX: Libc.MUSL, Family.ANDROID: Libc.BIONIC}

_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_LEGACY_NAMES: dict[tuple[int, ...], str] = {version: name for name, version in _LEGACY.items()}

_VERSIONED = re.compile(r"(manylinux|musllinux)_(\d+)_(\d+)_(\w+)")
_LEGACY_TAG = re.compile(r"(manylinux1|manylinux2010|manylinux2014)_(\w+)")
_ANDROID = re.compile(r"android_(\d+)_(\w+)")
_LINUX = re.compile(r"linux_(\w+)")
_EXTENSION_SUFFIX = re.compile(r"\.cpython-3(\d+)[a-z]*-\w+-linux-(gnu|musl|android)\w*\.so$")
_EXTENSION = re.compile(r"\.(cpython-\d[\w-]*|pypy\d[\w-]*|abi3)\.so$")

_POLICY_ARCHITECTURES = {"armv6l": "armv7l", "armv8l": "armv7l"}

ANDROID_ABIS = {"aarch64": "arm64_v8a", "armv7l": "armeabi_v7a", "i686": "x86", "x86_64": "x86_64"}
"""Architecture to the name that Android's tags have for it (``sysconfig.get_platform()`` of CPython, PEP 738)."""
_ANDROID_ARCHITECTURES = {abi: architecture for architecture, abi in ANDROID_ABIS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformTag:
    """One platform tag. A legacy name and its PEP 600 twin are the same value."""

    family: Family
    version: tuple[int, ...] = ()
    """Version of the C library, or Android's API level; empty where the family has none."""
    architecture: str = ""
    """Architecture as the tag spells it; empty for ``any`` and foreign tags."""
    text: str
    """The tag, in its PEP 600 spelling where there is one."""

    @classmethod
    def parse(cls, tag: str) -> PlatformTag:
        """Return the value of *tag*. Never fails: what is not understood is of the foreign family."""
        if match := _VERSIONED.fullmatch(tag):
            version = (int(match[2]), int(match[3]))
            return cls._versioned(Family(match[1]), version, match[4])
        if match := _LEGACY_TAG.fullmatch(tag):
            return cls._versioned(Family.MANYLINUX, _LEGACY[match[1]], match[2])
        if match := _ANDROID.fullmatch(tag):
            return cls(family=Family.ANDROID, version=(int(match[1]),), architecture=match[2], text=tag)
        if match := _LINUX.fullmatch(tag):
            return cls(family=Family.LINUX, architecture=match[1], text=tag)
        return cls(family=Family.ANY if tag == "any" else Family.FOREIGN, text=tag)

    @classmethod
    def _versioned(cls, family: Family, version: tuple[int, int], architecture: str) -> PlatformTag:
        text = f"{family}_{version[0]}_{version[1]}_{architecture}"
        return cls(family=family, version=version, architecture=architecture, text=text)

    @property
    def libc(self) -> Libc | None:
        """The C library that the tag names, or ``None`` where it names none."""
        return _LIBCS.get(self.family)

    @property
    def policy_architecture(self) -> str:
        """The architecture whose policies apply: 32-bit ARM of every kind is judged as ``armv7l``."""
        if self.family is Family.ANDROID:
            return _ANDROID_ARCHITECTURES.get(self.architecture, "")
        return _POLICY_ARCHITECTURES.get(self.architecture, self.architecture)

    def newer_than(self, other: PlatformTag) -> bool:
        """Return whether it asks for a newer system than *other*; never across families or architectures."""
        same = self.family == other.family and self.architecture == other.architecture
        return same and self.version > other.version

    @property
    def sort_key(self) -> tuple[str, str, tuple[int, ...], str]:
        """A key that keeps a family and architecture together, oldest first."""
        return (self.family.value, self.architecture, self.version, self.text)


def aliases(tag: str) -> tuple[str, ...]:
    """Return the other spellings of *tag*: ``manylinux2014_x86_64`` for ``manylinux_2_17_x86_64``, and back."""
    value = PlatformTag.parse(tag)
    if value.family is not Family.MANYLINUX:
        return ()
    legacy = _LEGACY_NAMES.get(value.version)
    spellings = {value.text} | ({f"{legacy}_{value.architecture}"} if legacy else set())
    return tuple(sorted(spellings - {tag}))


def is_extension(filename: str) -> bool:
    """Return whether CPython or PyPy would import *filename* as an extension module; a bare ``.so`` proves nothing."""
    return _EXTENSION.search(filename) is not None


def libc_of_extension(filename: str) -> Libc | None:
    """Return the C library that the ``EXT_SUFFIX`` of *filename* names, or ``None`` if it proves nothing.

    CPython names musl in it since 3.11; before, ``-linux-gnu`` was written on musl as well. Android has been named
    since 3.13.
    """
    match = _EXTENSION_SUFFIX.search(filename)
    if match is None:
        return None
    if match[2] != "gnu":
        return Libc.MUSL if match[2] == "musl" else Libc.BIONIC
    return Libc.GLIBC if int(match[1]) >= 11 else None
