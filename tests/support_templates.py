"""Installed layouts of library wheels and consumers, made by hand from real ELF files and the rendered templates."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nativelib.facts.elf import MACHINES
from nativelib.plan.values import HOOK_BEGIN, HOOK_END
from nativelib.write.anchor import build_anchor
from nativelib.write.render import render
from tests.support.cc import extension, shared_library, simple_module
from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MACHINE = MACHINES[platform.machine()]
ANCHOR = "nativelib_anchor.so"


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """One library of a library wheel: ``int <stem>_value(void)`` returns *value*."""

    stem: str = "foo"
    value: int = 1
    unique: bool = True
    versions: Mapping[str, str] = field(default_factory=dict)
    owner: str = "foo_lib"

    @property
    def original(self) -> str:
        """The soname upstream."""
        return f"lib{self.stem}.so.1"

    @property
    def soname(self) -> str:
        """The soname in the wheel."""
        return f"lib{self.stem}-{self.owner}.so.1" if self.unique else self.original

    def values(self) -> dict[str, Any]:
        """Return what the templates want to know."""
        return {
            "soname": self.soname,
            "original_soname": self.original,
            "link_name": f"lib{self.stem}.so",
            "unique": self.unique,
            "versions": dict(self.versions),
        }


def compile_library(
    directory: Path, library: Library, *, name: str | None = None, soname: str | None = None, **options: Any
) -> Path:
    """Compile *library* to *directory*; *soname* differs from its own for a copy of the system."""
    soname = soname or library.soname
    if library.versions:
        nodes = [f"{node} {{ global: {symbol};" for node, symbol in library.versions.items()]
        options["version_script"] = " };\n".join(nodes) + " local: *; };\n"
    source = (
        f"int {library.stem}_value(void) {{ return {library.value}; }}\nint {library.stem}_new(void) {{ return 7; }}\n"
    )
    return shared_library(directory, name or soname, source, soname=soname, **options)


def write(path: Path, text: str | bytes) -> Path:
    """Write a file and the directories that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def package_values(import_name: str, version: str, libraries: Sequence[Library], **changes: Any) -> dict[str, Any]:
    """Return the values of ``library/__init__.py.j2`` and its neighbours."""
    name = import_name.replace("_", "-")
    return {
        "name": name,
        "version": version,
        "version_info": [int(part) for part in version.split(".")],
        "import_name": import_name,
        "requirement": f"{name}=={version}",
        "libraries": [library.values() for library in libraries],
        "private": [],
        "singleton": False,
        "requires": [],
        "pkg_config_names": [name],
        "programs": [],
        **changes,
    }


def required(import_name: str, minimum: Sequence[int]) -> dict[str, Any]:
    """Return an entry of ``requires``."""
    name = import_name.replace("_", "-")
    bound = ".".join(map(str, minimum))
    return {"import_name": import_name, "name": name, "requirement": f"{name}>={bound}", "minimum": list(minimum)}


def provider(kind: str = "own", import_name: str = "foo_lib", **changes: Any) -> dict[str, Any]:
    """Return an entry of ``providers`` for the hook."""
    name = import_name.replace("_", "-")
    return {
        "kind": kind,
        "name": name,
        "import_name": import_name,
        "requirement": f"{name}>=1.0",
        "minimum": [1, 0] if kind == "own" else [],
        "sonames": [Library(owner=import_name).soname],
        "files": [],
        **changes,
    }


def hook_text(providers: Sequence[Mapping[str, Any]], *, strict: bool = True) -> str:
    """Return the text of a ``_distributor_init.py``."""
    values = {"begin": HOOK_BEGIN, "end": HOOK_END, "strict": strict, "providers": list(providers)}
    return render("consumer/distributor_init.py.j2", values)


def install_library(
    root: Path,
    libraries: Sequence[Library] = (Library(),),
    *,
    import_name: str = "foo_lib",
    version: str = "1.2.3",
    anchor: bool = True,
    compiled: Mapping[str, Path] | None = None,
    options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Install a library wheel below *root* and return its package directory.

    *compiled* has ready files by soname; *options* go to the compiler for the others.
    """
    package, values = root / import_name, package_values(import_name, version, libraries, **changes)
    for template in ("__init__.py", "_why.py", "__main__.py", "_programs.py"):
        write(package / template, render(f"library/{template}.j2", values))
    lenient = provider(import_name=import_name, minimum=values["version_info"])
    write(package / "_distributor_init.txt", hook_text([lenient], strict=False))
    for library in libraries:
        file = (compiled or {}).get(library.soname) or compile_library(root / "build", library, **(options or {}))
        write(package / "lib" / library.soname, file.read_bytes())
        write(package / "lib" / f"lib{library.stem}.so", render("library/link_name.ld.j2", {"soname": library.soname}))
    sonames = [library.soname for library in libraries]
    if anchor:
        mark = f"nativelib-anchor-{import_name}-{version}"
        write(package / "lib" / ANCHOR, build_anchor(MACHINE, soname=mark, needed=sonames))
        _install_system(package / "lib" / "system", [x for x in libraries if x.unique], mark)
    for name in values["pkg_config_names"]:
        needs = [entry["name"] for entry in values["requires"]]
        told = {"name": name, "description": "test", "version": version, "sonames": sonames, "requires": needs}
        write(package / "lib" / "pkgconfig" / f"{name}.pc", render("library/pkgconfig.pc.j2", told))
    declarations = "".join(f"int {library.stem}_value(void);\n" for library in libraries)
    write(package / "include" / f"{import_name}.h", declarations)
    return package


def _install_system(directory: Path, libraries: Sequence[Library], mark: str) -> None:
    if not libraries:
        return
    for library in libraries:
        write(directory / library.soname, build_anchor(MACHINE, soname=library.soname, needed=[library.original]))
    sonames = [library.soname for library in libraries]
    write(directory / ANCHOR, build_anchor(MACHINE, soname=f"{mark}-system", needed=sonames))


def install_consumer(
    root: Path, library: Path, *, package: str = "consumer", hook: str | None = None, symbol: str = "foo_value"
) -> Path:
    """Install a package whose extension needs the file *library*; its ``value()`` returns what *symbol* returns."""
    directory = root / package
    built = extension(
        root / "build", "_ext", simple_module("_ext", f"{symbol}()", f"int {symbol}(void);"), needed=[library]
    )
    write(directory / built.name, built.read_bytes())
    first = "from . import _distributor_init\n" if hook is not None else ""
    write(directory / "__init__.py", f"{first}from ._ext import value\n")
    if hook is not None:
        write(directory / "_distributor_init.py", hook)
    return directory


def python(
    code: str,
    *path: Path | str,
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    executable: str = sys.executable,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run *code* in a process of its own with *path* on ``sys.path``."""
    settings = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    argv = [executable, *flags, "-c", code]
    return subprocess.run(
        argv, env=clean_environment(settings), capture_output=True, text=True, check=False, timeout=120, cwd=cwd
    )


def output(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a process printed, after checking that it ended well and complained of nothing."""
    if done.returncode or done.stderr:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def last_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the text of the ImportError that ended a process."""
    if done.returncode != 1 or "\nImportError: " not in done.stderr:
        raise AssertionError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr.rpartition("\nImportError: ")[2].strip()
