"""The ELF reader, on files that compilers and linkers really write, and on damaged copies of them."""

from __future__ import annotations

import io
import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nativelib.errors import ReadError
from nativelib.facts.elf import MACHINES, Import, Libc, Symbol, VersionNeed
from nativelib.findings import Code
from nativelib.read.elf import is_elf, read_elf, read_elf_file
from nativelib.write.anchor import build_anchor
from tests.support.cc import program, shared_library
from tests.support.tools import require

if TYPE_CHECKING:
    from collections.abc import Callable

_FOO = """
int foo_1(void) { return 1; }
int foo_2(void) { return 2; }
__asm__(".symver foo_1,foo@FOO_1.0");
__asm__(".symver foo_2,foo@@FOO_2.0");
int plain(void) { return 3; }
"""
_FOO_VERSIONS = "FOO_1.0 { global: foo; local: *; }; FOO_2.0 { global: foo; plain; } FOO_1.0;"
_BAR = """
int foo(void); int plain(void); double sin(double);
int maybe(void) __attribute__((weak));
int bar(void) { return foo() + plain() + (maybe ? maybe() : 0); }
double baz(double x) { return sin(x); }
__attribute__((visibility("hidden"))) int hidden(void) { return 4; }
__thread int per_thread;
__attribute__((weak)) int overridable(void) { return 5; }
"""


@pytest.fixture(scope="module")
def foo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("foo")
    return shared_library(directory, "libfoo.so.1", _FOO, soname="libfoo.so.1", version_script=_FOO_VERSIONS)


@pytest.fixture(scope="module")
def bar(foo: Path) -> Path:
    libraries = [foo, Path("-lm")]
    flags = ["-Wl,--build-id=0xfeed5eed", "-Wl,--hash-style=gnu"]
    return shared_library(
        foo.parent, "libbar.so", _BAR, soname="libbar.so.2", needed=libraries, rpath="/x/y:$ORIGIN", flags=flags
    )


def _refused(data: bytes) -> str:
    """Return the message with which *data* is refused."""
    with pytest.raises(ReadError) as caught:
        read_elf(data, where="some/file.so")
    (finding,) = caught.value.findings
    assert (finding.code, finding.where) == (Code.BAD_ELF, "some/file.so")
    assert finding.remedy
    return finding.message


# --- what is read


def test_versioned_library(foo: Path) -> None:
    facts = read_elf_file(foo)
    assert facts.exports == {Symbol("foo", "FOO_1.0"), Symbol("foo", "FOO_2.0"), Symbol("plain", "FOO_2.0")}
    assert facts.version_definitions == ("FOO_1.0", "FOO_2.0")
    assert facts.version_base == facts.soname == "libfoo.so.1"
    assert (facts.machine.architecture, facts.e_type, facts.dynamic, facts.interpreter) == ("x86_64", 3, True, None)
    assert facts.sections
    assert facts.load_end <= facts.size == foo.stat().st_size


def test_consumer(bar: Path) -> None:
    facts = read_elf_file(bar)
    assert facts.soname == "libbar.so.2"
    assert facts.needed[:2] == ("libfoo.so.1", "libm.so.6")
    assert (facts.rpath, facts.runpath) == ((), ("/x/y", "$ORIGIN"))
    assert facts.build_id == "feed5eed"
    assert VersionNeed("libfoo.so.1", "FOO_2.0") in facts.version_needs
    assert Import("foo", "FOO_2.0", "libfoo.so.1") in facts.imports
    assert Import("maybe", weak=True) in facts.imports
    assert {i.library for i in facts.imports if i.name == "sin"} == {"libm.so.6"}
    assert facts.exports == {Symbol(n) for n in ("bar", "baz", "per_thread", "overridable")}
    assert facts.libc is Libc.GLIBC


def test_rpath_tag(tmp_path: Path) -> None:
    flags = ["-Wl,--disable-new-dtags"]
    facts = read_elf_file(shared_library(tmp_path, "a.so", "int a;", rpath="$ORIGIN/../b:c", flags=flags))
    assert (facts.rpath, facts.runpath, facts.soname) == (("$ORIGIN/../b", "c"), (), None)


def test_unique_symbols_are_exports(tmp_path: Path) -> None:
    source = (
        "template<int N> struct S { static int v; }; template<int N> int S<N>::v = N; int get() { return S<7>::v; }"
    )
    facts = read_elf_file(shared_library(tmp_path, "u.so", source, cc="g++"))
    assert Symbol("_ZN1SILi7EE1vE") in facts.exports


