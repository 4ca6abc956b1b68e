"""Build library wheels of OpenBLAS and OpenMP, repair two consumers with them, and show what a process then maps.

Usage: ``python demo.py [--prefix DIR] [--license FILE]... [--work DIR]``, with a Python that has nativelib installed;
``make demo`` does that. Everything is written below the working directory; downloads go to $NATIVELIB_CACHE, if set.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consumers import build_consumers
from debian import from_debian
from prefix import from_prefix
from report import Library, Scenario, Wheel, render, shortcomings, verdict
from steps import DemoError, Runner, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tree import Tree

HERE = Path(__file__).resolve().parent
CONSUMERS = ("numpy_like", "stats_like")
MARK = ".nativelib-demo"
"""The file by which the demo knows a working directory as its own, and that it may remove what is in there."""


def main(arguments: Sequence[str]) -> int:
    """Run the demo and return the exit code: 0, 1 with a message on stderr, or 130 when interrupted."""
    options = _options(arguments)
    started = time.perf_counter()
    try:
        _check_tools(for_make=options.check)
        if options.check:
            return 0
        _run(options)
    except (DemoError, OSError) as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted; start again, what was finished is kept", file=sys.stderr)
        return 130
    say(f"Done in {time.perf_counter() - started:.0f} s. Wheels, report.json and commands.txt are in {options.work}")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prefix", type=_absolute, help="take OpenBLAS from here instead of Debian's packages")
    parser.add_argument("--license", type=_absolute, action="append", default=[], help="licence text for such a prefix")
    parser.add_argument("--work", type=_absolute, default=HERE.parents[1] / "build" / "demo", help="where to work")
    parser.add_argument("--check", action="store_true", help="only say whether this Python can make an environment")
    return parser.parse_args(arguments)


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _check_tools(*, for_make: bool) -> None:
    """Raise `DemoError` with the line that installs what is missing on this machine.

    `for_make` asks for what it takes to make an environment with nativelib, instead of for the environment.
    """
    if sys.platform != "linux" or sys.implementation.name != "cpython":
        raise DemoError("the demo needs CPython on Linux")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    modules = ("venv", "ensurepip") if for_make else ("venv", "pip")
    missing = {
        "a C compiler (gcc)": ("gcc libc6-dev", shutil.which("gcc") is not None),
        "Python's headers": (f"{version}-dev", (Path(sysconfig.get_path("include")) / "Python.h").is_file()),
        "pip and venv": (f"{version}-venv", all(map(_has_module, modules))),
    }
    lost = {what: package for what, (package, there) in missing.items() if not there}
    if lost:
        raise DemoError(
            f"missing: {', '.join(lost)}. On Debian and Ubuntu:\n"
            f"  sudo apt-get install {' '.join(lost.values())}\n"
            f"This is for {sys.executable}; `make demo PYTHON=...` takes another one."
        )
    if not for_make and importlib.util.find_spec("nativelib") is None:
        raise DemoError(f"nativelib is not installed for {sys.executable}; `make demo` arranges that")


def _has_module(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    # An empty directory of that name, which a package manager may leave, has a spec without origin.
    return spec is not None and spec.origin is not None


def _own(work: Path) -> None:
    """Make the working directory; raise `DemoError` if it holds what is not the demo's."""
    if work.is_dir() and any(work.iterdir()) and not (work / MARK).exists():
        raise DemoError(f"{work} has files that are not the demo's; name another directory with --work, or empty it")
    work.mkdir(parents=True, exist_ok=True)
    (work / MARK).touch()


def _run(options: argparse.Namespace) -> None:
    work: Path = options.work
    _own(work)
    cache = Path(os.environ.get("NATIVELIB_CACHE") or work / "cache").absolute()
    runner = Runner(directory=work, log=work / "commands.txt")
    runner.log.write_text(f"# What the demo ran, in {work}\n", encoding="utf-8")

    say(f"[1/5] OpenBLAS and OpenMP, from {options.prefix or 'packages of this distribution'}")
    if options.prefix:
        tree = from_prefix(runner, options.prefix, work / "tree", options.license)
    else:
        tree = from_debian(runner, cache, work / "tree")
    say("[2/5] library wheels")
    libraries = _build_libraries(runner, tree)
    say("[3/5] consumers, as their maintainers build them")
    openmp, *blas = (work / "libraries" / library["file"] for library in libraries)
    built = build_consumers(runner, tree, cache, blas[0])
    say("[4/5] repair, install, run: each consumer with its own copies")
    alone = [
        [str(consumer), "--ldpaths", ":".join(map(str, tree.search_path(maintainer)))]
        for maintainer, consumer in enumerate((built.numpy_like, built.stats_like_system))
    ]
    scenarios = [_scenario(runner, "own copies", alone)]
    say("[5/5] repair, install, run: shared libraries")
    for wheel in blas:
        title = "shared" if wheel is blas[0] else "shared, OpenMP"
        provided = [word for provider in (wheel, openmp) for word in ("--provided-by", str(provider))]
        both = [str(built.numpy_like), str(built.stats_like), *provided]
        scenarios.append(_scenario(runner, title, [both], providers=(wheel, openmp)))
    originals = [_wheel(built.numpy_like), _wheel(built.stats_like)]
    _finish(runner, [_library(work, library) for library in libraries], originals, scenarios)
    wrong = shortcomings(scenarios, tree.builds)
    if wrong:
        raise DemoError("\n".join(wrong))
    say(f"\n{verdict(scenarios)}")


