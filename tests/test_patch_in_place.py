"""Edits in place: the same facts as patchelf's, nothing else of the file touched, and it still loads."""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nativelib.errors import WriteError
from nativelib.facts.elf import ElfEdit, identity
from nativelib.read.elf import read_elf_file
from nativelib.read.wheel import read_wheel
from nativelib.write.patch import patch_file, strip_file
from nativelib.write.patch_in_place import edit_in_place
from tests.support.cc import shared_library
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from nativelib.facts.elf import ElfFacts

# 32 and 64 bits, both byte orders.
_COMPILERS = ["gcc", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc", "i686-linux-gnu-gcc", "s390x-linux-gnu-gcc"]
_OTHERS = ["riscv64-linux-gnu-gcc", "powerpc64le-linux-gnu-gcc", "musl-gcc"]
_RUN_PATH = "/built/on/a/machine/lib:$ORIGIN/../lib:$ORIGIN"
_NEEDED = ["libfoo.so.1", "liblonger-name-of-a-library.so.2", "libplain.so"]
# "so.1" is a symbol, and with it the tail of a library's name; linkers keep one string for both.
_SOURCE = """
extern int foo(void), plain(void), longer(void);
int tail(void) __asm__("foo.so.1");
int tail(void) { return 5; }
int answer(void) { return foo() + longer() + plain(); }
"""


@functools.cache
def _made(cc: str, *flags: str) -> bytes:
    """Return a library with three needs, version needs, version definitions and a run path."""
    require(cc)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        foo = shared_library(
            directory,
            _NEEDED[0],
            "int foo(void) { return 20; }",
            soname=_NEEDED[0],
            version_script="FOO_1 { global: foo; };",
            cc=cc,
        )
        others = [
            shared_library(directory, name, f"int {symbol}(void) {{ return 11; }}", soname=name, cc=cc)
            for name, symbol in zip(_NEEDED[1:], ("longer", "plain"), strict=True)
        ]
        path = shared_library(
            directory,
            "libit.so",
            _SOURCE,
            soname="libit-with-a-name.so.3",
            needed=[foo, *others],
            version_script="IT_1 { global: answer; *.so.1; };",
            cc=cc,
            rpath=_RUN_PATH,
            flags=flags,
        )
        return path.read_bytes()


def _file(directory: Path, content: bytes) -> Path:
    path = directory / "libit.so"
    path.write_bytes(content)
    return path


def _without_sections(data: bytes) -> bytes:
    """Return *data* as sstrip leaves it: the header names no sections, and their table is gone."""
    wide, order = data[4] == 2, "little" if data[5] == 1 else "big"
    at, size, counts = (40, 8, 58) if wide else (32, 4, 46)
    table = int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]
    out = bytearray(data[:table])
    out[at : at + size] = bytes(size)
    out[counts : counts + 6] = bytes(6)
    return bytes(out)


def _edited(path: Path, edit: ElfEdit) -> ElfFacts:
    """Edit *path* in place, which must fit, and return the facts that it has then."""
    before, size = read_elf_file(path), path.stat().st_size
    assert edit_in_place(path, edit)
    assert path.stat().st_size == size
    after = read_elf_file(path)
    assert identity(after) == identity(edit.apply_to(before))
    return after


_FITTING = {
    "cleared": ElfEdit(run_path=()),
    "other tag": ElfEdit(run_path=tuple(_RUN_PATH.split(":"))),
    "its tail": ElfEdit(run_path=("$ORIGIN",)),
    "shorter run path": ElfEdit(run_path=("$ORIGIN/../other",), run_path_tag="runpath"),
    "needs less": ElfEdit(remove_needed=("libplain.so",)),
    "needs nothing": ElfEdit(remove_needed=tuple(_NEEDED), run_path=()),
    "shorter name": ElfEdit(replace_needed=(("liblonger-name-of-a-library.so.2", "libshort.so.2"),)),
    "equal length": ElfEdit(replace_needed=(("libplain.so", "libother.so"),)),
    "exchanged": ElfEdit(replace_needed=(("libplain.so", _NEEDED[1]), (_NEEDED[1], "libplain.so"))),
    "room of the run path": ElfEdit(replace_needed=(("libfoo.so.1", "libfoo-0a1b2c3d.so.1"),), run_path=()),
}