def test_names_of_versions_are_not_exports(tmp_path: Path) -> None:
    require("gold")
    flags = ["-fuse-ld=gold"]
    path = shared_library(tmp_path, "g.so", "int one;", version_script="G_1 { global: one; local: *; };", flags=flags)
    listed = subprocess.run(["readelf", "--dyn-syms", "-W", path], capture_output=True, text=True, check=True).stdout
    assert any(line.split()[6:7] == ["ABS"] and "G_1" in line for line in listed.splitlines()), listed
    assert read_elf_file(path).exports == {Symbol("one", "G_1")}


def test_processor_level_and_relative_relocations(tmp_path: Path) -> None:
    plain = read_elf_file(shared_library(tmp_path, "p.so", "int x;", flags=["-Wl,--build-id=none"]))
    assert (plain.isa_needed, plain.relr, plain.build_id) == (frozenset(), False, None)
    source = "static int x; int *const pointers[] = {&x, &x, &x, &x};"
    flags = ["-Wl,-z,x86-64-v3", "-Wl,-z,pack-relative-relocs"]
    facts = read_elf_file(shared_library(tmp_path, "v3.so", source, flags=flags))
    assert "x86-64-v3" in facts.isa_needed
    assert facts.relr
    assert "x86-64-v4" not in facts.isa_needed


def test_programs_and_objects(tmp_path: Path) -> None:
    main = "int main(void) { return 0; }"
    dynamic = read_elf_file(program(tmp_path, "dynamic", main))
    assert dynamic.interpreter == "/lib64/ld-linux-x86-64.so.2"
    assert dynamic.libc is Libc.GLIBC
    static = read_elf_file(program(tmp_path, "static", main, flags=["-static"]))
    assert (static.dynamic, static.e_type, static.imports, static.exports) == (False, 2, frozenset(), frozenset())
    relocatable = read_elf_file(program(tmp_path, "object.o", main, flags=["-c"]))
    assert (relocatable.dynamic, relocatable.e_type, relocatable.load_end) == (False, 1, 0)


def test_musl(tmp_path: Path) -> None:
    facts = read_elf_file(program(tmp_path, "m", "int main(void) { return 0; }", cc="musl-gcc"))
    assert facts.libc is Libc.MUSL
    assert facts.interpreter == "/lib/ld-musl-x86_64.so.1"


def test_other_machines(tmp_path: Path) -> None:
    source = "extern int there(void); int here(void) { return there(); }"
    arm = read_elf_file(shared_library(tmp_path, "arm.so", source, cc="aarch64-linux-gnu-gcc", soname="arm.so.1"))
    small = shared_library(tmp_path, "small.so", source, flags=["-m32", "-nostdlib"], soname="small.so.1")
    for facts, architecture, bits in ((arm, "aarch64", 64), (read_elf_file(small), "i686", 32)):
        assert (facts.architecture, facts.machine.bits) == (architecture, bits)
        assert Symbol("here") in facts.exports
        assert Import("there") in facts.imports
    for architecture, machine in MACHINES.items():
        if architecture == "ppc64":
            continue
        facts = read_elf(build_anchor(machine, soname="a.so", needed=["b.so"]), where=architecture)
        assert (facts.machine, facts.soname, facts.needed, facts.rpath) == (machine, "a.so", ("b.so",), ("$ORIGIN",))


def test_names_that_are_not_utf_8(bar: Path) -> None:
    data = (
        bar.read_bytes().replace(b"libbar.so.2\0", b"libb\xe9r.so.2\0").replace(b"overridable\0", b"overrid\xffble\0")
    )
    facts = read_elf(data, where="x")
    assert facts.soname == "libb\\xe9r.so.2"
    assert Symbol("overrid\\xffble") in facts.exports
    str(facts).encode()


# --- the same file in other clothes


def _dynamic_offset(data: bytes) -> int:
    (table,) = [s for s in ELFFile(io.BytesIO(data)).iter_segments() if s["p_type"] == "PT_DYNAMIC"]
    return int(table["p_offset"])


def _without_tags(data: bytes, *gone: int) -> bytes:
    """Return 64-bit *data* with the dynamic tags *gone* turned into DT_DEBUG."""
    out, at = bytearray(data), _dynamic_offset(data)
    while tag := struct.unpack_from("<Q", out, at)[0]:
        if tag in gone:
            struct.pack_into("<Q", out, at, 21)
        at += 16
    return bytes(out)


