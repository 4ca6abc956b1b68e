"""Platform tags that a result deserves. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.elf import Libc
from nativelib.facts.tags import Family, PlatformTag
from nativelib.findings import Code, Finding, Severity, error, note, warning
from nativelib.plan.include import anchor_actions
from nativelib.plan.needs import system_needs
from nativelib.plan.platform import own_policy
from nativelib.policy.judge import all_tags, judge, lookup, obstacles_to, platform_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.outside import SystemMusl
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.options import RepairOptions
    from nativelib.policy.values import Obstacle, Policy, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """Tags and file name of the result."""

    platforms: tuple[str, ...]
    filename: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()


def retag(
    given: RepairInput, options: RepairOptions, after: Mapping[str, ElfFacts], grafts: Mapping[str, Sequence[str]]
) -> Tagging:
    """Return the tags of the result, whose ELF files are *after*; *grafts* maps paths outside to members."""
    name = given.wheel.name
    verdict = judge(
        after,
        system_needs(after, given.needs, members=grafts),
        libc=given.libc,
        architecture=given.architecture,
        ignore_isa=options.ignore_isa,
        narrow=name.narrow_unicode,
        vouched=vouched(name.platforms, options.plat) or shown(given.musl, after, given.architecture),
    )
    own = own_policy(options, given.libc, given.architecture)
    if own is not None:
        external = system_needs(after, given.needs, members=grafts)
        findings = own_findings(own, after, external, options, Severity.ERROR)
        platforms = platform_tags(own)
    else:
        platforms, findings = choose(verdict, name.platforms, given.architecture, options)
    made = [anchor.member for anchor in anchor_actions(given, options)]
    findings += unread_run_paths(given.wheel.elf, after, platforms, made)
    beyond = () if findings else beyond_tag(after, given.libc)
    if not options.update_tags:
        asked = tuple(findings) if options.plat != "auto" else ()
        return Tagging(platforms=name.platforms, filename=str(name), verdict=verdict, findings=(*asked, *beyond))
    findings += [*newer_providers(given, platforms), *beyond]
    return Tagging(
        platforms=platforms, filename=str(name.with_platforms(platforms)), verdict=verdict, findings=tuple(findings)
    )


def own_findings(
    own: Policy,
    files: Mapping[str, ElfFacts],
    external: Mapping[str, frozenset[str]],
    options: RepairOptions,
    severity: Severity,
) -> list[Finding]:
    """Return a finding of *severity* if *files* do not meet the user's *own* policy; *external* as for the judge."""
    obstacles = obstacles_to(own, files, external, ignore_isa=options.ignore_isa)
    return [replace(_refusal(obstacles, own.name), severity=severity)] if obstacles else []


def vouched(present: Sequence[str], plat: str) -> Policy | None:
    """Return the oldest musllinux or Android policy that the user or the wheel's name stands for.

    Nothing in the files can be judged for it: musl's symbols carry no versions, and Android's no API level.
    """
    policies = (lookup(tag) for tag in (plat, *present))
    named = [policy for policy in policies if policy is not None and policy.libc is not Libc.GLIBC]
    return min(named, key=lambda policy: policy.version, default=None)


def shown(musl: SystemMusl | None, files: Mapping[str, ElfFacts], architecture: str) -> Policy | None:
    """Return the policy of *musl*, a copy on the search path, if *files* take nothing from musl that it does not have.

    What the interpreter exports is known by its prefix. Whatever else neither *files* nor *musl* export is taken for
    something that a newer musl has.
    """
    if musl is None:
        return None
    policy = lookup(f"musllinux_{musl.version[0]}_{musl.version[1]}_{architecture}")
    have = musl.exports.union(*({symbol.name for symbol in facts.exports} for facts in files.values()))
    asked = {symbol.name for facts in files.values() for symbol in facts.imports if not symbol.weak}
    rest = {name for name in asked - have if not name.startswith(("Py", "_Py"))}
    return None if rest else policy


def choose(
    verdict: Verdict, present: Sequence[str], architecture: str, options: RepairOptions
) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the platform tags for *verdict*, keeping those of *present* that are deserved, and errors.

    An API level of Android is chosen when the wheel is built, so that only ``--plat`` raises that of *present*.
    """
    wanted: Policy | None = verdict.policy
    if wanted is not None and wanted.libc is Libc.BIONIC:
        wanted = vouched(present, "auto") or wanted
    if options.plat.startswith("linux_"):
        if PlatformTag.parse(options.plat).policy_architecture == architecture:
            return (options.plat,), []
        text = f"The wheel is for {architecture}, and {options.plat} is not."
        return tuple(present), [error(Code.WRONG_ARCHITECTURE, "--plat", text)]
    if options.plat != "auto":
        wanted = lookup(options.plat)
        if wanted is None:
            return tuple(present), [unknown_plat(options.plat)]
        if wanted.architecture != architecture:
            text = f"The wheel is for {architecture}, and {options.plat} is not."
            return tuple(present), [error(Code.WRONG_ARCHITECTURE, "--plat", text)]
        libc = _judged_for(verdict)
        if libc not in (None, wanted.libc):
            text = f"The wheel is linked with {libc}, and {options.plat} is for {wanted.libc}."
            return tuple(present), [error(Code.POLICY_NOT_MET, "--plat", text, "Leave --plat out for the best tag.")]
    best = verdict.policy
    if wanted is None or best is None or best.libc is not wanted.libc or best.version > wanted.version:
        return tuple(present), [_not_met(verdict, options.plat, wanted)]
    tags = set(platform_tags(wanted))
    if not (options.only_plat and options.plat != "auto"):
        tags.update(platform_tags(best))
        tags.update(tag for tag in present if deserved(tag, best))
    return tuple(sorted(tags)), []


def _judged_for(verdict: Verdict) -> Libc | None:
    """Return the C library whose policies *verdict* is about; ``None`` for a machine that has none."""
    names = [verdict.policy.name] if verdict.policy is not None else [o.policy for o in verdict.obstacles]
    return next((PlatformTag.parse(f"{name}_any").libc for name in names), None)


def unknown_plat(plat: str) -> Finding:
    """Return the error for a *plat* that names no policy, with the names that it may stand for."""
    from difflib import get_close_matches  # takes as long to import as a small wheel takes to judge

    near = [tag for tag in all_tags() if tag.startswith(f"{plat}_")] or get_close_matches(plat, all_tags(), n=3)
    also = f", as there is {', '.join(near[:3])}" if near else ""
    remedy = "Leave --plat out for the best tag; a policy of your own is given with --policy."
    return error(Code.NO_POLICY, "--plat", f"{plat} is not a platform tag that nativelib knows{also}.", remedy)


def check_plat(options: RepairOptions) -> None:
    """Raise PlanError if ``--plat`` names neither a tag that is known nor a policy of the user's."""
    plat = options.plat
    if plat != "auto" and not plat.startswith("linux_") and not options.policies and lookup(plat) is None:
        raise PlanError([unknown_plat(plat)])