@pytest.mark.parametrize("bare", [False, True], ids=["sections", "bare"])
@pytest.mark.parametrize("cc", [*_COMPILERS, *_OTHERS])
def test_what_fits(cc: str, bare: bool, tmp_path: Path) -> None:
    content = _made(cc)
    for how, edit in _FITTING.items():
        path = _file(tmp_path, _without_sections(content) if bare else content)
        _edited(path, edit)
        once = path.read_bytes()
        assert edit_in_place(path, edit)
        assert (path.read_bytes() == once) is (how != "exchanged")


def test_cleared_paths_are_gone(tmp_path: Path) -> None:
    path = _file(tmp_path, _made("gcc"))
    assert b"/built/on/a/machine" in path.read_bytes()
    _edited(path, ElfEdit(run_path=()))
    assert b"/built/on/a/machine" not in path.read_bytes()


@pytest.mark.parametrize(
    "edit",
    [
        ElfEdit(soname="libit-with-a-name-that-is-longer.so.3"),
        ElfEdit(replace_needed=(("libplain.so", "libplain-0a1b2c3d.so"),)),
        ElfEdit(run_path=(*_RUN_PATH.split(":"), "$ORIGIN/..")),
        # Shorter, but a version definition has the name, too; that stays.
        ElfEdit(soname="libit.so.3"),
        # Shorter, but the end of the name is a symbol's.
        ElfEdit(replace_needed=(("libfoo.so.1", "libx.so.1"),)),
    ],
)
def test_what_does_not_fit_is_left_alone(edit: ElfEdit, tmp_path: Path) -> None:
    path = _file(tmp_path, _made("gcc"))
    content = path.read_bytes()
    assert read_elf_file(path).exports >= {s for s in read_elf_file(path).exports if s.name == "foo.so.1"} != set()
    assert not edit_in_place(path, edit)
    assert path.read_bytes() == content
    before = read_elf_file(path)
    assert patch_file(path, edit)  # patchelf has no such limits
    assert identity(read_elf_file(path)) == identity(edit.apply_to(before))


def test_new_entries_take_what_the_linker_left(tmp_path: Path) -> None:
    source = "int plain(void); int f(void) { return plain(); } const char *name = 0;"
    plain = shared_library(tmp_path, "libplain.so", "int plain(void) { return 1; }", soname="libplain.so")
    path = shared_library(tmp_path, "libx.so", source, needed=[plain])
    facts = _edited(path, ElfEdit(soname="plain.so"))  # the end of a name that is there
    assert facts.soname == "plain.so"


_NAMES = st.text("lib-ax.so", min_size=1, max_size=40)
_DIRECTORIES = st.sampled_from(["$ORIGIN", "$ORIGIN/..", "$ORIGIN/../../some_package/lib", "$ORIGIN/../lib"])


