"""The files of a provider that is no wheel file: an installed distribution, or an unpacked wheel."""

from __future__ import annotations

import sys
from pathlib import Path
from posixpath import normpath
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from nativelib.errors import ReadError
from nativelib.facts.wheel import place_of
from nativelib.findings import Code
from nativelib.read.command import python_paths
from nativelib.read.provider import installed_place, split_target

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import Place


def provider_wheel(provider: Provider) -> Path | None:
    """Return the wheel file that *provider* was read from, or ``None`` if it was something else."""
    target = Path(split_target(provider.origin)[1])
    return target if target.is_file() else None


def provider_files(provider: Provider, *, python: str | None = None) -> list[tuple[Path, Place]]:
    """Return each file of a *provider* that was read from an installation or a directory, and where it belongs.

    *python* is the interpreter whose installed distributions count. Raises ReadError.
    """
    distribution = _distribution(provider, python)
    site = str(distribution.locate_file(""))
    found: list[tuple[Path, Place]] = []
    for entry in distribution.files or ():
        source = Path(str(distribution.locate_file(entry)))
        place = place_of(entry.as_posix()) if ".data/" in str(entry) else installed_place(site, entry.as_posix())
        if place is not None and not normpath(place.path).startswith("..") and source.is_file():
            found.append((source, place))
    return found


def _distribution(provider: Provider, python: str | None) -> Distribution:
    from importlib.metadata import PathDistribution, distributions

    target = split_target(provider.origin)[1]
    for info in sorted(Path(target).glob("*.dist-info")):
        return PathDistribution(info)
    paths = list(python_paths(python)) if python else sys.path
    for distribution in distributions(name=Requirement(target).name, path=paths):
        return distribution
    raise ReadError.of(Code.NOT_FOUND, provider.origin, "It is no longer installed.")
