"""Small real library wheels, built by the tool from libraries of gcc, and consumers that were linked with other copies.

Every library exists twice: a good copy in the prefix that the library wheel is made from, and the host's copy, which
consumers are linked with and whose functions return negative numbers. A consumer that gets the host's copy shows it.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tests.support.cc import extension, shared_library, simple_module
from tests.support.nohost import mapped_files
from tests.support.projects import built, nativelib, project
from tests.support.venvs import fresh_venv, run_python
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.support.nohost import Hiding
    from tests.support.projects import Answer
    from tests.support.venvs import Environment

PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}-cp{sys.version_info[0]}{sys.version_info[1]}-{PLATFORM}"
EXT_SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))

STRICT = ("-B", "-W", "error")
"""Interpreter flags: a warning where none is due fails the test."""
ISOLATED = ("-I", *STRICT)

_TOY_MAP = "TOY_1.0 { global: toy_value; toy_number; local: *; };\n"
_TOY_NEW_MAP = f"{_TOY_MAP}TOY_1.2 {{ global: toy_new; }} TOY_1.0;\n"


def library_wheel(
    directory: Path,
    name: str,
    version: str,
    prefix: Path,
    libraries: Sequence[str],
    *,
    spec: str = "",
    arguments: Sequence[Path | str] = (),
) -> Path:
    """Build the library wheel *name* *version* from *prefix* into *directory* and return its path.

    *spec* are further lines of ``[tool.nativelib]``.
    """
    source = project(
        directory / "specs" / f"{name}-{version}",
        name,
        f"libraries = {json.dumps(list(libraries))}\n{spec}",
        version=version,
    )
    return built(source, "--prefix", prefix, *arguments, into=directory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """Library wheels, and what consumers of their libraries are made from.

    ======== ======= ==================================================================================
    wheel    version library
    ======== ======= ==================================================================================
    toy-lib  1.0.0   ``libtoy.so.1``, versioned: ``toy_value()`` is 41, ``toy_number`` is 41
    toy-lib  1.2.0   the same with 42, and ``toy_new()``; its soname becomes ``libtoy-toy_lib.so.1``
    upper-lib 2.0    ``libupper.so.2``: ``upper_value()`` is 100 + ``toy_value()``; needs toy-lib
    kept-lib 3.0     ``libkept.so.3``, whose soname is kept: ``kept_value()`` is 7
    ======== ======= ==================================================================================
    """

    root: Path
    host: Path
    """Directory of the host's copies; their functions return negative numbers."""
    wheels: Path
    """Directory of the library wheels."""
    old: Path
    """``toy-lib`` 1.0.0, which lies elsewhere."""
    toy: Path
    upper: Path
    kept: Path
    plain: Path
    """An extension ``_ext`` whose ``value()`` is ``toy_value()``; linked with the host's copy."""

    def extension(
        self,
        expression: str,
        libraries: Sequence[str] = ("libtoy.so.1",),
        *,
        module: str = "_ext",
        declarations: str = "",
        flags: Sequence[str] = (),
        rpath: str | None = None,
    ) -> Path:
        """Return a new extension *module* whose ``value()`` is *expression*; linked with the host's *libraries*."""
        home = self.root / "extensions"
        home.mkdir(exist_ok=True)
        directory = home / str(len(list(home.iterdir())))
        declarations = f"extern int toy_value(void), toy_new(void), upper_value(void), kept_value(void);{declarations}"
        needed = [self.host / name for name in libraries]
        # libupper's own need is looked for here by the linker.
        flags = [f"-Wl,-rpath-link,{self.host}", *flags]
        source = simple_module(module, expression, declarations)
        return extension(directory, module, source, needed=needed, flags=flags, rpath=rpath)

    def repair(self, wheel: Path, *providers: Path | str, arguments: Sequence[Path | str] = ()) -> Answer:
        """Repair *wheel* with *providers* (default: the current toy-lib) into ``repaired/`` beside it."""
        provided = [word for provider in providers or (self.toy,) for word in ("--provided-by", str(provider))]
        # A linux_* wheel on purpose, and no way to the host's copies: the repair must not need them.
        return nativelib("repair", wheel, *provided, *arguments, "-w", wheel.parent / "repaired")

    def repaired(
        self, wheel: Path, *providers: Path | str, arguments: Sequence[Path | str] = (), allow: Sequence[str] = ()
    ) -> Path:
        """Return the repaired wheel, as a path; nothing worse than a note may be found, except what *allow* names."""
        answer = self.repair(wheel, *providers, arguments=arguments)
        if answer.code:
            raise RuntimeError(answer.stdout + answer.stderr)
        bad = [finding for finding in answer.findings if finding["severity"] != "note" and finding["code"] not in allow]
        if bad:
            raise RuntimeError(json.dumps(bad, indent=2))
        [found] = answer.document["wheels"]
        return wheel.parent / str(found["output"])


