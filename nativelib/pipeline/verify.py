"""``verify``: wheels are installed into throw-away environments, run in several ways, and judged by what was seen."""

from __future__ import annotations

import shlex
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError
from nativelib.facts.progress import silent
from nativelib.facts.trial import Check, Result, Verdict
from nativelib.findings import Code, Severity
from nativelib.pipeline.consumer import RepairRequest, WheelNeeds, read_needs, read_providers
from nativelib.pipeline.verify_install import install_all
from nativelib.pipeline.verify_programs import try_command, try_fork
from nativelib.pipeline.verify_runs import Trial
from nativelib.pipeline.verify_subject import make_subject
from nativelib.plan.answers import unused_providers, unused_skips
from nativelib.plan.options import RepairOptions
from nativelib.plan.verdicts import merged
from nativelib.write.stage import write_failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nativelib.facts.progress import Report
    from nativelib.facts.provider import Provider
    from nativelib.findings import Finding
    from nativelib.plan.verdicts import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """Which wheels are to be tried, with what, and how."""

    wheels: tuple[Path, ...]
    provided_by: tuple[str, ...] = ()
    python: str | None = None
    """Interpreter that the environments are made for; ``None`` for the running one."""
    requirements: tuple[str, ...] = ()
    """What else is installed, for the command and the snippets."""
    pip_options: tuple[str, ...] = ()
    """``--index-url``, ``--find-links`` and the like, as pip takes them."""
    skips: tuple[str, ...] = ()
    without: frozenset[Check] = frozenset()
    """Checks that are left out."""
    command: tuple[str, ...] = ()
    """Program and arguments."""
    fork: bool | None = None
    """``None``: where an OpenMP or BLAS runtime is mapped, or threads were started."""
    fork_snippets: tuple[str, ...] = ()
    fork_timeout: float = 30.0
    timeout: float = 300.0
    """Seconds that one process may take, the command apart."""
    keep: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelTrial:
    """What is known about one wheel."""

    file: Path
    name: str | None = None
    version: str | None = None
    provided: tuple[tuple[str, str], ...] = ()
    """Soname and provider of each library that it is lent."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What came of a call."""

    python: str | None = None
    """Version of the interpreter."""
    wheels: tuple[WheelTrial, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    """What is not about one wheel."""

    @property
    def failed(self) -> bool:
        """Whether something is wrong, or nothing could be tried."""
        every = [*self.findings, *(finding for wheel in self.wheels for finding in wheel.findings)]
        return any(finding.severity is Severity.ERROR for finding in every) or any(
            verdict.result is Result.FAILED for verdict in self.verdicts
        )


def verify_wheels(request: VerifyRequest, *, report: Report = silent) -> VerifyResult:
    """Try all wheels of *request* and return what came of it. Nothing is left but what ``keep`` asks for."""
    asked = RepairRequest(
        wheels=request.wheels,
        provided_by=request.provided_by,
        python=request.python,
        options=RepairOptions(skips=request.skips),
        environ=request.environ,
    )
    try:
        providers = read_providers(asked)
    except NativelibError as problem:
        return VerifyResult(wheels=tuple(WheelTrial(file=path) for path in request.wheels), findings=problem.findings)
    reads: dict[Path, WheelNeeds | tuple[Finding, ...]] = {}
    for path in dict.fromkeys(request.wheels):
        report(f"reading {path.name}")
        try:
            reads[path] = read_needs(path, providers, asked, report=report)
        except NativelibError as problem:
            reads[path] = problem.findings
        except OSError as problem:
            reads[path] = write_failed(str(problem.filename or path), problem).findings
    try:
        with _directory(request.keep) as directory:
            return _verify(request, providers, reads, directory, report)
    except NativelibError as problem:
        return VerifyResult(wheels=tuple(WheelTrial(file=path) for path in request.wheels), findings=problem.findings)
    except OSError as problem:
        failure = write_failed(str(problem.filename or request.keep or "a temporary directory"), problem)
        return VerifyResult(wheels=tuple(WheelTrial(file=path) for path in request.wheels), findings=failure.findings)


def _verify(
    request: VerifyRequest,
    providers: tuple[Provider, ...],
    reads: Mapping[Path, WheelNeeds | tuple[Finding, ...]],
    directory: Path,
    report: Report,
) -> VerifyResult:
    """Install, run and judge what could be read."""
    usable = {path: read for path, read in reads.items() if isinstance(read, WheelNeeds)}
    if not usable:
        return VerifyResult(wheels=tuple(_wheel_trial(path, read, (), {}) for path, read in reads.items()))
    report("installing the wheels")
    installation = install_all(
        tuple(usable),
        providers,
        (*request.pip_options, *request.requirements),
        directory=directory,
        python=request.python,
        environ=request.environ,
    )
    trial = Trial(
        directory=directory,
        plain=installation.layout,
        python=request.python or sys.executable,
        environ=request.environ,
        providers=providers,
        distributions=installation.distributions,
        subjects=tuple(
            make_subject(read, providers, installation.layout.suffixes)
            for path, read in usable.items()
            if path not in installation.refused
        ),
        timeout=request.timeout,
        kept=request.keep is not None,
        without=request.without,
    )
    judgements: list[Judgement] = [(installation.verdict, installation.findings)]
    if installation.verdict.result is Result.OK:
        judgements += _try_all(request, trial, report)
    judgements.sort(key=lambda judgement: _order(judgement[0], trial))
    needs = [need for read in usable.values() for need in read.needs]
    said = {finding for verdict, findings in judgements if verdict.wheel is not None for finding in findings}
    of_all = merged(
        (verdict, tuple(finding for finding in findings if finding not in said))
        for verdict, findings in judgements
        if verdict.wheel is None
    )
    return VerifyResult(
        python=installation.layout.version,
        wheels=tuple(_wheel_trial(path, read, judgements, installation.refused) for path, read in reads.items()),
        verdicts=tuple(verdict for verdict, _ in judgements),
        findings=(
            *unused_providers(needs, providers),
            *unused_skips([read.wheel for read in usable.values()], request.skips),
            *of_all,
        ),
    )


def _try_all(request: VerifyRequest, trial: Trial, report: Report) -> list[Judgement]:
    """Run everything that was asked for, in turn: what comes later relies on what came before."""
    trial.scripts.mkdir()
    tried = trial.carry_out(trial.plain_jobs(), report)
    first = [judged.judgement[0] for judged in tried]
    # What took all its time once would take it again in every other check.
    hung = {verdict.wheel for verdict in first if verdict.seconds >= request.timeout}
    sound = {verdict.wheel for verdict in first if verdict.result is Result.OK}
    jobs = trial.other_jobs([subject for subject in trial.subjects if subject.name not in hung])
    jobs += trial.joint_jobs([subject for subject in trial.subjects if subject.name in sound])
    tried += trial.carry_out(jobs, report)
    done = [judged.judgement for judged in tried]
    wanted = any(judged.threaded for judged in tried) if request.fork is None else request.fork
    if wanted and Check.FORK not in request.without:
        names = dict.fromkeys(name for s in trial.subjects if s.name in sound for name in s.packages)
        asked, timeout = bool(request.fork), request.fork_timeout
        done.append(try_fork(trial, (*names,), request.fork_snippets, asked=asked, timeout=timeout, report=report))
    if request.command:
        report(shlex.join(request.command))
        done.append(try_command(request.command, trial))
    return done


def _order(verdict: Verdict, trial: Trial) -> tuple[int, int]:
    """Return what verdicts are sorted by: the installation, then wheel by wheel, then what is about all of them."""
    checks = list(Check)
    if verdict.check is Check.INSTALL:
        return -1, 0
    names = [subject.name for subject in trial.subjects]
    return names.index(verdict.wheel) if verdict.wheel in names else len(names), checks.index(verdict.check)


def _wheel_trial(
    path: Path,
    read: WheelNeeds | tuple[Finding, ...],
    judgements: Sequence[Judgement],
    refused: Mapping[Path, Finding],
) -> WheelTrial:
    if not isinstance(read, WheelNeeds):
        return WheelTrial(file=path, findings=read)
    name = read.wheel.name.normalized
    provided = {need.soname: need.provider.name for need in read.needs if need.provider is not None}
    return WheelTrial(
        file=path,
        name=name,
        version=read.wheel.name.version,
        provided=tuple(sorted(provided.items())),
        findings=(
            *([refused[path]] if path in refused else []),
            *merged(judgement for judgement in judgements if judgement[0].wheel == name),
        ),
    )


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="nativelib-verify-", ignore_cleanup_errors=True) as name:
            yield Path(name).resolve()
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise NativelibError.of(
            Code.WRITE_FAILED, str(keep), "The directory for --keep is not empty.", "Name a new one, or empty it."
        )
    yield keep.resolve()
