"""What files need beyond the promise of their platform tag is said, and does not cost them the tag."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from nativelib.read.elf import read_elf_file
from tests.support.cc import shared_library
from tests.support.projects import nativelib
from tests.support.tools import lacking
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = "extern int atoi(const char *);\nstatic const char *table[] = {" + '"x",' * 64 + "};\n"
_SOURCE = _TABLE + "int f(int n) { return atoi(table[n]); }"


@pytest.fixture
def musl_wheel(tmp_path: Path) -> Path:
    """A wheel with a library for musl that has relative relocations."""
    flags = ["-Wl,-z,pack-relative-relocs", "-O0"]
    library = shared_library(tmp_path, "libtable.so", _SOURCE, cc="musl-gcc", flags=flags)
    facts = read_elf_file(library)
    if not facts.relr:
        lacking("a linker with -z pack-relative-relocs")
    name = f"pkg-1.0-py3-none-linux_{facts.architecture}.whl"
    return make_wheel(tmp_path, name, {"pkg/__init__.py": "", "pkg/libtable.so": library})


def test_relative_relocations_on_musl_are_noted(musl_wheel: Path, tmp_path: Path) -> None:
    tag = f"musllinux_1_2_{platform.machine()}"
    [shown] = nativelib("show", musl_wheel).document["wheels"]
    done = nativelib("repair", "--strict", "-w", tmp_path / "out", musl_wheel)
    [repaired] = done.document["wheels"]
    assert (shown["tag"], repaired["tags"], done.code) == (tag, [tag], 0)
    for found in (shown, repaired):
        [said] = [finding for finding in found["findings"] if finding["code"] == "NL610"]
        assert (said["severity"], said["where"]) == ("note", "pkg/libtable.so")
        assert "1.2.4" in said["message"]


def test_an_older_musl_has_never_known_them(musl_wheel: Path, tmp_path: Path) -> None:
    done = nativelib("repair", "-w", tmp_path / "out", "--plat", f"musllinux_1_1_{platform.machine()}", musl_wheel)
    assert done.code == 1
    [refused] = done.document["wheels"][0]["findings"]
    assert refused["code"] == "NL601"
    assert "DT_RELR" in refused["message"]
