"""The files of a release, and wheels of providers, as far as their metadata goes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name

from nativelib.errors import ReadError
from nativelib.facts.manifest import MANIFEST
from nativelib.facts.metadata import parse_metadata
from nativelib.facts.release import DistFile, ProviderWheel
from nativelib.facts.wheel import WheelName
from nativelib.findings import Code
from nativelib.read.archive import WheelArchive
from nativelib.read.archive_sdist import is_sdist, read_sdist
from nativelib.read.wheel import read_dist_info

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path


def read_dist(path: Path, wanted: Sequence[str] = ()) -> DistFile:
    """Return the facts of one file of a release; *wanted* are files of a wheel's ``.dist-info`` whose text is kept.

    Raises :class:`ReadError` whose findings name the file.
    """
    try:
        if is_sdist(path):
            return read_sdist(path)
        name, texts = read_dist_info(path, wanted)
    except ReadError as problem:
        raise ReadError(
            f if f.where == str(path) else replace(f, where=f"{path}: {f.where}") for f in problem.findings
        ) from None
    metadata = parse_metadata(texts["METADATA"].decode())
    return DistFile(path=_absolute(path), metadata=metadata, wheel=name, texts=texts)


def read_provider_wheels(
    named: Sequence[Path], directories: Sequence[Path], required: Collection[str]
) -> tuple[ProviderWheel, ...]:
    """Return the wheels *named* as providers, and those in *directories* of the distributions *required*.

    Raises :class:`ReadError` for what is named and is no wheel, for a directory that cannot be listed, and for a wheel
    in it that is damaged.
    """
    found = [ProviderWheel(path=_absolute(path), wheel=_named(path), counts=True) for path in named]
    known = {wheel.path for wheel in found}
    for directory in directories:
        found += [wheel for wheel in _listed(directory, required) if wheel.path not in known]
    return tuple(found)


def _named(path: Path) -> WheelName:
    """Return the parts of the name of a wheel that was named as a provider."""
    remedy = "Give the wheel files of the provider, or the directory that has them with --find-links."
    if not path.is_file():
        raise ReadError.of(Code.NOT_FOUND, str(path), "There is no such file.", remedy)
    try:
        return WheelName.parse(path.name)
    except InvalidWheelFilename as cause:
        raise ReadError.of(Code.NOT_A_PROVIDER, str(path), f"It is no wheel: {cause}.", remedy) from None


def _listed(directory: Path, required: Collection[str]) -> Iterator[ProviderWheel]:
    try:
        names = sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(".whl"))
    except OSError as cause:
        raise ReadError.of(Code.NOT_FOUND, str(directory), f"It cannot be listed: {cause.strerror}.") from None
    for name in names:
        path = directory / name
        if canonicalize_name(name.partition("-")[0]) in required:
            # Without a look at RECORD, which is wrong in published providers.
            with WheelArchive(path) as archive:
                ours = any(entry.name.endswith(f".dist-info/{MANIFEST}") for entry in archive.entries)
                yield ProviderWheel(path=_absolute(path), wheel=archive.name, counts=ours)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.resolve() would follow links, and the file name counts
