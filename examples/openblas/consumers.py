"""Build the two consumer wheels as their maintainers would, with ``pip wheel`` and an isolated build environment."""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from steps import DemoError, Runner, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tree import Tree

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The consumer wheels before repair."""

    numpy_like: Path
    """Linked against the system's copy of OpenBLAS."""
    stats_like: Path
    """Linked against the library wheel, through its accessors."""
    stats_like_system: Path
    """The same sources linked against the system's copy, as another maintainer does it without library wheels."""


def build_consumers(runner: Runner, tree: Tree, cache: Path, library: Path) -> Built:
    """Return the wheels of both consumers, built anew only when something that they are made from has changed.

    `library` is the library wheel of OpenBLAS that stats_like is linked against.
    """
    links = [cache / "pypi", library.parent]
    distribution = library.name.split("-")[0].replace("_", "-")
    _setuptools(runner, links[0])
    wheel = {"STATS_LIKE_BLAS": distribution}
    system = {**_compiler(tree, 1), "STATS_LIKE_BLAS": "system"}
    headers = sorted(tree.prefix.glob("include/**/*.h"))
    return Built(
        numpy_like=_wheel(runner, "numpy_like", "built/system", extra=_compiler(tree, 0), links=links, inputs=headers),
        stats_like=_wheel(runner, "stats_like", "built/wheel", extra=wheel, links=links, inputs=[library]),
        stats_like_system=_wheel(runner, "stats_like", "built/system", extra=system, links=links, inputs=headers),
    )


def _compiler(tree: Tree, maintainer: int) -> dict[str, str]:
    """Return the variables with which gcc takes a maintainer's OpenBLAS for one of the system."""
    flavour = tree.flavours[maintainer % len(tree.flavours)]
    return {"CPATH": str(tree.headers(flavour)), "LIBRARY_PATH": str(tree.openblas(flavour))}


def _setuptools(runner: Runner, directory: Path) -> None:
    """Download setuptools once. All later calls of pip use no index, so no name of ours is ever looked up there."""
    if not list(directory.glob("setuptools-*.whl")):
        command = [runner.python, "-m", "pip", "-q", "download", "--no-deps", "-d", str(directory), "setuptools>=77"]
        runner.run(command, show="pip download setuptools")


def _wheel(
    runner: Runner, name: str, target: str, *, extra: dict[str, str], links: Iterable[Path], inputs: Iterable[Path]
) -> Path:
    """Build the wheel of one consumer in a copy of its sources, so that the checkout stays clean."""
    sources = HERE / "consumers" / name
    files = [path for path in sorted(sources.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    digest = _digest([*files, *inputs], f"{extra} {sys.version} {sysconfig.get_platform()}")
    directory = runner.directory / target / name
    mark = directory / "inputs.sha256"
    if mark.exists() and mark.read_text(encoding="ascii") == digest:
        say(f"  {target}/{name}: nothing has changed, kept")
    else:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(sources, directory / "sources", ignore=shutil.ignore_patterns("__pycache__"))
        command = [runner.python, "-m", "pip", "-q", "wheel", "--no-deps", "--no-index"]
        command += [word for link in links for word in ("--find-links", str(link))]
        blas = extra["STATS_LIKE_BLAS"] if "CPATH" not in extra else f"the system's {Path(extra['CPATH']).name}"
        show = f"pip wheel consumers/{name}  (linked against {blas})"
        runner.run([*command, "-w", str(directory), str(directory / "sources")], show=show, extra=extra)
        mark.write_text(digest, encoding="ascii")
    wheels = list(directory.glob("*.whl"))
    if len(wheels) != 1:
        raise DemoError(f"{directory} should hold one wheel; remove it and start again")
    return wheels[0]


def _digest(files: Iterable[Path], words: str) -> str:
    digest = hashlib.sha256(words.encode())
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
