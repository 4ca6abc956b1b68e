"""``metadata``: the files of a release are compared, and their wheels get the same requirements."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError, PlanError
from nativelib.facts.progress import silent
from nativelib.findings import Severity
from nativelib.pipeline.finish import finish
from nativelib.plan.dist_info import NOTE
from nativelib.plan.release import (
    all_requires,
    local_findings,
    other_findings,
    releases,
    requirement_findings,
    sdist_findings,
)
from nativelib.plan.release_declare import declaration
from nativelib.plan.release_providers import check_named, provider_findings
from nativelib.plan.release_sync import changes, common_requires, plan_wheel, written_by_repair
from nativelib.plan.release_tools import behaviours
from nativelib.plan.requirement import required_name
from nativelib.read.release import read_dist, read_provider_wheels
from nativelib.read.wheel import read_wheel
from nativelib.write.copy import copy_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.progress import Report
    from nativelib.facts.release import DistFile, ProviderWheel
    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding
    from nativelib.plan.release import Release
    from nativelib.plan.release_declare import Declaration
    from nativelib.plan.release_sync import Common
    from nativelib.plan.release_tools import Behaviour
    from nativelib.plan.values import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """The files of a release, and the wheels of providers that there are."""

    files: tuple[Path, ...]
    provided_by: tuple[Path, ...] = ()
    """Wheels of providers."""
    find_links: tuple[Path, ...] = ()
    """Directories with wheels, those of providers among them."""
    wheel_dir: Path = Path("wheelhouse")
    environ: Mapping[str, str] = field(default_factory=dict)
    """``SOURCE_DATE_EPOCH``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReport:
    """What is known of one release, and what became of it."""

    release: Release
    common: Common | None = None
    """What all wheels are to require; ``None`` if that cannot be said."""
    tools: tuple[Behaviour, ...] = ()
    """What installers and lockers make of the files as they were given."""
    declaration: Declaration | None = None
    """What the project has to declare; ``None`` if nothing."""
    findings: tuple[Finding, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    """For each wheel written, by the path of the one that was given, the path of the result."""

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def check_release(request: ReleaseRequest) -> tuple[ReleaseReport, ...]:
    """Compare the metadata of all files of *request*, and return a report for each version that installers see.

    Raises NativelibError if a file cannot be read, or if they are no files of one release.
    """
    found, providers = _read(request)
    return _with_versions(tuple(_check(release, providers) for release in found))


def sync_release(request: ReleaseRequest, *, report: Report = silent) -> tuple[ReleaseReport, ...]:
    """Write the wheels of *request* with the same requirements, and return a report for each version.

    Wheels that have them are copied as they are; source distributions are only read. Nothing is written if there is an
    error. *report* is told what is being done. Raises NativelibError as :func:`check_release` does, and WriteError.
    """
    found, providers = _read(request)
    reports = _with_versions(tuple(_prepare(release, providers) for release in found))
    if any(item.failed for item in reports):
        return reports
    plans = {wheel.path: _plan(wheel, item, report) for item in reports for wheel in item.release.wheels}
    # What changes comes first: if it cannot be written, nothing has been copied either.
    outputs = {path: _written(*planned, request, report) for path, planned in plans.items() if planned is not None}
    for path, planned in plans.items():
        if planned is None:
            outputs[path] = str(copy_whole(Path(path), request.wheel_dir))
    return tuple(replace(item, outputs=outputs) for item in reports)


def _read(request: ReleaseRequest) -> tuple[tuple[Release, ...], tuple[ProviderWheel, ...]]:
    files: list[DistFile] = []
    problems: list[Finding] = []
    for path in dict.fromkeys(request.files):
        try:
            files.append(read_dist(path, (NOTE,)))
        except NativelibError as problem:
            problems += problem.findings
    if problems:
        raise PlanError(problems)
    found = releases(files)
    required = {required_name(value) for release in found for value in all_requires(release)}
    providers = read_provider_wheels(request.provided_by, request.find_links, required)
    check_named(providers, required)
    return found, providers


def _with_versions(reports: tuple[ReleaseReport, ...]) -> tuple[ReleaseReport, ...]:
    """Return *reports*, the first of which says what there is to say of several versions."""
    first, *others = reports
    said = local_findings([item.release for item in reports])
    return (replace(first, findings=(*said, *first.findings)), *others)


def _check(release: Release, providers: Sequence[ProviderWheel]) -> ReleaseReport:
    findings = [*requirement_findings(release), *other_findings(release), *sdist_findings(release)]
    try:
        common = common_requires(release)
    except PlanError as problem:
        written = {value for wheel in release.wheels for value in written_by_repair(wheel)}
        findings += [*problem.findings, *provider_findings(release, all_requires(release), written, providers)]
        return ReleaseReport(release=release, tools=behaviours(release), findings=tuple(findings))
    findings += provider_findings(release, common.requires, common.written, providers)
    found = _report(release, common, findings)
    return found if release.sdist is not None else replace(found, declaration=None)


def _prepare(release: Release, providers: Sequence[ProviderWheel]) -> ReleaseReport:
    """Return what a release is to become. Its errors are those that the same requirements in all wheels do not mend."""
    try:
        common = common_requires(release)
    except PlanError as problem:
        return ReleaseReport(release=release, tools=behaviours(release), findings=problem.findings)
    findings = [
        *other_findings(release),
        *sdist_findings(release, frozenset(common.requires)),
        *provider_findings(release, common.requires, common.written, providers),
    ]
    return _report(release, common, findings)


def _report(release: Release, common: Common, findings: Sequence[Finding]) -> ReleaseReport:
    return ReleaseReport(
        release=release,
        common=common,
        tools=behaviours(release),
        declaration=declaration(release.sdist, common.requires, sorted(common.written)),
        findings=tuple(findings),
    )


def _plan(wheel: DistFile, item: ReleaseReport, report: Report) -> tuple[WheelFacts, Plan] | None:
    """Return the plan for *wheel* and all that it needs to be written, or ``None`` if nothing is to change."""
    if item.common is None or not changes(wheel.metadata.requires, item.common):
        return None
    report(f"reading {wheel.filename}")
    facts = read_wheel(Path(wheel.path), skip=("*",), report=report)  # no ELF file is looked at
    return facts, plan_wheel(facts, item.common)


def _written(facts: WheelFacts, plan: Plan, request: ReleaseRequest, report: Report) -> str:
    return finish(plan, facts, {}, request.wheel_dir, request.environ, report=report).output