def deserved(tag: str, best: Policy) -> bool:
    """Return whether a wheel that meets *best* may also carry *tag*.

    ``linux_armv6l`` and the like say more than the ``linux`` tag that a policy takes the place of: their systems look
    for no tag of ``armv7l``.
    """
    value = PlatformTag.parse(tag)
    if value.family is Family.LINUX:
        return value.architecture != value.policy_architecture == best.architecture
    # A tag between two known policies is a promise like others (PEP 600).
    return value.libc is best.libc and value.architecture == best.machine and value.version >= best.version


def _not_met(verdict: Verdict, plat: str, wanted: Policy | None) -> Finding:
    obstacles: Sequence[Obstacle] = verdict.obstacles
    if wanted is not None:
        obstacles = [o for o in obstacles if o.policy == wanted.name] or obstacles
    elif obstacles:  # none is met: what keeps it from the newest keeps it from all
        obstacles = [o for o in obstacles if o.policy == obstacles[0].policy]
    if wanted is not None:
        return _refusal(obstacles, wanted.tag if plat == "auto" else plat)
    return _refusal(obstacles, f"any policy, not even {obstacles[0].policy}" if obstacles else "any policy")


def _refusal(obstacles: Sequence[Obstacle], target: str) -> Finding:
    lines = list(dict.fromkeys(f"{o.member}: {o.detail}" if o.member else f"it {o.detail}" for o in obstacles))
    shown = "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")
    return error(
        Code.POLICY_NOT_MET,
        next((o.member for o in obstacles if o.member), "wheel"),
        f"It does not comply with {target}: {shown or 'no policy exists for this machine'}.",
        "Build on an older system, or graft or provide the libraries that are too new.",
    )


def unread_run_paths(
    before: Mapping[str, ElfFacts], after: Mapping[str, ElfFacts], platforms: Sequence[str], anchors: Sequence[str] = ()
) -> list[Finding]:
    """Return an error for each file with a run path of ours that Android's loader does not read.

    *before* and *after* are the ELF files as they were, and as they will be; *anchors* are members that are made anew.
    ``DT_RUNPATH`` counts from API level 24 on, ``DT_RPATH`` never does (bionic, "Android changes for NDK developers").
    """
    tags = [tag for tag in map(PlatformTag.parse, platforms) if tag.family is Family.ANDROID and tag.version < (24,)]
    changed = [m for m, f in after.items() if f.runpath and (m not in before or before[m].runpath != f.runpath)]
    return [
        error(
            Code.POLICY_NOT_MET,
            member,
            "It finds its libraries by a run path, which Android reads from API level 24 on; "
            f"the tag is {tags[0].text}.",
            "Build for API level 24, or link the libraries statically.",
        )
        for member in dict.fromkeys((*changed, *anchors))
        if tags
    ]


def beyond_tag(files: Mapping[str, ElfFacts], libc: Libc) -> tuple[Finding, ...]:
    """Return what *files* need beyond the promise of their tag, because no tag can say it."""
    packed = sorted(member for member, facts in files.items() if facts.relr) if libc is Libc.MUSL else []
    if not packed:
        return ()
    others = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
    message = (
        f"This file{others} cannot be loaded by musl before 1.2.4 (Alpine 3.18), because of DT_RELR relocations; "
        "the tag promises musl 1.2, and none is finer."
    )
    return (note(Code.BEYOND_TAG, packed[0], message, "Link with -Wl,-z,nopack-relative-relocs if that matters."),)


def newer_providers(given: RepairInput, platforms: Sequence[str]) -> list[Finding]:
    """Return a warning for each provider whose oldest tag is newer than the consumer's oldest."""
    ours = _oldest(platforms)
    out: list[Finding] = []
    for provider in given.providers:
        theirs = _oldest(provider.platforms)
        if ours is None or theirs is None or not theirs.newer_than(ours):
            continue
        out.append(
            warning(
                Code.PROVIDER_NEWER_TAG,
                provider.origin,
                f"The wheel gets {ours.text}, and {provider.label} has only {theirs.text}: where the older tag counts, "
                "installers find no provider.",
                "Build the library wheel on an older system, or accept it.",
            )
        )
    return out


def _oldest(platforms: Sequence[str]) -> PlatformTag | None:
    tags = [PlatformTag.parse(tag) for tag in platforms]
    known = [tag for tag in tags if tag.libc is not None]
    return min(known, key=lambda tag: tag.version, default=None)
