"""``show``: what a wheel needs, where it comes from, and which platform tag the wheel deserves as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError
from nativelib.facts.outside import Outside
from nativelib.findings import Code, Severity, note
from nativelib.pipeline.repair import RepairRequest, read_needs, read_providers
from nativelib.plan.answers import missing_findings
from nativelib.plan.needs import Answer, system_needs
from nativelib.plan.options import RepairOptions
from nativelib.plan.platform import own_policy
from nativelib.plan.repair import passed_note
from nativelib.plan.retag import own_findings, shown, vouched
from nativelib.policy.judge import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding
    from nativelib.pipeline.repair import WheelNeeds
    from nativelib.plan.needs import Need
    from nativelib.policy.values import Policy, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """Which wheels are to be looked at, and what counts as provided."""

    wheels: tuple[Path, ...]
    provided_by: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
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
    verdict: Verdict | None = None
    """``None`` for a pure wheel."""
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the wheel could not be read."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def inspect_wheels(
    request: InspectRequest, *, report: Callable[[str], None] = lambda _text: None
) -> tuple[WheelReport, ...]:
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
            out.append(_report(path, read_needs(path, providers, asked), asked.options))
        except NativelibError as problem:
            out.append(WheelReport(file=path, findings=problem.findings))
    return tuple(out)


def _report(path: Path, read: WheelNeeds, options: RepairOptions) -> WheelReport:
    wheel = read.wheel
    if not wheel.elf:
        return WheelReport(file=path, wheel=wheel, findings=(*wheel.findings, passed_note(wheel)))
    external = system_needs(wheel.elf, read.needs, {Answer.POLICY, Answer.GRAFT, Answer.MISSING})
    verdict = judge(
        wheel.elf,
        external,
        libc=read.libc,
        architecture=read.architecture,
        ignore_isa=options.ignore_isa,
        vouched=vouched(wheel.name.platforms, "auto") or shown(read.musl, wheel.elf, read.architecture),
    )
    missing = missing_findings(read.needs, read.outside, Severity.WARNING)
    return WheelReport(
        file=path,
        wheel=wheel,
        libc=read.libc.value,
        architecture=read.architecture,
        needs=read.needs,
        outside=read.outside,
        verdict=verdict,
        findings=(*wheel.findings, *missing, *_own_policy(read, external, options)),
    )


def _own_policy(read: WheelNeeds, external: Mapping[str, frozenset[str]], options: RepairOptions) -> list[Finding]:
    """Return what is to be said about the user's own policy, if there is one."""
    own = own_policy(options, read.libc, read.architecture)
    if own is None:
        return []
    found = own_findings(own, read.wheel.elf, external, options, Severity.WARNING)
    met = note(Code.POLICY_MET, read.wheel.filename, f"It complies with {own.name}, and would be tagged {own.tag}.")
    return found or [met]
