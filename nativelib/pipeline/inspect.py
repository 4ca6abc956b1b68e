"""``show``: what a wheel needs, where it comes from, and which platform tag the wheel deserves as it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError, PlanError
from nativelib.facts.elf import MACHINES
from nativelib.facts.outside import Outside
from nativelib.facts.progress import silent
from nativelib.findings import Code, Severity, note
from nativelib.pipeline.consumer import RepairRequest, WheelNeeds, answer_needs, read_providers
from nativelib.plan.answers import missing_findings, passed_note, skip_findings, unused_skips
from nativelib.plan.audit import leak_findings, leaks, undeserved
from nativelib.plan.needs import Answer, Ground, index_inside, system_needs
from nativelib.plan.opened import answer_opened, opened_findings
from nativelib.plan.options import RepairOptions
from nativelib.plan.platform import likely_platform, own_policy
from nativelib.plan.retag import beyond_tag, own_findings, shown, vouched
from nativelib.plan.tree import wheel_tree
from nativelib.policy.judge import judge, policy_libraries
from nativelib.read.wheel import read_wheel
from nativelib.write.stage import write_failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nativelib.facts.progress import Report
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding
    from nativelib.plan.audit import Leak
    from nativelib.plan.needs import Need
    from nativelib.plan.opened import OpenedLibrary
    from nativelib.plan.tree import Row
    from nativelib.policy.values import Policy, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """Which wheels are to be looked at, and what counts as provided."""

    wheels: tuple[Path, ...]
    provided_by: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    skips: tuple[str, ...] = ()
    python: str | None = None
    ldpaths: str | None = None
    ldpaths_first: str | None = None
    ignore_isa: bool = False
    policies: tuple[Policy, ...] = ()
    """The user's own policy, as in :class:`~nativelib.plan.options.RepairOptions`."""
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelReport:
    """What is known about one wheel."""

    file: Path
    wheel: WheelFacts | None = None
    """``None`` if the file could not be read."""
    libc: str | None = None
    architecture: str | None = None
    needs: tuple[Need, ...] = ()
    outside: Outside = field(default_factory=Outside)
    providers: tuple[Provider, ...] = ()
    """All that the user named."""
    policy: frozenset[str] = frozenset()
    """Libraries that some policy allows from the system."""
    verdict: Verdict | None = None
    """``None`` for a pure wheel, and for one whose files are not all for the same kind of system."""
    leaks: tuple[Leak, ...] = ()
    """Run path entries that lead out of the installation."""
    opened: tuple[OpenedLibrary, ...] = ()
    """Libraries that are opened at run time."""
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the wheel could not be read, or is not for one kind of system."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def tree(self) -> tuple[Row, ...]:
        """Return the tree of what needs what."""
        files = tuple(self.wheel.elf) if self.wheel is not None else ()
        return wheel_tree(files, self.needs, self.providers, self.policy)


def inspect_wheels(request: InspectRequest, *, report: Report = silent) -> tuple[WheelReport, ...]:
    """Return a report for each wheel of *request*, in order; one that cannot be read does not stop the others."""
    asked = RepairRequest(
        wheels=request.wheels,
        provided_by=request.provided_by,
        python=request.python,
        ldpaths=request.ldpaths,
        ldpaths_first=request.ldpaths_first,
        environ=request.environ,
        options=RepairOptions(
            excludes=request.excludes,
            skips=request.skips,
            ignore_isa=request.ignore_isa,
            policies=request.policies,
            plat=request.policies[0].name if request.policies else "auto",
        ),
    )
    try:
        providers = read_providers(asked)
    except NativelibError as problem:
        return tuple(WheelReport(file=path, findings=problem.findings) for path in request.wheels)
    out: list[WheelReport] = []
    for path in request.wheels:
        report(f"reading {path.name}")
        try:
            wheel = read_wheel(path, hints=True, skip=request.skips, report=report)
            out.append(_report(path, wheel, *_answered(wheel, providers, asked), asked.options))
        except NativelibError as problem:
            out.append(WheelReport(file=path, findings=problem.findings))
        except OSError as problem:  # no directory for temporary files, for example
            failure = write_failed(str(problem.filename or path), problem)
            out.append(WheelReport(file=path, findings=failure.findings))
    wheels = [found.wheel for found in out if found.wheel is not None]
    unused = unused_skips(wheels, request.skips) if wheels else []
    # They are about the whole call, and said once.
    return tuple(replace(found, findings=(*found.findings, *(unused if found is out[0] else ()))) for found in out)


