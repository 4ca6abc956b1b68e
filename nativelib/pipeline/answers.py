"""Questions to the search path, until every need has its final answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.facts.outside import Outside
from nativelib.plan.needs import Answer, resolve, unsearched
from nativelib.plan.symbols import Evidence
from nativelib.read.search import locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.plan.needs import Ground, Need
    from nativelib.read.search import SearchPath


def answer_all(ground: Ground, directories: SearchPath) -> tuple[tuple[Need, ...], Outside]:
    """Return the final answers for *ground*, searching for what neither wheel, provider nor policy has."""
    outside = Outside(searched=directories.directories)
    while True:
        needs = resolve(ground, outside)
        wanted = unsearched(needs, outside)
        if not wanted:
            return needs, outside
        outside = locate(wanted, ground.files, directories, outside)


def graft_sources(needs: Sequence[Need], outside: Outside) -> dict[str, str]:
    """Return the files that *needs* have copied in, each with the path under which it was found."""
    sources = {need.source for need in needs if need.answer is Answer.GRAFT and need.source is not None}
    return {source: outside.names.get(source, source) for source in sorted(sources)}


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
