"""Copies of libraries from outside: into which schemes, and under which names. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code, Finding, error, note
from nativelib.plan.graft import hashed_name
from nativelib.plan.needs import Answer, by_requester

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.options import RepairOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Where a library from outside goes."""

    path: str
    """File on the search path."""
    soname: str
    """New soname and file name."""
    member: str
    identity: str
    """Digest of its content and of what it leads to: equal files in two places may need different ones."""


def copy_directory(wheel: WheelFacts, scheme: Scheme, options: RepairOptions) -> str:
    """Return the directory for copies in *scheme*.

    The root of the data scheme is that of a whole environment, where all distributions put their libraries below
    ``lib``; the name of the distribution keeps the copies apart from theirs.
    """
    name = f"{wheel.name.distribution}{options.lib_sdir}"
    if scheme is Scheme.SITE:
        return name
    below = "lib/" if scheme is Scheme.DATA else ""
    return f"{wheel.data_dir}/{scheme}/{below}{name}"


def plan_copies(
    given: RepairInput,
    options: RepairOptions,
    moved: Mapping[str, str],
    removed: Collection[str],
    roots: Sequence[tuple[str, Scheme]] = (),
) -> dict[tuple[str, Scheme], Copy]:
    """Return the copy of each file that is grafted, by its path and the scheme that it goes to.

    No run path leads from one scheme to another, so each has a copy of its own. Identity is the file, not its soname.
    *moved* maps old members to new ones; what *removed* members need counts for nothing. *roots* are files that are
    copied although nothing needs them.
    """
    needs = by_requester(given.needs)
    queue = [(old, place_of(moved.get(old, old)).scheme) for old in given.wheel.elf if old not in removed]
    queue += roots
    found: dict[tuple[str, Scheme], None] = {}
    while queue:
        requester, scheme = queue.pop(0)
        if (requester, scheme) in found:
            continue
        if requester in given.outside.files:
            found[requester, scheme] = None
        wanted = [need.source for need in needs.get(requester, ()) if need.answer is Answer.GRAFT and need.source]
        queue += [(path, scheme) for path in wanted if (path, scheme) not in found]
    names = _names(given, options, {path for path, _ in found})
    return {
        (path, scheme): Copy(
            path=path,
            soname=names[path][0],
            member=f"{copy_directory(given.wheel, scheme, options)}/{names[path][0]}",
            identity=names[path][1],
        )
        for path, scheme in found
    }


def _names(given: RepairInput, options: RepairOptions, paths: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return new soname and identity of each of *paths*."""
    files = given.outside.files
    same = _identities(given, paths)
    plain = {path: _soname(given, options, path, files[path].sha256) for path in paths}
    meant: dict[str, set[str]] = {}
    for path, soname in plain.items():
        meant.setdefault(soname, set()).add(same[path])
    return {
        path: (soname if len(meant[soname]) == 1 else _soname(given, options, path, same[path]), same[path])
        for path, soname in plain.items()
    }


def _identities(given: RepairInput, paths: Collection[str]) -> dict[str, str]:
    """Return the same digest for those of *paths* that are equal and lead to equal files, by whatever paths.

    Files are told apart step by step, by what they need and that needs, until a step tells no more apart.
    """
    needs = by_requester([need for need in given.needs if need.answer is Answer.GRAFT and need.source in paths])
    found, classes = {path: given.outside.files[path].sha256 for path in paths}, 0
    while len(set(found.values())) > classes:
        classes = len(set(found.values()))
        led = {path: [f"{need.soname} {found[need.source or '']}" for need in needs.get(path, ())] for path in paths}
        found = {path: sha256("\n".join([found[path], *led[path]]).encode()).hexdigest() for path in paths}
    return found


def _soname(given: RepairInput, options: RepairOptions, path: str, digest: str) -> str:
    opened = next((item.name for item in given.included if item.path == path), None)
    if opened is not None:
        return opened
    # What is needed by a path, as libraries without DT_SONAME are that were linked by theirs, loses its directory.
    soname = posixpath.basename(given.outside.files[path].soname or path)
    return hashed_name(soname, digest) if options.rename else soname


def kept_names(given: RepairInput, options: RepairOptions, copies: Collection[Copy]) -> list[Finding]:
    """Return a note for each of *copies* that keeps its name, and an error where two files would get one name."""
    opened = {item.path for item in given.included}
    first: dict[str, Copy] = {}
    out: list[Finding] = []
    for copy in copies:
        other = first.setdefault(copy.member, copy)
        if other.identity != copy.identity:
            message = f"{other.path} would keep the name {copy.soname} as well, and is or needs something else."
            remedy = "Repair without --no-rename, or include one of the two only."
            out.append(error(Code.NAME_KEPT, copy.path, message, remedy))
        elif copy.path in opened or not options.rename:
            message = (
                f"Its copy keeps the name {copy.soname}: if a process has another library of that name already, "
                "that one is used instead."
            )
            out.append(note(Code.NAME_KEPT, copy.path, message, "Make sure that nothing else brings this library."))
    return list(dict.fromkeys(out))
