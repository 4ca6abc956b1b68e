"""Which Alpine package owns a file: the installed database of apk(8).

A package is a paragraph of ``letter:value`` lines (apk-package(5) has the letters): ``P`` name, ``V`` version, ``A``
architecture, ``L`` licence, ``m`` maintainer; ``F`` a directory, below the root and without a slash in front; ``R`` a
file in the directory before it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nativelib.facts.package import Package
from nativelib.read.bounded import read_bounded

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_MAX_DATABASE = 256 << 20


def apk_owners(names: Collection[str], root: Path) -> dict[str, Package]:
    """Return the package that owns each of the files *names*, as far as it is known.

    Raises OSError or ValueError if the database cannot be read; it is no error that there is none.
    """
    path = next((root / name for name in _DATABASES if (root / name).exists()), None)
    if path is None:
        return {}
    wanted = {os.fsencode(name): name for name in names}
    tails = {b"\nR:%s\n" % name.rpartition(b"/")[2] for name in wanted}
    owners: dict[str, Package] = {}
    for paragraph in read_bounded(path, _MAX_DATABASE).split(b"\n\n"):
        text = b"%s\n" % paragraph
        if any(tail in text for tail in tails):
            fields, files = _parse(text)
            package = Package(
                kind="apk",
                name=fields.get("P", ""),
                version=fields.get("V", ""),
                architecture=fields.get("A", ""),
                supplier=fields.get("m", "").partition("<")[0].strip(),
                licences=(fields["L"],) if fields.get("L") else (),
            )
            owners |= {wanted[file]: package for file in files if file in wanted}
    return owners


def _parse(text: bytes) -> tuple[dict[str, str], list[bytes]]:
    """Return the fields of a package, and the paths of its files."""
    fields: dict[str, str] = {}
    files: list[bytes] = []
    directory = b""
    for line in text.split(b"\n"):
        key, _, value = line.partition(b":")
        if key == b"F":
            directory = b"/%s" % value if value else b""
        elif key == b"R":
            files.append(b"%s/%s" % (directory, value))
        else:
            fields.setdefault(key.decode("ascii", "replace"), value.decode("utf-8", "replace").strip())
    return fields, files
