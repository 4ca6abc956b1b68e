"""``show``: what a wheel needs, where it comes from, and which platform tag the wheel deserves as it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError
from nativelib.facts.outside import Outside
from nativelib.facts.progress import silent
from nativelib.findings import Severity
from nativelib.pipeline.repair import RepairRequest, read_needs, read_providers
from nativelib.plan.answers import missing_findings
from nativelib.plan.needs import Answer, system_needs
from nativelib.plan.options import RepairOptions
from nativelib.plan.repair import passed_note
from nativelib.plan.retag import vouched
from nativelib.policy.judge import judge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nativelib.facts.progress import Report
    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding
    from nativelib.pipeline.repair import WheelNeeds
    from nativelib.plan.needs import Need
    from nativelib.policy.values import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """Which wheels are to be looked at, and what counts as provided."""

    wheels: tuple[Path, ...]
    provided_by: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    python: str | None = None
    ldpaths: str | None = None
    ignore_isa: bool = False
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


def inspect_wheels(request: InspectRequest, *, report: Report = silent) -> tuple[WheelReport, ...]:
    """Return a report for each wheel of *request*, in order; one that cannot be read does not stop the others."""
    asked = RepairRequest(
        wheels=request.wheels,
        provided_by=request.provided_by,
        python=request.python,
        ldpaths=request.ldpaths,
        environ=request.environ,
        options=RepairOptions(excludes=request.excludes, ignore_isa=request.ignore_isa),
    )
    try:
        providers = read_providers(asked)
    except NativelibError as problem:
        return tuple(WheelReport(file=path, findings=problem.findings) for path in request.wheels)
    out: list[WheelReport] = []
    for path in request.wheels:
        report(f"reading {path.name}")
        try:
            out.append(_report(path, read_needs(path, providers, asked, report=report), request))
        except NativelibError as problem:
            out.append(WheelReport(file=path, findings=problem.findings))
    return tuple(out)


def _report(path: Path, read: WheelNeeds, request: InspectRequest) -> WheelReport:
    wheel = read.wheel
    if not wheel.elf:
        return WheelReport(file=path, wheel=wheel, findings=(*wheel.findings, passed_note(wheel)))
    verdict = judge(
        wheel.elf,
        system_needs(wheel.elf, read.needs, {Answer.POLICY, Answer.GRAFT, Answer.MISSING}),
        libc=read.libc,
        architecture=read.architecture,
        ignore_isa=request.ignore_isa,
        vouched=vouched(wheel.name.platforms, "auto"),
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
        findings=(*wheel.findings, *missing),
    )
