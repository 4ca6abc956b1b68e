"""Hints at libraries that are opened at run time, from real ELF files and Python sources."""

from __future__ import annotations

import json
import mmap
import struct
import time
import warnings
from typing import TYPE_CHECKING

import pytest

from nativelib.facts.elf import DlopenNote
from nativelib.facts.hint import How, Opened
from nativelib.read import contents
from nativelib.read.elf import read_elf, read_elf_file
from nativelib.read.hints import opened_by_elf, opened_by_python
from nativelib.read.wheel import read_wheel
from tests.support.cc import shared_library
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

_OPENS = """
#include <stdio.h>
const char *first = "libfirst.so.1";
const char *again = "libfirst.so.1";
const char *table[] = {"libtable.so", "libversions.so.2.0.11", "libc++abi-1.so.1"};
void say(void) {
    puts("libfoo.so.1 is missing"); puts("/usr/lib/libpath.so.1"); puts("lib%s.so"); puts("notlib.so.1");
    puts("libneeded.so.1"); puts("libself.so.1"); puts("libtext.so.1.txt"); puts("lib.so");
}
"""

_NOTE = """
__attribute__((used, section(".note.dlopen"), aligned(4)))
static const struct {{ unsigned n, d, t; char name[4]; char json[{size}]; }} note =
    {{4, {length}, 0x407c0c0a, "FDO", {literal}}};
"""


def names(found: tuple[Opened, ...], how: How) -> list[str]:
    return [hint.name for hint in found if hint.how is how]


def note_source(text: str) -> str:
    """Return C source whose object has *text* as ``.note.dlopen``."""
    length = len(text.encode()) + 1
    return _NOTE.format(size=length + -length % 4, length=length, literal=json.dumps(text))


@pytest.fixture
def opener(tmp_path: Path) -> Path:
    needed = shared_library(tmp_path, "libneeded.so", "int needed;", soname="libneeded.so.1")
    return shared_library(tmp_path, "libself.so.1", _OPENS, soname="libself.so.1", needed=[needed])


_FOUND = ["libc++abi-1.so.1", "libfirst.so.1", "libtable.so", "libversions.so.2.0.11"]


def test_constants_that_are_sonames(opener: Path) -> None:
    found = opened_by_elf(opener.read_bytes(), read_elf_file(opener), "pkg/libself.so.1")
    assert names(found, How.STRING) == _FOUND
    assert {hint.member for hint in found} == {"pkg/libself.so.1"}


def test_a_mapped_file_and_one_without_section_headers(opener: Path) -> None:
    with opener.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert names(opened_by_elf(mapped, read_elf_file(opener), "x"), How.STRING) == _FOUND
    cut = bytearray(opener.read_bytes())
    cut[40:48], cut[58:64] = bytes(8), bytes(6)  # e_shoff; e_shentsize, e_shnum, e_shstrndx
    facts = read_elf(bytes(cut), where="x")
    assert not facts.sections
    assert names(opened_by_elf(bytes(cut), facts, "x"), How.STRING) == _FOUND


