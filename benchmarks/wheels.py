"""What it costs to audit and to repair wheels: time against ``unzip -t``, ``cp`` and auditwheel, and memory."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import inputs
from report import Row
from timing import HERE, BenchmarkError, Command, clean_environment, interleaved, median_seconds, peak

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from report import Run

SHOW, REPAIR, AUDITWHEEL_SHOW, AUDITWHEEL_REPAIR, OWN_MEMORY = 1.5, 2.0, 8.0, 5.0, 150
"""The targets of the project: two ratios to ``unzip -t``, two to auditwheel, and MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A wheel, and how it is repaired."""

    label: str
    wheel: Path
    options: tuple[str, ...] = ()
    also_read: tuple[Path, ...] = ()
    """Wheels that are read, too: what counts against ``unzip -t`` of all of them."""
    libraries: Path | None = None
    """Where what is to be grafted lies."""
    environment: dict[str, str] = field(default_factory=dict)

    def nativelib(self, *words: str) -> tuple[str, ...]:
        """Return the words of a command of nativelib."""
        paths = ("--ldpaths", str(self.libraries)) if self.libraries else ()
        return (*words, *paths, *self.options, str(self.wheel))


def published_cases(*, quick: bool) -> Iterator[Case]:
    """Yield wheels from which nothing is taken and to which nothing is added."""
    yield Case(label="scipy", wheel=inputs.published(inputs.SCIPY))
    if not quick:
        yield Case(label="pyarrow", wheel=inputs.published(inputs.PYARROW))
        yield Case(label="100 MB", wheel=inputs.mixed_wheel())


def grafting_cases(*, quick: bool) -> Iterator[Case]:
    """Yield wheels whose libraries lie elsewhere, and have to be copied in."""
    wanted = [("scipy", "scipy-1.17.1-cp311-cp311", (inputs.SCIPY,))]
    if not quick:
        four = (inputs.SCIPY, inputs.NUMPY, inputs.OPENCV, inputs.PYARROW)
        wanted.append(("opencv", "opencv_python_headless-4.12.0.88-cp37-abi3", (inputs.OPENCV,)))
        wanted.append(("120 MB", "mixed-1.0-cp311-cp311", four))
    for label, name, sources in wanted:
        wheel, libraries = inputs.ungrafted(name, *sources)
        yield Case(label=f"{label}, grafting", wheel=wheel, libraries=libraries)


def provided_case() -> Case:
    """Return a wheel that takes a library from another one."""
    provider = inputs.published(inputs.OPENBLAS64)
    options = ("--provided-by", str(provider))
    return Case(label="numpy, provided", wheel=inputs.ungrafted_numpy(), options=options, also_read=(provider,))


def every_case(*, quick: bool) -> Iterator[Case]:
    """Yield all of them."""
    yield from published_cases(quick=quick)
    yield from grafting_cases(quick=quick)
    yield provided_case()


def show(run: Run) -> Iterator[Row]:
    """Compare auditing, and planning a repair, with ``unzip -t``."""
    for case in published_cases(quick=run.quick):
        commands = [
            _unzip(case),
            Command(label="show", argv=_tool(*case.nativelib("show"))),
            Command(label="repair --dry-run", argv=_tool(*case.nativelib("repair", "--dry-run"))),
        ]
        costs = interleaved(commands, run.rounds)
        for label in ("show", "repair --dry-run"):
            yield Row.ratio(f"{case.label}: {label} / unzip -t", costs, label, "unzip", most=SHOW)


def repair(run: Run) -> Iterator[Row]:
    """Compare repairing with ``unzip -t`` and with copying the file."""
    for case in every_case(quick=run.quick):
        copy = Command(label="cp", argv=("cp", str(case.wheel), str(run.scratch / "copy")))
        costs = interleaved([_unzip(case), _repair(case, run.scratch), copy], run.rounds)
        reference = median_seconds(costs["unzip"])
        [result] = run.scratch.glob(f"out/{case.wheel.name.partition('-')[0]}-*.whl")
        allowance = _deflate_seconds(case.wheel, result)
        target = REPAIR + allowance / reference
        yield Row.ratio(f"{case.label}: repair / unzip -t", costs, "repair", "unzip", most=target)
        yield Row.amount(f"{case.label}: deflating what is new, on all cores", allowance, "s")
        yield Row.ratio(f"{case.label}: repair / cp", costs, "repair", "cp")
        result.unlink()


def peers_cases(*, quick: bool) -> Iterator[Case]:
    """Yield the wheels that auditwheel can repair, too: as published, and with libraries to be grafted."""
    yield next(case for case in published_cases(quick=quick) if quick or case.label == "pyarrow")
    yield from grafting_cases(quick=quick)


def auditwheel(run: Run) -> Iterator[Row]:
    """Compare with auditwheel on the same wheels."""
    if importlib.util.find_spec("auditwheel") is None:
        raise BenchmarkError("auditwheel is not installed")
    for case in peers_cases(quick=run.quick):
        paths = {"AUDITWHEEL_LD_LIBRARY_PATH": str(case.libraries)} if case.libraries else {}
        theirs = (sys.executable, "-m", "auditwheel")
        target = str(run.scratch / "theirs")
        commands = [
            Command(label="show", argv=_tool(*case.nativelib("show"))),
            Command(label="auditwheel show", argv=(*theirs, "show", str(case.wheel)), environment=paths),
            _repair(case, run.scratch),
            Command(
                label="auditwheel repair",
                argv=(*theirs, "repair", "-w", target, str(case.wheel)),
                environment=paths,
            ),
        ]
        costs = interleaved(commands, max(1, run.rounds // 3))
        for what, least in (("show", AUDITWHEEL_SHOW), ("repair", AUDITWHEEL_REPAIR)):
            label = f"{case.label}: auditwheel {what} / {what}"
            yield Row.ratio(label, costs, f"auditwheel {what}", what, least=least, memory=True)
        shutil.rmtree(run.scratch / "out")


def memory(run: Run) -> Iterator[Row]:
    """Measure peaks, also with one library that is larger than all that we may use."""
    size = 100 if run.quick else 430
    large = Case(label=f"one library of {size} MiB", wheel=inputs.large_wheel(size))
    for case in (*every_case(quick=run.quick), large):
        for command in (
            case.nativelib("repair", "--dry-run"),
            case.nativelib("repair", "-w", str(run.scratch / "out")),
        ):
            used = peak(Command(label="", argv=(*command, "--quiet")))
            label = f"{case.label}: {' '.join(command[: 2 if '--dry-run' in command else 1])}"
            yield Row.amount(f"{label}, peak of our process", used.own, "MiB", OWN_MEMORY)
            if used.children > used.own:
                yield Row.amount(f"{label}, peak of patchelf", used.children, "MiB")


def start(run: Run) -> Iterator[Row]:
    """Measure what the tool costs before it does anything."""
    small = run.scratch / "small-1.0-cp311-cp311-linux_x86_64.whl"
    extension = next(
        content
        for name, content in inputs.members_of(inputs.published(inputs.SCIPY))
        if name.endswith("_fpumode.cpython-311-x86_64-linux-gnu.so")
    )
    inputs.write_wheel(small, [("small/__init__.py", b""), ("small/_fpumode.so", extension)])
    case = Case(label="small", wheel=small)
    commands = [
        Command(label="python", argv=(sys.executable, "-c", "pass")),
        Command(label="nativelib --help", argv=_tool("--help")),
        Command(label="show of a small wheel", argv=_tool(*case.nativelib("show"))),
        _repair(case, run.scratch),
    ]
    costs = interleaved(commands, run.rounds)
    base = median_seconds(costs.pop("python"))
    for label, values in costs.items():
        name = "repair of a small wheel" if label == "repair" else label
        yield Row.amount(f"{name}, over python -c pass", (median_seconds(values) - base) * 1000, "ms")


def _unzip(case: Case) -> Command:
    if shutil.which("unzip") is None:
        raise BenchmarkError("unzip is not installed")
    line = " && ".join(f"unzip -tqq '{wheel}'" for wheel in (case.wheel, *case.also_read))
    return Command(label="unzip", argv=("sh", "-c", line))


def _repair(case: Case, scratch: Path) -> Command:
    return Command(label="repair", argv=_tool(*case.nativelib("repair", "-w", str(scratch / "out"))))


def _tool(*words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "nativelib", *words)


def _deflate_seconds(before: Path, after: Path) -> float:
    argv = [sys.executable, str(HERE / "deflating.py"), str(before), str(after)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=clean_environment())
    return float(done.stdout)