@st.composite
def _edits(draw: Callable[[st.SearchStrategy[object]], object]) -> ElfEdit:
    replaced = {name: draw(_NAMES) for name in _NEEDED if draw(st.booleans())}
    gone = [name for name in _NEEDED if draw(st.integers(0, 4)) == 0]
    run_path = draw(st.none() | st.lists(_DIRECTORIES, max_size=3, unique=True).map(tuple))
    return ElfEdit(
        soname=draw(st.none() | _NAMES),  # type: ignore[arg-type]
        replace_needed=tuple(replaced.items()),  # type: ignore[arg-type]
        remove_needed=tuple(gone),
        run_path=run_path,  # type: ignore[arg-type]
        run_path_tag=draw(st.sampled_from(["rpath", "runpath"])),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("cc", _COMPILERS)
def test_the_facts_are_those_of_patchelf(cc: str) -> None:
    content = _made(cc)

    @settings(max_examples=60, deadline=None)
    @given(edit=_edits())
    def check(edit: ElfEdit) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = _file(Path(directory), content)
            before = read_elf_file(path)
            if not edit_in_place(path, edit):
                assert path.read_bytes() == content
                return
            after = read_elf_file(path)
            assert identity(after) == identity(edit.apply_to(before))
            assert after.size == before.size
            _edit_by_patchelf(_file(Path(directory), content), edit)
            assert identity(read_elf_file(path)) == identity(after)

    check()


def _edit_by_patchelf(path: Path, edit: ElfEdit) -> None:
    """Do *edit* as patchelf does it."""
    argv = [require("patchelf")]
    argv += ["--set-soname", edit.soname] if edit.soname is not None else []
    for old, new in edit.replace_needed:
        argv += ["--replace-needed", old, new]
    for name in edit.remove_needed:
        argv += ["--remove-needed", name]
    if edit.run_path:
        argv += ["--force-rpath"] if edit.run_path_tag == "rpath" else []
        argv += ["--set-rpath", ":".join(edit.run_path)]
    elif edit.run_path is not None:
        argv += ["--remove-rpath"]
    if argv[1:]:
        subprocess.run([*argv, str(path)], check=True)


@pytest.mark.parametrize("flags", [(), ("-Wl,-z,norelro",), ("-fuse-ld=gold",), ("-fuse-ld=lld",), ("-fuse-ld=mold",)])
def test_it_still_loads(flags: tuple[str, ...], tmp_path: Path) -> None:
    for flag in flags:
        if flag.startswith("-fuse-ld="):
            require(f"ld.{flag.removeprefix('-fuse-ld=')}")
    for name, value, symbol in (("libfoo.so.1", 20, "foo"), ("libshort.so.2", 11, "longer"), ("libp.so", 11, "plain")):
        script = "FOO_1 { global: foo; };" if symbol == "foo" else None
        text = f"int {symbol}(void) {{ return {value}; }}"
        shared_library(tmp_path, name, text, soname=name, version_script=script)
    path = _file(tmp_path, _without_sections(_made("gcc", *flags)))
    names = ((_NEEDED[1], "libshort.so.2"), ("libplain.so", "libp.so"))
    _edited(path, ElfEdit(replace_needed=names, run_path=("$ORIGIN",)))
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).answer())"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_without_sections_and_without_room(tmp_path: Path) -> None:
    path = _file(tmp_path, _without_sections(_made("gcc")))
    content = path.read_bytes()
    with pytest.raises(WriteError) as caught:
        patch_file(path, ElfEdit(soname="libit-with-a-name-that-is-longer.so.3"), where="pkg/libit.so")
    (finding,) = caught.value.findings
    assert finding.where == "pkg/libit.so"
    assert "no section headers" in finding.remedy
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_wheel_whose_library_has_no_sections(tmp_path: Path) -> None:
    library = shared_library(tmp_path, "libx.so", "int x(void) { return 1; }", rpath="/built/here")
    path = _file(tmp_path, _without_sections(library.read_bytes()))
    wheel = make_wheel(tmp_path, f"pkg-1.0-py3-none-linux_{platform.machine()}.whl", {"pkg/libx.so": path})
    answer = nativelib("repair", wheel, "-w", tmp_path / "out")
    [entry] = answer.document["wheels"]
    assert answer.code == 0, answer.stdout
    assert entry["receipt"]["patchelf"] == ""
    assert {finding["code"] for finding in entry["findings"]} >= {"NL105", "NL207"}
    assert read_wheel(Path(entry["output"])).elf["pkg/libx.so"].run_path == ()


def test_a_graft_without_sections_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there"
    dep = shared_library(there, "libdep.so.1", "int dep(void) { return 1; }", soname="libdep.so.1")
    user = shared_library(tmp_path, "libx.so", "int dep(void); int x(void) { return dep(); }", needed=[dep])
    dep.write_bytes(_without_sections(dep.read_bytes()))
    wheel = make_wheel(tmp_path, f"pkg-1.0-py3-none-linux_{platform.machine()}.whl", {"pkg/libx.so": user})
    answer = nativelib("repair", wheel, "--ldpaths", there, "-w", tmp_path / "out")
    assert answer.code == 1
    assert "no section headers" in answer.errors()[str(dep)]  # its new name is longer
    assert not list((tmp_path / "out").glob("*"))


def test_a_stripped_file(tmp_path: Path) -> None:
    path = _file(tmp_path, _made("gcc"))
    strip_file(path)
    _edited(path, ElfEdit(run_path=("$ORIGIN",)))


def test_published_libraries(tmp_path: Path) -> None:
    """Whatever a distribution ships can have its last need taken out, and nothing else changes."""
    names = [*Path("/usr/lib/x86_64-linux-gnu").glob("lib[a-z]*.so.*")][:60]
    tried = 0
    for name in names:
        if not name.is_file() or name.read_bytes()[:4] != b"\x7fELF":
            continue
        path = tmp_path / "copy.so"
        shutil.copyfile(name, path)
        facts = read_elf_file(path)
        if facts.needed:
            tried += 1
            _edited(path, ElfEdit(remove_needed=(facts.needed[-1],)))
    assert tried > 0 or not names