def _answered(
    wheel: WheelFacts, providers: Sequence[Provider], asked: RepairRequest
) -> tuple[WheelNeeds, tuple[Finding, ...]]:
    """Return the answers for *wheel*, and errors if a repair would not get as far as that.

    An audit is asked for when something is wrong, so it says as much as can be said then.
    """
    try:
        return answer_needs(wheel, providers, asked), ()
    except PlanError as problem:
        platform = likely_platform(wheel.elf, wheel.name.platforms)
        plain = replace(asked, options=replace(asked.options, policies=(), plat="auto"))
        return answer_needs(wheel, (), plain, platform=platform), problem.findings


def _report(
    path: Path, whole: WheelFacts, read: WheelNeeds, errors: Sequence[Finding], options: RepairOptions
) -> WheelReport:
    wheel = read.wheel
    ground = Ground(
        files=wheel.elf,
        inside=index_inside(wheel.elf),
        providers=read.offered,
        # What a pure wheel opens may come from the system of any machine.
        policy=read.policy or policy_libraries(read.libc, "x86_64"),
        excludes=options.excludes,
    )
    opened = answer_opened(wheel.opened, ground)
    if not wheel.elf:
        findings = (*wheel.findings, passed_note(wheel), *opened_findings(opened))
        return WheelReport(file=path, wheel=wheel, opened=opened, findings=findings)
    external = system_needs(wheel.elf, read.needs, {Answer.POLICY, Answer.GRAFT, Answer.MISSING})
    verdict = _verdict(whole, read, external, options)
    leaking = leaks(wheel.elf)
    findings = (
        *errors,
        *wheel.findings,
        *(undeserved(wheel.name, verdict) if verdict is not None and not errors else ()),
        *_missing(read),
        *skip_findings(wheel, read.needs),
        *leak_findings(leaking),
        *beyond_tag(wheel.elf, read.libc),
        *(_own_policy(read, external, options) if not errors else ()),
        *opened_findings(opened),
    )
    return WheelReport(
        file=path,
        wheel=wheel,
        libc=read.libc.value,
        architecture=read.architecture,
        needs=read.needs,
        outside=read.outside,
        providers=read.offered,
        policy=ground.policy,
        verdict=verdict,
        leaks=leaking,
        opened=opened,
        findings=findings,
    )


def _verdict(
    whole: WheelFacts, read: WheelNeeds, external: Mapping[str, frozenset[str]], options: RepairOptions
) -> Verdict | None:
    """Return what the wheel deserves, if it is for one kind of system."""
    if read.architecture not in MACHINES or _mixed(whole, read):
        return None
    files = read.wheel.elf
    return judge(
        files,
        external,
        libc=read.libc,
        architecture=read.architecture,
        ignore_isa=options.ignore_isa,
        narrow=read.wheel.name.narrow_unicode,
        vouched=vouched(read.wheel.name.platforms, "auto") or shown(read.musl, files, read.architecture),
    )


def _missing(read: WheelNeeds) -> list[Finding]:
    """Return a warning for each library that nothing has; where other machines keep theirs is not known."""
    if read.architecture not in MACHINES:
        return []
    return missing_findings(read.needs, read.outside, Severity.WARNING, once=True)


def _own_policy(read: WheelNeeds, external: Mapping[str, frozenset[str]], options: RepairOptions) -> list[Finding]:
    """Return what is to be said about the user's own policy, if there is one."""
    own = own_policy(options, read.libc, read.architecture)
    if own is None:
        return []
    found = own_findings(own, read.wheel.elf, external, options, Severity.WARNING)
    met = note(Code.POLICY_MET, read.wheel.filename, f"It complies with {own.name}, and would be tagged {own.tag}.")
    return found or [met]


def _mixed(whole: WheelFacts, read: WheelNeeds) -> bool:
    """Return whether Python would load files for different machines or C libraries."""
    libcs = {facts.libc for facts in read.wheel.elf.values()} - {None}
    extensions = {facts.architecture for facts in whole.elf.values() if facts.python_extension}
    return len(libcs) > 1 or len(extensions) > 1
