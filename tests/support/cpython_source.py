"""CPython with ctypes, built from its sources with as little else as will do."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Modules that no generated package uses. The fewer are compiled, the sooner the tests begin.
DISABLED = """
*disabled*
_asyncio _bz2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _crypt _ctypes_test _curses
_curses_panel _dbm _decimal _elementtree _gdbm _hashlib _lsprof _lzma _multiprocessing _posixshmem _sqlite3 _ssl
_statistics _testbuffer _testcapi _testclinic _testimportmultiple _testinternalcapi _testmultiphase _tkinter _uuid
_xxsubinterpreters _xxtestfuzz _zoneinfo audioop cmath mmap nis ossaudiodev pyexpat readline resource spwd syslog
termios unicodedata xxlimited xxlimited_35 xxsubtype zlib
"""
"""Lines of ``Modules/Setup.local``."""
_UNUSED = ("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "pydoc_data", "__pycache__")


def build_libffi(archive: Path, scratch: Path, prefix: Path, *, compiler: str, flags: str) -> None:
    """Build the static libffi of *archive* in *scratch* and install it into *prefix*."""
    source = _unpacked(archive, scratch)
    variables = {"CC": compiler, "CFLAGS": f"-fPIC {flags}"}
    options = ["--disable-shared", "--enable-static", "--disable-docs", "--disable-exec-static-tramp"]
    _run([source / "configure", "-q", f"--prefix={prefix}", *options], source, variables)
    _run(["make", _jobs(), "-s"], source, variables)
    _run(["make", "-s", "install"], source, variables)


def build_cpython(
    archive: Path,
    scratch: Path,
    into: Path,
    *,
    compiler: str,
    flags: str,
    libffi: Path,
    options: Sequence[str] = (),
) -> None:
    """Build the CPython of *archive* in *scratch* with the libffi in the prefix *libffi*, and put it into *into*."""
    source = _unpacked(archive, scratch)
    directory = next(path.parent for path in libffi.rglob("libffi.a"))
    (source / "Modules" / "Setup.local").write_text(DISABLED)
    variables = {
        "CC": compiler,
        "CFLAGS": flags,
        "CPPFLAGS": f"-I{libffi}/include",
        "LDFLAGS": f"-L{directory}",
        "LIBFFI_INCLUDEDIR": f"{libffi}/include",
        "LIBFFI_CFLAGS": f"-I{libffi}/include",
        "LIBFFI_LIBS": f"-L{directory} -lffi",
        "PKG_CONFIG": "false",
    }
    # The prefix is a name alone: an interpreter finds its library by where it lies, and no other one's by accident.
    words = ["--prefix=/nonexistent", "--with-system-ffi", "--disable-test-modules", "--without-ensurepip", *options]
    _run([source / "configure", "-q", *words], source, variables)
    _run(["make", _jobs(), "-s"], source, variables)
    _collect(source, into)


def digest(path: Path) -> str:
    """Return the SHA-256 of the file *path*."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _collect(build: Path, into: Path) -> None:
    """Copy what an installed CPython has, without byte code of its library, which would take longest of all."""
    makefile = (build / "Makefile").read_text()
    version = re.search(r"^VERSION=\s*(\S+)", makefile, re.MULTILINE)
    if version is None:
        raise RuntimeError(f"{build}/Makefile does not say its version")
    flags = re.search(r"^ABIFLAGS=[ \t]*(\S*)", makefile, re.MULTILINE)
    # "t" is the letter of a build without the GIL, which is in all of its directories' names.
    name = f"python{version[1]}{flags[1] if flags else ''}"
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


def _jobs() -> str:
    return f"-j{len(os.sched_getaffinity(0))}"


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
