"""``nativelib lddtree``: programs, libraries and extensions of several machines, and files that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import program, shared_library
from tests.support.projects import nativelib
from tests.test_json import check

if TYPE_CHECKING:
    from pathlib import Path

_MAIN = "int main(void) { return 0; }"


def lddtree(*arguments: str | Path) -> dict[str, Any]:
    """Return what ``lddtree`` says, checked against the schema."""
    answer = nativelib("lddtree", *arguments)
    check("lddtree", answer.document)
    assert answer.code == any(finding["severity"] == "error" for finding in answer.document["findings"])
    return answer.document


def rows(document: dict[str, Any]) -> list[tuple[int, str, str | None, bool]]:
    return [(row["depth"], row["name"], row["path"], row["again"]) for row in document["tree"]]


def test_a_program_and_its_run_path(tmp_path: Path) -> None:
    """One library by the run path, one by ``--ldpaths``, one nowhere, and one because it is loaded already."""
    here, there = tmp_path / "here", tmp_path / "there"
    low = shared_library(there, "liblow.so.1", "int low;", soname="liblow.so.1")
    mid = shared_library(here, "libmid.so.1", "int mid;", soname="libmid.so.1", needed=[low])
    low = shared_library(there, "liblow.so.1", "int low;", soname="liblow.so.1", needed=[mid])
    gone = shared_library(here, "libgone.so.1", "int gone;", soname="libgone.so.1")
    run_path = f"-Wl,-rpath,{tmp_path / 'unused'}:$ORIGIN/here,-rpath-link,{there}"
    flags = [run_path, "-nostartfiles", "-nostdlib", "-Wl,-e,main"]
    start = program(tmp_path, "start", _MAIN, needed=[mid, gone], flags=flags)
    gone.unlink()
    found = lddtree(start, "--ldpaths", there)
    assert rows(found) == [
        (0, str(start), None, False),
        (1, "libmid.so.1", str(mid), False),
        (2, "liblow.so.1", str(low), False),
        (3, "libmid.so.1", str(mid), True),
        (1, "libgone.so.1", None, False),
    ]
    assert found["used"] == ["$ORIGIN/here"]
    assert found["runpath"] == [str(tmp_path / "unused"), "$ORIGIN/here"]
    assert found["searched"] == [str(there)]
    assert found["interpreter"].startswith("/lib64/ld-linux")
    [finding] = found["findings"]
    assert (finding["code"], finding["severity"]) == ("NL201", "warning")
    assert "libgone.so.1" in finding["message"]


def test_what_the_loader_finds_is_found() -> None:
    """Against the C library's own loader, which prints what it mapped."""
    python = os.path.realpath("/usr/bin/env")
    loaded = subprocess.run(["ldd", python], capture_output=True, text=True, check=True).stdout
    expected = {os.path.realpath(line.split()[2]) for line in loaded.splitlines() if "=> /" in line}
    paths = {row["path"] for row in lddtree(python)["tree"]}
    assert expected
    assert expected <= paths


@pytest.mark.parametrize(
    ("cc", "architecture", "libc"),
    [
        ("aarch64-linux-gnu-gcc", "aarch64", "glibc"),
        ("s390x-linux-gnu-gcc", "s390x", "glibc"),
        ("musl-gcc", "x86_64", "musl"),
    ],
)
def test_other_machines_and_musl(tmp_path: Path, cc: str, architecture: str, libc: str) -> None:
    library = shared_library(tmp_path, "libx.so", '#include <stdio.h>\nvoid x(void) { puts("x"); }', cc=cc)
    found = lddtree(library)
    assert (found["architecture"], found["libc"]) == (architecture, libc)
    [root, *rest] = found["tree"]
    assert root["name"] == str(library)
    [c_library] = [row for row in rest if row["name"].startswith("libc.so") and row["depth"] == 1]
    assert c_library["path"] is not None
    assert found["findings"] == []


def test_a_machine_that_has_no_tag(tmp_path: Path) -> None:
    data = bytearray(shared_library(tmp_path, "libx.so", "int x;", needed=[]).read_bytes())
    data[18:20] = (8).to_bytes(2, "little")  # EM_MIPS
    file = tmp_path / "libmips.so"
    file.write_bytes(data)
    found = lddtree(file)
    assert (found["architecture"], found["searched"]) == ("em8", [])


@pytest.mark.parametrize(
    ("content", "code"), [(b"no ELF file", "NL105"), (b"", "NL105"), (b"\x7fELF" + bytes(40), "NL105"), (None, "NL101")]
)
def test_what_is_no_elf_file(tmp_path: Path, content: bytes | None, code: str) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    found = lddtree(file)
    assert [finding["code"] for finding in found["findings"]] == [code]
    assert (found["file"], found["architecture"], found["tree"]) == (str(file), None, [])


def test_a_directory(tmp_path: Path) -> None:
    assert [finding["code"] for finding in lddtree(tmp_path)["findings"]] == ["NL105"]


def test_text(tmp_path: Path) -> None:
    gone = shared_library(tmp_path, "libgone.so.1", "int gone;", soname="libgone.so.1")
    low = shared_library(tmp_path, "liblow.so.1", "int low;", soname="liblow.so.1", flags=["-nostdlib"])
    library = shared_library(tmp_path, "libx.so", "int x;", needed=[low, gone], rpath="$ORIGIN", flags=["-nostdlib"])
    gone.unlink()
    argv = [sys.executable, "-m", "nativelib", "lddtree", str(library), "--ldpaths", "/nonexistent"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        str(library),
        "  for      x86_64",
        "  runpath  $ORIGIN",
        f"  ├─ liblow.so.1  {low}",
        "  └─ libgone.so.1  not found",
    ]
    assert "warning NL201" in done.stderr
