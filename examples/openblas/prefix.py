"""Take OpenBLAS and GCC's run-time libraries from a prefix of the user, who may have compiled them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from steps import DemoError, Runner
from tree import FLAVOURS, Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

RUNTIMES = re.compile(r"lib(gfortran|quadmath|gomp)\.so")


def from_prefix(runner: Runner, prefix: Path, tree: Path, licenses: Sequence[Path]) -> Tree:
    """Copy the user's OpenBLAS and what it runs on to `tree`, in Debian's layout, and return it.

    `licenses` are licence files for a prefix that has none. Raise `DemoError` that says what is missing.
    """
    if prefix.resolve().is_relative_to(tree.resolve()):
        raise DemoError(f"{prefix} belongs to the demo itself and is about to be replaced; copy it first")
    libraries = {path.resolve() for path in _candidates(prefix, "libopenblas.so.0")}
    headers = sorted(path.parent for path in _candidates(prefix, "cblas.h", top="include"))
    if not libraries or not headers:
        missing = "libopenblas.so.0" if not libraries else "cblas.h"
        raise DemoError(
            f"{missing} is nowhere below {prefix}. An OpenBLAS built with `make install PREFIX=...` has it."
        )
    shutil.rmtree(tree, ignore_errors=True)
    flavours, runtimes = set(), {}
    for library in sorted(libraries):
        needed = _runtimes(runner, library, prefix)
        flavour = "openmp" if "libgomp.so.1" in needed else "pthread"
        if flavour in flavours:
            continue
        flavours.add(flavour)
        runtimes.update(needed)
        _copy(library, tree / f"lib/local/openblas-{flavour}/libopenblas.so.0")
        (tree / f"lib/local/openblas-{flavour}/libopenblas.so").symlink_to("libopenblas.so.0")
        include = next((path for path in headers if path.name == f"openblas-{flavour}"), headers[0])
        shutil.copytree(include, tree / f"include/local/openblas-{flavour}", ignore=_other_headers)
        _licence(tree, f"libopenblas0-{flavour}", licenses or _licences(prefix, f"*openblas*{flavour}*", "*openblas*"))
    runtimes.setdefault("libgomp.so.1", _gcc_library(runner, "libgomp.so.1"))
    for name, path in runtimes.items():
        # Not beside OpenBLAS: `nativelib build` looks in the lib directory of a prefix, as the loader would.
        _copy(path, tree / "lib" / name)
    for package in ("libgomp1", "libgfortran5"):
        found = _licences(Path("/usr"), package, "gcc-*-base", "libgomp", "libgfortran", "gcc*")
        _licence(tree, package, found or licenses)
    gcc = runner.run(["gcc", "-dumpfullversion", "-dumpversion"]).stdout.strip()
    return Tree(prefix=tree, flavours=tuple(name for name in FLAVOURS if name in flavours), openmp_version=gcc)


def _candidates(prefix: Path, name: str, top: str = "lib*") -> list[Path]:
    """Return the files called `name` at the places where an installation has them; never a walk through /usr."""
    return [path for depth in ("", "*/", "*/*/") for path in prefix.glob(f"{top}/{depth}{name}")]


def _runtimes(runner: Runner, library: Path, prefix: Path) -> dict[str, Path]:
    """Return soname and file of GCC's run-time libraries that `library` loads, from its prefix if they are there."""
    places = [
        str(library.parent),
        str(library.parent.parent),
        str(prefix / "lib"),
        os.environ.get("LD_LIBRARY_PATH", ""),
    ]
    search = {"LD_LIBRARY_PATH": os.pathsep.join(place for place in dict.fromkeys(places) if place)}
    done = runner.run(["ldd", str(library)], show=f"ldd {library.name}", extra=search)
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {words[0]: " ".join(words[2:]) for words in lines if len(words) > 2 and RUNTIMES.match(words[0])}
    lost = [name for name, path in found.items() if not path.startswith("/")]
    if lost:
        raise DemoError(f"{library} needs {', '.join(lost)}, which the loader does not find; LD_LIBRARY_PATH may say")
    return {name: Path(text.rpartition(" (")[0]) for name, text in found.items()}


def _gcc_library(runner: Runner, name: str) -> Path:
    path = Path(runner.run(["gcc", f"-print-file-name={name}"]).stdout.strip())
    if not path.is_absolute():
        raise DemoError(f"gcc has no {name}; install GCC's OpenMP runtime (libgomp1, libgomp)")
    return path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source.resolve(), target)


def _other_headers(_directory: str, names: list[str]) -> set[str]:
    wanted = {"cblas.h", "f77blas.h", "openblas_config.h"}
    return {name for name in names if name not in wanted}


def _licences(prefix: Path, *owners: str) -> list[Path]:
    """Return the licence files of the first of `owners` (patterns) that has one in a documentation directory."""
    own = [path for pattern in ("LICENSE*", "COPYING*") for path in prefix.glob(pattern)]
    for owner in owners:
        for name in ("copyright", "LICENSE*", "COPYING*"):
            found = [path for top in ("doc", "licenses") for path in prefix.glob(f"share/{top}/{owner}/{name}")]
            if found:
                return sorted(found)
    return own


def _licence(tree: Path, package: str, files: Sequence[Path]) -> None:
    if not files:
        raise DemoError(
            f"no licence text was found for {package}, and a wheel that carries a library carries its licence. "
            "Name the file with --license FILE (make demo LICENSE=FILE)."
        )
    target = tree / "share/doc" / package / "copyright"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"\n".join(file.read_bytes() for file in files))
