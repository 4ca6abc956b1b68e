"""Libraries that are opened at run time: which of them are taken care of, and what to say of the others. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.facts.elf import is_libpython
from nativelib.facts.hint import How
from nativelib.facts.tags import is_extension
from nativelib.findings import Code, Finding, listing, note
from nativelib.plan.graft import link_name
from nativelib.plan.needs import Answer, excluded
from nativelib.policy.judge import is_loader

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nativelib.facts.hint import Opened
    from nativelib.plan.needs import Ground

# What was written to say it counts more than what looks like it.
_STRONGEST = (How.NOTE, How.PYTHON, How.STRING)
_SAYS = {How.NOTE: "its .note.dlopen says so", How.PYTHON: "it calls for it by name", How.STRING: "it has the name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedLibrary:
    """One library that code seems to open at run time."""

    name: str
    how: How
    """The strongest evidence."""
    purpose: str
    """What ``.note.dlopen`` says, or empty."""
    files: tuple[str, ...]
    """Members that open it, sorted."""
    answer: Answer | None
    """Where it comes from; ``None`` if nothing says that it will be there."""
    source: str | None = None
    """Member, or name and version of the provider."""


def answer_opened(hints: Iterable[Opened], ground: Ground) -> tuple[OpenedLibrary, ...]:
    """Return what *hints* name, each library once, by name, with its answer from *ground*.

    The search path is not asked: what lies there on this machine says nothing about others.
    """
    groups: dict[str, list[Opened]] = {}
    for hint in hints:
        groups.setdefault(hint.name, []).append(hint)
    out: list[OpenedLibrary] = []
    for name in sorted(groups):
        best = min(groups[name], key=lambda hint: (_STRONGEST.index(hint.how), hint.member))
        answer, source = _answer(name, ground)
        files = tuple(sorted({hint.member for hint in groups[name]}))
        out.append(
            OpenedLibrary(name=name, how=best.how, purpose=best.purpose, files=files, answer=answer, source=source)
        )
    return tuple(out)


def _answer(name: str, ground: Ground) -> tuple[Answer | None, str | None]:
    """Return who has *name*; a name without a version stands for every version, as the linker's does."""
    inside = next((soname for soname in ground.inside if name in (soname, link_name(soname))), None)
    if inside is not None:
        return Answer.WHEEL, ground.inside[inside][0]
    # numpy.ctypeslib and cffi look for "_core.so" under the suffixes of extensions, too.
    modules = (file for file in ground.files if is_extension(file))
    module = next((file for file in modules if posixpath.basename(file).partition(".")[0] + ".so" == name), None)
    if module is not None:
        return Answer.WHEEL, module
    for provider in ground.providers:
        names = {own for library in provider.libraries for own in library.names}
        if provider.find(name) is not None or name in map(link_name, names):
            return Answer.PROVIDED, provider.label
    if is_libpython(name):
        return Answer.PYTHON, None
    if is_loader(name) or any(name in (soname, link_name(soname)) for soname in ground.policy):
        return Answer.POLICY, None
    return (Answer.EXCLUDED if excluded(name, None, ground.excludes) else None), None


def opened_findings(libraries: Iterable[OpenedLibrary]) -> tuple[Finding, ...]:
    """Return a note for each library that nothing says will be there."""
    return tuple(
        note(
            Code.OPENED_AT_RUN_TIME,
            library.files[0],
            f"{library.name} may be opened at run time ({library.purpose or _SAYS[library.how]}"
            f"{_also(library.files[1:])}), and nothing brings it.",
            "Nothing to do if the code can go on without it; else see repair --include, --provided-by and --exclude.",
        )
        for library in libraries
        if library.answer is None
    )


def _also(files: tuple[str, ...]) -> str:
    return f"; so does {listing(files)}" if files else ""
