"""``lddtree``: what one ELF file on disk needs, and where the loader of its kind of system would find it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nativelib.facts.elf import Libc
from nativelib.findings import Severity
from nativelib.pipeline.answers import answer_all
from nativelib.plan.answers import missing_findings
from nativelib.plan.needs import Answer, Ground
from nativelib.plan.tree import needs_tree
from nativelib.read.elf import read_elf_file
from nativelib.read.search import locate, run_path_directories, search_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.outside import Outside
    from nativelib.findings import Finding
    from nativelib.plan.needs import Need
    from nativelib.plan.tree import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRequest:
    """Which file is looked at, and where libraries are searched."""

    file: Path
    ldpaths: str | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTree:
    """What one file needs, all the way down."""

    file: str
    """Absolute path."""
    facts: ElfFacts
    libc: Libc | None
    """By the evidence of the file and of the libraries that it needs; ``None`` without any."""
    needs: tuple[Need, ...]
    """``graft`` here means found, with the file as source."""
    rows: tuple[Row, ...]
    outside: Outside
    used: tuple[str, ...] = ()
    """Run path entries of the file, as it has them, in which something was found."""
    findings: tuple[Finding, ...] = ()


def file_tree(request: TreeRequest) -> FileTree:
    """Return what the file of *request* needs. Raises ReadError if it is no sound ELF file.

    A library that is not found is a warning. libpython is searched for, too, but nothing is wrong without it: an
    extension finds it in the interpreter.
    """
    file = os.path.abspath(request.file)  # noqa: PTH100 - $ORIGIN is where the name leads, not where a link does
    facts = read_elf_file(request.file)
    libc = facts.libc or Libc.GLIBC
    path = search_path(facts.architecture, libc, ldpaths=request.ldpaths, environ=request.environ)
    needs, outside = answer_all(Ground(files={file: facts}, inside={}), path)
    own = [(need.requester, need.soname) for need in needs if need.answer is Answer.PYTHON]
    outside = locate(own, {file: facts}, path, outside)
    needs = tuple(
        replace(need, source=outside.paths[need.requester, need.soname]) if need.answer is Answer.PYTHON else need
        for need in _with_loaded(needs, outside, facts.soname, file)
    )
    directories = run_path_directories(file, facts)
    found_in = {os.path.dirname(path) for (who, _), path in outside.candidates.items() if who == file}  # noqa: PTH120
    return FileTree(
        file=file,
        facts=facts,
        libc=facts.libc or next((f.libc for f in outside.files.values() if f.libc is not None), None),
        needs=needs,
        rows=needs_tree([file], needs),
        outside=outside,
        used=tuple(entry for entry, directory in directories.items() if directory in found_in),
        findings=tuple(missing_findings(needs, outside, Severity.WARNING, once=True)),
    )


def _with_loaded(needs: Sequence[Need], outside: Outside, soname: str | None, file: str) -> list[Need]:
    """Return *needs*, in the order of loading, where what was loaded before answers for its soname as loaders do."""
    loaded = {soname: file} if soname is not None else {}
    out: list[Need] = []
    for need in needs:
        if need.answer is Answer.MISSING and need.soname in loaded:
            need = replace(need, answer=Answer.GRAFT, source=loaded[need.soname])
        if need.answer is Answer.GRAFT and need.source is not None:
            found = outside.files.get(need.source)
            for name in filter(None, (need.soname, found.soname if found is not None else None)):
                loaded.setdefault(name, need.source)
        out.append(need)
    return out
