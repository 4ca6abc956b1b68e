"""What must hold for all bytes. Each target raises for bytes that break its promise, and returns for all others."""

from __future__ import annotations

import io
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.findings import Code
from nativelib.read.elf import read_elf
from nativelib.read.wheel import read_wheel
from nativelib.write.archive import RawCopy, write_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "demo-1.0-py3-none-any.whl"
# What the reader of archives may say; above all it never says that nativelib is at fault.
_REFUSALS = {Code.NOT_A_WHEEL, Code.UNSAFE_MEMBER, Code.BAD_RECORD, Code.BAD_METADATA}


def elf(data: bytes) -> None:
    """Facts that can be printed, or one finding."""
    try:
        facts = read_elf(data, where="x")
    except ReadError as refusal:
        _check([finding.code for finding in refusal.findings] == [Code.BAD_ELF], refusal)
        return
    str(facts).encode()
    _check(facts.load_end <= facts.size == len(data), facts)


def archive(data: bytes) -> None:
    """A wheel that the standard library reads in the same way and that can be copied, or findings."""
    path = _directory() / NAME
    path.write_bytes(data)
    try:
        facts = read_wheel(path)
    except ReadError as refusal:
        _check({finding.code for finding in refusal.findings} <= _REFUSALS, refusal)
        return
    with zipfile.ZipFile(io.BytesIO(data)) as oracle:
        _check(oracle.testzip() is None, "the standard library finds a damaged member")
        found = {member.name: member.size for member in facts.members}
        _check({i.filename: i.file_size for i in oracle.infolist() if not i.is_dir()} == found, found)
    copy = _directory() / "copy" / NAME
    copy.parent.mkdir(exist_ok=True)
    write_wheel(copy, [RawCopy(member) for member in facts.members], source=path)
    again = read_wheel(copy)
    _check({m.name: m.sha256 for m in again.members} == {m.name: m.sha256 for m in facts.members}, "the copy differs")


TARGETS: Mapping[str, Callable[[bytes], None]] = {"elf": elf, "archive": archive}
"""The targets by name; each has a directory of cases of that name."""


@cache
def _directory() -> Path:
    # Not removed while the process lives; the system's directory for temporary files is cleaned by others.
    return Path(tempfile.mkdtemp(prefix="nativelib-fuzz-"))


def _check(holds: bool, what: object) -> None:
    if not holds:
        raise AssertionError(str(what))
