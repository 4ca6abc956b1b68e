"""Which musl a wheel may be tagged for: by its tag, ``--plat``, or a copy that was found, never this machine alone."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from nativelib.facts.elf import Libc
from nativelib.read.musl import find_musl
from nativelib.read.search import search_path
from tests.support.cc import shared_library
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = platform.machine()
FILE = f"pkg/_ext.cpython-312-{MACHINE}-linux-musl.so"
BANNER = 'const char banner[] = "musl libc (x)\\nVersion %s\\nDynamic Program Loader";'


def musl(directory: Path, version: str, functions: str = "malloc", banner: str = BANNER) -> Path:
    """Make a C library as musl's is: one that says its name and version, and exports *functions*."""
    body = "".join(f"int {name}(void) {{ return 0; }}" for name in functions.split())
    text = f'const char localhost[] = "127.0.0.1"; const char before = 0; const char libc_version[] = "{version}";'
    return shared_library(directory, "libc.so", f"{banner} {text} {body}", soname="libc.so", flags=["-nostdlib"])


def wheel_of(directory: Path, expression: str, tag: str = "linux") -> Path:
    module = shared_library(
        directory,
        "_ext.so",
        f"extern int malloc(void), PyLong_FromLong(int); int PyInit__ext(void) {{ return {expression}; }}",
        cc="musl-gcc",
        flags=["-Wno-builtin-declaration-mismatch", "-fno-builtin"],
    )
    return make_wheel(directory, f"pkg-1.0-cp312-cp312-{tag}_{MACHINE}.whl", {"pkg/__init__.py": "", FILE: module})


def tag_of(wheel: Path, sysroot: Path) -> str:
    """Return the tag without architecture that `show` gives, after `repair` has given the same."""
    shown = nativelib("show", wheel, "--ldpaths", sysroot).document["wheels"][0]
    done = nativelib("repair", wheel, "--ldpaths", sysroot, "-w", wheel.parent / "out").document["wheels"][0]
    assert shown["tag"] in done["tags"]
    return str(shown["tag"]).removesuffix(f"_{MACHINE}")


def test_the_version_of_a_real_musl() -> None:
    require("musl-gcc")
    found = find_musl(search_path(MACHINE, Libc.MUSL))
    assert found is not None
    assert found.version >= (1, 2)
    assert {"malloc", "printf", "dlopen"} <= found.exports


def test_an_old_musl_that_has_all_that_is_taken_shows_that_it_suffices(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, "malloc() + PyLong_FromLong(1)")
    old = musl(tmp_path / "old", "1.1.24")
    assert tag_of(wheel, old.parent) == "musllinux_1_1"
    assert tag_of(wheel, tmp_path / "nothing") == "musllinux_1_2"
    assert tag_of(wheel, musl(tmp_path / "new", "1.2.5").parent) == "musllinux_1_2"
    assert tag_of(wheel, musl(tmp_path / "git", "1.1.24-git-12-gabcdef0").parent) == "musllinux_1_1"


def test_an_old_musl_that_lacks_something_shows_nothing(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, "malloc()")
    assert tag_of(wheel, musl(tmp_path / "old", "1.1.24", "free").parent) == "musllinux_1_2"


def test_what_a_grafted_library_takes_counts(tmp_path: Path) -> None:
    sysroot = musl(tmp_path / "old", "1.1.24").parent
    source = "extern int {0}(void); int own(void) {{ return {0}(); }}"
    flags = ["-Wno-builtin-declaration-mismatch", "-fno-builtin"]
    for function, tag in (("malloc", "musllinux_1_1"), ("gettid", "musllinux_1_2")):
        directory = tmp_path / function
        library = shared_library(
            sysroot, "libown.so.1", source.format(function), soname="libown.so.1", cc="musl-gcc", flags=flags
        )
        module = shared_library(
            directory,
            "_ext.so",
            "extern int own(void); int PyInit__ext(void) { return own(); }",
            needed=[library],
            cc="musl-gcc",
        )
        wheel = make_wheel(directory, f"pkg-1.0-cp312-cp312-linux_{MACHINE}.whl", {FILE: module})
        done = nativelib("repair", wheel, "--ldpaths", sysroot, "-w", directory / "out").document["wheels"][0]
        assert [graft["soname"] for graft in done["grafted"]] == ["libown.so.1"]
        assert done["tags"] == [f"{tag}_{MACHINE}"]


def test_tag_and_option_come_before_what_is_found(tmp_path: Path) -> None:
    old, new = musl(tmp_path / "old", "1.1.24").parent, musl(tmp_path / "new", "1.2.5").parent
    assert tag_of(wheel_of(tmp_path / "a", "malloc()", "musllinux_1_2"), old) == "musllinux_1_2"
    assert tag_of(wheel_of(tmp_path / "b", "malloc()", "musllinux_1_1"), new) == "musllinux_1_1"
    plat = ("--plat", f"musllinux_1_1_{MACHINE}", "--ldpaths", new)
    done = nativelib("repair", wheel_of(tmp_path / "c", "malloc()"), *plat, "-w", tmp_path / "out")
    assert done.document["wheels"][0]["tags"] == [f"musllinux_1_1_{MACHINE}"]


@pytest.mark.parametrize(
    ("version", "banner"),
    [("1.1.24", "const int none = 0;"), ("unknown", BANNER), ("1.1.24", BANNER + ' const char b[] = "\\0" "1.2.3";')],
)
def test_what_does_not_say_that_it_is_musl_is_no_evidence(version: str, banner: str, tmp_path: Path) -> None:
    sysroot = musl(tmp_path / "odd", version, banner=banner).parent
    assert find_musl(search_path(MACHINE, Libc.MUSL, ldpaths=str(sysroot))) is None
    (sysroot / "libc.so").write_text("/* GNU ld script */ GROUP ( /lib/libc.so.6 )")
    assert find_musl(search_path(MACHINE, Libc.MUSL, ldpaths=str(sysroot))) is None
