"""Globs below a directory whose links stay inside it."""

from __future__ import annotations

import difflib
import errno
import fnmatch
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_LINKS = 40
"""Linux follows no more in one path (path_resolution(7))."""

_WILD = re.compile(r"[*?\[]")


class EscapingLinkError(OSError):
    """A link leads out of the tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One path that a glob matches."""

    path: str
    """Path below the root, with the links that are in it."""
    real: str | None = None
    """Absolute path of the regular file that it is; ``None`` if it is none."""
    problem: str = ""
    """Why it is none."""
    escapes: bool = False
    """Whether that is because a link leaves the tree."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory, its links followed as they will be where it is installed.

    In a live system (``/``, ``/usr``) links mean what the kernel says; from ``/usr`` they may pass through
    ``/etc/alternatives`` and the links of the root directory (a merged ``/usr``). In any other tree an absolute link
    starts at the tree: at the directory where the target's first parts overlap the tree's last ones (``/usr/lib`` in
    ``stage/usr``), else at its root.
    """

    root: str
    """Absolute path without links."""
    given: str
    """Absolute path as the user wrote it: links that a build made may begin with it."""
    listings: dict[str, dict[str, os.DirEntry[str]]] = field(default_factory=dict, repr=False, compare=False)
    """Directories that were read, by absolute path: several globs share them."""

    @classmethod
    def at(cls, path: Path) -> Tree:
        """Return the tree at *path*."""
        return cls(os.path.realpath(path), str(path.absolute()))

    def inside(self, path: str) -> bool:
        """Return whether the absolute *path* lies in the tree, links aside."""
        return path == self.root or path.startswith(self.root.rstrip("/") + "/")

    def resolve(self, path: str) -> str:
        """Return the absolute *path* without links.

        Raises :class:`EscapingLinkError` where a link leaves the tree, ``FileNotFoundError`` where it leads nowhere,
        and other ``OSError`` as the system does.
        """
        here, todo, links = "/", _parts(path)[::-1], 0
        while todo:
            part = todo.pop()
            if part == "..":
                here = os.path.dirname(here)  # noqa: PTH120
                continue
            step = f"{here.rstrip('/')}/{part}"
            try:
                target = os.readlink(step)  # noqa: PTH115
            except OSError as problem:
                if problem.errno != errno.EINVAL:  # EINVAL: it is no link
                    if not self._may_pass(here):
                        self._require_inside("/".join([step, *todo[::-1]]), path)
                    raise
                here = step
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if not self.inside(here) and not self._may_pass(here):
                raise EscapingLinkError(errno.EXDEV, f"the link leaves the prefix at {here}", path)
            if target.startswith("/"):
                here, target = "/", self._rebased(target)
            todo += _parts(target)[::-1]
        self._require_inside(here, path)
        return here

    def match(self, pattern: str) -> Iterator[Match]:
        """Yield the paths that *pattern* matches, each once, in no particular order; a directory only if it is named.

        ``**`` stands for any number of directories and follows no links (a link may lead to its own ancestor); all
        other parts do. Wildcards match no name that begins with a dot, and no directory as the last part.
        """
        parts = re.sub(r"(\*\*/)+", "**/", pattern).split("/")
        stack, seen = [(self.root, "", 0)], set[tuple[str, str, int]]()
        while stack:
            state = stack.pop()
            if state in seen:
                continue
            seen.add(state)
            real, path, index = state
            if parts[index] == "**":
                below = [n for n, e in self._list(real).items() if n[0] != "." and e.is_dir(follow_symlinks=False)]
                stack += [(f"{real.rstrip('/')}/{name}", path + name + "/", index) for name in below]
                if index + 1 < len(parts):
                    stack.append((real, path, index + 1))
                    continue
            for name in self._names(real, parts[index].replace("**", "*")):
                wild = bool(_WILD.search(parts[index]))
                found = self._look(real, path, name)
                if index + 1 == len(parts):
                    if not (wild and found.problem == _DIRECTORY):
                        yield found
                elif found.problem == _DIRECTORY and found.real:
                    stack.append((found.real, f"{path}{name}/", index + 1))
                elif found.escapes and not wild:
                    yield found

    def nearest(self, pattern: str) -> tuple[str, ...]:
        """Return up to three existing paths that look like what *pattern* asks for."""
        for part in reversed(pattern.split("/")):
            wanted = _WILD.sub("", part)
            # The first letters thin out the tens of thousands of names of a /usr.
            names = {name for listing in self.listings.values() for name in listing if name[:3] == wanted[:3]}
            close = difflib.get_close_matches(wanted, sorted(names), n=3) if wanted else []
            paths = [
                (close.index(n), f"{real}/{n}") for real, names in self.listings.items() for n in close if n in names
            ]
            if paths:
                return tuple(os.path.relpath(path, self.root) for _, path in sorted(paths))[:3]
        return ()

    def _look(self, directory: str, path: str, name: str) -> Match:
        """Return what *name* in *directory* is; ``real`` of a directory is set too."""
        whole = f"{path}{name}"
        try:
            real = f"{directory.rstrip('/')}/{name}"
            if stat.S_ISLNK(os.lstat(real).st_mode):
                real = self.resolve(real)
            mode = os.stat(real).st_mode  # noqa: PTH116
        except EscapingLinkError as problem:
            return Match(path=whole, problem=problem.strerror or "", escapes=True)
        except FileNotFoundError:
            return Match(path=whole, problem="the link leads to nothing")
        except OSError as problem:
            return Match(path=whole, problem=problem.strerror or str(problem))
        if stat.S_ISDIR(mode):
            return Match(path=whole, real=real, problem=_DIRECTORY)
        if not stat.S_ISREG(mode):
            return Match(path=whole, problem="it is not a regular file")
        return Match(path=whole, real=real)

    def _names(self, directory: str, part: str) -> list[str]:
        """Return the names in *directory* that the *part* of a pattern matches."""
        listing = self._list(directory)
        if not _WILD.search(part):
            return [part] if part in listing else []
        fits = re.compile(fnmatch.translate(part)).match
        return [name for name in listing if (name[0] != "." or part[0] == ".") and fits(name)]

    def _list(self, directory: str) -> dict[str, os.DirEntry[str]]:
        if directory not in self.listings:
            try:
                with os.scandir(directory) as entries:
                    self.listings[directory] = {entry.name: entry for entry in entries}
            except OSError:  # not readable, or gone: what it holds is not matched
                self.listings[directory] = {}
        return self.listings[directory]

    def _may_pass(self, directory: str) -> bool:
        return self.root == "/usr" and directory in ("/", "/etc/alternatives")

    def _require_inside(self, real: str, path: str) -> None:
        if not self.inside(os.path.normpath(real)):
            raise EscapingLinkError(errno.EXDEV, f"it leads to {os.path.normpath(real)}, outside the prefix", path)

    def _rebased(self, target: str) -> str:
        """Return where the absolute link *target* starts from in this tree."""
        if self.root in ("/", "/usr") or self.inside(target):
            return target
        if target.startswith(self.given.rstrip("/") + "/"):
            return self.root + target[len(self.given.rstrip("/")) :]
        root, parts = _parts(self.root), _parts(target)
        for overlap in range(min(len(root), len(parts)), 0, -1):
            if root[-overlap:] == parts[:overlap]:
                return "/".join(["", *root, *parts[overlap:]])
        return self.root + target


_DIRECTORY = "it is a directory"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
