"""The members of an archive, each unpacked once: digests, ELF facts, small texts.

Memory stays below about 120 MiB whatever the wheel holds: each thread has at most one ELF file of ``_IN_MEMORY`` bytes,
larger ones go through a temporary file, and nothing else is held but small texts.
"""

from __future__ import annotations

import hashlib
import itertools
import mmap
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nativelib.errors import ReadError
from nativelib.facts.progress import silent
from nativelib.facts.record import ALGORITHMS, digest_of_hex
from nativelib.findings import Code, Finding, error, warning
from nativelib.read.elf import is_elf, read_elf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.progress import Report
    from nativelib.facts.zipformat import Entry
    from nativelib.read.archive import WheelArchive

_MAX_THREADS: Final = 6
_IN_MEMORY: Final = 8 << 20
_BATCH: Final = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What one pass over a member found."""

    sha256: str = ""
    """SHA-256 as hex."""
    digest: str = ""
    """Digest in RECORD's form, with the algorithm that was asked for."""
    text: bytes | None = None
    """The content itself, where it was asked for."""
    elf: ElfFacts | None = None
    """Facts of an ELF file."""
    findings: tuple[Finding, ...] = ()
    """An error where the member is damaged, a warning where only its ELF structure is."""


def read_contents(
    archive: WheelArchive,
    *,
    wanted: Callable[[Entry], bool],
    algorithms: Mapping[str, str],
    report: Report = silent,
) -> tuple[tuple[Content, ...], str]:
    """Return the content of each entry of *archive*, in order, and the SHA-256 of the file.

    ``wanted`` says whose text to keep; ``algorithms`` which hash other than SHA-256 RECORD has for a member; ``report``
    is told how much is read. All cores work: zlib and hashlib run without the interpreter's lock. Damaged members do
    not raise, they carry findings.
    """
    contents = [Content()] * len(archive.entries)

    def read(indices: Sequence[int]) -> None:
        for index in indices:
            entry = archive.entries[index]
            contents[index] = _read_content(
                archive, entry, keep=wanted(entry), algorithm=algorithms.get(entry.name, "")
            )

    executor = ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS))
    try:
        digest = executor.submit(archive.sha256)
        batches = _batches(archive.entries)
        sizes = [sum(archive.entries[index].size for index in batch) for batch in batches]
        done, total, reading = 0, sum(sizes), f"reading {archive.name.distribution}"
        report(reading, done, total)
        for future, size in zip([executor.submit(read, batch) for batch in batches], sizes, strict=True):
            future.result()
            done += size
            report(reading, done, total)
        return tuple(contents), digest.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _batches(entries: Sequence[Entry]) -> list[list[int]]:
    """Return the indices of *entries* in groups that are worth a task each, the largest first."""
    groups: list[list[int]] = []
    room = 0
    for index in sorted(range(len(entries)), key=lambda i: (-entries[i].size, i)):
        if not groups or room < entries[index].size:
            groups.append([])
            room = _BATCH
        groups[-1].append(index)
        room -= entries[index].size + 1024
    return groups


def _read_content(archive: WheelArchive, entry: Entry, *, keep: bool, algorithm: str) -> Content:
    """Return what one pass over *entry* finds."""
    try:
        pieces = archive.stream(entry)
        head = next(pieces, b"")
        pieces = itertools.chain((head,), pieces)
        hashing = _Hashing(algorithm)
        if is_elf(head[:4]) and entry.size > _IN_MEMORY:
            return _read_large_elf(hashing, pieces, entry.name)
        if not keep and not is_elf(head[:4]):
            for piece in pieces:
                hashing.update(piece)
            return Content(sha256=hashing.sha256, digest=hashing.digest)
        data = bytearray()
        for piece in pieces:
            hashing.update(piece)
            data += piece
        facts, findings = _read_elf(memoryview(data), entry.name, hashing.sha256) if is_elf(head[:4]) else (None, ())
        text = bytes(data) if keep else None
        return Content(sha256=hashing.sha256, digest=hashing.digest, text=text, elf=facts, findings=findings)
    except ReadError as failure:
        return Content(findings=failure.findings)


def _read_large_elf(hashing: _Hashing, pieces: Iterator[bytes], name: str) -> Content:
    """Return the content of a large ELF file, of which the reader maps only the pages that it looks at."""
    try:
        with tempfile.TemporaryFile() as spool:
            for piece in pieces:
                hashing.update(piece)
                spool.write(piece)
            spool.flush()
            with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                facts, findings = _read_elf(mapped, name, hashing.sha256)
    except OSError as failure:
        message = f"It cannot be unpacked into a temporary file: {failure.strerror or failure}."
        remedy = "Let TMPDIR name a directory with more room."
        raise ReadError([error(Code.WRITE_FAILED, name, message, remedy)]) from None
    return Content(sha256=hashing.sha256, digest=hashing.digest, elf=facts, findings=findings)


def _read_elf(data: memoryview | mmap.mmap, name: str, sha256: str) -> tuple[ElfFacts | None, tuple[Finding, ...]]:
    """Return the facts of an ELF file, or warnings why there are none."""
    try:
        return read_elf(data, where=name, sha256=sha256), ()
    except ReadError as failure:
        return None, tuple(warning(f.code, f.where, f.message, f.remedy) for f in failure.findings)


class _Hashing:
    """SHA-256 of a stream, and the digest that RECORD uses where that is another one."""

    def __init__(self, algorithm: str) -> None:
        """Begin; an *algorithm* that RECORD must not use counts as SHA-256."""
        self._sha256 = hashlib.sha256()
        self._algorithm = algorithm if algorithm in ALGORITHMS else "sha256"
        self._other = None if self._algorithm == "sha256" else hashlib.new(self._algorithm)

    def update(self, piece: bytes) -> None:
        """Take the next *piece*."""
        self._sha256.update(piece)
        if self._other:
            self._other.update(piece)

    @property
    def sha256(self) -> str:
        """The SHA-256 as hex."""
        return self._sha256.hexdigest()

    @property
    def digest(self) -> str:
        """The digest in RECORD's form."""
        return digest_of_hex((self._other or self._sha256).hexdigest(), self._algorithm)
