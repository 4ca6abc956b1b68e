"""The probes of ``verify``: which process does what in which layout, and what is expected of it."""

from __future__ import annotations

import os
import posixpath
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError
from nativelib.facts.elf import Libc
from nativelib.facts.trial import Check, Mapped
from nativelib.pipeline.verify_subject import Subject, expected_library, library_path, member_path
from nativelib.plan.expected import imported_first, is_runtime, loaded_first
from nativelib.plan.verdicts import Case, judge_run
from nativelib.read.elf import read_elf_file
from nativelib.trial.environment import clone, split, unlink_file
from nativelib.trial.probe import Probe, run_probe
from nativelib.write.anchor import build_anchor
from nativelib.write.patch import patch_file
from nativelib.write.render import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.progress import Report
    from nativelib.facts.provider import Provider
    from nativelib.facts.trial import Run
    from nativelib.plan.verdicts import Judgement
    from nativelib.trial.environment import Layout

_NONE: Mapping[str, str] = MappingProxyType({})

_CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One process: these wheels, in this layout."""

    check: Check
    subjects: tuple[Subject, ...]
    layout: Layout
    probe: Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of a job."""

    judgement: Judgement
    threaded: bool
    """Whether the process had a runtime that computes with threads, or threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """All that the runs of one call have in common."""

    directory: Path
    plain: Layout
    python: str
    environ: Mapping[str, str]
    providers: tuple[Provider, ...]
    distributions: frozenset[str]
    """Normalised names of what is installed."""
    subjects: tuple[Subject, ...]
    timeout: float
    """Seconds that a process may take."""
    kept: bool
    """Whether scripts will still be there when the report is read."""
    without: frozenset[Check] = frozenset()

    @property
    def scripts(self) -> Path:
        """Where probes are left."""
        return self.directory / "scripts"

    def carry_out(self, jobs: Sequence[Job], report: Report) -> list[Tried]:
        """Run *jobs*, several at a time, and judge them."""
        runs: list[Run] = []
        stop = Event()
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            try:
                for run in pool.map(lambda job: self._run(job, stop), jobs):
                    runs.append(run)
                    report("running the wheels", len(runs), len(jobs))
            except BaseException:  # an interrupt, for which processes in sessions of their own would keep us waiting
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        known = _Known()
        return [self._tried(job, run, known) for job, run in zip(jobs, runs, strict=True)]

    def _run(self, job: Job, stop: Event) -> Run:
        return run_probe(
            job.probe,
            job.layout,
            self.scripts,
            lambda values: render("verify/probe.py.j2", values),
            timeout=self.timeout,
            stop=stop,
            kept=self.kept,
        )

    def _tried(self, job: Job, run: Run, known: _Known) -> Tried:
        alone = job.subjects[0] if len(job.subjects) == 1 else None
        members = {
            step: member if alone is not None else f"{subject.read.wheel.filename}: {member}"
            for subject in job.subjects
            for step, member in _steps(subject, job).items()
        }
        every = {(item[0].name, item[1].soname): item for subject in job.subjects for item in subject.lent}
        mapped = tuple(known.mapped(path, job.layout) for path in sorted(run.seen.after or ()))
        case = Case(
            wheel=alone.name if alone is not None else None,
            check=job.check,
            run=run,
            expected=tuple(expected_library(provider, library, job.layout) for provider, library in every.values()),
            mapped=mapped,
            members=members,
            own=frozenset(subject.name for subject in self.subjects),
        )
        runtimes = any(is_runtime(name) for item in mapped for name in item.names)
        return Tried(judgement=judge_run(case), threaded=runtimes or run.seen.threads > 1)

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of a probe's process: nothing of the build's environment, and *more*."""
        return {**_CLEAN, "HOME": str(self.directory), "TMPDIR": tempfile.gettempdir(), **more}

    def plain_jobs(self) -> list[Job]:
        """Return the first run of each wheel. It compiles the Python code, which all layouts then share."""
        return [self._job(Check.IMPORT, self.plain, [subject]) for subject in self.subjects]

    def other_jobs(self, subjects: Sequence[Subject]) -> list[Job]:
        """Return the further runs of *subjects*, and make the layouts that they need."""
        wanted = {check for check in Check if check not in self.without}
        jobs = [self._job(Check.SYMBOLS, self.plain, [s], {"LD_BIND_NOW": "1"}) for s in subjects if s.files]
        borrowers = [subject for subject in subjects if subject.lent]
        if borrowers and wanted & {Check.SPLIT, Check.PROVIDER_FIRST}:
            apart = split(self.plain, self.directory / "split", self.python, self.environ)
            jobs += [self._job(check, apart, [s]) for s in borrowers for check in (Check.SPLIT, Check.PROVIDER_FIRST)]
        edited = [subject for subject in subjects if subject.edits]
        if edited and Check.RUN_PATHS in wanted:
            bare = self._without_run_paths(edited)
            jobs += [self._job(Check.RUN_PATHS, bare, [s]) for s in edited]
        # musl prefers LD_LIBRARY_PATH to every run path, which no wheel can help.
        open_to_proof = [subject for subject in borrowers if subject.read.libc is not Libc.MUSL]
        if open_to_proof and Check.POISONED in wanted:
            poison = {"LD_LIBRARY_PATH": str(self._decoys(open_to_proof))}
            jobs += [self._job(Check.POISONED, self.plain, [s], poison) for s in open_to_proof]
        return [job for job in jobs if job.check in wanted]

    def joint_jobs(self, subjects: Sequence[Subject]) -> list[Job]:
        """Return the runs of several *subjects* in one process."""
        orders = {Check.TOGETHER: subjects, Check.REVERSED: subjects[::-1]} if len(subjects) > 1 else {}
        return [self._job(check, self.plain, order) for check, order in orders.items() if check not in self.without]

    def _job(
        self, check: Check, layout: Layout, subjects: Sequence[Subject], variables: Mapping[str, str] = _NONE
    ) -> Job:
        names = [name for subject in subjects for name in subject.imports]
        first: list[str] = []
        files: list[str] = []
        for subject in subjects:
            if check is Check.PROVIDER_FIRST:
                needs = subject.read.needs
                first += [library_path(layout, *item) for item in loaded_first(needs, self.providers)]
                names = [*imported_first(needs, self.providers), *names]
            if check is Check.SYMBOLS:
                # Without the extensions, and in the opposite order: a file that is served by what an earlier one has
                # loaded is found out in one check or the other.
                names = list(subject.packages)
                files += [member_path(layout, subject, member) for member in reversed(subject.files)]
        probe = Probe(
            name="-".join([check, *(subjects[0].name,)[: len(subjects) == 1]]),
            load_first=tuple(first),
            modules=tuple(dict.fromkeys(names)),
            files=tuple(files),
            environ=self.variables(variables),
        )
        return Job(check=check, subjects=tuple(subjects), layout=layout, probe=probe)

    def _without_run_paths(self, subjects: Sequence[Subject]) -> Layout:
        """Return a copy of the installation in which no run path leads out of a wheel."""
        bare = clone(self.plain, self.directory / "bare")
        for subject in subjects:
            for member, edit in subject.edits.items():
                path = Path(member_path(bare, subject, member))
                if path.is_file():
                    unlink_file(path)
                    patch_file(path, edit, where=member)
        return bare

    def _decoys(self, subjects: Sequence[Subject]) -> Path:
        """Return a directory with a wrong library for each name that a provided one goes by: it has no symbol at all.

        Names that the policies allow are the interpreter's own as well, which would not survive.
        """
        directory = self.directory / "poison"
        directory.mkdir()
        for subject in subjects:
            for _, library in subject.lent:
                for name in {*library.names} - subject.read.policy:
                    if "/" in name:  # a path, which is not searched for
                        continue
                    content = build_anchor(library.facts.machine, soname=name, needed=(), run_path=())
                    (directory / name).write_bytes(content)
        return directory


class _Known:
    """Names of libraries, each file read once: layouts share bytes, and processes share libraries."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], frozenset[str]] = {}

    def mapped(self, path: str, layout: Layout) -> Mapped:
        """Return what is known of the mapped file *path*."""
        real = os.path.realpath(path)
        names = self._read(Path(real)) | {posixpath.basename(path)}
        return Mapped(path=real, shown=layout.shorten(real), names=names, owner=layout.owners.get(real))

    def _read(self, path: Path) -> frozenset[str]:
        try:
            status = path.stat()
            key = (status.st_dev, status.st_ino)
            if key not in self._names:
                facts = read_elf_file(path)
                self._names[key] = frozenset(filter(None, (facts.soname, facts.version_base)))
            return self._names[key]
        except (NativelibError, OSError):  # no ELF file in spite of its name, or gone
            return frozenset()


def _steps(subject: Subject, job: Job) -> dict[str, str]:
    """Return the steps of *job* that are about files of *subject*, with the member of each."""
    if job.check is not Check.SYMBOLS:
        return dict(subject.modules)
    return {member_path(job.layout, subject, member): member for member in subject.files}
