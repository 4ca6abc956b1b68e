"""Published wheels as they are, and sharing one OpenMP runtime: speed, their own tests, forks, in one report.

Usage: ``python showcase.py [--quick] [--torch WHEEL] [--write]``, with a Python that has nativelib installed;
``make showcase`` does that. Everything is written below the working directory; downloads go to
$NATIVELIB_CACHE, if set.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent / "openblas"))  # how commands are run and Debian's packages fetched is written there

import measure  # noqa: E402
import plot  # noqa: E402
import results as report  # noqa: E402
import stacks  # noqa: E402
from steps import DemoError, Runner, say  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOP = HERE.parents[1]
DOCS = TOP / "docs"
STEPS = ("verify", "look", "work", "tests", "forks")
MARK = ".nativelib-showcase"
"""The file by which a working directory is known as the showcase's own."""
BEGIN, END = "<!-- begin of what `make showcase WRITE=1` writes -->", "<!-- end -->"


def main(arguments: Sequence[str]) -> int:
    """Run the showcase and return the exit code: 0, 1 if sharing made something worse or a step failed, or 130."""
    options = _options(arguments)
    started = time.perf_counter()
    try:
        if options.libraries:
            runner, cache = _workplace(options)
            for wheel in stacks.library_wheels(runner, cache, options.runtime):
                say(str(wheel))
            return 0
        results = _run(options)
        wrong = report.shortcomings(results)
        say(f"\n{report.render(results)}\n")
        for line in _remarks(results):
            say(line)
        if options.write:
            _write(results)
    except (DemoError, OSError) as problem:
        print(f"\nshowcase: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nshowcase: interrupted; what was downloaded is kept", file=sys.stderr)
        return 130
    for line in wrong:
        print(f"showcase: {line}", file=sys.stderr)
    say(f"Done in {time.perf_counter() - started:.0f} s. Wheels, results.json and commands.txt are in {options.work}")
    return 1 if wrong else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="numpy, scipy and scikit-learn, and few tests")
    parser.add_argument("--torch", type=_absolute, metavar="WHEEL", help="take this wheel of PyTorch")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    parser.add_argument("--runtime", choices=tuple(stacks.RUNTIMES), default="llvm", help="the OpenMP runtime (llvm)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the measurements (5; 1 if quick)")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="seconds for a workload in a round (1; 0.5 if quick)"
    )
    parser.add_argument("--libraries", action="store_true", help="build the library wheels, and do nothing else")
    parser.add_argument("--only", choices=STEPS, action="append", help="of what follows the repair, do this alone")
    parser.add_argument("--keep", action="store_true", help="take wheels and environments of the last run, if they fit")
    parser.add_argument("--work", type=_absolute, default=TOP / "build" / "showcase", help="where to work")
    parser.add_argument("--write", action="store_true", help="write plot and tables to docs/")
    return parser.parse_args(arguments)


def _absolute(text: str) -> Path:
    return Path(text).absolute()


def _workplace(options: argparse.Namespace) -> tuple[Runner, Path]:
    """Return what runs commands in the working directory, and the directory for downloads."""
    if shutil.which("gcc") is None:
        raise DemoError("gcc is missing. On Debian and Ubuntu: sudo apt-get install gcc libc6-dev")
    work: Path = options.work
    if work.is_dir() and any(work.iterdir()) and not (work / MARK).exists():
        raise DemoError(f"{work} has files that are not the showcase's; name another directory with --work")
    work.mkdir(parents=True, exist_ok=True)
    (work / MARK).touch()
    cache = Path(os.environ.get("NATIVELIB_CACHE") or work / "cache").absolute()
    runner = Runner(directory=work, log=work / "commands.txt")
    runner.log.write_text(f"# What the showcase ran, in {work}\n", encoding="utf-8")
    return runner, cache


