"""Which package of the system owns a file: the databases of dpkg, rpm and apk, read without their tools.

A database is never trusted: what is broken in it means at most that an owner stays unknown. Reading is bounded in size
and time.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.facts.package import Owners
from nativelib.findings import Code, Finding, note
from nativelib.read.bounded import read_bounded
from nativelib.read.packages_apk import apk_owners
from nativelib.read.packages_dpkg import dpkg_owners
from nativelib.read.packages_rpm import rpm_owners

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.package import Package

_READERS = {"dpkg": dpkg_owners, "rpm": rpm_owners, "apk": apk_owners}
_MAX_OS_RELEASE = 1 << 20
_MAX_LINKS = 40  # as many as the kernel follows, path_resolution(7)


def find_owners(files: Mapping[str, str], root: Path = Path("/")) -> Owners:
    """Return the packages that own *files*: real paths, each with the path under which it was found.

    *root* is where the machine's files are. Nothing is read if there are no *files*.
    """
    names = {path: _names(path, found, root) for path, found in files.items()}
    known: dict[str, Package] = {}
    findings: list[Finding] = []
    for manager, reader in _READERS.items():
        wanted = {name for group in names.values() if known.keys().isdisjoint(group) for name in group}
        try:
            found = reader(wanted, root) if wanted else {}
        except (ImportError, OSError, ValueError, struct.error) as problem:  # not every Python is built with sqlite3
            findings.append(_unreadable(manager, problem))
            continue
        known |= {name: package for name, package in found.items() if package.sound}
    vendor, release = _os_release(root) if known else ("", "")
    packages = {
        path: replace(known[owned], vendor=vendor, release=release)
        for path, group in names.items()
        if (owned := next((name for name in group if name in known), None)) is not None
    }
    return Owners(packages=packages, findings=tuple(findings))


def _unreadable(manager: str, problem: Exception) -> Finding:
    text = f"The database of installed packages cannot be read ({problem}), so it is not known who owns what is copied."
    return note(Code.PACKAGES_UNREADABLE, manager, text)


def _names(path: str, found: str, root: Path) -> tuple[str, ...]:
    """Return the names under which a database may know the file *path*, the likeliest first.

    Packages name files by directories that may since have become links (``/lib`` to ``/usr/lib``), so beside the real
    path there is the one at the end of the links that lead from *found*, and both with and without ``/usr``. A link to
    the file is not the file: it may belong to another package, or to none.
    """
    real = os.path.realpath(_below(root, path))
    last = found
    for _ in range(_MAX_LINKS):
        try:
            target = os.readlink(_below(root, last))  # noqa: PTH115 - Path would tidy the name
        except OSError:  # no link, so this is the end
            break
        last = os.path.normpath(Path(last).parent / target)
    candidates = [name for given in (path, last) for name in (given, *_usr_merged(given))]
    same = (name for name in candidates if os.path.realpath(_below(root, name)) == real)
    return tuple(dict.fromkeys(same))


def _usr_merged(path: str) -> tuple[str, ...]:
    return (path.removeprefix("/usr"),) if path.startswith("/usr/") else (f"/usr{path}",)


def _below(root: Path, path: str) -> str:
    return f"{str(root).rstrip('/')}/{path.lstrip('/')}"


def _os_release(root: Path) -> tuple[str, str]:
    """Return ``ID`` and ``VERSION_ID`` of os-release(5)."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            text = read_bounded(root / name, _MAX_OS_RELEASE).decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        found = dict(re.findall(r"(?m)^(ID|VERSION_ID)=[\"']?([\w.-]*)[\"']?\s*$", text))
        return found.get("ID", ""), found.get("VERSION_ID", "")
    return "", ""