def _build_libraries(runner: Runner, tree: Tree) -> list[dict[str, Any]]:
    """Build openmp-lib, then every flavour of OpenBLAS; return what the tool said of each, with the file's name."""
    shutil.rmtree(runner.directory / "libraries", ignore_errors=True)
    specs = {"openmp-lib": tree.openmp_version}
    names = {"pthread": "openblas-lib", "openmp": "openblas-openmp-lib"}
    specs |= {names[flavour]: tree.openblas_version(flavour) for flavour in tree.flavours}
    answers: list[dict[str, Any]] = []
    for name, version in specs.items():
        spec = _spec(runner, name, version)
        command = ["build", str(spec), "--prefix", str(tree.prefix), "-w", "libraries"]
        if name == "openblas-openmp-lib":
            command += ["--provided-by", f"libraries/{answers[0]['file']}"]
        answer = runner.nativelib(*command)
        answers.append({**answer, "file": Path(answer["wheel"]).name})
    return answers


def _spec(runner: Runner, name: str, version: str) -> Path:
    """Copy a spec to the working directory, with the version of the library that was really found."""
    text = (HERE / name / "pyproject.toml").read_text(encoding="utf-8")
    target = runner.directory / "specs" / name / "pyproject.toml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', text, count=1), encoding="utf-8")
    return target.parent


def _scenario(runner: Runner, title: str, repairs: Sequence[Sequence[str]], providers: Sequence[Path] = ()) -> Scenario:
    """Repair the consumers, install them from their metadata alone, test the numbers and look at the process.

    `repairs` are the arguments of each call of ``nativelib repair``.
    """
    name = re.sub(r"\W+", "-", title)
    house, environment = (runner.directory / f"{kind}-{name}" for kind in ("wheelhouse", "env"))
    for directory in (house, environment):
        shutil.rmtree(directory, ignore_errors=True)
    answers = [runner.nativelib("repair", *arguments, "-w", str(house)) for arguments in repairs]
    repaired = [wheel for answer in answers for wheel in answer["wheels"]]

    runner.run(
        [runner.python, "-m", "venv", "--without-pip", str(environment)], show=f"python -m venv {environment.name}"
    )
    python = str(environment / "bin" / "python")
    links = ["--find-links", str(house), *(("--find-links", "libraries") if providers else ())]
    wanted = [consumer.replace("_", "-") for consumer in CONSUMERS]
    command = [runner.python, "-m", "pip", "--python", python, "-q", "install", "--no-index", *links, *wanted]
    runner.run(command, show=" ".join(["pip install", *wanted]))
    modules = [f"{consumer}.tests.test_numbers" for consumer in CONSUMERS]
    tests = runner.run([python, "-m", "unittest", *modules], show=" ".join(["python -m unittest", *modules]))
    processes = [_measure(runner, python, order) for order in (CONSUMERS, CONSUMERS[::-1])]
    site = next((environment / "lib").glob("python*/site-packages"))
    return Scenario(
        title=title,
        consumers=tuple(_wheel(Path(wheel["output"])) for wheel in repaired),
        providers=tuple(_wheel(path) for path in providers),
        rewritten=tuple(pair for wheel in repaired for pair in _rewritten(wheel)),
        installed=sum(path.stat().st_size for path in site.rglob("*.so*") if not path.is_symlink()),
        processes=tuple(processes),
        tests=int((re.search(r"Ran (\d+) tests", tests.stderr) or [0, 0])[1]),
    )


def _measure(runner: Runner, python: str, order: Sequence[str]) -> dict[str, Any]:
    # -I: neither this directory nor the user's packages take part; only what was installed does.
    command = [python, "-I", str(HERE / "measure.py"), *order]
    done = runner.run(command, show=" ".join(["python measure.py", *order]))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _rewritten(wheel: dict[str, Any]) -> list[tuple[str, str]]:
    """Return in lines what `repair` says it did to one wheel, each after the name of the consumer."""
    name, lines = Path(wheel["input"]).name.partition("-")[0], []
    for provided in wheel["provided"]:
        renamed = provided["as"] != provided["soname"]
        change = f"-> {provided['as']}" if renamed else f"stays, and comes from {provided['provider']}"
        lines.append(f"{provided['soname']} {change}")
    if wheel["grafted"]:
        lines.append("copied in: " + ", ".join(grafted["soname"] for grafted in wheel["grafted"]))
    lines += [f"Requires-Dist: {requirement}" for requirement in wheel["requires"]]
    lines += [f"hook: {hook.removeprefix(f'{name}/')}" for hook in wheel["hooks"]]
    return [(name, line) for line in dict.fromkeys(lines)]


def _wheel(path: Path) -> Wheel:
    # A file name may have an alias first: manylinux1_x86_64.manylinux_2_5_x86_64.
    tags = path.stem.split("-")[-1].split(".")
    best = next((tag for tag in tags if re.match(r"(many|musl)linux_\d", tag)), tags[0])
    return Wheel(name=path.name.split("-")[0], size=path.stat().st_size, tag=best)


def _library(work: Path, answer: dict[str, Any]) -> Library:
    return Library(
        wheel=_wheel(work / "libraries" / answer["file"]),
        sonames=tuple((library["original_soname"], library["soname"]) for library in answer["libraries"]),
        private=tuple(Path(part if isinstance(part, str) else part["file"]).name for part in answer["private"]),
        requires=tuple(answer["requires"]),
    )


def _finish(
    runner: Runner, libraries: Sequence[Library], originals: Sequence[Wheel], scenarios: Sequence[Scenario]
) -> None:
    """Print the report, and write it as JSON too."""
    cores = len(os.sched_getaffinity(0))
    say(render(libraries, originals, scenarios, cores))
    plain = {
        "cores": cores,
        "libraries": [dataclasses.asdict(library) for library in libraries],
        "consumers": [dataclasses.asdict(wheel) for wheel in originals],
        "scenarios": [dataclasses.asdict(scenario) for scenario in scenarios],
        "findings": runner.findings,
    }
    (runner.directory / "report.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
