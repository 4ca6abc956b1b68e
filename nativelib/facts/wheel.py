"""What is known about one wheel file. No I/O."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, parse_wheel_filename

from nativelib.facts.manifest import MANIFEST
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.hint import Opened
    from nativelib.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """The parts of a wheel's file name (binary distribution format, PEP 427), as they are written."""

    distribution: str
    version: str
    build: str = ""
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @classmethod
    def parse(cls, filename: str) -> WheelName:
        """Return the parts of *filename*.

        Raises ``packaging.utils.InvalidWheelFilename`` if it is not a wheel's name.
        """
        parse_wheel_filename(filename)
        *head, pythons, abis, platforms = filename[: -len(".whl")].split("-")
        return cls(
            distribution=head[0],
            version=head[1],
            build=head[2] if len(head) == 3 else "",
            pythons=tuple(pythons.split(".")),
            abis=tuple(abis.split(".")),
            platforms=tuple(platforms.split(".")),
        )

    def __str__(self) -> str:
        """Return the file name."""
        head = [self.distribution, self.version] + ([self.build] if self.build else [])
        tags = [".".join(self.pythons), ".".join(self.abis), ".".join(self.platforms)]
        return "-".join(head + tags) + ".whl"

    @property
    def normalized(self) -> str:
        """The normalised distribution name (PEP 503)."""
        return str(canonicalize_name(self.distribution))

    @property
    def tags(self) -> tuple[str, ...]:
        """The expanded tags, as ``WHEEL`` lists them: platforms vary fastest."""
        return tuple(f"{p}-{a}-{f}" for p in self.pythons for a in self.abis for f in self.platforms)

    @property
    def narrow_unicode(self) -> bool:
        """Whether its tag says that it is for a narrow Unicode build: ``cp27m``, not ``cp27mu`` (PEP 513)."""
        return all(re.fullmatch(r"cp2\dd?m?", abi) for abi in self.abis)

    def with_platforms(self, platforms: tuple[str, ...]) -> WheelName:
        """Return the same name with other platform tags."""
        return replace(self, platforms=platforms)


class Scheme(StrEnum):
    """Where an installer puts a member. ``platlib`` and ``purelib`` are one place for run paths: ``SITE``."""

    SITE = "site"
    DATA = "data"
    SCRIPTS = "scripts"
    HEADERS = "headers"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a member is after installation: a scheme and a path relative to its root."""

    scheme: Scheme
    path: str

    @property
    def directory(self) -> str:
        """The directory of the file, relative to the scheme's root; empty for the root itself."""
        return posixpath.dirname(self.path)


_SCHEMES = {
    "platlib": Scheme.SITE,
    "purelib": Scheme.SITE,
    "data": Scheme.DATA,
    "scripts": Scheme.SCRIPTS,
    "headers": Scheme.HEADERS,
}


def place_of(member: str) -> Place:
    """Return where *member* will be after installation (PEP 427, the .data directory)."""
    first, _, rest = member.partition("/")
    if first.endswith(".data") and rest:
        scheme, _, path = rest.partition("/")
        if scheme in _SCHEMES and path:
            return Place(_SCHEMES[scheme], path)
    return Place(Scheme.SITE, member)


_BEHIND = re.compile(r"_(?P<name>\w+)_nl(?P<suffix>\..*\bso)")
_PROGRAMS = ".scripts"


def behind_loader(member: str) -> tuple[str, str]:
    """Return where the extension *member* goes when a loader module takes its place, and that module.

    It stays in its directory, so that ``os.path.dirname(__file__)`` is what it was: ``pkg/fast.abi3.so`` becomes
    ``pkg/_fast_nl.abi3.so`` behind ``pkg/fast.py``.
    """
    directory, file = posixpath.split(member)
    stem, dot, suffix = file.partition(".")
    return posixpath.join(directory, f"_{stem}_nl{dot}{suffix}"), posixpath.join(directory, f"{stem}.py")


