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
from tests.support.tools import lacking
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

CPYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.13t", "3.14t")
"""Versions of CPython that are looked for; ``t`` are builds without the GIL."""

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


def cpython(version: str) -> Interpreter:
    """Return a CPython *version* with headers that this machine has; without one, skip the test.

    That is no failure where ``CI`` is set either: a machine has the Pythons that it has.
    """
    for path in _candidates(version):
        found = _asked(path)
        if (found.implementation, found.version) == ("cpython", version) and (found.include / "Python.h").is_file():
            return found
    pytest.skip(f"there is no CPython {version} with headers here")


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
