"""Read a result back before it gets its name: with the ``wheel`` package, which knows nothing of how it was written."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import BadZipFile

from wheel.wheelfile import WheelError, WheelFile  # type: ignore[import-untyped, unused-ignore]

from nativelib.errors import NativelibError, WriteError
from nativelib.facts.elf import identity
from nativelib.facts.progress import silent
from nativelib.findings import Code
from nativelib.read.elf import read_elf

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.progress import Report

_MAX_THREADS: Final = 6
_IN_MEMORY: Final = 8 << 20
_PIECE: Final = 1 << 20


def read_back(
    path: Path,
    filename: str,
    predicted: Mapping[str, ElfFacts | None],
    changed: Collection[str],
    *,
    report: Report = silent,
) -> None:
    """Check the staged wheel at *path*, which is to be called *filename*.

    RECORD must name every member; each *changed* member must have the content that RECORD says, and each ELF member in
    *predicted* exactly the facts that the plan foresaw. Raises WriteError: it is a defect of nativelib or of patchelf.
    """
    with tempfile.TemporaryDirectory(prefix="nativelib-") as directory:
        link = Path(directory) / filename
        link.symlink_to(path.absolute())
        try:
            with WheelFile(str(link)) as archive, ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
                checks = [pool.submit(_check_member, archive, name, predicted) for name in changed]
                for done, check in enumerate(checks):
                    report("checking what was written", done, len(checks))
                    check.result()
        except (WheelError, BadZipFile, KeyError, OSError) as cause:
            raise _defect(filename, f"It does not read back: {cause}.") from cause


def _check_member(archive: WheelFile, name: str, predicted: Mapping[str, ElfFacts | None]) -> None:
    """Unpack the member *name*, which compares it with RECORD, and hold it against what was *predicted*."""
    with archive.open(name) as stream:
        if name not in predicted:
            while stream.read(_PIECE):
                pass
        elif archive.getinfo(name).file_size <= _IN_MEMORY:
            _compare(name, predicted[name], stream.read())
        else:
            with tempfile.TemporaryFile() as spool:
                shutil.copyfileobj(stream, spool, _PIECE)
                spool.flush()
                with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    _compare(name, predicted[name], mapped)


def _compare(name: str, expected: ElfFacts | None, data: bytes | mmap.mmap) -> None:
    try:
        found = identity(read_elf(data, where=name, sha256=""))
    except NativelibError as cause:
        raise _defect(name, f"It is not readable after writing: {cause}.") from cause
    if expected is None or found == expected:
        return
    wrong = [field for field in found.__slots__ if getattr(found, field) != getattr(expected, field)]
    detail = "; ".join(
        f"{field} is {_short(getattr(found, field))}, not {_short(getattr(expected, field))}" for field in wrong
    )
    raise _defect(name, f"It has not become what was planned: {detail}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _defect(where: str, message: str) -> WriteError:
    return WriteError.of(Code.INTERNAL, where, message, "Nothing was written. Please report this with the wheel.")
