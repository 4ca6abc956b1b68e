"""Environments: made empty, filled by pip, and laid out anew without installing again."""

from __future__ import annotations

import importlib.metadata
import json
import os
import posixpath
import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from nativelib.errors import ReadError
from nativelib.facts.wheel import Place, Scheme
from nativelib.findings import Code
from nativelib.trial.runner import installer_environment, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nativelib.facts.trial import Ended

_OLDEST_PIP = (22, 3)
"""The release that brought ``pip --python``."""

_ASK = (
    "import importlib.machinery, json, os, sys, sysconfig; print(); print(json.dumps([sys.version.split()[0], "
    "sys.implementation.cache_tag, importlib.machinery.EXTENSION_SUFFIXES, "
    "os.path.relpath(os.path.realpath(sysconfig.get_path('platlib')), os.path.realpath(sys.prefix))]))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where installed files are, and the interpreter that finds them there."""

    python: Path
    version: str
    """The interpreter's."""
    cache_tag: str
    """What the files of compiled Python code are called after."""
    suffixes: tuple[str, ...]
    """What file names of extension modules end with."""
    site: str
    """Path of site-packages below a prefix."""
    root: Path
    """The prefix of what has none of its own."""
    prefixes: Mapping[str, Path]
    """Distributions that have one."""
    owners: Mapping[str, str]
    """Installed file, links resolved, to the distribution that brought it."""

    def find(self, distribution: str, place: Place) -> str:
        """Return the path of a file that *distribution* installed, links resolved."""
        prefix = self.prefixes.get(distribution, self.root)
        below = prefix / self.site if place.scheme is Scheme.SITE else prefix
        return os.path.realpath(below / place.path)

    def shorten(self, path: str) -> str:
        """Return the installed file *path* as it lies below site-packages; any other as it is."""
        owner = self.owners.get(path)
        home = os.path.realpath(self.prefixes.get(owner, self.root) / self.site) if owner is not None else "/"
        return os.path.relpath(path, home) if owner is not None else path


def make_environment(directory: Path, python: str, environ: Mapping[str, str]) -> Layout:
    """Return a new, empty environment of the interpreter *python* in *directory*. Raises ReadError."""
    program = _program(python, environ)
    if program is None:
        raise ReadError.of(
            Code.TOOL_FAILED, python, f"{python} is not a program.", "--python takes the path of a Python interpreter."
        )
    made = run(
        [program, "-I", "-m", "venv", "--without-pip", str(directory)],
        environ=installer_environment(environ),
        directory=directory.parent,
        timeout=120,
    )
    asked = directory / "bin" / "python"
    if made.status == 0:
        made = run([str(asked), "-I", "-c", _ASK], environ={}, directory=directory.parent, timeout=120)
    try:
        version, cache_tag, suffixes, site = json.loads(made.output.strip().rpartition("\n")[2])
    except ValueError:
        said = made.output.strip()[-500:]
        text = f"{python} cannot make an environment, the attempt {made.words}: {said}."
        raise ReadError.of(Code.TOOL_FAILED, python, text, "Debian has its module venv in python3-venv.") from None
    return Layout(
        python=asked,
        version=version,
        cache_tag=cache_tag,
        suffixes=tuple(suffixes),
        site=site,
        root=directory,
        prefixes={},
        owners={},
    )


def find_pip(layout: Layout, python: str, environ: Mapping[str, str]) -> list[str]:
    """Return the command that is pip, told to install into *layout*. Raises ReadError.

    It is the pip of *python*, or of the running interpreter; one that is too old, or none, is replaced by the one that
    ``ensurepip`` puts into the environment itself.
    """
    for program in dict.fromkeys((_program(python, environ) or python, sys.executable)):
        command = [program, "-m", "pip"]
        said = run([*command, "--version"], environ=installer_environment(environ), directory=layout.root, timeout=60)
        found = re.match(r"pip (\d+)\.(\d+)", said.output)
        if said.status == 0 and found and (int(found[1]), int(found[2])) >= _OLDEST_PIP:
            return [*command, "--python", str(layout.python)]
    made = run([str(layout.python), "-m", "ensurepip"], environ={}, directory=layout.root, timeout=300)
    if made.status:
        text = f"There is no pip for {python}: ensurepip {made.words}."
        raise ReadError.of(Code.TOOL_FAILED, python, text, f"Install it: {python} -m ensurepip")
    return [str(layout.python), "-m", "pip"]


def _program(python: str, environ: Mapping[str, str]) -> str | None:
    """Return the absolute path of the interpreter, which is run in other directories; links stay, for environments."""
    found = shutil.which(python, path=environ.get("PATH"))
    return str(Path(found).absolute()) if found is not None else None


def install(pip: Sequence[str], arguments: Sequence[str], *, environ: Mapping[str, str], directory: Path) -> Ended:
    """Have pip install *arguments*, and return how it ended."""
    flags = ("-q", "--disable-pip-version-check", "--no-input", "--no-warn-script-location", "--no-compile")
    return run([*pip, "install", *flags, *arguments], environ=installer_environment(environ), directory=directory)


def plant(layout: Layout, files: Iterable[tuple[Path, Place]]) -> None:
    """Copy *files*, which some other environment or directory has, to where they would be installed."""
    for source, place in files:
        target = (layout.root / layout.site if place.scheme is Scheme.SITE else layout.root) / place.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def installed(layout: Layout) -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions that a fresh environment has, by normalised name."""
    found = importlib.metadata.distributions(path=[str(layout.root / layout.site)])
    return {str(canonicalize_name(item.metadata["Name"])): item for item in found}


def owned(layout: Layout) -> Layout:
    """Return *layout* with the owners of all files that are installed now."""
    owners = {
        os.path.realpath(layout.root / path): name
        for name, item in installed(layout).items()
        for path in _files(layout, item)
    }
    return replace(layout, owners=owners)


def clone(layout: Layout, target: Path) -> Layout:
    """Return a copy of an environment; its files are links to the same bytes, so edit none before `unlink_file`."""
    shutil.copytree(layout.root, target, symlinks=True, copy_function=_link)
    moved = replace(layout, python=target / "bin" / "python", root=target)
    return owned(moved)


def split(layout: Layout, target: Path, python: str, environ: Mapping[str, str]) -> Layout:
    """Return the same distributions, each below a prefix of its own, found through a ``.pth`` file."""
    target.mkdir()
    made = make_environment(target / ".environment", python, environ)  # no distribution is called so
    prefixes: dict[str, Path] = {}
    owners: dict[str, str] = {}
    for name, item in installed(layout).items():
        prefixes[name] = target / name
        for path in _files(layout, item):
            new = target / name / path
            new.parent.mkdir(parents=True, exist_ok=True)
            _link(layout.root / path, new)
            owners[os.path.realpath(new)] = name
    lines = "".join(f"{prefix / layout.site}\n" for prefix in prefixes.values())
    (made.root / made.site / "split.pth").write_text(lines, encoding="utf-8")
    return replace(made, prefixes=prefixes, owners=owners)


def unlink_file(path: Path) -> None:
    """Give the file at *path* bytes of its own, so that an edit does not reach other layouts."""
    own = path.with_name(f".{path.name}.own")
    shutil.copy2(path, own)
    own.replace(path)


def _files(layout: Layout, item: importlib.metadata.Distribution) -> Iterator[str]:
    """Yield the files of a distribution, as paths below the prefix, with what Python has compiled meanwhile."""
    for entry in item.files or ():
        path = posixpath.normpath(f"{layout.site}/{entry}")
        if path.startswith("..") or not (layout.root / path).is_file():
            continue
        yield path
        head, tail = posixpath.split(path)
        compiled = f"{head}/__pycache__/{tail.removesuffix('.py')}.{layout.cache_tag}.pyc"
        if tail.endswith(".py") and (layout.root / compiled).is_file():
            yield compiled


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
