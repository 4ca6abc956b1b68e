"""Which Debian package owns a file: the database of dpkg(1), as dpkg-query(1) reads it.

``info/*.list`` name the files of each package, ``diversions`` those that another package has pushed aside
(dpkg-divert(1)), ``status`` the packages.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from nativelib.facts.package import Package
from nativelib.read.bounded import read_bounded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

_ADMIN = "var/lib/dpkg"
_MAX_LIST, _MAX_STATUS, _MAX_COPYRIGHT = 64 << 20, 256 << 20, 4 << 20
_MAX_LICENCES = 50
_MANY = 8


def dpkg_owners(names: Collection[str], root: Path) -> dict[str, Package]:
    """Return the package that owns each of the files *names*, as far as it is known.

    Raises OSError or ValueError if the database cannot be read; it is no error that there is none.
    """
    admin = root / _ADMIN
    if not (admin / "info").is_dir():
        return {}
    pushed = _diversions(admin)
    # A file that was pushed aside stands in the list of its package under the name that it had before.
    listed = {name: pushed[name][0] if name in pushed else name for name in names}
    lists = _lists(admin / "info", {os.fsencode(name) for name in listed.values()})
    pushers = dict(pushed.values())
    owners: dict[str, str] = {}
    for name, before in listed.items():
        for owner in lists.get(os.fsencode(before), ()):
            # What was pushed aside is anyone's but the package's that pushed, and what lies in its place is that one's.
            if before not in pushers or (owner.partition(":")[0] != pushers[before]) == (name in pushed):
                owners.setdefault(name, owner)
    status = read_bounded(admin / "status", _MAX_STATUS) if owners else b""
    packages = {owner: _package(owner, status, root) for owner in sorted(set(owners.values()))}
    return {name: package for name, owner in owners.items() if (package := packages[owner]) is not None}


def _diversions(admin: Path) -> dict[str, tuple[str, str]]:
    """Return for each name that a file was pushed aside to: the name that it had, and the package that pushed it.

    For a diversion of the administrator, a colon stands for the package.
    """
    try:
        lines = os.fsdecode(read_bounded(admin / "diversions", _MAX_LIST)).split("\n")
    except FileNotFoundError:
        return {}
    groups = zip(lines[0::3], lines[1::3], lines[2::3], strict=False)
    return {after: (before, package) for before, after, package in groups}


def _lists(info: Path, names: Collection[bytes]) -> dict[bytes, tuple[str, ...]]:
    """Return the packages (``name`` or ``name:architecture``) whose lists have each of *names*."""
    # Searching for the last part finds nothing in nearly all lists, and is cheaper than splitting if they are few.
    tails = {b"/%s\n" % name.rpartition(b"/")[2] for name in names}
    wanted = frozenset(names)
    out: dict[bytes, tuple[str, ...]] = {}
    for file in sorted(name for name in os.listdir(info) if name.endswith(".list")):  # noqa: PTH208 - names suffice
        data = read_bounded(f"{info}/{file}", _MAX_LIST)
        if len(tails) > _MANY or any(tail in data for tail in tails):
            for name in wanted.intersection(data.split(b"\n")):
                out[name] = (*out.get(name, ()), file.removesuffix(".list"))
    return out


def _package(owner: str, status: bytes, root: Path) -> Package | None:
    name, _, architecture = owner.partition(":")
    for stanza in _stanzas(name, status):
        if stanza.get("version") and architecture in {"", stanza.get("architecture", "")}:
            return Package(
                kind="deb",
                name=name,
                version=stanza["version"],
                architecture=stanza.get("architecture", ""),
                supplier=stanza.get("maintainer", "").partition("<")[0].strip(),
                licences=_licences(name, root),
            )
    return None


def _stanzas(package: str, status: bytes) -> Iterator[Mapping[str, str]]:
    """Yield the fields of each stanza that is about *package*: one for each of its architectures."""
    start = b"Package: %s\n" % package.encode()
    at = status.find(start)
    while at >= 0:
        if at == 0 or status[at - 1 : at] == b"\n":
            end = status.find(b"\n\n", at)
            yield _fields(status[at : end if end >= 0 else len(status)].decode("utf-8", "replace"))
        at = status.find(start, at + 1)


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields of a deb822(5) *stanza* by lower-case name, with their first lines."""
    return {key.lower(): value.strip() for key, value in re.findall(r"(?m)^([A-Za-z-]+):([^\n]*)", stanza)}


def _licences(package: str, root: Path) -> tuple[str, ...]:
    """Return the short names of the licences in a machine-readable copyright file (DEP 5, copyright-format 1.0)."""
    try:
        data = read_bounded(root / "usr/share/doc" / package / "copyright", _MAX_COPYRIGHT)
    except (OSError, ValueError):
        return ()
    header, *rest = re.split(r"\n[ \t]*\n", data.decode("utf-8", "replace").lstrip())
    first = _fields(header)
    if "copyright-format" not in first.get("format", ""):
        return ()
    parts = [first, *(fields for text in rest if "files" in (fields := _fields(text)))]
    # What covers the packaging alone does not cover the library.
    names = [
        " ".join(fields.get("license", "").split())
        for fields in parts
        if not fields.get("files", "").startswith("debian/")
    ]
    return tuple(dict.fromkeys(name for name in names if 0 < len(name) <= 200))[:_MAX_LICENCES]
