"""Questions to the search path, until every need has its final answer."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from packaging.tags import platform_tags

from nativelib.errors import ReadError
from nativelib.facts.outside import Outside
from nativelib.facts.tags import PlatformTag
from nativelib.plan.included import one_name_each, settle
from nativelib.plan.needs import Answer, resolve, unsearched
from nativelib.plan.symbols import Evidence
from nativelib.read.elf import read_elf_file
from nativelib.read.include import find_included
from nativelib.read.search import is_file, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts, Libc
    from nativelib.facts.outside import Included
    from nativelib.findings import Finding
    from nativelib.plan.needs import Ground, Need
    from nativelib.plan.options import Include
    from nativelib.read.search import SearchPath


def answer_all(
    ground: Ground, directories: SearchPath, known: Mapping[str, ElfFacts] = MappingProxyType({})
) -> tuple[tuple[Need, ...], Outside]:
    """Return the final answers for *ground*, searching for what neither wheel, provider nor policy has.

    *known* are facts of files outside that were found already, by real path.
    """
    outside = Outside(searched=directories.directories, files=known)
    while True:
        needs = resolve(ground, outside)
        wanted = unsearched(needs, outside)
        if not wanted:
            return needs, outside
        outside = locate(wanted, ground.files, directories, outside)


def graft_sources(needs: Sequence[Need], outside: Outside) -> dict[str, str]:
    """Return the files that *needs* have copied in, each with the path under which it was found."""
    return {
        need.source: outside.candidates.get((need.requester, need.soname), need.source)
        for need in reversed(needs)
        if need.answer is Answer.GRAFT and need.source is not None
    }


def included_target(includes: Sequence[Include]) -> tuple[str, Libc | None]:
    """Return architecture and C library of a wheel that has neither ELF files nor a platform tag, but will have.

    They are those of a file that an include names, or this machine's, whose directories are searched. Raises ReadError.
    """
    for item in includes:
        if item.path is not None and is_file(item.path):
            facts = read_elf_file(Path(item.path))
            return facts.architecture, facts.libc
    tag = PlatformTag.parse(next(platform_tags()))
    return tag.policy_architecture, tag.libc


def read_included(
    includes: Sequence[Include], path: SearchPath, inside: Mapping[str, Sequence[str]]
) -> tuple[tuple[Included, ...], dict[str, ElfFacts], tuple[Finding, ...]]:
    """Return the libraries that *includes* name and the wheel has not, their facts by path, and what was passed over.

    *inside* maps names to the wheel's own files. Raises ReadError for each include that names nothing, at once.
    """
    found: dict[Included, ElfFacts] = {}
    there: list[str] = []
    problems: list[Finding] = []
    for item in includes:
        # A second repair, perhaps on another machine, need not find again what the wheel has.
        if item.glob in inside:
            there.append(item.glob)
            continue
        try:
            found.update(find_included(item.glob, item.path, path))
        except ReadError as problem:
            known = fnmatch.filter(inside, item.glob)
            there += known
            problems += () if known else problem.findings
    problems += one_name_each(tuple(found))
    if problems:
        raise ReadError(problems)
    included, notes = settle(tuple(found), there, inside)
    return included, {item.path: facts for item, facts in found.items() if item in included}, notes


def gather_evidence(
    needs: Sequence[Need], files: Mapping[str, ElfFacts], path: SearchPath, policy: frozenset[str]
) -> Evidence:
    """Return the copies that *files* with provided needs were linked with, and the system's libraries they load.

    *policy* names the libraries that the policies allow.
    """
    linked = [(need.requester, need.soname) for need in needs if need.answer is Answer.PROVIDED]
    if not linked:
        return Evidence()
    system = [(n.requester, n.soname) for n in needs if n.answer in {Answer.POLICY, Answer.EXCLUDED}]
    # What the system's part of a provider's needs exports, those who load the provider may use as well.
    brought = {s for n in needs if n.provider is not None for lib in n.provider.every for s in lib.facts.needed}
    system += [(linked[0][0], soname) for soname in sorted(brought & policy)]
    found = locate([*linked, *system], files, path, Outside())
    return Evidence(
        references={key: found.files[real] for key in linked if (real := found.paths[key]) is not None},
        policy=policy,
        system={soname: found.files[real] for _, soname in system if (real := found.paths[_, soname]) is not None},
    )
