"""DT_NEEDED entries that are paths: what the linker writes for a library without DT_SONAME that it is given by path."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import built, nativelib, project, repaired
from tests.support.toy import consumer, installed, package
from tests.support.venvs import run_python

if TYPE_CHECKING:
    from pathlib import Path


def made(tmp_path: Path) -> tuple[Path, Path]:
    """Return a wheel whose extension needs a library by its absolute path, and that library."""
    library = shared_library(tmp_path / "elsewhere", "libplain.so", "int plain_value(void) { return 5; }")
    source = simple_module("_ext", "plain_value()", "int plain_value(void);")
    return consumer(tmp_path, "cons", package("cons", extension(tmp_path, "_ext", source, needed=[library]))), library


def test_it_is_grafted_under_its_name(tmp_path: Path) -> None:
    wheel, library = made(tmp_path)
    environment = installed(tmp_path / "venv", repaired(wheel, into=tmp_path / "out"))
    shutil.rmtree(library.parent)
    [copy] = (environment.site / "cons.libs").iterdir()
    assert copy.name.startswith("libplain-")
    assert run_python(environment, "import cons; print(cons.value())").stdout == "5\n"


def test_a_path_is_no_soname_of_a_provider(tmp_path: Path) -> None:
    wheel, library = made(tmp_path)
    spec = f'prefix = "{library.parent}"\nlibraries = ["libplain.so"]'
    provider = built(project(tmp_path / "plain", "plain-lib", spec), into=tmp_path / "out")
    answer = nativelib("repair", wheel, "--provided-by", provider, "-w", tmp_path / "repaired")
    assert answer.code == 1
    (text,) = answer.errors().values()
    assert text.startswith("NL202 ")
    assert str(library) in text


def test_a_library_wheel_needs_it(tmp_path: Path) -> None:
    _, library = made(tmp_path)
    source = "int plain_value(void); int upper_value(void) { return plain_value() + 1; }"
    upper = shared_library(tmp_path / "prefix", "libupper.so.1", source, soname="libupper.so.1", needed=[library])
    spec = f'prefix = "{upper.parent}"\nlibraries = ["libupper.so.1"]'
    wheel = built(project(tmp_path / "upper", "upper-lib", spec), into=tmp_path / "out")
    shutil.rmtree(library.parent)
    environment = installed(tmp_path / "venv", wheel)
    code = "import upper_lib, ctypes; print(ctypes.CDLL(upper_lib.get_library(fullname=True)).upper_value())"
    assert run_python(environment, code).stdout == "6\n"
