"""Names and run paths of grafted libraries. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from nativelib.facts.elf import Libc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.wheel import Place

_HASH = re.compile(r"-[0-9a-f]{8}(?=\.|$)")
_BEFORE_SO = re.compile(r"^(?P<stem>.+?)(?P<suffix>\.so(\..*)?)$")

ORIGIN = "$ORIGIN"


def hashed_name(soname: str, sha256: str) -> str:
    """Return ``<stem>-<8 hex of sha256>.so...``: auditwheel's form, so that tools which know it recognise the copy.

    A name that carries the hash already is not given it twice. What is needed by a path, as libraries without DT_SONAME
    are that were linked by theirs, loses its directory.
    """
    soname = posixpath.basename(soname)
    short = sha256[:8]
    match = _BEFORE_SO.match(soname)
    stem, suffix = (match["stem"], match["suffix"]) if match else (soname, "")
    return soname if stem.endswith(f"-{short}") else f"{stem}-{short}{suffix}"


def plain_name(name: str) -> str:
    """Return *name* without the hash that an earlier graft put into it."""
    return _HASH.sub("", name)


def unique_soname(soname: str, import_name: str) -> str:
    """Return *soname* with ``-<import name>`` in front of ``.so``, so that no other copy can be taken for it."""
    match = _BEFORE_SO.match(soname)
    stem, suffix = (match["stem"], match["suffix"]) if match else (soname, "")
    return soname if stem.endswith(f"-{import_name}") else f"{stem}-{import_name}{suffix}"


def link_stem(soname: str) -> str:
    """Return what follows ``-l``: ``openblas`` for ``libopenblas.so.0``."""
    match = _BEFORE_SO.match(soname)
    return (match["stem"] if match else soname).removeprefix("lib")


def link_name(soname: str) -> str:
    """Return the link name of a library: ``libopenblas.so`` for ``libopenblas.so.0``."""
    match = _BEFORE_SO.match(soname)
    return f"{match['stem'] if match else soname}.so"


def origin_path(home: Place, directory: str) -> str:
    """Return the run path entry that leads from a file at *home* to *directory* of the same scheme, as installed."""
    relative = posixpath.relpath(directory or ".", home.directory or ".")
    return ORIGIN if relative == "." else f"{ORIGIN}/{relative}"


def inside(home: Place, entry: str) -> bool:
    """Return whether run path *entry* of a file at *home* stays inside the installation's root."""
    text = entry.replace("${ORIGIN}", ORIGIN)
    if text != ORIGIN and not text.startswith(f"{ORIGIN}/"):
        return False
    depth = 0
    for part in posixpath.join(home.directory, text.removeprefix(ORIGIN).lstrip("/")).split("/"):
        depth += -1 if part == ".." else part not in {"", "."}
        if depth < 0:
            return False
    return True


def run_path(
    home: Place,
    facts: ElfFacts,
    wanted: Iterable[str],
    *,
    moved_from: Place | None = None,
    gone: Collection[Place] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (new run path, dropped entries) of a file at *home*, which may have *moved_from* elsewhere.

    Entries of the author that stay inside the installation are kept in front, in order; those that name the build
    machine are dropped; *wanted* are directories of the same scheme that are appended, and *gone* are directories that
    hold nothing any more.
    """
    kept: list[str] = []
    dropped: list[str] = []
    old = moved_from or home
    empty = {f"/{place.path}" for place in gone if place.scheme is old.scheme}
    for entry in filter(None, facts.run_path):
        if not inside(old, entry):
            dropped.append(entry)
        elif canonical(old, entry) in empty:
            continue
        elif old == home:
            kept.append(entry)
        elif old.scheme is home.scheme:
            kept.append(origin_path(home, canonical(old, entry).lstrip("/")))
    if facts.runpath:
        dropped += [entry for entry in filter(None, facts.rpath) if not inside(old, entry)]
    have = {canonical(home, entry) for entry in kept}
    for directory in wanted:
        entry = origin_path(home, directory)
        if canonical(home, entry) not in have:
            have.add(canonical(home, entry))
            kept.append(entry)
    return tuple(dict.fromkeys(kept)), tuple(dropped)


def changed_run_path(old: Place, facts: ElfFacts, path: tuple[str, ...], libc: Libc) -> tuple[str, ...] | None:
    """Return *path* if it has to be written into a file that was built for *old*; ``None`` if the file is right.

    glibc and musl read both tags, so that the author's choice stays, unless the tag that does not count leaks: older
    loaders and audits see it. Android's reads ``DT_RUNPATH`` alone.
    """
    kept, other = facts.run_paths(libc.run_path_tag)
    if libc is Libc.BIONIC:
        right = path == kept and not other
    else:
        right = path == facts.run_path and all(inside(old, entry) for entry in (*kept, *other))
    return None if right else path


def canonical(home: Place, entry: str) -> str:
    """Return the directory that *entry* of the run path of a file at *home* names, as ``/pkg/lib`` from its root."""
    tail = entry.replace("${ORIGIN}", ORIGIN).removeprefix(ORIGIN).lstrip("/")
    return posixpath.normpath(posixpath.join("/", home.directory, tail))


def depend_first(files: Sequence[tuple[str, ElfFacts]]) -> tuple[str, ...]:
    """Return the sonames of *files* so that each comes after those that it needs; a cycle keeps the given order."""
    needed = {facts.soname or name: facts.needed for name, facts in files}
    out: dict[str, None] = {}

    def visit(soname: str, path: frozenset[str]) -> None:
        if soname in out or soname in path:
            return
        for other in needed[soname]:
            if other in needed:
                visit(other, path | {soname})
        out[soname] = None

    for soname in needed:
        visit(soname, frozenset())
    return tuple(out)
