"""The search path: where a library that the wheel does not have is found on this machine.

The order follows ld.so(8), with the variables that are meant for repairing in front of everything, so that a run path
which the build left behind cannot hide the library that the user points at. Directories of the wheel are not searched
here.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.facts.elf import MACHINES, Libc
from nativelib.read.elf import read_elf_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.outside import Outside

FRONT_VARIABLES = ("NATIVELIB_LD_LIBRARY_PATH", "AUDITWHEEL_LD_LIBRARY_PATH")
"""Searched before everything else."""

_TRIPLETS = {
    "x86_64": "x86_64-linux-gnu",
    "i686": "i386-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "armv7l": "arm-linux-gnueabihf",
    "ppc64le": "powerpc64le-linux-gnu",
    "ppc64": "powerpc64-linux-gnu",
    "s390x": "s390x-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "loongarch64": "loongarch64-linux-gnu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPath:
    """Directories in the order in which they are tried."""

    front: tuple[str, ...] = ()
    """Before everything else."""
    environment: tuple[str, ...] = ()
    """``LD_LIBRARY_PATH``: after ``DT_RPATH`` and before ``DT_RUNPATH``."""
    system: tuple[str, ...] = ()
    """The machine's directories, or those of ``--ldpaths``."""
    architecture: str
    libc: Libc

    @property
    def directories(self) -> tuple[str, ...]:
        """All of them, once each."""
        return tuple(dict.fromkeys((*self.front, *self.environment, *self.system)))


