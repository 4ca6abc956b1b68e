"""``repair``: read the wheels, providers and search path; plan; write; read back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib import __version__
from nativelib.errors import NativelibError, PlanError
from nativelib.facts.progress import silent
from nativelib.findings import Code, Severity
from nativelib.pipeline.answers import gather_evidence, graft_sources
from nativelib.pipeline.consumer import RepairRequest, WheelNeeds, read_needs, read_providers
from nativelib.pipeline.finish import drop_unchanged, finish
from nativelib.plan.answers import (
    broken_findings,
    passed_note,
    raise_errors,
    unused_findings,
    unused_hints,
    unused_skips,
)
from nativelib.plan.foreign import outer_sonames
from nativelib.plan.inputs import RepairInput
from nativelib.plan.left import left_findings
from nativelib.plan.needs import excluded
from nativelib.plan.repair import plan_repair as plan_wheel
from nativelib.plan.symbols import Evidence
from nativelib.plan.unneeded import remaining, unneeded
from nativelib.plan.values import Graft, Plan, Summary
from nativelib.read.elf import read_elf_file
from nativelib.read.packages import find_owners
from nativelib.read.wheel import read_wheel
from nativelib.write.stage import write_failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.package import Owners
    from nativelib.facts.progress import Report
    from nativelib.facts.provider import Provider
    from nativelib.findings import Finding
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairResult:
    """What became of one wheel."""

    input: Path
    output: Path | None = None
    """The file written, or ``None`` if nothing was."""
    plan: Plan | None = None
    receipt: Receipt | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether an error kept the wheel from being written."""
        return any(finding.severity is Severity.ERROR for finding in self.findings) or (
            self.plan is None and bool(self.findings)
        )


def repair_wheels(request: RepairRequest, *, report: Report = silent) -> tuple[RepairResult, ...]:
    """Repair all wheels of *request* and return what became of each, in order; one that fails does not stop the others.

    *report* is told what is being done.
    """
    try:
        providers = read_providers(request)
    except NativelibError as problem:
        return tuple(RepairResult(input=wheel, findings=problem.findings) for wheel in request.wheels)
    reads: list[tuple[Path, WheelNeeds | NativelibError]] = []
    for path in request.wheels:
        report(f"reading {path.name}")
        try:
            reads.append((path, read_needs(path, providers, request, report=report)))
        except NativelibError as problem:
            reads.append((path, problem))
        except OSError as problem:  # no directory for temporary files, for example
            reads.append((path, write_failed(str(problem.filename or path), problem)))
    usable = [read for _, read in reads if isinstance(read, WheelNeeds)]
    unused = _unused(request, providers, usable)
    owners = _owners(usable)
    results: list[RepairResult] = []
    written: set[Path] = set()
    for path, read in reads:
        if isinstance(read, NativelibError):
            results.append(RepairResult(input=path, findings=read.findings))
            continue
        report(f"repairing {path.name.partition('-')[0]}")
        result = _repair_one(path, replace(read, owners=owners), request, unused, written, report)
        if result.output is not None:
            written.add(result.output)
        results.append(result)
    return tuple(results)


def plan_one(read: WheelNeeds, options: RepairOptions) -> Plan:
    """Return the plan for one wheel that was read; one without ELF files, or a library wheel, is passed through."""
    wheel = read.wheel
    if wheel.is_library_wheel or not (wheel.elf or read.included):
        passed = passed_note(wheel, asked=options.plat != "auto", allowed=options.allow_pure)
        findings = [*broken_findings(wheel, ()), *read.findings, passed]
        raise_errors(findings, options)
        return Plan(
            source=wheel.path,
            source_sha256=wheel.sha256,
            output=wheel.filename,
            dist_info=wheel.dist_info,
            actions=(),
            summary=Summary(tags=wheel.name.platforms),
            findings=tuple(findings),
            level=options.level,
        )
    given = RepairInput(
        wheel=wheel,
        libc=read.libc,
        architecture=read.architecture,
        needs=read.needs,
        outside=read.outside,
        evidence=_evidence(read),
        generator=f"nativelib {__version__}",
        offered=read.offered,
        owners=read.owners,
        musl=read.musl,
        included=read.included,
    )
    plan = drop_unchanged(plan_wheel(given, options), wheel)
    return replace(plan, findings=(*plan.findings, *read.findings))


