"""A CPython for musl with ctypes, built from the distribution's sources with musl-gcc and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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

# Modules that no generated package uses. The fewer are compiled, the sooner the tests begin.
_DISABLED = """
*disabled*
_asyncio _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _crypt _ctypes_test _curses
_curses_panel _dbm _decimal _elementtree _gdbm _hashlib _lsprof _lzma _multiprocessing _posixshmem _sqlite3 _ssl
_statistics _testbuffer _testcapi _testclinic _testimportmultiple _testinternalcapi _testmultiphase _tkinter _uuid
_xxsubinterpreters _xxtestfuzz _zoneinfo audioop cmath mmap nis ossaudiodev pyexpat readline resource spwd syslog
termios unicodedata xxlimited xxlimited_35 xxsubtype zlib
"""
_UNUSED = ("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "__pycache__")


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
        *_DISABLED.split(),
        *(path.name for path in archives),
        *map(_digest, archives),
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
    python, ffi = (_unpacked(archive, scratch) for archive in archives)
    compiler = scratch / "musl-cc"
    compiler.write_text(_COMPILER.format(musl_gcc=musl_gcc))
    compiler.chmod(0o755)
    headers = scratch / "kernel"
    headers.mkdir()
    for directory in kernel:
        (headers / directory.name).symlink_to(directory)
    jobs, prefix = f"-j{len(os.sched_getaffinity(0))}", scratch / "prefix"
    variables = {"CC": str(compiler), "CFLAGS": f"-O1 -fPIC -w -idirafter {headers}"}

    options = ["--disable-shared", "--enable-static", "--disable-docs", "--disable-exec-static-tramp"]
    _run([ffi / "configure", "-q", f"--prefix={prefix}", *options], ffi, variables)
    _run(["make", jobs, "-s"], ffi, variables)
    _run(["make", "-s", "install"], ffi, variables)
    library = next(path.parent for path in prefix.rglob("libffi.a"))

    (python / "Modules" / "Setup.local").write_text(_DISABLED)
    variables = {
        "CC": str(compiler),
        "CFLAGS": f"-O1 -w -idirafter {headers}",
        "CPPFLAGS": f"-I{prefix}/include",
        "LDFLAGS": f"-L{library}",
        "LIBFFI_INCLUDEDIR": f"{prefix}/include",
        "PKG_CONFIG": "false",
    }
    # The prefix is a name alone: an interpreter finds its library by where it lies, and no other one's by accident.
    options = ["--prefix=/nonexistent", "--with-system-ffi", "--disable-test-modules", "--without-ensurepip"]
    _run([python / "configure", "-q", *options], python, variables)
    _run(["make", jobs, "-s"], python, variables)
    _collect(python, into)


def _collect(build: Path, into: Path) -> None:
    """Copy what an installed CPython has, without byte code of its library, which would take longest of all."""
    version = re.search(r"^VERSION=\s*(\S+)", (build / "Makefile").read_text(), re.MULTILINE)
    if version is None:
        raise RuntimeError(f"{build}/Makefile does not say its version")
    name = f"python{version[1]}"
    library = into / "lib" / name
    shutil.copytree(build / "Lib", library, ignore=shutil.ignore_patterns(*_UNUSED))
    (library / "lib-dynload").mkdir()
    for path in build.glob("build/lib.*/*"):
        if path.suffix in {".so", ".py"}:
            shutil.copy(path, (library / "lib-dynload") if path.suffix == ".so" else library)
    shutil.copytree(build / "Include", into / "include" / name)
    shutil.copy(build / "pyconfig.h", into / "include" / name)
    (into / "bin").mkdir()
    shutil.copy(build / "python", into / "bin" / name)


def _unpacked(archive: Path, scratch: Path) -> Path:
    target = scratch / archive.name.partition("_")[0]
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    [root] = target.iterdir()
    return root


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


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(argv: Sequence[str | Path], cwd: Path, variables: dict[str, str]) -> None:
    done = subprocess.run(
        [*map(str, argv)],
        cwd=cwd,
        env=clean_environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}\n{done.stdout[-6000:]}")
