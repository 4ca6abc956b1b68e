"""Licence files of the project that describes a library wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.facts.prefix import PrefixLicense
from nativelib.read.prefix_files import digest, unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def project_licenses(directory: Path, files: Sequence[str]) -> tuple[PrefixLicense, ...]:
    """Return the licence *files* of the project in *directory*; they keep their paths below ``licenses/`` (PEP 639)."""
    out: list[PrefixLicense] = []
    for name in files:
        path = (directory / name).absolute()
        try:
            sha256, size = digest(str(path))
        except OSError as problem:
            raise ReadError([unreadable(str(path), problem)]) from problem
        out.append(PrefixLicense(source=str(path), matched=name, sha256=sha256, size=size, destination=name))
    return tuple(out)
