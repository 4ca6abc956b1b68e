"""What importing a repaired consumer costs, over a bare ``dlopen`` of the same libraries and the consumer as it was.

Processor time is measured, within fresh processes: starting them takes longer than all that is measured, and an import
waits for nothing but the processor.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import inputs
from report import Row
from timing import BenchmarkError, Spread, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from report import Run

OWN, FOREIGN = 3.0, 10.0
"""The targets of the project, in milliseconds."""

_LIBRARIES = {
    "libbenchone.so.1": "int bench_one(void) { return 1; }",
    "libbenchtwo.so.2": "int bench_two(void) { return 2; }",
}
_EXTENSION = """
#include <Python.h>
extern int bench_one(void), bench_two(void);
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", 0, -1, 0, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit__native(void) { return bench_one() + bench_two() == 3 ? PyModule_Create(&definition) : 0; }
"""
_SPEC = """
[project]
name = "bench-lib"
version = "1.0"
license-files = ["LICENSE"]
[tool.nativelib]
prefix = "prefix"
libraries = ["lib/*.so.*"]
compatible = ">={version}"
"""
# What a process measures: from the first statement to the end of the import, without the start of the interpreter.
_TIMED = (
    "import sys, time; sys.path[:0] = {paths}; start = time.process_time()\n{code}\nprint(time.process_time() - start)"
)
_BARE = "import _ctypes\nfor path in {libraries}: _ctypes.dlopen(path, 2)\nimport consumer"
_CDLL = "import ctypes\nfor path in {libraries}: ctypes.CDLL(path)\nimport consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Directories that fresh processes import from."""

    libraries: tuple[str, ...]
    bare: Path
    """The consumer as it was."""
    own: Path
    """The consumer repaired for a library wheel, and that wheel."""
    foreign: Path
    """The consumer repaired for a provider that nativelib did not build."""
    python: Path


def imports(run: Run) -> Iterator[Row]:
    """Compare the three ways to import the consumer."""
    ground = _prepared(run.scratch)
    scripts = {
        "dlopen": (ground.bare, _BARE.format(libraries=ground.libraries)),
        "CDLL": (ground.bare, _CDLL.format(libraries=ground.libraries)),
        "own": (ground.own, "import consumer"),
        "foreign": (ground.foreign, "import consumer"),
    }
    times: dict[str, list[float]] = {name: [] for name in scripts}
    for number in range(3 * run.rounds + 2):
        for name, (path, code) in scripts.items():
            elapsed = _timed(ground.python, path, code)
            if number > 1:  # the first runs write byte code, and fill the caches
                times[name].append(elapsed)
    for name in scripts:
        yield Row(what=f"import, {name}", figure=f"{Spread.of(times[name])} ms")
    for what, name, base, target in (
        ("repaired, library wheel - bare dlopen", "own", "dlopen", OWN),
        ("repaired, library wheel - ctypes.CDLL", "own", "CDLL", None),
        ("repaired, foreign provider - bare dlopen", "foreign", "dlopen", FOREIGN),
    ):
        spread = Spread.of([a - b for a, b in zip(times[name], times[base], strict=True)])
        holds = None if target is None else spread.median <= target
        yield Row(what=what, figure=f"{spread} ms", target="" if target is None else f"<= {target:g} ms", holds=holds)


def _timed(python: Path, path: Path, code: str) -> float:
    """Return the milliseconds that *code* takes in a fresh process."""
    argv = [str(python), "-I", "-c", _TIMED.format(paths=[str(path)], code=code)]
    done = subprocess.run(argv, capture_output=True, text=True, env=clean_environment(), check=False, cwd="/")
    if done.returncode:
        raise BenchmarkError(f"the consumer cannot be imported: {done.stderr.strip()[-500:]}")
    return float(done.stdout) * 1000


def _prepared(scratch: Path) -> Ground:
    if shutil.which("gcc") is None or not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise BenchmarkError("gcc and Python.h are needed")
    prefix = scratch / "prefix"
    (prefix / "lib").mkdir(parents=True)
    libraries = [_compiled(prefix / "lib" / soname, text, soname) for soname, text in _LIBRARIES.items()]
    (scratch / "LICENSE").write_text("Nobody needs one.\n")
    (scratch / "pyproject.toml").write_text(_SPEC)
    _tool("build", str(scratch), "-w", str(scratch / "own"))
    [own] = (scratch / "own").glob("*.whl")
    platform = own.stem.rpartition("-")[2]
    foreign = scratch / f"bench_foreign-1.0-py3-none-{platform}.whl"
    members = [(f"bench_foreign/lib/{path.name}", path.read_bytes()) for path in libraries]
    inputs.write_wheel(foreign, [("bench_foreign/__init__.py", b""), *members])
    extension = _compiled(
        scratch / "_native.so", _EXTENSION, "", ["-I", sysconfig.get_path("include"), *map(str, libraries)]
    )
    abi = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    consumer = scratch / f"consumer-1.0-{abi}-{abi}-linux_{_machine()}.whl"
    files = [
        ("consumer/__init__.py", b"from consumer import _native\n"),
        ("consumer/_native.so", extension.read_bytes()),
    ]
    inputs.write_wheel(consumer, files)
    for provider in (own, foreign):
        target = scratch / "repaired" / provider.name.partition("-")[0]
        _tool("repair", "--provided-by", str(provider), "-w", str(target), str(consumer))
        for wheel in (provider, *target.glob("*.whl")):
            _unpack(wheel, scratch / "site" / target.name)
    _unpack(consumer, scratch / "site" / "bare")
    venv.EnvBuilder(symlinks=True).create(scratch / "venv")
    return Ground(
        libraries=tuple(map(str, libraries)),
        bare=scratch / "site" / "bare",
        own=scratch / "site" / "bench_lib",
        foreign=scratch / "site" / "bench_foreign",
        python=scratch / "venv" / "bin" / "python",
    )


def _machine() -> str:
    return sysconfig.get_platform().rpartition("-")[2]


def _compiled(path: Path, source: str, soname: str, more: Sequence[str] = ()) -> Path:
    name = [f"-Wl,-soname,{soname}"] if soname else []
    argv = ["gcc", "-shared", "-fPIC", "-O1", *name, "-o", str(path), "-x", "c", "-", "-x", "none", *more]
    done = subprocess.run(argv, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"gcc fails: {done.stderr.strip()[-500:]}")
    return path


def _tool(*words: str) -> None:
    argv = [sys.executable, "-m", "nativelib", *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=clean_environment(), check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(argv)} fails: {done.stderr.strip()[-500:]}")


def _unpack(wheel: Path, directory: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
