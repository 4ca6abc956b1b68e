"""Other Pythons than the one that runs the tests: what this machine has, and PyPy as Debian builds it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.downloads import debian_package
from tests.support.free_threaded import SUITES, free_threaded
from tests.support.matrix import record
from tests.support.suites import UnavailableError, suite_python
from tests.support.tools import lacking
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

CPYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", *SUITES)
"""Versions of CPython that are looked for; ``t`` are builds without the GIL."""
_PACKAGED = ("3.14", "3.15")
"""Versions that Debian's next release has."""

WHAT = "hooks, loader modules, library packages, program script"
"""What each Python runs."""

_ASK = """
import json, sys, sysconfig
v = sysconfig.get_config_vars()
print(json.dumps([sys.implementation.name, "%d.%d" % sys.version_info[:2] + "t" * bool(v.get("Py_GIL_DISABLED")),
                  sysconfig.get_path("include"), v["EXT_SUFFIX"]]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python, and what an extension for it is compiled with."""

    path: Path
    implementation: str
    version: str
    include: Path
    suffix: str

    @property
    def headers(self) -> tuple[str, ...]:
        """The compiler's options that find its headers; Debian's name others of them below the directory above."""
        return (f"-I{self.include}", f"-I{self.include.parent}")

    @property
    def tag(self) -> str:
        """Its tags for Python and ABI (``cp313-cp313t``)."""
        short = f"cp{self.version.replace('.', '')}"
        return f"{short.rstrip('t')}-{short}"


def cpython(version: str) -> Interpreter:
    """Return a CPython *version* with headers: of this machine, else of Debian's newer suites, else built from sources.

    Without one, skip the test. That is no failure where ``CI`` is set either: a machine has the Pythons that it has,
    and a mirror what it has today.
    """
    said = f"there is no CPython {version} with headers here"
    for path in _candidates(version):
        found = _asked(path)
        if (found.implementation, found.version) == ("cpython", version) and (found.include / "Python.h").is_file():
            return found
    try:
        if version in _PACKAGED:
            return _asked(suite_python(version))
        if version in SUITES:
            return _asked(free_threaded(version))
    except UnavailableError as problem:
        said = f"{said}, and not to be had: {problem}"
    record("Pythons", f"CPython {version}", WHAT, "not run: not at hand, and not to be had")
    pytest.skip(said)


def pypy() -> Interpreter:
    """Return PyPy as Debian's packages have it, unpacked; needs no root."""
    roots = [debian_package(name) for name in ("pypy3", "pypy3-lib", "pypy3-dev")]
    target = roots[0].parent / "pypy3-together"
    if not target.is_dir():
        stage = target.with_name(f".{target.name}-{id(roots)}")
        for root in roots:
            shutil.copytree(root / "usr", stage, symlinks=True, dirs_exist_ok=True)
        for library in stage.glob("lib/*/libpypy3*-c.so"):
            shutil.copy(library, stage / "bin")  # where the program looks for it first
        try:
            stage.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(stage)
    try:
        return _asked(target / "bin" / "pypy3")
    except subprocess.CalledProcessError as problem:
        lacking(f"PyPY ({problem.stderr})")


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    places = Path("~/.pyenv/versions").expanduser().glob(f"{version.rstrip('t')}*/bin/python3")
    yield from sorted(places, reverse=True)
    for name in (f"python{version}", "python3"):
        for directory in ("/usr/local/bin", "/usr/bin"):
            found = shutil.which(name, path=directory)
            if found:
                yield Path(found)


def _asked(path: Path) -> Interpreter:
    argv = [str(path), "-I", "-c", _ASK]
    done = subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=True)
    implementation, version, include, suffix = json.loads(done.stdout)
    return Interpreter(path=path, implementation=implementation, version=version, include=Path(include), suffix=suffix)