def test_names_across_pieces(opener: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that begins in one piece and ends in the next is found, and found once."""
    monkeypatch.setattr("nativelib.read.hints._PIECE", 16)
    assert names(opened_by_elf(opener.read_bytes(), read_elf_file(opener), "x"), How.STRING) == _FOUND


def test_strange_section_headers_are_no_obstacle(opener: Path) -> None:
    facts = read_elf_file(opener)
    data = bytearray(opener.read_bytes())
    data[40:48] = (len(data) - 8).to_bytes(8, "little")  # e_shoff: the table would end behind the file
    assert names(opened_by_elf(bytes(data), facts, "x"), How.STRING) == _FOUND


@pytest.mark.parametrize("cc", ["gcc", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc", "s390x-linux-gnu-gcc"])
def test_notes(tmp_path: Path, cc: str) -> None:
    text = json.dumps(
        [
            {"soname": ["libzstd.so.2", "libzstd.so.1"], "feature": "zstd", "description": "Compression"},
            {"soname": ["libbpf.so.1"], "priority": "suggested", "unknown": 1},
        ]
    )
    file = shared_library(tmp_path, "libnote.so", note_source(text) + 'const char *s = "libbpf.so.1";', cc=cc)
    facts = read_elf_file(file)
    assert facts.dlopen == (
        DlopenNote(("libzstd.so.2", "libzstd.so.1"), "zstd", "Compression"),
        DlopenNote(("libbpf.so.1",), priority="suggested"),
    )
    assert opened_by_elf(file.read_bytes(), facts, "x") == (
        Opened("libbpf.so.1", "x", How.NOTE),
        Opened("libzstd.so.1", "x", How.NOTE, "zstd: Compression"),
        Opened("libzstd.so.2", "x", How.NOTE, "zstd: Compression"),
    )


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 5000, "{}", "[1]", '[{"soname": "libx.so"}]', '[{"soname": []}]', '[{"soname": [1]}]', "nul"],
)
def test_notes_that_say_nothing(tmp_path: Path, text: str) -> None:
    file = shared_library(tmp_path, "libnote.so", note_source(text))
    assert read_elf_file(file).dlopen == ()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('import ctypes\nctypes.CDLL("libfoo.so.1")', ["libfoo.so.1"]),
        ('CDLL( "/opt/x/libfoo.so")', ["libfoo.so"]),
        ('CDLL(\n    name = "libfoo.so", mode=1)', ["libfoo.so"]),
        ("cdll.LoadLibrary(b'libfoo.so.2')", ["libfoo.so.2"]),
        ('ctypes.util.find_library("foo")', ["libfoo.so"]),
        ('x = find_library("stdc++") or find_library("foo-1.2")', ["libfoo-1.2.so", "libstdc++.so"]),
        ('ffi.dlopen("libfoo.so.1", 2)', ["libfoo.so.1"]),
        ('np.ctypeslib.load_library("libfoo", path)', ["libfoo.so"]),
        ('np.ctypeslib.load_library("_foo.so", path)', ["_foo.so"]),
        ('CDLL("foo.dll"); CDLL("libfoo.dylib"); find_library("x.dll"); CDLL("libfoo")', []),
        ("CDLL(None); CDLL(name); CDLL(f'lib{x}.so'); CDLL('libfoo' + '.so'); CDLL(); dlopen(1); CDLL('')", []),
        ('# CDLL("libfoo.so")\n"""CDLL("libfoo.so")"""', []),
        ('my_find_library_of("x")', []),
        ('CDLL("libfoo.so"', []),
        ('CDLL("libfoo.so")\0', []),
        ('CDLL("libfoo.so")' + "-" * 100_000 + "1", []),
        ('CDLL("libfoo.so")\nx = "\\d"', ["libfoo.so"]),
        ('# coding: latin-1\nCDLL("libfoo.so", "\xe9")', ["libfoo.so"]),
    ],
)
def test_python(source: str, expected: list[str]) -> None:
    encoded = source.encode("latin-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = opened_by_python(encoded, "pkg/x.py")
    assert [hint.name for hint in found] == expected
    assert all((hint.member, hint.how) == ("pkg/x.py", How.PYTHON) for hint in found)


def test_the_facts_of_a_wheel(opener: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, bytes | str | Path] = {
        "pkg/libself.so.1": opener,
        "pkg/load.py": 'CDLL("libload.so.1")',
        "pkg/__init__.py": 'find_library("init")',
        "pkg/long.py": 'CDLL("liblong.so.1")' + " " * (512 << 10),
        "pkg/data.txt": 'CDLL("libdata.so.1")',
        "pkg/broken.so": opener.read_bytes()[:200],
    }
    wheel = make_wheel(tmp_path / "w", "pkg-1.0-py3-none-linux_x86_64.whl", files)
    facts = read_wheel(wheel, hints=True)
    expected = [("pkg/libself.so.1", name) for name in _FOUND]
    expected += [("pkg/load.py", "libload.so.1"), ("pkg/__init__.py", "libinit.so")]
    assert [(hint.member, hint.name) for hint in facts.opened] == expected
    assert facts.texts["pkg/__init__.py"] == b'find_library("init")'
    assert read_wheel(wheel).opened == ()
    monkeypatch.setattr(contents, "_IN_MEMORY", 1024)  # the same by way of a temporary file
    assert read_wheel(wheel, hints=True) == facts


def test_sections_that_all_claim_the_whole_file(opener: Path) -> None:
    data = bytearray(opener.read_bytes() + bytes(4 << 20))
    count = 20_000
    # e_shoff and e_shnum; then SHT_PROGBITS, SHF_ALLOC, an offset in the file and its size.
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<H", data, 60, count)
    headers = (struct.pack("<IIQQQQIIQQ", 0, 1, 2, 0, n, 1 << 62, 0, 0, 1, 0) for n in reversed(range(count)))
    content = bytes(data) + b"".join(headers)
    begin = time.process_time()
    found = opened_by_elf(content, read_elf_file(opener), "pkg/libself.so.1")
    assert time.process_time() - begin < 10
    assert {"libfirst.so.1", "libtable.so"} <= {hint.name for hint in found}