def _evidence(read: WheelNeeds) -> Evidence:
    if read.path is None:
        return Evidence()
    files = {**read.wheel.elf, **read.outside.files}
    return gather_evidence(read.needs, files, read.path, read.policy)


def _repair_one(
    path: Path,
    read: WheelNeeds,
    request: RepairRequest,
    unused: Sequence[Finding],
    written: set[Path],
    report: Report,
) -> RepairResult:
    try:
        raise_errors(unused, request.options)
        plan = plan_one(read, request.options)
        plan = replace(plan, findings=(*plan.findings, *unused))
        if request.dry_run:
            return RepairResult(input=path, plan=plan, findings=plan.findings)
        outside = {**read.outside.files}
        others = [other for other in request.wheels if other != path]
        receipt = finish(
            plan,
            read.wheel,
            outside,
            request.wheel_dir,
            request.environ,
            taken=written,
            inputs=others,
            report=report,
        )
    except NativelibError as problem:
        return RepairResult(input=path, findings=problem.findings)
    except OSError as problem:
        return RepairResult(input=path, findings=write_failed(str(problem.filename or path), problem).findings)
    return RepairResult(input=path, output=Path(receipt.output), plan=plan, receipt=receipt, findings=plan.findings)


def _owners(reads: Sequence[WheelNeeds]) -> Owners:
    """Return the owners of all that *reads* have copied in: at once, because whole databases have to be read."""
    sources = [graft_sources(read.needs, read.outside) for read in reads]
    sources += [{item.path: item.path for item in read.included} for read in reads]
    return find_owners({path: name for group in sources for path, name in group.items()})


def _unused(request: RepairRequest, providers: Sequence[Provider], reads: Sequence[WheelNeeds]) -> list[Finding]:
    if not reads:
        return []
    needs = [need for read in reads for need in remaining(read.needs, unneeded(read.wheel, read.needs))]
    inner = outer_sonames(needs, providers)
    matched = frozenset(
        glob
        for glob in request.options.excludes
        if any(excluded(soname, None, [glob]) for soname in inner)
        or any(
            excluded(need.soname, read.outside.paths.get((need.requester, need.soname)), [glob])
            for read in reads
            for need in read.needs
        )
    )
    found = unused_findings(needs, providers, request.options.excludes, matched)
    if any(finding.code is Code.UNUSED_PROVIDER for finding in found):
        for read in reads:
            found += left_findings(read.wheel.elf, read.needs, providers)
    skips = unused_skips([read.wheel for read in reads], request.options.skips)
    return [*found, *skips, *unused_hints(needs, request.options.system_hints)]


def plan_repair(request: RepairRequest) -> tuple[RepairResult, ...]:
    """Return the plans of *request* without writing anything."""
    return repair_wheels(replace(request, dry_run=True))


def apply_plan(plan: Plan, wheel_dir: Path, *, environ: Mapping[str, str] | None = None) -> Receipt:
    """Carry out a plan for a wheel that is repaired, perhaps one that was saved, and return the receipt.

    Raises NativelibError if an input has changed since the plan was made, and whatever else keeps the result from being
    written whole.
    """
    if plan.source is None:
        text = "The plan of a library wheel has no source to repair; build it again instead."
        raise PlanError.of(Code.BAD_SPEC, plan.output, text)
    wheel = read_wheel(Path(plan.source))
    grafts = {a.source: read_elf_file(Path(a.source)) for a in plan.actions if isinstance(a, Graft)}
    return finish(plan, wheel, grafts, wheel_dir, environ or {})
