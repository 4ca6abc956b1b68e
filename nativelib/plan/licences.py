"""Licence texts that list bundled libraries, without the sections of those that were taken out. Pure.

The form is that of Debian's machine-readable copyright files (DEP-5), as NumPy, SciPy and scikit-learn write it into
their wheels: a section begins with ``Name:`` and ``Files:`` lines, and ends at the next one or at a line of dashes.
"""

from __future__ import annotations

import posixpath
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from nativelib.findings import Code, Finding, note
from nativelib.plan.hook import decode
from nativelib.plan.values import Write

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nativelib.facts.wheel import WheelFacts

_TEXT = re.compile(r"(licen[cs]es?/|(^|/)(licen[cs]e|copying|notice|third)[^/]*$)", re.IGNORECASE)
_SECTION = re.compile(
    r"^Name:[^\n]*\n(?:[A-Z][\w-]*:[^\n]*\n)*?Files:(?P<files>[^\n]*(?:\n[ \t]+\S[^\n]*)*)\n"
    r"(?:.*?)(?=^Name:[^\n]*\n(?:[A-Z][\w-]*:[^\n]*\n)*?Files:|^-{3,}[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_INTRODUCTION = re.compile(r"^This binary distribution of .* bundles? the following software:?\s*\n", re.MULTILINE)


def licence_changes(wheel: WheelFacts, removed: Collection[str]) -> tuple[list[Write], list[Finding]]:
    """Return the writes that keep the licence texts of *wheel* true once *removed* are gone, and what stays to be said.

    A text that speaks of a removed file in another form is left as it is, with a note: only its author can say what it
    should be.
    """
    writes: list[Write] = []
    findings: list[Finding] = []
    kept = [member.name for member in wheel.members if member.name not in removed]
    for member, raw in wheel.texts.items():
        if not removed or not member.startswith(f"{wheel.dist_info}/") or not _TEXT.search(member):
            continue
        text = decode(raw)
        new = without_sections(text, removed, kept)
        if new != text:
            writes.append(Write(member=member, text=new))
        left = sorted({posixpath.basename(name) for name in removed if posixpath.basename(name) in new})
        if left:
            message = f"It still speaks of {', '.join(left)}, which the wheel no longer carries."
            findings.append(note(Code.LICENCE_LEFT, member, message, "Mend it by hand if the wheel is redistributed."))
    return writes, findings


def without_sections(text: str, removed: Iterable[str], kept: Collection[str]) -> str:
    """Return *text* without the sections whose files are all *removed*, and none of them *kept*."""
    removed = list(removed)

    def replaced(match: re.Match[str]) -> str:
        globs = match["files"].replace(",", " ").split()
        gone = all(any(_matches(name, glob) for name in removed) for glob in globs)
        left = any(_matches(name, glob) for glob in globs for name in kept)
        return "" if globs and gone and not left else match[0]

    found = _SECTION.sub(replaced, text)
    if found != text and not _SECTION.search(found):
        found = _INTRODUCTION.sub("", found)
    return found


def _matches(name: str, glob: str) -> bool:
    # Authors write libgfortran*.so for libgfortran-8f1e9814.so.5.0.0.
    return fnmatchcase(name, glob) or fnmatchcase(name, f"{glob}.*")