def _without_sections(data: bytes) -> bytes:
    out = bytearray(data)
    struct.pack_into("<Q", out, 40, 0)
    struct.pack_into("<HH", out, 60, 0, 0)
    return bytes(out)


@pytest.mark.parametrize("style", ["sysv", "gnu", "both"])
@pytest.mark.parametrize("exporting", [True, False])
def test_symbols_are_found_by_whatever_table_there_is(tmp_path: Path, style: str, exporting: bool) -> None:
    script = None if exporting else "{ local: *; };"
    flags = [f"-Wl,--hash-style={style}"]
    data = shared_library(tmp_path, "x.so", _BAR, version_script=script, flags=flags).read_bytes()
    facts = read_elf(data, where="x")
    assert bool(facts.exports) is exporting
    assert Import("plain") in facts.imports
    bare = read_elf(_without_sections(data), where="x")
    assert not bare.sections
    for other in (
        bare,
        *(read_elf(_without_tags(d, 4, 0x6FFFFEF5), where="x") for d in (data, _without_sections(data))),
    ):
        assert (other.imports, other.exports) == (facts.imports, facts.exports)


def test_buffers_and_files_give_the_same(bar: Path) -> None:
    data = bar.read_bytes()
    facts = read_elf(data, where="x")
    with bar.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert read_elf(mapped, where="x") == facts
    assert read_elf(memoryview(data), where="x") == read_elf(bytes(data), where="y") == read_elf_file(bar) == facts
    assert read_elf(data, where="x", sha256="known").sha256 == "known"


def test_debug_information_file(tmp_path: Path, bar: Path) -> None:
    debug = tmp_path / "bar.debug"
    subprocess.run([require("objcopy"), "--only-keep-debug", bar, debug], check=True)
    assert read_elf_file(debug).dynamic is False


# --- damage


def test_not_elf() -> None:
    assert not is_elf(b"MZ\x90\0")
    assert is_elf(b"\x7fELF")
    assert "magic number" in _refused(b"")
    assert _refused(b"") == _refused(b"#!/bin/sh\n")
    assert "truncated" in _refused(b"\x7fELF\x02\x01")
    assert "class 3" in _refused(b"\x7fELF\x03\x01\x01" + bytes(100))
    assert "byte order 9" in _refused(b"\x7fELF\x02\x09\x01" + bytes(100))


def test_truncated(bar: Path) -> None:
    data = bar.read_bytes()
    end = read_elf(data, where="x").load_end
    message = _refused(data[: end - 1])
    assert f"PT_LOAD segment ends at byte {end}, the file has {end - 1} bytes" in message
    for size in range(4, end, 61):
        assert "truncated" in _refused(data[:size])
    # A loader does not miss what lies behind; patchelf and strip do.
    cut = read_elf(data[:-1], where="x")
    assert not cut.sections
    assert cut.exports == read_elf(data, where="x").exports


def test_broken_dynamic_table(bar: Path) -> None:
    data, at = bar.read_bytes(), _dynamic_offset(bar.read_bytes())
    endless = bytearray(data)
    for offset in range(at, at + 16 * 64, 16):
        if struct.unpack_from("<Q", endless, offset)[0] == 0:
            struct.pack_into("<Q", endless, offset, 21)
    assert "DT_NULL" in _refused(bytes(endless))
    assert "string" in _refused(_without_tags(data, 5))  # DT_STRTAB
    assert "symbols of 23 bytes" in _refused(_with_value(data, 11, 23))  # DT_SYMENT
    assert "no PT_LOAD segment" in _refused(_with_value(data, 5, 1 << 40))
    assert "DT_GNU_HASH" in _refused(_with_value(data, 0x6FFFFEF5, 0))


def _with_value(data: bytes, tag: int, value: int) -> bytes:
    """Return 64-bit *data* with another value of the dynamic tag *tag*."""
    out, at = bytearray(data), _dynamic_offset(data)
    while struct.unpack_from("<Q", out, at)[0] != tag:
        at += 16
    struct.pack_into("<Q", out, at + 8, value)
    return bytes(out)


