"""Facts of a consumer wheel, providers and search path to a Plan. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.facts.metadata import parse_metadata
from nativelib.facts.wheel import WheelName
from nativelib.findings import Code, Finding, error
from nativelib.plan import dist_info, hooks
from nativelib.plan.answers import answer_findings, broken_findings, forgotten_findings, raise_errors, skip_findings
from nativelib.plan.edits import elf_changes
from nativelib.plan.include import included_members
from nativelib.plan.left import left_findings
from nativelib.plan.licences import licence_changes
from nativelib.plan.local_version import digest_of, is_published, unvendored_name, with_version
from nativelib.plan.needs import Answer
from nativelib.plan.proofs import prove_all
from nativelib.plan.requirement import marker_for
from nativelib.plan.retag import check_plat, retag
from nativelib.plan.unneeded import without_unneeded
from nativelib.plan.values import Grafted, Plan, Provided, Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.edits import ElfChanges
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Action


def plan_repair(given: RepairInput, options: RepairOptions) -> Plan:
    """Return the plan that repairs one consumer wheel.

    Raises PlanError with every reason at once if it cannot be done correctly.
    """
    check_plat(options)
    given = without_unneeded(given)
    wheel = given.wheel
    findings = broken_findings(wheel, given.needs)
    findings += answer_findings(given.needs, given.outside, options, given.included)
    findings += skip_findings(wheel, given.needs)
    findings += forgotten_findings(given.needs, dist_info.earlier_providers(wheel))
    raise_errors(findings, options)
    changes = elf_changes(given, options)
    proofs = prove_all(wheel.elf, given.outside.files, given.needs, given.evidence, options)
    hook_actions, hook_findings = hooks.plan_hooks(given, proofs.used, changes.moves, options)
    findings += [*changes.findings, *proofs.findings, *hook_findings]
    raise_errors(findings, options)

    tagging = retag(given, options, changes.after(given), changes.members)
    marked = replace(options, marker=marker_for(given.libc, options.marker))
    requires = dist_info.plan_requires(given, proofs.used, marked)
    provided, grafted = _provided(given.needs), _grafted(given, changes)
    licences, licence_findings = licence_changes(wheel, changes.removed)
    actions = (*changes.actions(options), *hook_actions, *licences)
    name = WheelName.parse(tagging.filename)
    if is_published(wheel.name) and any(need.replaces in changes.removed for need in given.needs):
        digest = digest_of([wheel.sha256, given.generator, *tagging.platforms, *requires.values], actions)
        name = unvendored_name(name, parse_metadata(wheel.metadata).version, digest, options)
    included = included_members(given, changes.copies)
    info_actions = dist_info.plan_dist_info(
        given, tagging, requires, provided, grafted, changes.removed, included, name=name
    )
    findings += [*tagging.findings, *requires.findings, *(given.owners.findings if grafted else ())]
    findings += [*left_findings(wheel.elf, given.needs, given.offered), *licence_findings]
    raise_errors(findings, options)
    directory, actions = with_version((*actions, *info_actions), wheel, name.version)
    raise_errors(_touched(wheel, actions), options)
    companions = {move.companion for move in changes.moves}
    return Plan(
        source=wheel.path,
        source_sha256=wheel.sha256,
        output=str(name),
        dist_info=directory,
        actions=actions,
        summary=Summary(
            tags=tagging.platforms,
            requires=requires.values,
            provided=provided,
            grafted=grafted,
            removed=tuple(sorted(changes.removed)),
            hooks=tuple(sorted({*hooks.hook_members(given, options), *companions})),
        ),
        findings=tuple(findings),
        level=options.level,
    )


def _touched(wheel: WheelFacts, actions: Sequence[Action]) -> list[Finding]:
    """Return an error for each action on a file that the user wants to stay as it is: a module that gets the hook."""
    text = "--skip leaves this file as it is, but the repair has to change it."
    skipped = frozenset(wheel.skipped)
    return [error(Code.SKIPPED_MEMBER, a.member, text, "Narrow the glob.") for a in actions if a.member in skipped]


def _provided(needs: Sequence[Need]) -> tuple[Provided, ...]:
    """Return the needs that providers answer, each soname once, where it is asked for first."""
    first = {need.soname: need for need in reversed(needs) if need.answer is Answer.PROVIDED}
    return tuple(
        Provided(soname=need.soname, provider=need.provider.name, written=need.library.soname)
        for need in reversed(first.values())
        if need.provider is not None and need.library is not None
    )


def _grafted(given: RepairInput, changes: ElfChanges) -> tuple[Grafted, ...]:
    files = given.outside.files
    return tuple(
        Grafted(
            soname=files[graft.source].soname or posixpath.basename(graft.source),
            path=graft.member,
            source=graft.source,
            package=given.owners.purl(graft.source),
        )
        for graft in changes.grafts
    )