def behind_script(member: str, distribution: str) -> str:
    """Return where the program *member* of the scripts scheme goes when a script takes its place."""
    return f"{distribution}{_PROGRAMS}/{posixpath.basename(member)}"


def companion_of(member: str, data_dir: str) -> str | None:
    """Return the loader module or script that may stand in front of a file which an earlier repair moved, or ``None``.

    It depends on the name alone; the text of the companion says whether it really is one.
    """
    directory, file = posixpath.split(member)
    if directory.endswith(_PROGRAMS) and "/" not in directory:
        return f"{data_dir}/scripts/{file}"
    behind = _BEHIND.fullmatch(file)
    return posixpath.join(directory, f"{behind['name']}.py") if behind else None


def skipped_members(names: Iterable[str], globs: Iterable[str], dist_info: str) -> tuple[str, ...]:
    """Return those of the members *names* that a glob of ``--skip`` matches.

    ``*`` also matches ``/``. The directory *dist_info* is never left as it is: a repair has to write it.
    """
    globs = tuple(globs)
    return tuple(
        name
        for name in names
        if not name.startswith(f"{dist_info}/") and any(fnmatchcase(name, glob) for glob in globs)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in the archive. Directory entries are not members."""

    name: str
    """Path in the archive, with ``/``."""
    size: int
    """Bytes, uncompressed."""
    compressed_size: int
    """Bytes in the archive."""
    crc: int
    """CRC-32 of the content."""
    method: int
    """0 stored, 8 deflated."""
    mode: int
    """Permission bits (``0o644``), without file type."""
    date_time: tuple[int, int, int, int, int, int]
    """Time stamp as the archive has it."""
    header_offset: int
    """Offset of the local header in the archive."""
    sha256: str
    """SHA-256 of the content, as hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFacts:
    """Everything that nativelib wants to know about one wheel."""

    path: str
    """Absolute path of the file."""
    sha256: str
    """SHA-256 of the file, as hex."""
    name: WheelName
    """Its file name."""
    members: tuple[Member, ...]
    """Members in archive order, ``RECORD`` included."""
    normal: bool
    """Whether the archive has the order and form that nativelib writes, so that a repair need not normalise it."""
    dist_info: str
    """Name of the ``.dist-info`` directory, without a slash."""
    metadata: str
    """Text of ``METADATA``."""
    wheel: str
    """Text of ``WHEEL``."""
    elf: Mapping[str, ElfFacts]
    """Facts of each ELF member."""
    texts: Mapping[str, bytes] = field(default_factory=dict)
    """Content of small members that plans edit or read: ``__init__.py``, ``_distributor_init.py``, dist-info files."""
    opened: tuple[Opened, ...] = ()
    """Libraries that its code seems to open at run time, in the order of the archive; empty unless asked for."""
    skipped: tuple[str, ...] = ()
    """Members that were not read as ELF files, because the user said so."""
    findings: tuple[Finding, ...] = ()
    """What reading found and lived with: an unreadable ELF file that nothing may need, for example."""

    @property
    def filename(self) -> str:
        """The file name as a string."""
        return str(self.name)

    @property
    def unread(self) -> bool:
        """Whether it has, or may have, ELF files of which nothing is known."""
        return bool(self.skipped) or any(finding.code is Code.BAD_ELF for finding in self.findings)

    @property
    def is_library_wheel(self) -> bool:
        """Whether it is a library wheel that nativelib built: it has a manifest."""
        return self.member(f"{self.dist_info}/{MANIFEST}") is not None

    @property
    def data_dir(self) -> str:
        """Name of the ``.data`` directory, whether there is one or not."""
        return f"{self.dist_info.removesuffix('.dist-info')}.data"

    def member(self, name: str) -> Member | None:
        """Return the member called *name*, or ``None``."""
        return next((m for m in self.members if m.name == name), None)
