"""Names of grafted libraries, where they are looked for, and what else ``repair`` takes over from auditwheel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.cc import shared_library
from tests.support.outside import Outside, make_outside
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.toy import TAG, consumer, installed
from tests.support.venvs import run_python
from tests.support.wheels import make_wheel, members

INIT = "from ._ext import value\n"


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """The libraries of this test."""
    return make_outside(tmp_path)


def plain(outside: Outside, **options: Any) -> Path:
    """Return a wheel whose extension needs ``libbar.so.1``."""
    file = outside.extension(**options)
    return consumer(outside.root, "p", {"p/__init__.py": INIT, f"p/{file.name}": file})


# --no-rename


def test_sonames_stay(outside: Outside) -> None:
    result = outside.repaired(plain(outside), "--no-rename", allow=["NL212"])
    assert {"p.libs/libfoo.so.1", "p.libs/libbar.so.1"} <= set(members(result))
    assert members(result)["p.libs/libfoo.so.1"] == outside.foo.read_bytes()
    assert outside.value(result) == "15"


def test_two_files_would_get_one_name(outside: Outside) -> None:
    other = make_outside(outside.root, 6, "more")
    first = outside.extension("_ext", flags=["-Wl,--disable-new-dtags"], rpath=str(outside.directory))
    second = outside.extension(
        "_two", needed=[other.bar], flags=["-Wl,--disable-new-dtags"], rpath=str(other.directory)
    )
    wheel = consumer(outside.root, "p", {f"p/{first.name}": first, f"p/{second.name}": second})
    for directory in (outside.directory, other.directory):
        subprocess.run([require("patchelf"), "--set-rpath", "$ORIGIN", directory / "libbar.so.1"], check=True)
    answer = nativelib("repair", wheel, "--no-rename", "-w", outside.root / "out")
    errors = answer.errors()
    assert answer.code == 1
    assert {Path(where).parent.name for where in errors} == {"more"}
    assert all(text.startswith("NL212 ") for text in errors.values())
    assert not (outside.root / "out").exists()


# --lib-sdir


@pytest.mark.parametrize(("suffix", "directory"), [("/libs", "p/libs"), (".mylibs", "p.mylibs")])
def test_the_directory_of_copies(outside: Outside, suffix: str, directory: str) -> None:
    result = outside.repaired(plain(outside), "-L", suffix)
    assert len([name for name in members(result) if name.startswith(f"{directory}/lib")]) == 2
    assert outside.value(result) == "15"


# --ldpaths-first


@pytest.mark.parametrize("tags", ["--enable-new-dtags", "--disable-new-dtags"])
def test_a_search_path_in_front_of_run_paths(outside: Outside, tags: str) -> None:
    other = make_outside(outside.root, 6, "more")
    wheel = plain(outside, rpath=str(outside.directory), flags=[f"-Wl,{tags}"])
    words = ("--ldpaths-first", other.directory)
    shown = nativelib("show", wheel, *words).document["wheels"][0]["external"]
    assert shown["libbar.so.1"] == str(other.bar)
    assert nativelib("show", wheel).document["wheels"][0]["external"]["libbar.so.1"] == str(outside.bar)
    result = outside.repaired(wheel, *words, allow=["NL207"])
    assert outside.value(result) == "16"


def test_it_comes_before_the_variables(outside: Outside) -> None:
    other = make_outside(outside.root, 6, "more")
    wheel = plain(outside)
    env = {"NATIVELIB_LD_LIBRARY_PATH": str(outside.directory)}
    answer = nativelib("repair", wheel, "--ldpaths-first", other.directory, "-w", outside.root / "out", env=env)
    assert {item["from"] for item in answer.document["wheels"][0]["grafted"]} == {str(other.foo), str(other.bar)}


# --strip, --plat, --allow-pure-python-wheel


def test_another_machine_is_repaired_and_stripped_here(tmp_path: Path) -> None:
    compiler = "aarch64-linux-gnu-gcc"
    foo = shared_library(
        tmp_path / "host", "libfoo.so.1", "int foo(void) { return 5; }", soname="libfoo.so.1", cc=compiler
    )
    source = "int foo(void); int PyInit__ext(void) { return foo(); }"
    file = shared_library(tmp_path, "_ext.abi3.so", source, needed=[foo], cc=compiler)
    wheel = make_wheel(tmp_path, "p-1.0-cp38-abi3-linux_aarch64.whl", {"p/__init__.py": "", "p/_ext.abi3.so": file})
    options = ("--plat", "manylinux_2_28_aarch64", "--ldpaths", foo.parent)
    require("aarch64-linux-gnu-strip")
    sizes = []
    for word in ([], ["--strip"]):
        answer = nativelib("repair", wheel, *options, *word, "-w", tmp_path / "out")
        assert answer.code == 0, answer.stdout
        [entry] = answer.document["wheels"]
        assert "manylinux_2_28_aarch64" in entry["tags"]
        sizes.append(len(members(tmp_path / "out" / entry["output"])[entry["grafted"][0]["path"]]))
    assert sizes[1] < sizes[0]


def test_the_strip_that_is_missing_is_named(tmp_path: Path) -> None:
    compiler = "aarch64-linux-gnu-gcc"
    foo = shared_library(
        tmp_path / "host", "libfoo.so.1", "int foo(void) { return 5; }", soname="libfoo.so.1", cc=compiler
    )
    source = "int foo(void); int PyInit__ext(void) { return foo(); }"
    file = shared_library(tmp_path, "_ext.abi3.so", source, needed=[foo], cc=compiler)
    wheel = make_wheel(tmp_path, "p-1.0-cp38-abi3-linux_aarch64.whl", {"p/_ext.abi3.so": file})
    words = ("--strip", "--ldpaths", foo.parent, "-w", tmp_path / "out")
    patchelf = os.path.dirname(require("patchelf"))  # noqa: PTH120
    answer = nativelib("repair", wheel, *words, env={"PATH": patchelf})
    [text] = answer.errors().values()
    assert "The program aarch64-linux-gnu-strip was not found" in text
    assert "binutils-aarch64-linux-gnu" in text
    assert list((tmp_path / "out").iterdir()) == []


def test_pure_wheels_are_passed_through(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "p-1.0-py3-none-any.whl", {"p.py": ""}, purelib=True)
    answer = nativelib("repair", "--allow-pure-python-wheel", wheel, "-w", tmp_path / "out")
    assert answer.code == 0
    assert (tmp_path / "out" / wheel.name).is_file()


# musl


def test_what_debian_s_musl_gcc_links(tmp_path: Path) -> None:
    """It writes ``libc.so`` where Alpine's compilers write ``libc.musl-x86_64.so.1``."""
    flags = ["-Wl,--no-as-needed", "-lc"]
    foo = shared_library(
        tmp_path / "host",
        "libfoo.so.1",
        "int foo(void) { return 5; }",
        soname="libfoo.so.1",
        cc="musl-gcc",
        flags=flags,
    )
    source = "int foo(void); int PyInit__ext(void) { return foo(); }"
    file = shared_library(tmp_path, "_ext.abi3.so", source, needed=[foo], cc="musl-gcc", flags=flags)
    wheel = make_wheel(tmp_path, f"p-1.0-cp38-abi3-{TAG.rpartition('-')[2]}.whl", {"p/_ext.abi3.so": file})
    answer = nativelib("repair", wheel, "--ldpaths", foo.parent, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
    [entry] = answer.document["wheels"]
    assert all(tag.startswith("musllinux_") for tag in entry["tags"])
    assert [item["soname"] for item in entry["grafted"]] == ["libfoo.so.1"]


# A provider that takes the place of another


def test_a_provider_swapped_for_another_takes_its_requirement_along(tmp_path: Path) -> None:
    files = {}
    for name, number in (("one", 1), ("two", 2)):
        text = f"int foo(void) {{ return {number}; }}"
        files[name] = shared_library(tmp_path / name, "libfoo.so.1", text, soname="libfoo.so.1")
    shops = [
        make_wheel(tmp_path, f"{name}_lib-1.0-py3-none-{TAG.rpartition('-')[2]}.whl", {f"{name}_lib/libfoo.so.1": file})
        for name, file in files.items()
    ]
    outside = Outside(root=tmp_path, directory=tmp_path / "one")
    file = outside.extension("_ext", "foo()", "int foo(void);", needed=[files["one"]])
    wheel = consumer(tmp_path, "p", {"p/__init__.py": INIT, f"p/{file.name}": file})
    results = []
    for number, shop in enumerate(shops):
        answer = nativelib("repair", wheel, "--provided-by", shop, "-w", tmp_path / f"out{number}")
        assert answer.code == 0, answer.stdout
        wheel = tmp_path / answer.document["wheels"][0]["output"]
        results.append(members(wheel)["p-1.0.dist-info/METADATA"].decode())
    assert ["one-lib==1.0" in text for text in results] == [True, False]
    assert ["two-lib==1.0" in text for text in results] == [False, True]
    environment = installed(tmp_path / "venv", wheel, links=[tmp_path])
    assert run_python(environment, "import p; print(p.value())").stdout == "2\n"
