"""What a library wheel takes from a prefix. No I/O."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nativelib.facts.elf import ElfFacts
    from nativelib.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixFile:
    """A file that a glob of the spec matched."""

    source: str
    """Absolute path of the real file."""
    matched: str
    """Path below the prefix that the glob matched, with the links that are in it."""
    sha256: str
    """SHA-256 of the file, as hex."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixLibrary(PrefixFile):
    """A shared library, once, however many links lead to it."""

    elf: ElfFacts
    also: tuple[str, ...] = ()
    """Further paths below the prefix that the globs matched and that are this file."""

    @property
    def file_name(self) -> str:
        """Name of the real file."""
        return posixpath.basename(self.source)

    @property
    def soname(self) -> str:
        """The original soname: ``DT_SONAME``, or the file name where there is none."""
        return self.elf.soname or self.file_name


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixHeader(PrefixFile):
    """A header."""

    destination: str
    """Path below the wheel's ``include/``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixProgram(PrefixFile):
    """A program."""

    name: str
    """Name of the command, as matched."""
    elf: ElfFacts | None
    """``None`` for a script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixLicense(PrefixFile):
    """A licence file. For one of the project, ``matched`` is the path below the project's directory."""

    destination: str
    """Path below ``.dist-info/licenses/``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixArchive(PrefixFile):
    """A static library."""

    name: str
    """File name, as matched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixFacts:
    """Everything that a library wheel takes from a prefix; each tuple is sorted by destination or path."""

    root: str
    """Absolute path of the prefix, without links."""
    libraries: tuple[PrefixLibrary, ...]
    headers: tuple[PrefixHeader, ...] = ()
    programs: tuple[PrefixProgram, ...] = ()
    licenses: tuple[PrefixLicense, ...] = ()
    archives: tuple[PrefixArchive, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Notes: what matched and was left out."""


def header_destinations(matched: Collection[str], to: str | None) -> Mapping[str, str]:
    """Return the path below ``include/`` for each header that one rule *matched* (paths below the prefix).

    Stripped is the part up to the first directory on the way to the file that holds a match itself.
    """
    holding = {posixpath.dirname(path) for path in matched}

    def stripped(path: str) -> str:
        parts = path.split("/")
        first = next(k for k in range(len(parts)) if "/".join(parts[:k]) in holding)
        return "/".join(([to] if to else []) + parts[first:])

    return {path: stripped(path) for path in matched}


def license_destinations(matched: Collection[str], taken: Collection[str]) -> Mapping[str, str]:
    """Return the path below ``licenses/`` for each licence file *matched*: its name, unless another one has it.

    Then as many directories as are needed stand in front, nearest first: ``libgomp1/copyright``. *taken* are paths
    below ``licenses/`` that are not free.
    """
    depth = dict.fromkeys(matched, 1)

    def short(path: str) -> str:
        return "/".join(path.split("/")[-depth[path] :])

    while True:
        names = [short(path) for path in matched]
        clashing = [p for p in matched if short(p) in taken or names.count(short(p)) > 1]
        deeper = [path for path in clashing if depth[path] < path.count("/") + 1]
        if not deeper:
            return {path: short(path) for path in matched}
        for path in deeper:
            depth[path] += 1
