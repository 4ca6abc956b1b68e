"""When a repair writes a run path although the one that the loader reads is right, and when it does not."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from nativelib.read.elf import read_elf, read_elf_file
from tests.support.android import Ndk
from tests.support.cc import shared_library
from tests.support.projects import nativelib, repaired
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

    from nativelib.facts.elf import ElfFacts

MEMBER = "pkg/_ext.so"
_DYNAMIC, _RPATH, _RUNPATH = 2, 15, 29


def with_runpath(data: bytes, skip: int) -> bytes:
    """Return the x86_64 file *data* with a DT_RUNPATH, too: its DT_RPATH without the first *skip* characters."""
    out = bytearray(data)
    headers = [struct.unpack_from("<II6Q", out, 64 + 56 * n) for n in range(struct.unpack_from("<H", out, 56)[0])]
    [at] = [header[2] for header in headers if header[0] == _DYNAMIC]
    value = 0
    while (entry := struct.unpack_from("<QQ", out, at))[0]:
        value = entry[1] if entry[0] == _RPATH else value
        at += 16
    struct.pack_into("<QQ", out, at, _RUNPATH, value + skip)
    return bytes(out)


def repaired_twice(path: Path, platform: str, directory: Path) -> ElfFacts:
    """Return the facts of the extension at *path* after a repair, which a second one must leave as it is."""
    name = f"pkg-1.0-cp313-cp313-{platform}.whl"
    wheel = make_wheel(directory / "in", name, {"pkg/__init__.py": "", MEMBER: path})
    first = repaired(wheel, into=directory / "first")
    second = repaired(first, into=directory / "second")
    assert second.read_bytes() == first.read_bytes()
    [shown] = nativelib("show", first).document["wheels"]
    assert [finding for finding in shown["findings"] if finding["code"] == "NL214"] == []
    return read_elf(members(first)[MEMBER], where=MEMBER)


@pytest.mark.parametrize("android", [False, True])
def test_a_run_path_that_does_not_count_goes_if_it_leaks(android: bool, tmp_path: Path) -> None:
    flags, rpath, source = ["-Wl,--disable-new-dtags"], "/build/$ORIGIN", "int PyInit__ext(void) { return 1; }"
    if android:
        path = Ndk(tmp_path, "x86_64").library(tmp_path, "_ext.so", source, flags=flags, rpath=rpath)
    else:
        path = shared_library(tmp_path, "_ext.so", source, flags=flags, rpath=rpath)
    path.write_bytes(with_runpath(path.read_bytes(), len("/build/")))
    facts = read_elf_file(path)
    assert (facts.rpath, facts.runpath) == (("/build/$ORIGIN",), ("$ORIGIN",))
    after = repaired_twice(path, "android_24_x86_64" if android else "linux_x86_64", tmp_path)
    assert (after.rpath, after.runpath) == (((), ("$ORIGIN",)) if android else (("$ORIGIN",), ()))


def test_a_matching_run_path_gets_the_tag_that_android_reads(tmp_path: Path) -> None:
    flags, source = ["-Wl,--disable-new-dtags"], "int PyInit__ext(void) { return 1; }"
    path = Ndk(tmp_path, "x86_64").library(tmp_path, "_ext.so", source, flags=flags, rpath="$ORIGIN")
    assert read_elf_file(path).rpath == ("$ORIGIN",)
    after = repaired_twice(path, "android_24_x86_64", tmp_path)
    assert (after.rpath, after.runpath) == ((), ("$ORIGIN",))


@pytest.mark.parametrize("tag", ["rpath", "runpath"])
def test_a_run_path_that_is_right_keeps_its_tag(tag: str, tmp_path: Path) -> None:
    flags = [f"-Wl,--{'disable' if tag == 'rpath' else 'enable'}-new-dtags"]
    path = shared_library(tmp_path, "_ext.so", "int PyInit__ext(void) { return 1; }", flags=flags, rpath="$ORIGIN")
    before = read_elf_file(path)
    assert getattr(before, tag) == ("$ORIGIN",)
    assert repaired_twice(path, "linux_x86_64", tmp_path) == before
