"""Libraries that code opens at run time, found by the names by which it opens them."""

from __future__ import annotations

import difflib
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.facts.outside import Included
from nativelib.findings import Code
from nativelib.read.elf import read_elf_file
from nativelib.read.search import is_file, mismatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.read.search import SearchPath


_LIBRARY = re.compile(r"\.so(\.\d+)*$")


def find_included(glob: str, place: str | None, path: SearchPath) -> dict[Included, ElfFacts]:
    """Return the libraries whose file names match *glob*, with their facts, sorted by name.

    They are looked for in the directories of *path*, or in the directory *place*; or *place* is the file itself. The
    first file of a name wins, and files of another machine or C library are passed over, as the loader does. A file
    that has several of the names gets its soname, if that is one of them. Raises ReadError (``NL211``) if nothing is
    found.
    """
    directories = path.directories if place is None else (place,)
    names: dict[str, list[str]] = {}
    facts: dict[str, ElfFacts] = {}
    passed: list[str] = []
    for name, file in _candidates(glob, place, directories):
        real = os.path.realpath(file)
        if any(name in known for known in names.values()):
            continue
        try:
            found = facts.get(real) or read_elf_file(Path(real))
        except ReadError as problem:
            passed.append(f"{file}: {problem.findings[0].message}")
            continue
        if reason := mismatch(found, path):
            passed.append(f"{file} {reason}")
            continue
        facts[real] = found
        names.setdefault(real, []).append(name)
    if not names:
        raise _nothing(glob, directories, passed)
    chosen = {_chosen(known, facts[real].soname): real for real, known in names.items()}
    return {Included(name=name, path=chosen[name]): facts[chosen[name]] for name in sorted(chosen)}


def _chosen(names: Sequence[str], soname: str | None) -> str:
    return soname if soname is not None and soname in names else min(names, key=lambda name: (len(name), name))


def _is_pattern(glob: str) -> bool:
    return any(sign in glob for sign in "*?[")


def _candidates(glob: str, place: str | None, directories: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and path of what may be meant."""
    if place is not None and is_file(place):
        yield (Path(place).name if _is_pattern(glob) else glob), place
        return
    for directory in directories:
        if not _is_pattern(glob):
            if is_file(f"{directory}/{glob}"):
                yield glob, f"{directory}/{glob}"
            continue
        for name in _listed(directory):
            if fnmatchcase(name, glob) and is_file(f"{directory}/{name}"):
                yield name, f"{directory}/{name}"


def _listed(directory: str) -> list[str]:
    try:
        return sorted(path.name for path in Path(directory).iterdir())
    except OSError:
        return []


def _nothing(glob: str, directories: Sequence[str], passed: Sequence[str]) -> ReadError:
    there = sorted({name for directory in directories for name in _listed(directory) if _LIBRARY.search(name)})
    stem = glob.partition(".so")[0].strip("*?")
    near = [name for name in there if stem and name.partition(".so")[0] in {stem, f"lib{stem}"}]
    near = (near or difflib.get_close_matches(glob, there, n=5, cutoff=0.85))[:5]
    rejected = f" ({'; '.join(passed[:3])})" if passed else ""
    message = f"--include {glob} names no library that was found{rejected}; searched: {', '.join(directories)}."
    remedy = f"There is {', '.join(near)}." if near else f"Say where it is: --include {glob}=PATH."
    return ReadError.of(Code.UNUSED_INCLUDE, glob, message, remedy)