def test_counts_that_no_file_can_have(bar: Path) -> None:
    data = bar.read_bytes()
    many = 0xFFFFFFFF
    anchor = bytearray(build_anchor(MACHINES["x86_64"], soname="a.so", needed=[]))
    at = anchor.rindex(struct.pack("<IIII", 1, 1, 0, 0))
    struct.pack_into("<I", anchor, at + 4, many)  # nchain of DT_HASH
    assert "DT_SYMTAB" in _refused(bytes(anchor))
    assert "DT_STRTAB" in _refused(_with_value(data, 10, many))
    header = bytearray(data)
    struct.pack_into("<H", header, 56, 0xFFFF)  # e_phnum
    assert "program header table" in _refused(bytes(header))


def test_strings_that_overlap(tmp_path: Path) -> None:
    source = "".join(f"int symbol_with_a_long_name_{n};" for n in range(2000))
    data = bytearray(shared_library(tmp_path, "many.so", source, flags=["-Wl,-s"]).read_bytes())
    first, last = data.index(b"symbol_with_a_long_name_"), data.rindex(b"symbol_with_a_long_name_")
    data[first:last] = b"a" * (last - first)
    assert "overlap" in _refused(bytes(data))


@pytest.fixture(scope="module")
def seeds(foo: Path, bar: Path) -> list[bytes]:
    arm = shared_library(foo.parent, "arm.so", _BAR, cc="aarch64-linux-gnu-gcc")
    small = shared_library(foo.parent, "small.so", _BAR, flags=["-m32", "-nostdlib"], version_script="V { *; };")
    s390x = build_anchor(MACHINES["s390x"], soname="libs.so.1", needed=["liba.so.1", "libb.so.1"])
    return [foo.read_bytes(), bar.read_bytes(), arm.read_bytes(), small.read_bytes(), s390x]


def _sound_or_bad(content: bytes) -> str:
    """Return what reading comes to: ``sound`` facts that can be printed, or the code of the finding."""
    try:
        facts = read_elf(content, where="x")
    except ReadError as error:
        (finding,) = error.findings
        return finding.code
    str(facts).encode()
    return "sound" if facts.load_end <= facts.size == len(content) else "wrong size"


_EXTREMES = [0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63, 2**64 - 1]
_VALUES = st.one_of(st.integers(0, 255), st.sampled_from(_EXTREMES))
_HEADS = [b"\x7fELF" + bytes(ident) for ident in ((1, 1), (1, 2), (2, 1), (2, 2))]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_facts_or_a_finding(seeds: list[bytes], data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers, tables and names are in the first bytes and around the dynamic table; the rest is code.
        at = data.draw(st.one_of(st.integers(0, 2200), st.integers(0, len(content) - 1))) % len(content)
        width = data.draw(st.sampled_from([1, 2, 4, 8]))
        value = data.draw(_VALUES) % (1 << 8 * width)
        content[at : at + width] = value.to_bytes(width, data.draw(st.sampled_from(["little", "big"])))
    content = content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    assert _sound_or_bad(bytes(content)) in {"sound", Code.BAD_ELF}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(_HEADS))
def test_noise_behind_an_elf_header(noise: bytes, head: bytes) -> None:
    assert _sound_or_bad(head + noise) in {"sound", Code.BAD_ELF}


# --- files


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, Code.NOT_FOUND),
        (Path.mkdir, Code.BAD_ELF),
        (os.mkfifo, Code.BAD_ELF),
        (Path.touch, Code.BAD_ELF),
    ],
    ids=["missing", "directory", "pipe", "empty"],
)
def test_no_file_to_read(tmp_path: Path, make: Callable[[Path], object], code: Code) -> None:
    make(tmp_path / "x.so")
    with pytest.raises(ReadError) as caught:
        read_elf_file(tmp_path / "x.so", where="wheel/x.so")
    assert [(f.code, f.where) for f in caught.value.findings] == [(code, "wheel/x.so")]


def test_a_huge_file_costs_little_memory(tmp_path: Path, bar: Path) -> None:
    huge = tmp_path / "huge.so"
    huge.write_bytes(bar.read_bytes())
    os.truncate(huge, 400 << 20)
    code = """
import resource, sys
from pathlib import Path
from nativelib.read.elf import read_elf_file
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
facts = read_elf_file(Path(sys.argv[1]))
print(facts.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code, huge], cwd=root, capture_output=True, text=True, check=True)
    size, kibibytes = map(int, done.stdout.split())
    assert size == 400 << 20
    assert kibibytes < 20 << 10
