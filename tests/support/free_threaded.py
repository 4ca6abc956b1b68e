"""CPython without the GIL for this machine, built from Debian's sources and kept in the cache."""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from pathlib import Path

from tests.support.cpython_source import DISABLED, build_cpython, digest
from tests.support.downloads import cache_directory, locked, staged
from tests.support.suites import UnavailableError, suite_package, suite_source

SUITES = {"3.13t": "trixie", "3.14t": "sid"}
"""Which suite has the sources of each version. Those of a released suite build; those of sid may not, some day."""
# What is measured is whether things work: optimising would take twice the time.
_FLAGS = "-O0 -w"
_OPTIONS = ("--disable-gil",)


def free_threaded(version: str) -> Path:
    """Return the program of CPython *version* (``3.13t``); the first call takes about a minute of two processors.

    Raise `UnavailableError` if its sources or a tool cannot be had.
    """
    suite = SUITES.get(version)
    if suite is None:
        raise UnavailableError(f"sources of CPython {version}")
    absent = [tool for tool in ("gcc", "make", "ar") if not shutil.which(tool)]
    if absent:
        raise UnavailableError(f"the programs {', '.join(absent)}")
    python, ffi = suite_source(f"python{version.rstrip('t')}", suite), suite_package("libffi-dev", "trixie")
    words = [
        platform.machine(),
        *platform.libc_ver(),
        _FLAGS,
        *_OPTIONS,
        DISABLED,
        digest(python),
        digest(_archive(ffi)),
    ]
    target = cache_directory() / "free-threaded" / hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage, tempfile.TemporaryDirectory() as scratch:
                _build(python, ffi, Path(scratch), stage, released=suite != "sid")
    [program] = target.glob("bin/python3.*")
    return program


def _build(python: Path, ffi: Path, scratch: Path, into: Path, *, released: bool) -> None:
    prefix = scratch / "prefix"
    [header] = ffi.glob("usr/include/**/ffi.h")
    shutil.copytree(header.parent, prefix / "include")
    (prefix / "lib").mkdir()
    shutil.copy(_archive(ffi), prefix / "lib" / "libffi.a")
    try:
        build_cpython(python, scratch, into, compiler="gcc", flags=_FLAGS, libffi=prefix, options=_OPTIONS)
    except RuntimeError as problem:
        if released:
            raise
        raise UnavailableError(f"the sources of sid do not build ({str(problem)[-600:]})") from problem


def _archive(ffi: Path) -> Path:
    """Return the static libffi that can become part of a shared library; its sources would need autotools."""
    return max(ffi.glob("usr/lib/*/libffi*.a"), key=lambda path: "_pic" in path.name)
