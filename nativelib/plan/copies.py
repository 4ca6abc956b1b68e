"""Copies of libraries from outside: into which schemes, and under which names. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code, Finding, error, warning
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
    members = [(old, place_of(moved.get(old, old)).scheme) for old in given.wheel.elf if old not in removed]
    queue, out = [*members, *roots], {}
    while queue:
        requester, scheme = queue.pop(0)
        if (requester, scheme) not in out and requester in given.outside.files:
            soname = _soname(given, options, requester)
            member = f"{copy_directory(given.wheel, scheme, options)}/{soname}"
            out[requester, scheme] = Copy(path=requester, soname=soname, member=member)
        wanted = [need.source for need in needs.get(requester, ()) if need.answer is Answer.GRAFT and need.source]
        queue += [(path, scheme) for path in wanted if (path, scheme) not in out]
    return out


def _soname(given: RepairInput, options: RepairOptions, path: str) -> str:
    opened = next((item.name for item in given.included if item.path == path), None)
    if opened is not None:
        return opened
    facts = given.outside.files[path]
    # What is needed by a path, as libraries without DT_SONAME are that were linked by theirs, loses its directory.
    soname = posixpath.basename(facts.soname or path)
    return hashed_name(soname, facts.sha256) if options.rename else soname


def kept_names(given: RepairInput, copies: Collection[Copy]) -> list[Finding]:
    """Return a warning for each of *copies* that keeps its name, and an error where two files would get one name."""
    files = given.outside.files
    opened = {item.path for item in given.included}
    first: dict[str, Copy] = {}
    out: list[Finding] = []
    for copy in copies:
        other = first.setdefault(copy.member, copy)
        if files[other.path].sha256 != files[copy.path].sha256:
            message = f"{other.path} is another file that would keep the name {copy.soname}."
            remedy = "Repair without --no-rename, or include one of the two only."
            out.append(error(Code.NAME_KEPT, copy.path, message, remedy))
        elif copy.path in opened or copy.soname == (files[copy.path].soname or posixpath.basename(copy.path)):
            message = (
                f"Its copy keeps the name {copy.soname}: if a process has another library of that name already, "
                "that one is used instead."
            )
            out.append(warning(Code.NAME_KEPT, copy.path, message, "Make sure that nothing else brings this library."))
    return list(dict.fromkeys(out))
