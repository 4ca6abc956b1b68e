"""Packages and sources of Debian's newer suites, whatever release this machine has; apt verifies them, without root.

``sid`` changes daily and a mirror may lack it: what cannot be had raises `UnavailableError`, and fails no test.
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.downloads import apt_options, cache_directory, locked, staged
from tests.support.tools import require
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_ARCHIVE = "http://deb.debian.org/debian"
_SOURCES = """Types: deb deb-src
URIs: {mirror}
Suites: trixie sid
Components: main
Signed-By: {keys}
"""
# What the interpreters of a newer release need of it, beside their own packages.
_BESIDE = ("libc6", "libexpat1", "libffi8", "libgcc-s1", "libzstd1", "zlib1g")


_REMEMBERED = 6 * 60 * 60
"""For how many seconds what could not be had is not asked for again: test runs follow each other."""
_FRESH = 10 * 60
"""How many seconds old the lists of packages may be when they cannot be the cause of a failure."""


class UnavailableError(LookupError):
    """What the suites cannot give at the moment, or not to this machine."""


def suite_python(version: str) -> Path:
    """Return the program of CPython *version* (``3.15``) from the newest suite that has it.

    It runs on the C library of its own suite, whose loader and directory are written into the program. The headers are
    where its `sysconfig` says, and one directory above.
    """
    name = f"python{version}"
    target = cache_directory() / "roots" / "newest" / name
    program = target / "usr" / "bin" / name
    with locked(_state()):
        if not target.is_dir():
            words = [f"{name}-minimal", f"lib{name}-minimal", f"lib{name}-stdlib", f"lib{name}-dev", *_BESIDE]
            with staged(target) as stage:
                for deb in _fetched(["download", "-qq", *words], "*.deb", f"the packages of {name}"):
                    subprocess.run([require("dpkg-deb"), "-x", deb, stage], check=True)
                for archive in stage.rglob("libpython*.a"):
                    archive.unlink()
                _bind(stage, target, name)
            done = subprocess.run(
                [program, "-I", "-c", "import ctypes"], env=clean_environment(), capture_output=True, check=False
            )
            if done.returncode:
                # Packages that do not fit each other today may do so in the next run.
                shutil.rmtree(target)
                raise UnavailableError(f"{name} of sid does not start: {done.stderr.decode(errors='replace')[-300:]}")
    return program


def suite_source(package: str, suite: str) -> Path:
    """Return the upstream archive of the source *package* of *suite*, fetched once."""
    target = cache_directory() / "sources" / f"{package}-{suite}"
    with locked(_state()):
        if not target.is_dir():
            words = ["source", "-qq", "--download-only", f"{package}/{suite}"]
            with staged(target) as stage:
                for archive in _fetched(words, "*.orig.tar.*[a-z0-9]", f"the sources of {package} of {suite}"):
                    if archive.suffix != ".asc":
                        shutil.move(archive, stage)
    [archive] = target.iterdir()
    return archive


def suite_package(package: str, suite: str) -> Path:
    """Return the directory of the *package* of *suite*, unpacked as it lies in the root of a file system."""
    target = cache_directory() / "debian" / suite / package
    with locked(_state()):
        if not target.is_dir():
            words = ["download", "-qq", f"{package}/{suite}"]
            with staged(target) as stage:
                for deb in _fetched(words, "*.deb", f"the package {package} of {suite}"):
                    subprocess.run([require("dpkg-deb"), "-x", deb, stage], check=True)
    return target


def _bind(stage: Path, target: Path, name: str) -> None:
    """Make the program in *stage*, which is going to be *target*, start with the loader and libraries beside it."""
    loaders = [
        path for pattern in ("usr/lib/*/ld-linux*.so.*", "usr/lib*/ld-linux*.so.*") for path in stage.glob(pattern)
    ]
    libraries = [path.parent for path in stage.glob("usr/lib/*/libc.so.6")]
    if not loaders or not libraries:
        raise UnavailableError(f"the libc6 of sid has no loader where {name} is looked for")
    loader, directory = (target / path.relative_to(stage) for path in (loaders[0], libraries[0]))
    words = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(directory)]
    subprocess.run([require("patchelf"), *words, stage / "usr" / "bin" / name], check=True)


def _state() -> Path:
    return cache_directory() / "apt" / "newest"


def _fetched(words: Sequence[str], pattern: str, what: str) -> Iterable[Path]:
    """Run apt-get with *words* in the directory of downloads and return the files there that match *pattern*."""
    state = _state()
    memory = state / f"absent-{hashlib.sha256(' '.join(words).encode()).hexdigest()[:16]}"
    if _age(memory) < _REMEMBERED:
        raise UnavailableError(memory.read_text())
    said = ""
    for _ in range(2):
        options = _updated(state)
        downloads = state / "downloads"
        for left in downloads.iterdir():
            left.unlink()
        argv = ["apt-get", *options, *words]
        done = subprocess.run(argv, cwd=downloads, capture_output=True, text=True, check=False)
        found = sorted(downloads.glob(pattern))
        if done.returncode == 0 and found:
            return found
        said = done.stderr.strip()
        if _age(state / "lists") > _FRESH:
            # A list that is older than the mirror names files that are gone.
            shutil.rmtree(state / "lists")
    memory.write_text(f"{what} ({said[-300:]})")
    raise UnavailableError(memory.read_text())


def _age(path: Path) -> float:
    """Return how many seconds ago *path* was written; what does not exist is infinitely old."""
    return time.time() - path.stat().st_mtime if path.exists() else math.inf


def _updated(state: Path) -> list[str]:
    """Return apt's options after fetching the lists of packages, unless they are there."""
    apt = shutil.which("apt-get")
    if apt is None or not _KEYS.is_file():
        raise UnavailableError(f"Debian's newer suites (needs apt-get and {_KEYS})")
    options = apt_options(state, None)
    sources = state / "parts"
    sources.mkdir(exist_ok=True)
    (sources / "newest.sources").write_text(_SOURCES.format(mirror=_mirror(), keys=_KEYS))
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": sources,
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Acquire::Languages": "none",
    }
    options += [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    memory, said = state / "absent-lists", ""
    for _ in range(2 if _age(memory) > _FRESH else 0):
        if not any((state / "lists").glob("*_Packages*")):
            done = subprocess.run([apt, *options, "update", "-qq"], capture_output=True, text=True, check=False)
            said = done.stderr.strip()
    if not any((state / "lists").glob("*_Packages*")):
        if _age(memory) > _FRESH:
            memory.touch()
        raise UnavailableError(f"the lists of Debian's newer suites ({said[-300:]})")
    return options


def _mirror() -> str:
    """Return the mirror that this machine takes Debian from, if it does."""
    for file in sorted(Path("/etc/apt").glob("sources.list*")):
        for part in [file] if file.is_file() else sorted(file.iterdir()):
            for line in part.read_text(errors="replace").splitlines():
                found = re.search(r"\bhttps?://\S+/debian(?=/?(\s|$))", line)
                if found and not line.startswith("#"):
                    return found[0]
    return _ARCHIVE
