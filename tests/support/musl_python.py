"""A CPython for musl with ctypes, built from the distribution's sources with musl-gcc and kept in the cache."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.cpython_source import DISABLED, build_cpython, build_libffi, digest
from tests.support.downloads import cache_directory, locked, staged
from tests.support.foreign import debian_source
from tests.support.tools import lacking, require
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOURCES = ("python3.11", "python3.12", "python3.13")
"""What distributions have; the first that this one has is taken."""

# configure asks the compiler for its multiarch triplet, and setup.py adds the host's directories; both are glibc's.
_COMPILER = """#!/bin/sh
for word do
    shift
    case $word in
        --print-multiarch | -print-multiarch) exit 0 ;;
        -I/usr/include* | -I/usr/local* | -L/usr/lib* | -L/usr/local* | -L/lib*) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec {musl_gcc} "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MuslPython:
    """An interpreter for musl."""

    python: Path
    include: Path
    """Directory of ``Python.h`` and ``pyconfig.h``."""
    suffix: str
    """What its extension modules are called."""
    tag: str
    """Its tag for Python and ABI (``cp311``)."""


def musl_python() -> MuslPython:
    """Return the interpreter; the first call builds it, which takes one to two minutes of two processors."""
    musl_gcc = require("musl-gcc")
    for tool in ("make", "ar", "dpkg-query"):
        require(tool)
    kernel = _kernel_headers()
    sources = [
        next(filter(None, (debian_source(name, needed=False) for name in _SOURCES)), None),
        debian_source("libffi"),
    ]
    if sources[0] is None:
        lacking(f"the sources of CPython ({' or '.join(_SOURCES)})")
    archives = [path for path in sources if path is not None]
    musl = subprocess.run(["dpkg-query", "-W", "musl-dev"], capture_output=True, text=True, check=False).stdout
    words = [
        musl,
        platform.machine(),
        _COMPILER,
        *DISABLED.split(),
        *(path.name for path in archives),
        *map(digest, archives),
    ]
    key = hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
    target = cache_directory() / "musl-python" / key
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage, tempfile.TemporaryDirectory() as scratch:
                _build(archives, Path(scratch), stage, musl_gcc=musl_gcc, kernel=kernel)
    return _described(target)


def _described(root: Path) -> MuslPython:
    [python] = root.glob("bin/python3.*")
    code = "import ctypes, importlib.machinery as m, sys; print(m.EXTENSION_SUFFIXES[0], *sys.version_info[:2])"
    done = subprocess.run(
        [python, "-I", "-c", code], env=clean_environment(), capture_output=True, text=True, check=True
    )
    suffix, *version = done.stdout.split()
    return MuslPython(python=python, include=root / "include" / python.name, suffix=suffix, tag=f"cp{''.join(version)}")


def _build(archives: Sequence[Path], scratch: Path, into: Path, *, musl_gcc: str, kernel: Sequence[Path]) -> None:
    compiler = scratch / "musl-cc"
    compiler.write_text(_COMPILER.format(musl_gcc=musl_gcc))
    compiler.chmod(0o755)
    headers = scratch / "kernel"
    headers.mkdir()
    for directory in kernel:
        (headers / directory.name).symlink_to(directory)
    python, ffi = archives
    flags, prefix = f"-O1 -w -idirafter {headers}", scratch / "prefix"
    build_libffi(ffi, scratch, prefix, compiler=str(compiler), flags=flags)
    build_cpython(python, scratch, into, compiler=str(compiler), flags=flags, libffi=prefix)


def _kernel_headers() -> list[Path]:
    """Return the kernel's header directories, which musl does not have: libffi and CPython include a few of them."""
    machine = f"{platform.machine()}-linux-gnu"
    known = {
        name: [Path("/usr/include", name), Path("/usr/include", machine, name)]
        for name in ("linux", "asm-generic", "asm")
    }
    found = [next((path for path in paths if path.is_dir()), None) for paths in known.values()]
    if None in found:
        lacking("the kernel's headers (linux-libc-dev)")
    return [path for path in found if path is not None]