def _run(options: argparse.Namespace) -> dict[str, Any]:
    runner, cache = _workplace(options)
    work = runner.directory
    results, both = _stacks(runner, cache, options)
    parts = [name for name in ("numpy", "scipy", "sklearn", "xgboost", "lightgbm", "torch") if name in results["parts"]]
    wanted = options.only or STEPS
    rounds, seconds = (1, 0.5) if options.quick else (options.rounds, options.seconds)
    say("[4/7] what a process looks like")
    results["process"] = measure.look(both, parts, rounds) if "look" in wanted else {}
    say("[5/7] workloads, in turns")
    results["workloads"] = measure.timings(both, parts, rounds, seconds) if "work" in wanted else []
    say("[6/7] the libraries' own tests")
    results["suites"] = measure.suites(both, parts, quick=options.quick) if "tests" in wanted else []
    say("[7/7] forks")
    results["forks"] = measure.forks(both, parts, 1 if options.quick else 3) if "forks" in wanted else []
    (work / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return results


def _stacks(runner: Runner, cache: Path, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, stacks.Stack]]:
    """Fetch, build, repair, verify and install; return the beginning of the results and both environments."""
    say("[1/7] published wheels")
    names = [
        name
        for name in (stacks.QUICK if options.quick else stacks.PUBLISHED)
        if name != "torch" or not options.no_torch
    ]
    wheels, left_out = stacks.published(runner, cache, names, options.torch)
    say("[2/7] library wheels, and published wheels repaired to share them")
    kept = runner.directory / "repaired.json"
    key = [options.runtime, *(wheel.name for wheel in wheels)]
    known = json.loads(kept.read_text(encoding="utf-8")) if options.keep and kept.exists() else {}
    if known.get("key") == key:
        libraries, repaired = [Path(path) for path in known["libraries"]], known["repaired"]
    else:
        libraries = stacks.library_wheels(runner, cache, options.runtime)
        repaired = stacks.repair(runner, wheels, libraries)
        text = json.dumps({"key": key, "libraries": list(map(str, libraries)), "repaired": repaired})
        kept.write_text(text, encoding="utf-8")
    house = cache / "pypi"
    shared = [Path(wheel["output"]) for wheel in repaired]
    say("[3/7] proof, and environments")
    verified = stacks.verify(runner, shared, libraries, house) if "verify" in (options.only or STEPS) else ""
    fresh = not options.keep
    both = {
        "untouched": stacks.install(runner, "untouched", wheels, [house], fresh),
        "shared": stacks.install(runner, "shared", shared, [shared[0].parent, libraries[0].parent, house], fresh),
    }
    return {
        "schema": 1,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "runtime": options.runtime,
        "libraries": [path.name for path in libraries],
        "parts": [re.sub(r"^scikit_learn$", "sklearn", wheel.name.split("-")[0]) for wheel in wheels],
        "installed": {name: stack.installed for name, stack in both.items()},
        "wheels": [*map(_wheel, libraries), *(_repaired(wheel) for wheel in repaired)],
        "verified": verified,
        "left_out": left_out,
    }, both


def _remarks(results: Mapping[str, Any]) -> list[str]:
    """Return the lines that stand below the tables."""
    return [*([f"{results['verified']}: all passed"] if results["verified"] else []), *results["left_out"]]


def _wheel(path: Path) -> dict[str, Any]:
    return {"name": _name(path), "before": None, "after": path.stat().st_size, "from": []}


def _repaired(wheel: Mapping[str, Any]) -> dict[str, Any]:
    before, after = Path(wheel["input"]), Path(wheel["output"])
    providers = sorted({provided["provider"] for provided in wheel["provided"]})
    sizes = {"before": before.stat().st_size, "after": after.stat().st_size}
    return {"name": _name(before), **sizes, "from": providers}


def _name(path: Path) -> str:
    return " ".join(path.name.split("-")[:2])


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return {
        "processor": model[1].strip() if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
    }


def _write(results: Mapping[str, Any]) -> None:
    """Write the plot, and the tables between their marks in docs/showcase.md."""
    machine = results["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {results['date']}"
    (DOCS / "showcase.svg").write_text(plot.draw(results["workloads"], where), encoding="utf-8")
    page = DOCS / "showcase.md"
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    said = f"Measured on {where}, {machine['libc']}, Python {machine['python']}."
    body = "\n\n".join([BEGIN, said, report.render(results), *_remarks(results), END])
    page.write_text(head + body + tail, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
