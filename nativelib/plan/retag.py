"""Platform tags that a result deserves. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.elf import Libc
from nativelib.facts.tags import Family, PlatformTag
from nativelib.findings import Code, Finding, error, note, warning
from nativelib.plan.needs import system_needs
from nativelib.policy.judge import judge, lookup, platform_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
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
    given: RepairInput, options: RepairOptions, after: Mapping[str, ElfFacts], grafts: Mapping[str, str]
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
        vouched=vouched(name.platforms, options.plat),
    )
    platforms, findings = choose(verdict, name.platforms, given.architecture, options)
    beyond = () if findings else beyond_tag(after, given.libc)
    if not options.update_tags:
        return Tagging(platforms=name.platforms, filename=str(name), verdict=verdict, findings=beyond)
    findings += [*newer_providers(given, platforms), *beyond]
    return Tagging(
        platforms=platforms, filename=str(name.with_platforms(platforms)), verdict=verdict, findings=tuple(findings)
    )


def vouched(present: Sequence[str], plat: str) -> Policy | None:
    """Return the musllinux policy that the user or the wheel's name stands for.

    musl's symbols carry no versions to judge.
    """
    policies = (lookup(tag) for tag in (plat, *present))
    return next((policy for policy in policies if policy is not None and policy.libc is Libc.MUSL), None)


def choose(
    verdict: Verdict, present: Sequence[str], architecture: str, options: RepairOptions
) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the platform tags for *verdict*, keeping those of *present* that are deserved, and errors."""
    wanted: Policy | None = verdict.policy
    if options.plat.startswith("linux_"):
        if PlatformTag.parse(options.plat).policy_architecture == architecture:
            return (options.plat,), []
        text = f"The wheel is for {architecture}, and {options.plat} is not."
        return tuple(present), [error(Code.WRONG_ARCHITECTURE, "--plat", text)]
    if options.plat != "auto":
        wanted = lookup(options.plat)
        if wanted is None:
            text = f"{options.plat} is not a platform tag that nativelib knows."
            return tuple(present), [error(Code.NO_POLICY, "--plat", text, "Leave --plat out for the best tag.")]
        if wanted.architecture != architecture:
            text = f"The wheel is for {architecture}, and {options.plat} is not."
            return tuple(present), [error(Code.WRONG_ARCHITECTURE, "--plat", text)]
    best = verdict.policy
    if wanted is None or best is None or best.libc is not wanted.libc or best.version > wanted.version:
        return tuple(present), [_refusal(verdict, options.plat, wanted)]
    tags = set(platform_tags(wanted))
    if not (options.only_plat and options.plat != "auto"):
        tags.update(platform_tags(best))
        tags.update(tag for tag in present if deserved(tag, best))
    return tuple(sorted(tags)), []


def deserved(tag: str, best: Policy) -> bool:
    """Return whether a wheel that meets *best* may also carry *tag*."""
    policy = lookup(tag)
    return (
        policy is not None
        and policy.libc is best.libc
        and policy.architecture == best.architecture
        and policy.version >= best.version
    )


def _refusal(verdict: Verdict, plat: str, wanted: Policy | None) -> Finding:
    obstacles: Sequence[Obstacle] = verdict.obstacles
    if wanted is not None:
        obstacles = [o for o in obstacles if o.policy == wanted.name] or obstacles
    elif obstacles:
        obstacles = [o for o in obstacles if o.policy == obstacles[-1].policy]
    lines = list(dict.fromkeys(f"{o.member}: {o.detail}" if o.member else o.detail for o in obstacles))
    shown = "; ".join(lines[:10]) + (f"; and {len(lines) - 10} more" if len(lines) > 10 else "")
    target = "any manylinux or musllinux policy" if plat == "auto" else plat
    return error(
        Code.POLICY_NOT_MET,
        next((o.member for o in obstacles if o.member), "wheel"),
        f"It does not comply with {target}: {shown or 'no policy exists for this machine'}.",
        "Build on an older system, or graft or provide the libraries that are too new.",
    )


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
    known = [tag for tag in tags if tag.family in {Family.MANYLINUX, Family.MUSLLINUX}]
    return min(known, key=lambda tag: tag.version, default=None)
