"""Libraries outside of wheels that grafts are taken from, and that are gone before the result is used."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.projects import nativelib
from tests.support.toy import installed
from tests.support.venvs import run_python

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.projects import Answer
    from tests.support.venvs import Environment

OPENS_FOO = """
#include <dlfcn.h>
static int opened(void) {
    void *library = dlopen("libfoo.so.1", RTLD_NOW);
    int (*foo)(void) = library ? (int (*)(void))dlsym(library, "foo") : 0;
    return foo ? foo() : -1;
}
"""
"""A C function ``opened()``: what ``foo()`` of the library returns that it opens by its name, or -1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """``libfoo.so.1``, whose ``foo()`` is *number*, and ``libbar.so.1``, whose ``bar()`` is ten more and needs it."""

    root: Path
    directory: Path

    @property
    def foo(self) -> Path:
        """The library that needs nothing."""
        return self.directory / "libfoo.so.1"

    @property
    def bar(self) -> Path:
        """The library that needs the other."""
        return self.directory / "libbar.so.1"

    def extension(
        self, module: str = "_ext", expression: str = "bar()", declarations: str = "int bar(void);", **options: Any
    ) -> Path:
        """Return an extension that is linked with ``libbar.so.1``; *options* are those of `tests.support.cc`."""
        needed = options.pop("needed", [self.bar])
        flags = [f"-Wl,-rpath-link,{self.directory}", *options.pop("flags", [])]
        source = simple_module(module, expression, declarations)
        return extension(self.root / "extensions" / module, module, source, needed=needed, flags=flags, **options)

    def program(self, name: str, expression: str = "bar()", declarations: str = "int bar(void);") -> Path:
        """Return a program that prints *expression*."""
        text = f'{declarations}\n#include <stdio.h>\nint main(void) {{ printf("%d\\n", {expression}); return 0; }}'
        needed = [self.bar] if "bar" in expression else []
        return program(self.root / "programs", name, text, needed=needed, flags=[f"-Wl,-rpath-link,{self.directory}"])

    def repair(self, wheel: Path, *options: Path | str, into: str = "out") -> Answer:
        """Repair *wheel*; its libraries are found by ``LD_LIBRARY_PATH``."""
        return nativelib(
            "repair", wheel, "-w", self.root / into, *options, env={"LD_LIBRARY_PATH": str(self.directory)}
        )

    def repaired(self, wheel: Path, *options: Path | str, allow: Sequence[str] = ()) -> Path:
        """Return the result, which a second repair, with the same options and without them, must leave as it is.

        Findings of the codes *allow* must be given, and no other warnings.
        """
        answer = self.repair(wheel, *options)
        if answer.code:
            raise AssertionError(answer.stdout + answer.stderr)
        said = {f["code"] for f in answer.findings if f["severity"] == "warning" or f["code"] in allow}
        assert said == set(allow), answer.findings
        result = self.root / "out" / str(answer.document["wheels"][0]["output"])
        for words in (options, ()):
            again = self.repair(result, *words, into="again")
            assert not again.code, again.stdout
            second = self.root / "again" / again.document["wheels"][0]["output"]
            assert (second.name, second.read_bytes()) == (result.name, result.read_bytes())
        return result

    def installed(self, wheel: Path) -> Environment:
        """Return a fresh environment with *wheel* in it; the libraries outside are gone from now on."""
        shutil.rmtree(self.directory)
        return installed(self.root / "venv", wheel, pip=True)

    def value(self, wheel: Path, code: str = "import p; print(p.value())") -> str:
        """Return what *code* prints where *wheel* is installed and the libraries outside are gone."""
        return run_python(self.installed(wheel), code).stdout.strip()


def make_outside(root: Path, number: int = 5, name: str = "outside") -> Outside:
    """Build the two libraries below *root*."""
    directory = root / name
    foo = shared_library(directory, "libfoo.so.1", f"int foo(void) {{ return {number}; }}", soname="libfoo.so.1")
    text = "int foo(void); int bar(void) { return 10 + foo(); }"
    shared_library(directory, "libbar.so.1", text, soname="libbar.so.1", needed=[foo])
    return Outside(root=root, directory=directory)
