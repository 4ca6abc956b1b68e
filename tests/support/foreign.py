"""Other machines: cross compilers, the distribution's packages for them, and their Pythons under qemu-user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.downloads import apt_options, cache_directory, locked, staged
from tests.support.tools import lacking, require
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A machine that programs are compiled for here, and run on by an emulator."""

    machine: str
    """Its name in platform tags."""
    debian: str
    """Its name in the distribution."""
    triplet: str
    """The prefix of its compiler."""
    emulator: str
    """The name of its qemu."""
    required: bool = False
    """Whether its packages must be there where ``CI`` is set."""

    @property
    def compiler(self) -> str:
        """The program that compiles C for it; see `absent`."""
        name = f"{self.triplet}-gcc"
        return name if shutil.which(name) else self.absent(f"the program {name}")

    def absent(self, what: str) -> NoReturn:
        """Skip the test because *what* is missing; where ``CI`` is set, fail it for a machine that must be tested."""
        if self.required:
            lacking(what)
        # Mirrors do not carry every architecture, or not at every moment; that says nothing about this project.
        pytest.skip(f"{what} is missing")

    @property
    def sysroot(self) -> Path:
        """Where the cross compiler's C library lies."""
        return Path("/usr", self.triplet)

    def emulated(self, root: Path, *, page: int | None = None) -> list[str]:
        """Return the command that runs programs of this machine, with the files of *root* in place of the host's."""
        emulator = require(f"qemu-{self.emulator}-static")
        return [emulator, *(["-p", str(page)] if page else []), "-L", str(root)]