def search_path(
    architecture: str,
    libc: Libc,
    *,
    ldpaths: str | None = None,
    first: str | None = None,
    environ: Mapping[str, str] | None = None,
    prefix: Path | None = None,
) -> SearchPath:
    """Return the search path for files of *architecture* and *libc*.

    *ldpaths* (directories joined by colons) replaces the machine's own directories and ``LD_LIBRARY_PATH``; *first*
    comes before everything, run paths included; *environ* holds the variables; the library directories of *prefix* come
    before the machine's. For Android there are none but *first*, *ldpaths*, *prefix* and the variables for
    repairing.
    """
    env = environ or {}
    front = [entry for text in (first, *map(env.get, FRONT_VARIABLES)) for entry in _split(text or "")]
    if ldpaths is not None:
        system, environment = _split(ldpaths), _split("")
    elif prefix is not None and not prefix.samefile("/") and not prefix.samefile("/usr"):
        triplet = _TRIPLETS.get(architecture, architecture)
        if libc is Libc.MUSL:
            triplet = triplet.replace("-gnu", "-musl")
        below = [
            str(prefix.absolute() / sub) for sub in ("lib", f"lib/{triplet}", "lib64", f"usr/lib/{triplet}", "usr/lib")
        ]
        system = (*below, *_system_directories(architecture, libc))
        environment = _split(env.get("LD_LIBRARY_PATH", ""))
    else:
        system, environment = _system_directories(architecture, libc), _split(env.get("LD_LIBRARY_PATH", ""))
    if libc is Libc.BIONIC:  # its files are built elsewhere, and LD_LIBRARY_PATH is about this machine's
        environment = ()
    return SearchPath(
        front=tuple(front),
        environment=environment,
        system=tuple(dict.fromkeys(system)),
        architecture=architecture,
        libc=libc,
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(str(Path(entry).absolute()) for entry in text.split(":") if entry)


def _system_directories(architecture: str, libc: Libc) -> tuple[str, ...]:
    # Android's files are built elsewhere, and of other machines nothing is known.
    if libc is Libc.BIONIC or architecture not in MACHINES:
        return ()
    triplet = _TRIPLETS.get(architecture, architecture)
    if libc is Libc.MUSL:
        triplet = triplet.replace("-gnu", "-musl")
        configured = _lines(Path(f"/etc/ld-musl-{architecture}.path"))
        usual = ("/lib", "/usr/local/lib", "/usr/lib")
        return (*configured, f"/usr/local/lib/{triplet}", f"/lib/{triplet}", f"/usr/lib/{triplet}", *usual)
    wide = ("/lib64", "/usr/lib64") if MACHINES[architecture].bits == 64 else ("/lib32", "/usr/lib32")
    return (
        *_ld_so_conf(Path("/etc/ld.so.conf"), depth=0),
        f"/lib/{triplet}",
        f"/usr/lib/{triplet}",
        "/lib",
        "/usr/lib",
        *wide,
        f"/usr/{triplet}/lib",
    )


def _lines(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(line.strip() for line in text.replace(":", "\n").splitlines() if line.strip())


def _ld_so_conf(path: Path, *, depth: int) -> Iterator[str]:
    """Yield the directories of ld.so.conf(5) and of what it includes."""
    if depth > 8:
        return
    for raw in _lines(path):
        line = raw.partition("#")[0].strip()
        if line.startswith("include "):
            pattern = line.removeprefix("include ").strip()
            for included in _matches(path.parent / pattern):
                yield from _ld_so_conf(included, depth=depth + 1)
        elif line.startswith("/"):
            yield line


def _matches(pattern: Path) -> list[Path]:
    """Return the files that *pattern* names, sorted.

    As in glob(3), ``**`` means no more than ``*``, and a wildcard in front does not match a hidden file.
    """
    relative = re.sub(r"\*+", "*", str(pattern.relative_to(pattern.anchor)))
    found = Path(pattern.anchor).glob(relative) if pattern.name else ()
    return sorted((path for path in found if pattern.name[0] == "." or path.name[0] != "."), key=str)


# What lies here looks like files, but reading may wait for ever or never end: /proc/kmsg, /proc/kcore.
_NOT_FILES = ("/proc/", "/sys/")


def locate(
    wanted: Iterable[tuple[str, str]],
    requesters: Mapping[str, ElfFacts],
    path: SearchPath,
    known: Outside,
) -> Outside:
    """Return *known* with an entry for each (requester, soname) of *wanted*.

    A file of another machine or C library is passed over and remembered as rejected.
    """
    paths, files, rejected = dict(known.paths), dict(known.files), dict(known.rejected)
    candidates, tried = dict(known.candidates), dict(known.tried)
    loaders = {real: requester for (requester, _), real in reversed(paths.items()) if real is not None}
    for requester, soname in wanted:
        line = [(name, requesters.get(name) or files.get(name)) for name in _line(requester, loaders)]
        paths[requester, soname] = None
        for candidate in _candidates(line, soname, path):
            real = os.path.realpath(candidate)
            if real.startswith(_NOT_FILES):
                rejected.setdefault(soname, f"{candidate} is no file of a disk")
                continue
            found = files.get(real)
            try:
                found = found or read_elf_file(Path(real))
            except ReadError as problem:
                rejected.setdefault(soname, f"{candidate}: {problem.findings[0].message}")
                continue
            reason = mismatch(found, path)
            if reason:
                rejected.setdefault(soname, f"{candidate} {reason}")
                continue
            files[real] = found
            paths[requester, soname], candidates[requester, soname] = real, candidate
            loaders.setdefault(real, requester)
            break
        else:
            tried[requester, soname] = tuple(_directories(line, path)) if "/" not in soname else ()
    return replace(
        known,
        paths=paths,
        files=files,
        candidates=candidates,
        tried=tried,
        rejected=rejected,
        searched=path.directories,
    )


def _line(requester: str, loaders: Mapping[str, str]) -> list[str]:
    """Return *requester*, the file for which it is loaded first, the one for which that is, and so on."""
    line = [requester]
    while (loader := loaders.get(line[-1])) is not None and loader not in line:
        line.append(loader)
    return line


def mismatch(facts: ElfFacts, path: SearchPath) -> str:
    """Return why a file with *facts* is none that *path* searches for, or an empty text."""
    if facts.architecture != path.architecture:
        return f"is for {facts.architecture}, not for {path.architecture}"
    if not facts.suits(path.libc):
        return f"is linked with {facts.libc}, not with {path.libc}"
    return ""


def _candidates(line: Sequence[tuple[str, ElfFacts | None]], soname: str, path: SearchPath) -> Iterator[str]:
    if "/" in soname:
        yield soname
        return
    for directory in _directories(line, path):
        candidate = f"{directory}/{soname}"
        if is_file(candidate):
            yield candidate


def is_file(path: str) -> bool:
    """Return whether *path* names a file that is there."""
    try:
        return Path(path).is_file()
    except OSError:  # a DT_NEEDED that is longer than any file name can be
        return False


def _directories(line: Sequence[tuple[str, ElfFacts | None]], path: SearchPath) -> Sequence[str]:
    """Return where ld.so(8) looks for a need of the first file of *line*, which is loaded for the second, and so on.

    DT_RPATH comes before LD_LIBRARY_PATH, and DT_RUNPATH after it. The DT_RPATH of the files for which it is loaded
    counts as well, unless it has a DT_RUNPATH; where one of them has a DT_RUNPATH, its DT_RPATH counts for nothing.
    """
    requester, facts = line[0]
    late: list[str] = []
    early: list[str] = []
    if facts is not None and facts.runpath:
        late += run_path_directories(requester, facts).values()
    else:
        for name, loader in line:
            early += run_path_directories(name, loader).values() if loader is not None and not loader.runpath else ()
    return tuple(dict.fromkeys((*path.front, *early, *path.environment, *late, *path.system)))


def run_path_directories(requester: str, facts: ElfFacts) -> dict[str, str]:
    """Return the run path entries of *requester* with the directories that they mean, those of a wheel left out."""
    out: dict[str, str] = {}
    for entry in facts.run_path:
        text = entry.replace("${ORIGIN}", "$ORIGIN")
        if requester.startswith("/"):
            text = text.replace("$ORIGIN", str(Path(requester).parent))
        if text.startswith("/"):
            out[entry] = text
    return out
