"""The shared libraries and static archives below a prefix."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import NativelibError
from nativelib.facts.prefix import PrefixArchive, PrefixLibrary
from nativelib.findings import Code, Severity, error
from nativelib.read.elf import is_elf, read_elf_file
from nativelib.read.prefix_files import Rule, collect, digest, head, skipped, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nativelib.facts.spec import Spec
    from nativelib.findings import Finding
    from nativelib.read.tree import Tree

_ET_DYN = 3
_ARCHIVE = b"!<arch>\n"
_THIN_ARCHIVE = b"!<thin>\n"

# It becomes a word of linker scripts, .pc files and linker lines.
_PLAIN_NAME = re.compile(r"[\w.+@%,=:~-]+", re.ASCII)


def scan_libraries(
    tree: Tree, spec: Spec, findings: list[Finding]
) -> tuple[tuple[PrefixLibrary, ...], tuple[PrefixArchive, ...]]:
    """Return the libraries, each real file once, and the static archives, if *spec* wants them.

    What is wrong or left out goes to *findings*.
    """
    heard: list[Finding] = []
    files = collect(tree, Rule.of("libraries", spec.libraries), heard, code=Code.NO_LIBRARY)
    paths: dict[str, list[str]] = defaultdict(list)
    for path, real in _one_name_each(files).items():
        paths[real].append(path)
    libraries, archives = [], []
    for real, matched in paths.items():
        try:
            start = head(real)
            if spec.static and start.startswith(_ARCHIVE):
                archives.append(_archive(real, matched[0]))
            elif reason := _no_library(start, matched[0]):
                heard.append(skipped(tree, matched[0], reason))
            elif library := _library(tree, real, matched, heard):
                libraries.append(library)
        except OSError as problem:
            heard.append(unreadable(real, problem))
    findings += _checked(tree, spec, libraries, archives, heard)
    return tuple(libraries), tuple(sorted(archives, key=lambda archive: archive.name))


def _one_name_each(files: Mapping[str, str]) -> dict[str, str]:
    """Return *files* with a single real path for all hard links of a file."""
    names: dict[tuple[int, int], str] = {}
    out = {}
    for path, real in files.items():
        status = Path(real).stat()
        out[path] = names.setdefault((status.st_dev, status.st_ino), real)
    return out


def _archive(real: str, matched: str) -> PrefixArchive:
    sha256, size = digest(real)
    return PrefixArchive(source=real, matched=matched, sha256=sha256, size=size, name=os.path.basename(matched))  # noqa: PTH119


def _no_library(start: bytes, path: str) -> str:
    """Return what a file that is no ELF file is, or nothing for an ELF file."""
    if is_elf(start):
        return ""
    if start.startswith(_ARCHIVE):
        return "it is a static archive, and the spec does not say static = true"
    if start.startswith(_THIN_ARCHIVE):
        return "it is a thin archive, which holds no code itself"
    if path.endswith("-gdb.py"):
        return "it is a script for GDB"
    if any(word in start for word in (b"GNU ld script", b"INPUT", b"GROUP")):
        return "it is a linker script"
    return "it is not an ELF file"


def _library(tree: Tree, real: str, matched: Sequence[str], findings: list[Finding]) -> PrefixLibrary | None:
    try:
        elf = read_elf_file(Path(real))
    except NativelibError as problem:
        findings += problem.findings
        return None
    if elf.e_type != _ET_DYN or not elf.dynamic:
        findings.append(skipped(tree, matched[0], "it is an ELF file, but no shared library"))
        return None
    if elf.interpreter and not elf.soname:
        findings.append(skipped(tree, matched[0], "it is a program; tool.nativelib.programs takes programs"))
        return None
    library = PrefixLibrary(
        source=real, matched=matched[0], also=tuple(matched[1:]), sha256=elf.sha256, size=elf.size, elf=elf
    )
    if not _PLAIN_NAME.fullmatch(library.soname):
        findings.append(error(Code.BAD_ELF, real, f"The soname {library.soname!r} is not a plain file name."))
        return None
    return library


def _checked(
    tree: Tree,
    spec: Spec,
    libraries: Sequence[PrefixLibrary],
    archives: Sequence[PrefixArchive],
    heard: Sequence[Finding],
) -> Iterable[Finding]:
    """Yield what was *heard*, summed up if there is no library, and what is wrong with the libraries together."""
    if libraries or any(f.severity is Severity.ERROR and f.code is not Code.NO_LIBRARY for f in heard):
        yield from heard
    else:
        remedy = " ".join(f.remedy for f in heard if f.remedy)
        message = f"No shared library is matched below {tree.root}. " + " ".join(
            dict.fromkeys(f.message for f in heard)
        )
        yield error(Code.NO_LIBRARY, "tool.nativelib.libraries", message, remedy)
    if spec.static and not archives:
        yield error(Code.NO_LIBRARY, "tool.nativelib.static", "No glob of libraries matches a static archive (.a).")
    yield from _same(Code.DUPLICATE_SONAME, "the soname", {lib.source: lib.soname for lib in libraries})
    yield from _same(Code.BAD_SPEC, "the file name", {archive.source: archive.name for archive in archives})
    machines = {library.elf.machine: library for library in libraries}
    if len(machines) > 1:
        shown = ", ".join(f"{library.source} ({machine.architecture})" for machine, library in machines.items())
        remedy = "A wheel has one architecture; make the globs narrower."
        message = f"The libraries are of different architectures: {shown}."
        yield error(Code.MIXED_MACHINES, "tool.nativelib.libraries", message, remedy)


def _same(code: Code, what: str, names: Mapping[str, str]) -> Iterable[Finding]:
    """Yield an error for each name that several files have; *names* maps file to name."""
    owners: dict[str, list[str]] = defaultdict(list)
    for path, name in names.items():
        owners[name].append(path)
    for name, paths in sorted(owners.items()):
        if len(paths) > 1:
            message = f"{len(paths)} files have {what} {name}: {', '.join(sorted(paths))}."
            remedy = "Make the globs of libraries narrower, so that one of them remains."
            yield error(code, "tool.nativelib.libraries", message, remedy)
