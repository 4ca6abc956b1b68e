"""A library wheel whose library takes the place of another one: ``soname = "libfoo.so.1"`` and ``incumbent``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.prefixes import FOO, FOO_1, dynamic, unpacked
from tests.support.projects import built, nativelib, project, repaired
from tests.support.toy import consumer, installed, package
from tests.support.venvs import run_python
from tests.support.wheels import members

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = 'libraries = ["lib/libother.so.5"]\nsoname = "libfoo.so.1"\nsingleton = true\n'
OTHER = FOO.replace("42", "50") + "\nint other_value(void) { return 5; }\n"
OTHER_5 = FOO_1 + "\nOTHER_5 { global: other_value; };\n"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """Hold libother.so.5, which has the interface of libfoo.so.1 and more, and a library of another kind."""
    lib = tmp_path / "prefix" / "lib"
    shared_library(lib, "libother.so.5", OTHER, soname="libother.so.5", version_script=OTHER_5)
    shared_library(lib, "libbar.so.1", "int bar(void) { return 1; }", soname="libbar.so.1")
    return lib.parent


def foo_consumer(here: Path) -> tuple[Path, Path]:
    """Return a wheel that was linked with libfoo.so.1, and that library."""
    library = shared_library(here / "foo", "libfoo.so.1", FOO, soname="libfoo.so.1", version_script=FOO_1)
    source = simple_module("_ext", "foo_value()", "int foo_value(void);")
    return consumer(here, "cons", package("cons", extension(here / "ext", "_ext", source, needed=[library]))), library


def manifest(wheel: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(next(v for k, v in members(wheel).items() if k.endswith("/nativelib.json")))
    return found


def test_the_library_serves_those_who_need_the_given_soname(prefix: Path, tmp_path: Path) -> None:
    wheel = built(project(tmp_path / "lib", "foo-lib", GIVEN), "--prefix", prefix, into=tmp_path / "dist")
    [library] = manifest(wheel)["libraries"]
    assert (library["soname"], library["original_soname"]) == ("libfoo.so.1", "libother.so.5")
    assert manifest(wheel)["singleton"] is True
    lib = unpacked(wheel, tmp_path / "site") / "foo_lib" / "lib"
    assert dynamic(lib / "libfoo.so.1").soname == "libfoo.so.1"
    assert not (lib / "system").exists()
    result = repaired(foo_consumer(tmp_path)[0], "--provided-by", wheel, into=tmp_path / "out")
    venv = installed(tmp_path / "venv", result, links=[tmp_path / "dist"])
    # The version need names libfoo.so.1, the definition still says libother.so.5: the loader compares sonames only.
    assert run_python(venv, "import cons; print(cons.value())").stdout == "50\n"


@pytest.mark.parametrize("incumbent", ['incumbent = ["FOO_1.0"]\n', ""], ids=["enough", "all"])
def test_an_incumbent_needs_the_versions_that_the_spec_says(prefix: Path, tmp_path: Path, incumbent: str) -> None:
    wheel = built(project(tmp_path / "lib", "foo-lib", GIVEN + incumbent), "--prefix", prefix, into=tmp_path / "dist")
    linked, incumbent_file = foo_consumer(tmp_path)
    result = repaired(linked, "--provided-by", wheel, into=tmp_path / "out")
    venv = installed(tmp_path / "venv", result, links=[tmp_path / "dist"])
    code = f"import ctypes; ctypes.CDLL({str(incumbent_file)!r}); import cons; print(cons.value())"
    done = run_python(venv, code, check=False)
    if incumbent:
        assert done.stdout == "42\n"
    else:
        assert done.returncode == 1
        assert "has no other_value@OTHER_5" in done.stderr


@pytest.mark.parametrize(
    ("spec", "where", "said"),
    [
        (GIVEN.replace("other.so.5", "*"), "tool.nativelib.soname", "one library only"),
        (f'{GIVEN}incumbent = ["FOO_9"]', "tool.nativelib.incumbent", "They have FOO_1.0, OTHER_5."),
    ],
)
def test_what_does_not_fit_the_libraries(prefix: Path, tmp_path: Path, spec: str, where: str, said: str) -> None:
    answer = nativelib("build", project(tmp_path / "lib", "foo-lib", spec), "--prefix", prefix, "-w", tmp_path / "dist")
    assert answer.code == 1
    assert said in answer.errors()[where]
    assert not list((tmp_path / "dist").glob("*"))
