"""The files below a prefix that the globs of a spec match."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nativelib.findings import Code, error, note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nativelib.findings import Finding
    from nativelib.read.tree import Match, Tree

HEAD = 512
"""Bytes that are enough to tell what a file is."""


class Rule(NamedTuple):
    """A glob of the spec."""

    key: str
    """Dotted key of the spec."""
    glob: str

    @classmethod
    def of(cls, key: str, globs: Iterable[str]) -> tuple[Rule, ...]:
        """Return the rules of the array *key* of ``[tool.nativelib]``."""
        return tuple(cls(f"tool.nativelib.{key}[{index}]", glob) for index, glob in enumerate(globs))


def collect(
    tree: Tree, rules: Iterable[Rule], findings: list[Finding], *, code: Code = Code.NOT_FOUND
) -> dict[str, str]:
    """Return the real file of each path below *tree* that a rule matches, sorted by path.

    What cannot be taken goes to *findings*: a rule that matches nothing (an error of *code*), a link that leaves the
    prefix (an error), anything else that is no regular file (a note). A libtool ``.la`` is never taken: it holds the
    paths of the build.
    """
    files: dict[str, str] = {}
    for rule in rules:
        found = sorted(tree.match(rule.glob), key=lambda match: match.path)
        usable = {match.path: match.real for match in found if match.real and not _reason(match)}
        files.update(usable)
        rejected = [match for match in found if match.path not in usable]
        findings += [_escape(tree, match) for match in rejected if match.escapes]
        if usable:
            findings += [skipped(tree, match.path, _reason(match)) for match in rejected if not match.escapes]
        elif not any(match.escapes for match in rejected):
            findings.append(_nothing(tree, rule, rejected, code))
    return dict(sorted(files.items()))


def skipped(tree: Tree, path: str, reason: str) -> Finding:
    """Return the note that *path* below *tree* is left out."""
    return note(Code.SKIPPED_FILE, _shown(f"{tree.root.rstrip('/')}/{path}"), f"{_shown(path)} is left out: {reason}.")


def unreadable(path: str, problem: OSError) -> Finding:
    """Return the error that the file at *path* cannot be read."""
    return error(Code.NOT_FOUND, path, f"The file cannot be read: {problem.strerror or problem}.")


def digest(path: str) -> tuple[str, int]:
    """Return SHA-256 as hex and size in bytes of the file at *path*; raises ``OSError``."""
    with Path(path).open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256")
        return found.hexdigest(), stream.tell()


def head(path: str) -> bytes:
    """Return the first bytes of the file at *path*; raises ``OSError``."""
    with Path(path).open("rb") as stream:
        return stream.read(HEAD)


def _reason(match: Match) -> str:
    if match.problem:
        return match.problem
    if match.path.endswith(".la"):
        return "a libtool archive names the directories of the build"
    if not match.path.isprintable():
        return "its name is not plain text"
    return ""


def _escape(tree: Tree, match: Match) -> Finding:
    where = _shown(f"{tree.root.rstrip('/')}/{match.path}")
    remedy = "Use the prefix that holds the target too, or put the file in place of the link."
    return error(
        Code.ESCAPING_LINK, where, f"{_shown(match.path)} is a link that leaves the prefix: {match.problem}.", remedy
    )


def _nothing(tree: Tree, rule: Rule, rejected: list[Match], code: Code) -> Finding:
    message = f"{rule.glob!r} matches no file below {tree.root}."
    if rejected:
        message += "".join(f" {_shown(match.path)}: {_reason(match)}." for match in rejected[:5])
        return error(code, rule.key, message)
    near = tree.nearest(rule.glob)
    return error(code, rule.key, message, f"Near it are: {', '.join(map(_shown, near))}." if near else "")


def _shown(text: str) -> str:
    """Return *text* without what a terminal or JSON cannot show (names on disk are bytes)."""
    return text if text.isprintable() else ascii(text)[1:-1]
