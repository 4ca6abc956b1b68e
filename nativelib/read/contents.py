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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from nativelib.errors import ReadError
from nativelib.facts.progress import silent
from nativelib.facts.record import ALGORITHMS, digest_of_hex
from nativelib.findings import Code, Finding, error, warning
from nativelib.read.elf import is_elf, read_elf
from nativelib.read.hints import MAX_SOURCE, opened_by_elf, opened_by_python

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.hint import Opened
    from nativelib.facts.progress import Report
    from nativelib.facts.zipformat import Entry
    from nativelib.read.archive import WheelArchive

_MAX_THREADS: Final = 6
_IN_MEMORY: Final = 8 << 20
_BATCH: Final = 256 << 10
_MAX_SYMBOLS: Final = 4_000_000  # in all ELF files; about 1 GiB of memory


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
    opened: tuple[Opened, ...] = ()
    """Libraries that it seems to open at run time, where that was asked for."""
    findings: tuple[Finding, ...] = ()
    """An error where the member is damaged, a warning where only its ELF structure is."""


def read_contents(
    archive: WheelArchive,
    *,
    wanted: Callable[[Entry], bool],
    algorithms: Mapping[str, str],
    unread: Collection[str] = (),
    hints: bool = False,
    report: Report = silent,
) -> tuple[tuple[Content, ...], str]:
    """Return the content of each entry of *archive*, in order, and the SHA-256 of the file.

    ``wanted`` says whose text to keep; ``algorithms`` which hash other than SHA-256 RECORD has for a member; members in
    ``unread`` are not looked at as ELF files; ``hints`` says whether to look for libraries that ELF files and Python
    sources open at run time; ``report`` is told how much is read. All cores work: zlib and hashlib run without the
    interpreter's lock. Damaged members do not raise, they carry findings. Raises :class:`ReadError`
    (``UNSAFE_MEMBER``) for more symbols than the memory should hold.
    """
    contents = [Content()] * len(archive.entries)
    symbols = 0

    def read(indices: Sequence[int]) -> None:
        nonlocal symbols  # threads may lose an addition, which a limit of this kind bears
        for index in indices:
            entry = archive.entries[index]
            contents[index] = content = _read_content(
                archive,
                entry,
                keep=wanted(entry),
                algorithm=algorithms.get(entry.name, ""),
                elf=entry.name not in unread,
                hints=hints,
            )
            if content.elf is not None:
                symbols += len(content.elf.imports) + len(content.elf.exports)
                if symbols > _MAX_SYMBOLS:
                    message = f"The ELF files of the wheel have more than {_MAX_SYMBOLS} symbols, like a bomb."
                    raise ReadError([error(Code.UNSAFE_MEMBER, entry.name, message)])

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


def _read_content(
    archive: WheelArchive, entry: Entry, *, keep: bool, algorithm: str, elf: bool, hints: bool
) -> Content:
    """Return what one pass over *entry* finds; *elf* says whether an ELF file is to be read as one."""
    try:
        pieces = archive.stream(entry)
        head = next(pieces, b"")
        pieces = itertools.chain((head,), pieces)
        hashing = _Hashing(algorithm)
        elf = elf and is_elf(head[:4])
        if elf and entry.size > _IN_MEMORY:
            return _read_large_elf(hashing, pieces, entry.name, hints=hints)
        if elf:
            data = bytearray()
            for piece in pieces:
                hashing.update(piece)
                data += piece
            found = Content(sha256=hashing.sha256, digest=hashing.digest, text=bytes(data) if keep else None)
            return _with_elf(found, memoryview(data), entry.name, hints=hints)
        source = hints and entry.name.endswith(".py") and entry.size <= MAX_SOURCE
        if keep or source:
            text = b"".join(pieces)
            hashing.update(text)
            opened = opened_by_python(text, entry.name) if source else ()
            found = Content(sha256=hashing.sha256, digest=hashing.digest, opened=opened)
            return replace(found, text=text) if keep else found
        for piece in pieces:
            hashing.update(piece)
        return Content(sha256=hashing.sha256, digest=hashing.digest)
    except ReadError as failure:
        return Content(findings=failure.findings)


def _read_large_elf(hashing: _Hashing, pieces: Iterator[bytes], name: str, *, hints: bool) -> Content:
    """Return the content of a large ELF file, of which the reader maps only the pages that it looks at."""
    try:
        with tempfile.TemporaryFile() as spool:
            for piece in pieces:
                hashing.update(piece)
                spool.write(piece)
            spool.flush()
            with mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                found = Content(sha256=hashing.sha256, digest=hashing.digest)
                return _with_elf(found, mapped, name, hints=hints)
    except OSError as failure:
        message = f"It cannot be unpacked into a temporary file: {failure.strerror or failure}."
        remedy = "Let TMPDIR name a directory with more room."
        raise ReadError([error(Code.WRITE_FAILED, name, message, remedy)]) from None


def _with_elf(found: Content, data: memoryview | mmap.mmap, name: str, *, hints: bool) -> Content:
    """Return *found* with the facts of an ELF file, or with warnings why there are none."""
    try:
        facts = read_elf(data, where=name, sha256=found.sha256)
    except ReadError as failure:
        return replace(found, findings=tuple(warning(f.code, f.where, f.message, f.remedy) for f in failure.findings))
    return replace(found, elf=facts, opened=opened_by_elf(data, facts, name) if hints else ())


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
