"""Which rpm package owns a file: the database of rpm(8), as ``rpm -qf`` reads it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from nativelib.facts.package import Package
from nativelib.read.packages_rpm_stores import bdb_headers, ndb_headers, sqlite_headers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_DIRECTORIES = ("usr/lib/sysimage/rpm", "var/lib/rpm")
_STORES = {"rpmdb.sqlite": sqlite_headers, "Packages.db": ndb_headers, "Packages": bdb_headers}
"""File of each format. A database that was converted leaves the older file behind, so the newest format comes first."""

# Tags of a header, rpm's rpmtag.h.
_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENCE, _ARCHITECTURE = 1000, 1001, 1002, 1003, 1011, 1014, 1022
_FILE_STATES, _DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES = 1029, 1116, 1117, 1118

_ON_DISK = frozenset({0, 3})
"""States of a file that is there: normal, and in a directory that is shared over a network (rpmfi.h)."""


def rpm_owners(names: Collection[str], root: Path) -> dict[str, Package]:
    """Return the package that owns each of the files *names*, as far as it is known.

    Raises OSError, ValueError or struct.error if the database cannot be read; it is no error that there is none.
    """
    places = (root / directory / name for name in _STORES for directory in _DIRECTORIES)
    path = next((place for place in places if place.exists()), None)
    if path is None:
        return {}
    wanted = {os.fsencode(name): name for name in names}
    owners: dict[str, Package] = {}
    for blob in _STORES[path.name](path, {name.rpartition(b"/")[2] for name in wanted}):
        header = _Header.of(blob)
        owned = [wanted[file] for file in header.files() if file in wanted]
        if owned:
            package = header.package()
            owners = {**dict.fromkeys(owned, package), **owners}
    return owners


class _Header(NamedTuple):
    """The header of a package: an index of 16-byte entries (tag, type, offset, count), and what they point into.

    "RPM V4 Package format" of rpm's manual, section "Header"; in a database the magic number in front is left out.
    """

    places: dict[int, tuple[int, int]]
    """Offset and count of each tag."""
    store: bytes

    @classmethod
    def of(cls, blob: bytes) -> _Header:
        """Return the header in *blob*. Raises ValueError or struct.error if there is none."""
        entries, size = struct.unpack_from(">II", blob)
        start = 8 + 16 * entries
        if start + size > len(blob):
            raise ValueError("the header of a package is cut off")
        places = {
            tag: (offset, count)
            for tag, _type, offset, count in struct.iter_unpack(">4I", blob[8:start])
            if offset <= size and count <= size
        }
        return cls(places, blob[start : start + size])

    def texts(self, tag: int) -> list[bytes]:
        """Return an array of strings."""
        offset, count = self.places.get(tag, (0, 0))
        return self.store[offset:].split(b"\0", count)[:count]

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return an array of 32-bit integers."""
        offset, count = self.places.get(tag, (0, 0))
        return struct.unpack_from(f">{count}I", self.store, offset)

    def text(self, tag: int) -> str:
        """Return a string; empty if it is not there."""
        return b"".join(self.texts(tag)[:1]).decode("utf-8", "replace")

    def files(self) -> Iterator[bytes]:
        """Yield the paths of the package's files that are on the disk."""
        directories = self.texts(_DIRECTORY_NAMES)
        offset, count = self.places.get(_FILE_STATES, (0, 0))
        states = self.store[offset : offset + count]
        files = zip(self.texts(_BASE_NAMES), self.numbers(_DIRECTORY_INDEXES), strict=False)
        for number, (name, directory) in enumerate(files):
            if directory < len(directories) and (number >= len(states) or states[number] in _ON_DISK):
                yield directories[directory] + name

    def package(self) -> Package:
        """Return what the header says of the package."""
        licence = " ".join(self.text(_LICENCE).split())
        return Package(
            kind="rpm",
            name=self.text(_NAME),
            version=f"{self.text(_VERSION)}-{self.text(_RELEASE)}",
            architecture=self.text(_ARCHITECTURE),
            epoch="".join(map(str, self.numbers(_EPOCH)[:1])),
            supplier=self.text(_VENDOR).strip(),
            licences=(licence,) if licence else (),
        )
