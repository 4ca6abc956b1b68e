"""Wheels that auditwheel 6.8 breaks, or repairs in part: what comes of them here, after pip has installed them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.read.elf import read_elf_file
from nativelib.read.wheel import read_wheel
from tests.support.cc import shared_library
from tests.support.outside import Outside, make_outside
from tests.support.projects import nativelib
from tests.support.toy import consumer
from tests.support.wheels import members

if TYPE_CHECKING:
    from pathlib import Path

INIT = "from ._ext import value\n"
RUN = "import os, subprocess, sys; print(subprocess.run([os.path.join(sys.prefix, 'bin', 'prog')]).returncode)"
OPEN = """
import ctypes, os, sys
def value():
    return ctypes.CDLL(os.path.join(sys.prefix, "lib", "libbar.so.1")).bar()
"""


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """The libraries of this test."""
    return make_outside(tmp_path)


# A failure leaves nothing behind


@pytest.mark.parametrize("beside", [True, False])
def test_a_failed_repair_writes_nothing(outside: Outside, *, beside: bool) -> None:
    file = outside.extension()
    wheel = consumer(outside.root / "dist", "p", {"p/__init__.py": INIT, f"p/{file.name}": file})
    before = wheel.read_bytes()
    target = wheel.parent if beside else outside.root / "out"
    answer = nativelib("repair", wheel, "-w", target, "--ldpaths", outside.root / "nowhere")
    assert answer.code == 1
    assert answer.document["wheels"][0]["output"] is None
    assert wheel.read_bytes() == before
    assert [path.name for path in wheel.parent.iterdir()] == [wheel.name]
    assert beside or not target.exists() or not list(target.iterdir())


def test_floating_point_exceptions_of_old_pythons_are_refused(outside: Outside) -> None:
    """PEP 513: a module that is built for ``--with-fpectl`` runs on no other Python."""
    file = outside.extension("_ext", "PyFPE_jbuf", "extern int PyFPE_jbuf;", needed=[])
    wheel = consumer(outside.root, "p", {f"p/{file.name}": file})
    answer = outside.repair(wheel)
    [text] = answer.errors().values()
    assert text.startswith("NL601 ")
    assert "PyFPE_jbuf" in text
    assert not (outside.root / "out").exists()


# Excluded libraries


def test_what_is_excluded_is_left_to_the_system_and_show_agrees(outside: Outside) -> None:
    file = outside.extension()
    wheel = consumer(outside.root, "p", {"p/__init__.py": INIT, f"p/{file.name}": file})
    [entry] = outside.repair(wheel, "--exclude", "libfoo.so.*").document["wheels"]
    assert [item["soname"] for item in entry["grafted"]] == ["libbar.so.1"]
    result = outside.root / "out" / entry["output"]
    shown = nativelib("show", result, "--exclude", "libfoo.so.*").document["wheels"][0]
    assert shown["tag"] in entry["tags"]
    # The copy that needs it keeps its need, and whoever loads the library first serves it.
    code = f"import ctypes; ctypes.CDLL('{outside.root}/kept.so')\nimport p; print(p.value())"
    shutil.copyfile(outside.foo, outside.root / "kept.so")
    assert outside.value(result, code) == "15"


# Run paths of the author


def test_run_paths_that_stay_inside_are_kept(outside: Outside) -> None:
    entries = "/opt/vendor/lib:$ORIGIN/../otherpkg/lib:$ORIGIN/../../../../lib:${ORIGIN}/sub"
    file = outside.extension(rpath=entries)
    library = shared_library(outside.root, "libdata.so", "int bar(void);", needed=[outside.bar], rpath=entries)
    files = {f"p-1.0.data/platlib/p/{file.name}": file, "p-1.0.data/data/lib/pp/libdata.so": library}
    result = outside.repaired(consumer(outside.root, "p", {"p/__init__.py": INIT, **files}), allow=["NL207"])
    found = read_wheel(result).elf
    assert found[f"p-1.0.data/platlib/p/{file.name}"].rpath == (
        "$ORIGIN/../otherpkg/lib",
        "${ORIGIN}/sub",
        "$ORIGIN/../p.libs",
    )
    # From lib/pp of the environment's prefix, two steps up are its root, and no more.
    assert found["p-1.0.data/data/lib/pp/libdata.so"].rpath == (
        "$ORIGIN/../otherpkg/lib",
        "${ORIGIN}/sub",
        "$ORIGIN/../p.libs",
    )
    assert outside.value(result) == "15"


# Schemes


@pytest.mark.parametrize("scheme", ["platlib", "purelib"])
def test_extensions_of_the_data_directory(outside: Outside, scheme: str) -> None:
    file = outside.extension()
    home = f"p-1.0.data/{scheme}/p"
    result = outside.repaired(consumer(outside.root, "p", {f"{home}/__init__.py": INIT, f"{home}/{file.name}": file}))
    assert outside.value(result) == "15"


def test_a_library_of_the_data_scheme(outside: Outside) -> None:
    files: dict[str, Any] = {"p/__init__.py": OPEN, "p-1.0.data/data/lib/libbar.so.1": outside.bar}
    result = outside.repaired(consumer(outside.root, "p", files))
    [copy] = [name for name in members(result) if "libfoo" in name]
    assert copy.startswith("p-1.0.data/data/lib/p.libs/libfoo-")
    assert outside.value(result) == "15"


def test_a_library_that_both_schemes_need_is_copied_into_both(outside: Outside) -> None:
    file = outside.extension()
    files = {f"p/{file.name}": file, "p-1.0.data/data/bin/prog": outside.program("prog")}
    result = outside.repaired(consumer(outside.root, "p", {"p/__init__.py": INIT, **files}))
    homes = sorted(name.partition("p.libs/")[0] for name in members(result) if "libfoo" in name)
    assert homes == ["", "p-1.0.data/data/lib/"]
    assert outside.value(result, f"{RUN}\nimport p; print(p.value())").split() == ["15", "0", "15"]


def test_copies_in_the_data_scheme_move_with_what_needs_them(outside: Outside) -> None:
    """``--relocate-data`` moves the library because the extension needs it, and its copies follow."""
    file = outside.extension()
    files: dict[str, Any] = {"p/__init__.py": INIT, f"p/{file.name}": file}
    files["p-1.0.data/data/lib/libbar.so.1"] = outside.bar
    wheel = consumer(outside.root, "p", files)
    assert outside.repair(wheel).errors()[f"p/{file.name}"].startswith("NL208 ")
    result = outside.repaired(wheel, "--relocate-data")
    assert sorted(name.partition("-")[0] for name in members(result) if "p.libs" in name) == [
        "p.libs/libbar.so.1",
        "p.libs/libfoo",
    ]
    assert outside.value(result) == "15"


@pytest.mark.parametrize("scheme", ["scripts", "data/bin"])
def test_programs(outside: Outside, scheme: str) -> None:
    file = outside.program("prog")
    result = outside.repaired(consumer(outside.root, "p", {"p.py": "", f"p-1.0.data/{scheme}/prog": file}))
    assert outside.value(result, RUN).split() == ["15", "0"]


def test_a_library_among_the_headers(outside: Outside) -> None:
    wheel = consumer(outside.root, "p", {"p.py": "", "p-1.0.data/headers/sub/libbar.so.1": outside.bar})
    result = outside.repaired(wheel)
    environment = outside.installed(result)
    [library] = environment.path.rglob("libbar.so.1")
    listing = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    assert "p.libs/libfoo-" in listing
    assert "not found" not in listing


# Names


def test_two_libraries_of_one_soname(outside: Outside) -> None:
    files = {}
    for module, number in (("_a", 1), ("_b", 2)):
        other = make_outside(outside.root, number, module)
        flags = ["-Wl,--disable-new-dtags"]
        file = outside.extension(module, needed=[other.bar], rpath=str(other.directory), flags=flags)
        files[f"p/{file.name}"] = file
    init = "from . import _a, _b\ndef value(): return _a.value(), _b.value()\n"
    wheel = consumer(outside.root, "p", {"p/__init__.py": init, **files})
    shutil.rmtree(outside.directory)
    outside.directory.mkdir()
    result = outside.repaired(wheel, allow=["NL207"])
    for name in ("_a", "_b"):
        shutil.rmtree(outside.root / name)
    assert outside.value(result) == "(11, 12)"


def test_copies_of_one_library_under_several_names(outside: Outside) -> None:
    file = outside.extension(rpath="$ORIGIN/lib")
    names = ("libbar.so", "libbar.so.1", "libbar.so.1.0.0")
    files = {f"p/lib/{name}": outside.bar for name in names}
    result = outside.repaired(consumer(outside.root, "p", {"p/__init__.py": INIT, f"p/{file.name}": file, **files}))
    found = read_wheel(result).elf
    assert {found[f"p/lib/{name}"].rpath for name in names} == {("$ORIGIN/../../p.libs",)}
    assert outside.value(result) == "15"


# What the wheel has already


@pytest.mark.parametrize("preload", [True, False])
def test_what_is_found_by_preloading_is_not_copied_and_gets_a_run_path(outside: Outside, *, preload: bool) -> None:
    file = outside.extension()
    init = "import ctypes, os\nhere = os.path.dirname(__file__) + '/lib/'\n"
    init += "for name in ('foo', 'bar'): ctypes.CDLL(f'{here}lib{name}.so.1')\n" if preload else ""
    files = {"p/lib/libfoo.so.1": outside.foo, "p/lib/libbar.so.1": outside.bar, f"p/{file.name}": file}
    result = outside.repaired(consumer(outside.root, "p", {"p/__init__.py": init + INIT, **files}))
    assert not [name for name in members(result) if "p.libs" in name]
    code = "import p; print(p.value(), len({l.split()[-1] for l in open('/proc/self/maps') if '/libfoo' in l}))"
    assert outside.value(result, code) == "15 1"


def test_a_run_path_that_is_inherited_is_enough(outside: Outside) -> None:
    """ld.so(8): DT_RPATH serves what the file needs indirectly, so the library is left as it is."""
    file = outside.extension(rpath="$ORIGIN/lib", flags=["-Wl,--disable-new-dtags"])
    files = {"p/lib/libfoo.so.1": outside.foo, "p/lib/libbar.so.1": outside.bar, f"p/{file.name}": file}
    result = outside.repaired(consumer(outside.root, "p", {"p/__init__.py": INIT, **files}))
    assert members(result)["p/lib/libbar.so.1"] == outside.bar.read_bytes()
    assert outside.value(result) == "15"


def test_where_the_wheel_has_a_choice_its_code_chooses(outside: Outside) -> None:
    file = outside.extension("_ext", "foo()", "int foo(void);", needed=[outside.foo])
    fast = make_outside(outside.root, 6, "fast")
    init = "import ctypes, os\nctypes.CDLL(os.path.dirname(__file__) + '/fast/libfoo.so.1')\n"
    files = {"p/slow/libfoo.so.1": outside.foo, "p/fast/libfoo.so.1": fast.foo, f"p/{file.name}": file}
    result = outside.repaired(consumer(outside.root, "p", {"p/__init__.py": init + INIT, **files}))
    assert members(result)[f"p/{file.name}"] == file.read_bytes()
    assert outside.value(result) == "6"


def test_a_library_of_the_system_that_the_wheel_has_as_well(outside: Outside) -> None:
    """Which of the two an extension gets stays as its authors made it."""
    other = shared_library(outside.root / "own", "libm.so.6", "int own(void) { return 1; }", soname="libm.so.6")
    file = outside.extension("_ext", "own()", "int own(void);", needed=[other])
    init = "import ctypes, os\nctypes.CDLL(os.path.dirname(__file__) + '/lib/libm.so.6')\n"
    wheel = consumer(outside.root, "p", {"p/__init__.py": init, "p/lib/libm.so.6": other, f"p/{file.name}": file})
    assert members(outside.repaired(wheel))[f"p/{file.name}"] == file.read_bytes()
    assert read_elf_file(file).run_path == ()