FOREIGN = {
    found.machine: found
    for found in (
        Foreign(machine="aarch64", debian="arm64", triplet="aarch64-linux-gnu", emulator="aarch64", required=True),
        Foreign(machine="armv7l", debian="armhf", triplet="arm-linux-gnueabihf", emulator="arm"),
        Foreign(machine="i686", debian="i386", triplet="i686-linux-gnu", emulator="i386"),
        Foreign(machine="ppc64le", debian="ppc64el", triplet="powerpc64le-linux-gnu", emulator="ppc64le"),
        Foreign(machine="s390x", debian="s390x", triplet="s390x-linux-gnu", emulator="s390x"),
        Foreign(machine="riscv64", debian="riscv64", triplet="riscv64-linux-gnu", emulator="riscv64"),
    )
}
"""By name in platform tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignPython:
    """The distribution's Python for another machine, unpacked."""

    foreign: Foreign
    root: Path
    version: str
    """As in ``python3.11``."""
    suffix: str
    """What its extension modules are called."""

    @property
    def include(self) -> tuple[str, ...]:
        """The compiler's options that find its headers."""
        return (f"-I{self.root}/usr/include/python{self.version}", f"-I{self.root}/usr/include")

    @property
    def tag(self) -> str:
        """Its tag for Python and ABI (``cp311``)."""
        return f"cp{self.version.replace('.', '')}"

    def run(
        self,
        code: str,
        *path: Path,
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        page: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run *code* in a new process with *path* on ``sys.path``; *page* is the size of a page of memory.

        Variables of the loader (``LD_LIBRARY_PATH``) in *env* reach the emulated program alone.
        """
        variables = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        program = f"{self.root}/usr/bin/python{self.version}"
        settings = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
        argv = [*self.foreign.emulated(self.root, page=page), *settings, program, "-s", *flags, "-c", code]
        return subprocess.run(
            argv, env=clean_environment(), cwd="/", capture_output=True, text=True, check=False, timeout=300
        )


def foreign_python(foreign: Foreign) -> ForeignPython:
    """Return the distribution's Python for *foreign*, unpacked into the cache with its headers."""
    require("gcc")
    version = _python_version(foreign)
    name = f"python{version}"
    root = foreign_root(
        foreign,
        f"{name}-minimal",
        f"lib{name}-minimal",
        f"lib{name}-stdlib",
        f"lib{name}-dev",
        "libc6",
        "libexpat1",
        "libffi8",
        "libgcc-s1",
        "zlib1g",
    )
    [dynload] = root.glob(f"usr/lib/{name}/lib-dynload")
    suffix = next(path.name.partition(".")[2] for path in dynload.glob("_ctypes.*"))
    return ForeignPython(foreign=foreign, root=root, version=version, suffix=f".{suffix}")


def foreign_root(foreign: Foreign, *packages: str) -> Path:
    """Return a directory in which the distribution's *packages* for *foreign* are unpacked; apt verifies them.

    What cannot be had skips the test, or fails it: see `Foreign.absent`.
    """
    state = cache_directory() / "apt" / foreign.debian
    target = cache_directory() / "roots" / foreign.debian / packages[0]
    with locked(state):
        if not target.is_dir():
            _update(foreign, state)
            with staged(target) as stage:
                _download(foreign, state, packages)
                for deb in sorted((state / "downloads").glob("*.deb")):
                    subprocess.run([require("dpkg-deb"), "-x", deb, stage], check=True)
                    deb.unlink()
                for archive in stage.rglob("libpython*.a"):
                    archive.unlink()
                _without_absolute_links(stage)
    return target


def debian_source(package: str, *, needed: bool = True) -> Path | None:
    """Return the upstream archive of the distribution's source package *package*, fetched once into the cache.

    Without it the test is skipped, or fails if ``CI`` is set; with *needed* false, ``None`` is returned.
    """
    require("apt-get")
    target = cache_directory() / "sources" / package
    with locked(target):
        if not target.is_dir():
            said = _fetch(package, target)
            if said and needed:
                lacking(f"the source package {package} ({said[-300:]})")
            if said:
                return None
    [archive] = target.iterdir()
    return archive


def _fetch(package: str, target: Path) -> str:
    """Fill *target* and return nothing, or say why not."""
    script = ROOT / "examples" / "lz4" / "fetch.sh"
    said = ""
    for _ in range(2):
        try:
            with staged(target) as stage:
                done = subprocess.run(["sh", script, package, stage], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise LookupError(done.stderr.strip() or f"exit status {done.returncode}")
        except LookupError as problem:
            said = str(problem)
        else:
            return ""
    return said


def _python_version(foreign: Foreign) -> str:
    state = cache_directory() / "apt" / foreign.debian
    with locked(state):
        _update(foreign, state)
        argv = [require("apt-cache"), *apt_options(state, foreign.debian), "depends", "python3-minimal"]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"\bpython(3\.\d+)-minimal", done.stdout)
    if found is None:
        foreign.absent(f"the distribution's Python for {foreign.debian} ({done.stderr.strip()[-300:]})")
    return found[1]


def _update(foreign: Foreign, state: Path) -> None:
    """Fetch the lists of packages, unless they are there.

    A mirror may lack one of several lists, or have one that does not fit its signature: apt then leaves that one out,
    and what is needed is mostly in the others.
    """
    apt = require("apt-get")
    options = apt_options(state, foreign.debian)
    said = ""
    for _ in range(2):
        if not any((state / "lists").glob("*_Packages*")):
            done = subprocess.run([apt, *options, "update", "-qq"], capture_output=True, text=True, check=False)
            said = done.stderr.strip() or "the sources have none"
    if not any((state / "lists").glob("*_Packages*")):
        foreign.absent(f"the list of packages for {foreign.debian} ({said[-300:]})")


def _download(foreign: Foreign, state: Path, packages: Sequence[str]) -> None:
    downloads = state / "downloads"
    for left in downloads.iterdir():
        left.unlink()
    said = ""
    for _ in range(2):
        argv = [require("apt-get"), *apt_options(state, foreign.debian), "download", "-qq", *packages]
        done = subprocess.run(argv, cwd=downloads, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        said = done.stderr.strip()
        # A list that is older than the mirror names files that are gone.
        shutil.rmtree(state / "lists")
        _update(foreign, state)
    foreign.absent(f"packages for {foreign.debian} ({said[-300:]})")


def _without_absolute_links(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_symlink() and path.readlink().is_absolute():
            inside = root / path.readlink().relative_to("/")
            path.unlink()
            path.symlink_to(os.path.relpath(inside, path.parent))