def make_toy(root: Path) -> Toy:
    """Build all of :class:`Toy` below *root*."""
    good, old, host, wheels = (root / name for name in ("good", "old", "host", "wheels"))
    _toy(old / "lib", 41, _TOY_MAP)
    _toy(good / "lib", 42, _TOY_NEW_MAP)
    _toy(host, -1, _TOY_NEW_MAP)
    for directory in (good / "lib", host):
        _upper(directory)
    _kept(good / "lib", 7)
    _kept(host, -7)
    (good / "include" / "toy").mkdir(parents=True)
    (good / "include" / "toy" / "toy.h").write_text("int toy_value(void);\nint toy_new(void);\n")

    first = library_wheel(root / "older", "toy-lib", "1.0.0", old, ["lib/libtoy.so.1"])
    toy = library_wheel(
        wheels,
        "toy-lib",
        "1.2.0",
        good,
        ["lib/libtoy.so.1"],
        spec='compatible = ">={version},<2"\nheaders = ["include/**/*.h"]',
        arguments=["--since", first],
    )
    upper = library_wheel(
        wheels,
        "upper-lib",
        "2.0",
        good,
        ["lib/libupper.so.2"],
        arguments=["--provided-by", toy],
        spec='compatible = ">={version},<3"',
    )
    kept = library_wheel(
        wheels, "kept-lib", "3.0", good, ["lib/libkept.so.3"], spec='soname = "keep"\ncompatible = ">={version},<4"'
    )
    source = simple_module("_ext", "toy_value()", "int toy_value(void);")
    plain = extension(root / "plain", "_ext", source, needed=[host / "libtoy.so.1"])
    return Toy(root=root, host=host, wheels=wheels, old=first, toy=toy, upper=upper, kept=kept, plain=plain)


def _toy(directory: Path, value: int, version_script: str) -> None:
    source = f"int toy_number = {value}; int toy_value(void) {{ return {value}; }} int toy_new(void) {{ return 2; }}"
    shared_library(directory, "libtoy.so.1", source, soname="libtoy.so.1", version_script=version_script)


def _upper(directory: Path) -> None:
    source = "int toy_value(void); int upper_value(void) { return toy_value() < 0 ? -1000 : 100 + toy_value(); }"
    script = "UPPER_2.0 { global: upper_value; local: *; };\n"
    needed = [directory / "libtoy.so.1"]
    shared_library(directory, "libupper.so.2", source, soname="libupper.so.2", version_script=script, needed=needed)


def _kept(directory: Path, value: int) -> None:
    source = f"int kept_value(void) {{ return {value}; }}"
    script = "KEPT_3.0 { global: kept_value; local: *; };\n"
    shared_library(directory, "libkept.so.3", source, soname="libkept.so.3", version_script=script)


def consumer(directory: Path, name: str, files: Mapping[str, bytes | str | Path], *, tag: str = TAG) -> Path:
    """Write the consumer wheel *name* 1.0 with *files*; its tag is the one that a build on this machine gets."""
    return make_wheel(directory, f"{name}-1.0-{tag}.whl", files)


def package(name: str, extension_file: Path, init: bytes | str = "from ._ext import value\n") -> dict[str, Any]:
    """Return the files of a package with one extension; *name* may have dots or slashes."""
    directory = name.replace(".", "/")
    return {f"{directory}/__init__.py": init, f"{directory}/{extension_file.name}": extension_file}


