"""What the search path gave: libraries that are not in the wheel. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.elf import ElfFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMusl:
    """A copy of musl that lies on the search path."""

    path: str
    version: tuple[int, int]
    exports: frozenset[str]
    """Names of its symbols; they have no versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the search path gave so far."""

    paths: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """(requester, soname) to the real path found, or ``None`` after a vain search."""
    files: Mapping[str, ElfFacts] = field(default_factory=dict)
    """Facts of each file found."""
    candidates: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(requester, soname) to the path under which the file was found: what links lead to is in *paths*."""
    tried: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """(requester, soname) of a vain search to the directories that were tried, run paths included."""
    searched: tuple[str, ...] = ()
    """Directories of the search path, in order."""
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Soname to the reason why a file of that name was passed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Included:
    """A library that no file needs, and that the user wants copied in, because code opens it at run time."""

    name: str
    """The name by which code opens it."""
    path: str
    """Real path; its facts stand in `Outside.files`."""
