"""Symbol versions that share their records: no file has more of them than a budget, whoever reads it."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from nativelib.errors import ReadError
from nativelib.facts.elf import ElfEdit
from nativelib.facts.elf_symbols import DT_STRSZ, DT_STRTAB, DT_VERDEF, DT_VERDEFNUM, MAX_VERSIONS
from nativelib.read.elf import read_elf_file
from nativelib.write.patch_in_place import changes_in_place, edit_in_place
from tests.support.bombs import elf_bomb

if TYPE_CHECKING:
    from pathlib import Path

_EACH = 1024
_NAMES = 1024
_EDIT = ElfEdit(run_path=())


def _library(directory: Path, entries: int) -> Path:
    """A library with *entries* version definitions, each of which claims the same records."""
    chain = entries * 20
    table = b"".join(
        struct.pack("<HHHHIII", 1, 0, n + 2, _EACH, 0, chain - n * 20, 20 if n + 1 < entries else 0)
        for n in range(entries)
    )
    records = struct.pack("<II", 1, 8) * _EACH
    parts = elf_bomb(
        {DT_STRTAB: b"\0V_1\0/built".ljust(_NAMES, b"\0"), DT_VERDEF: table + records},
        numbers=[(DT_STRSZ, _NAMES), (DT_VERDEFNUM, entries), (29, 5)],
    )
    path = directory / "libit.so"
    path.write_bytes(b"".join(bytes(part) for part in parts if len(part)))  # type: ignore[arg-type]
    return path


def test_as_many_as_there_may_be(tmp_path: Path) -> None:
    path = _library(tmp_path, MAX_VERSIONS // _EACH)
    assert read_elf_file(path).run_path == ("/built",)
    assert edit_in_place(path, _EDIT)
    assert read_elf_file(path).run_path == ()


def test_one_more(tmp_path: Path) -> None:
    path = _library(tmp_path, MAX_VERSIONS // _EACH + 1)
    before = path.read_bytes()
    with pytest.raises(ReadError, match=f"more than {MAX_VERSIONS}"):
        read_elf_file(path)
    with pytest.raises(ReadError, match=f"more than {MAX_VERSIONS}"):
        changes_in_place(before, _EDIT)
    assert not edit_in_place(path, _EDIT)
    assert path.read_bytes() == before