def installed(path: Path, *what: Path | str, links: Sequence[Path] = (), pip: bool = False) -> Environment:
    """Return a fresh environment at *path* with *what* installed, dependencies from *links* alone."""
    environment = fresh_venv(path)
    flags = [word for directory in links for word in ("--find-links", str(directory))]
    (environment.pip_install if pip else environment.install)(*what, flags=flags)
    return environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a process said of itself."""

    out: Any
    """The value of its variable ``out``."""
    mapped: dict[str, int]
    """Path and inode of all files that it had mapped."""

    def copies(self, stem: str) -> list[str]:
        """Return the mapped files of the library *stem* (``libtoy``), whatever its version or hash."""
        names = {path: path.rpartition("/")[2] for path in self.mapped}
        return sorted(path for path, name in names.items() if name.startswith((f"{stem}.", f"{stem}-")))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Starts processes twice: with the host's copies within reach of the loader, and where none is found by name."""

    host: Path
    hiding: Hiding

    def see(
        self,
        environment: Environment | Path | str,
        code: str,
        *files: Path,
        env: Mapping[str, str] = MappingProxyType({}),
        flags: Sequence[str] = ISOLATED,
    ) -> Any:
        """Run *code* in both worlds and return what it left in ``out``, which must be the same in both.

        Each of *files* must be what is mapped for its library, by inode, and no other copy of that library.
        """
        both = [self.look(environment, code, env=env, flags=flags, hosted=hosted) for hosted in (True, False)]
        for seen in both:
            for file in files:
                stem = file.name.partition(".so")[0].partition("-")[0]
                copies = seen.copies(stem)
                if [os.path.realpath(path) for path in copies] != [os.path.realpath(file)]:
                    raise AssertionError(f"mapped for {stem}: {copies}, not {file}")
                if seen.mapped[copies[0]] != file.stat().st_ino:
                    raise AssertionError(f"{file} was replaced by another file of that path")
        if both[0].out != both[1].out:
            raise AssertionError(f"with the host's copies {both[0].out!r}, without {both[1].out!r}")
        return both[0].out

    def look(
        self,
        environment: Environment | Path | str,
        code: str,
        *,
        hosted: bool,
        env: Mapping[str, str] = MappingProxyType({}),
        flags: Sequence[str] = ISOLATED,
    ) -> Seen:
        """Run *code* in one of the worlds and return what was seen."""
        code = f"{code}\nimport json; print(); print(json.dumps([out, open('/proc/self/maps').read()]))"
        done = self.run(environment, code, hosted=hosted, env=env, flags=flags)
        if done.returncode:
            raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
        out, maps = json.loads(done.stdout.splitlines()[-1])
        return Seen(out=out, mapped=mapped_files(maps))

    def run(
        self,
        environment: Environment | Path | str,
        code: str,
        *,
        hosted: bool,
        env: Mapping[str, str] = MappingProxyType({}),
        flags: Sequence[str] = ISOLATED,
    ) -> subprocess.CompletedProcess[str]:
        """Run *code* in one of the worlds, whatever comes of it."""
        if hosted:
            return run_python(
                environment, code, env={"LD_LIBRARY_PATH": str(self.host), **env}, flags=flags, check=False
            )
        variables = {**self.hiding.env, **env}
        return run_python(environment, code, env=variables, flags=flags, prefix=self.hiding.prefix, check=False)

    def refused(
        self,
        environment: Environment | Path | str,
        code: str,
        *,
        hosted: bool,
        env: Mapping[str, str] = MappingProxyType({}),
        flags: Sequence[str] = ISOLATED,
    ) -> str:
        """Run *code*, which must end with an ImportError, and return its text."""
        done = self.run(environment, code, hosted=hosted, env=env, flags=flags)
        _, found, text = done.stderr.rpartition("\nImportError: ")
        if done.returncode != 1 or not found:
            raise AssertionError(f"exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return text.strip()
