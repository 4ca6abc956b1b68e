"""The zip format as far as wheels use it: records, safe names, the one form that nativelib writes. No I/O.

Record layouts, flags and the rules of Zip64 are those of PKWARE's APPNOTE.TXT 6.3. Reader and writer share them:
an archive is *normal* exactly if writing its members again gives the same bytes.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nativelib.errors import ReadError
from nativelib.facts.wheel import Member
from nativelib.findings import Code, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STORED: Final = 0
DEFLATED: Final = 8
RAW_DEFLATE: Final = -zlib.MAX_WBITS
"""``wbits`` for a deflate stream without zlib header, as zip has it."""
PIECE: Final = 1 << 20
"""Bytes of content that are handled at a time."""

LOCAL: Final = struct.Struct("<4s5H3L2H")
CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
END: Final = struct.Struct("<4s4H2LH")
END64: Final = struct.Struct("<4sQ2H2L4Q")
LOCATOR64: Final = struct.Struct("<4sLQL")

LOCAL_MAGIC: Final = b"PK\x03\x04"
CENTRAL_MAGIC: Final = b"PK\x01\x02"
END_MAGIC: Final = b"PK\x05\x06"
END64_MAGIC: Final = b"PK\x06\x06"
LOCATOR64_MAGIC: Final = b"PK\x06\x07"

ZIP64_EXTRA: Final = 0x0001
UNICODE_PATH_EXTRA: Final = 0x7075
FLAG_DESCRIPTOR: Final = 1 << 3
FLAG_UTF8: Final = 1 << 11
FLAGS_ENCRYPTED: Final = 1 << 0 | 1 << 6 | 1 << 13
FLAG_PATCH: Final = 1 << 5

LIMIT: Final = 0xFFFFFFFF
"""From this value on a size or an offset needs Zip64; the value itself says "look into the extra field"."""
COUNT_LIMIT: Final = 0xFFFF
"""The same for the number of members."""
MAX_NAME: Final = 4096
"""Longer paths cannot be opened on Linux (``PATH_MAX``)."""

_UNIX: Final = 3 << 8
_VERSION: Final = 20
_VERSION64: Final = 45
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

DateTime = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the directory of the archive says about a member: :class:`Member` before its content is known."""

    name: str
    size: int
    compressed_size: int
    crc: int
    method: int
    mode: int
    date_time: DateTime
    header_offset: int

    def member(self, sha256: str) -> Member:
        """Return the member whose content has the hex digest *sha256*."""
        return Member(
            name=self.name,
            size=self.size,
            compressed_size=self.compressed_size,
            crc=self.crc,
            method=self.method,
            mode=self.mode,
            date_time=self.date_time,
            header_offset=self.header_offset,
            sha256=sha256,
        )


def dos_date_time(date_time: DateTime) -> tuple[int, int]:
    """Return the MS-DOS time and date words of *date_time*; :func:`date_time_of` is the way back."""
    year, month, day, hour, minute, second = date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def date_time_of(time: int, date: int) -> DateTime:
    """Return the time stamp of the MS-DOS words *time* and *date*; impossible ones (month 0) are passed through."""
    return (date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2


def name_problem(name: str) -> str:
    """Return why *name* must not be the path of a member, or an empty string.

    A wheel's paths are relative, with ``/``, and stay below the directory that they are unpacked into; what one
    installer could read differently from another is refused as well.
    """
    if not name:
        return "has an empty name"
    if len(name.encode(errors="replace")) >= MAX_NAME:
        return "has a name that is too long"
    if _CONTROL.search(name):
        return "has a control character in its name"
    if "\\" in name:
        return "has a backslash in its name"
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute path"
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        return "leads out of the archive with '..'"
    if "" in parts or "." in parts:
        return "has an empty or '.' component in its path"
    return ""


def local_header(entry: Entry, limit: int = LIMIT) -> bytes:
    """Return the local header that nativelib writes for *entry*: sizes inside, no extra field but Zip64's.

    ``limit`` is the value from which Zip64 is used.
    """
    name = entry.name.encode()
    large = max(entry.size, entry.compressed_size) >= limit
    extra = struct.pack("<2H2Q", ZIP64_EXTRA, 16, entry.size, entry.compressed_size) if large else b""
    fixed = LOCAL.pack(
        LOCAL_MAGIC,
        _VERSION64 if large else _VERSION,
        0 if name.isascii() else FLAG_UTF8,
        entry.method,
        *dos_date_time(entry.date_time),
        entry.crc,
        LIMIT if large else entry.compressed_size,
        LIMIT if large else entry.size,
        len(name),
        len(extra),
    )
    return fixed + name + extra


def central_header(entry: Entry, limit: int = LIMIT) -> bytes:
    """Return the record of the central directory that nativelib writes for *entry*: a regular file of Unix."""
    name = entry.name.encode()
    fields = (entry.size, entry.compressed_size, entry.header_offset)
    large = [value for value in fields if value >= limit]
    extra = struct.pack(f"<2H{len(large)}Q", ZIP64_EXTRA, 8 * len(large), *large) if large else b""
    size, compressed_size, offset = (LIMIT if value >= limit else value for value in fields)
    version = _VERSION64 if large else _VERSION
    fixed = CENTRAL.pack(
        CENTRAL_MAGIC,
        _UNIX | version,
        version,
        0 if name.isascii() else FLAG_UTF8,
        entry.method,
        *dos_date_time(entry.date_time),
        entry.crc,
        compressed_size,
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        (stat.S_IFREG | entry.mode) << 16,
        offset,
    )
    return fixed + name + extra


def end_records(count: int, size: int, offset: int, limit: int = LIMIT) -> bytes:
    """Return what follows a central directory of *count* records and *size* bytes that begins at *offset*."""
    end = END.pack(
        END_MAGIC,
        0,
        0,
        *(min(count, COUNT_LIMIT),) * 2,
        LIMIT if size >= limit else size,
        LIMIT if offset >= limit else offset,
        0,
    )
    if count < COUNT_LIMIT and max(size, offset) < limit:
        return end
    end64 = END64.pack(END64_MAGIC, END64.size - 12, _UNIX | _VERSION64, _VERSION64, 0, 0, count, count, size, offset)
    return end64 + LOCATOR64.pack(LOCATOR64_MAGIC, 0, offset + size, 1) + end


def content(pieces: Iterable[bytes], entry: Entry | Member) -> Iterator[bytes]:
    """Yield the content of *entry* from its compressed *pieces*, at most about :data:`PIECE` bytes at a time.

    Never more than the size that the directory declares comes out. Raises :class:`ReadError` (``NOT_A_WHEEL``) when
    the data is damaged, or has another size or CRC than declared; only the end of the iteration is a proof.
    """
    crc, left = 0, entry.size
    source = _inflate(pieces, entry) if entry.method == DEFLATED else iter(pieces)
    for piece in source:
        left -= len(piece)
        if left < 0:
            raise damaged(entry.name, f"It holds more than the {entry.size} bytes that the directory declares.")
        crc = zlib.crc32(piece, crc)
        yield piece
    if left:
        raise damaged(entry.name, f"It ends {left} bytes before the {entry.size} that the directory declares.")
    if crc != entry.crc:
        raise damaged(entry.name, f"Its CRC-32 is {crc:08x}, but the directory says {entry.crc:08x}.")


def _inflate(pieces: Iterable[bytes], entry: Entry | Member) -> Iterator[bytes]:
    """Yield what the deflate stream *pieces* holds; one byte too many of it is enough for the caller to notice."""
    engine = zlib.decompressobj(RAW_DEFLATE)
    left = entry.size
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if engine.eof:
                    raise damaged(entry.name, "Its compressed data goes on after its end.")
                out = engine.decompress(rest, min(left, PIECE) + 1)
                left -= len(out)
                yield out
                rest = engine.unconsumed_tail or engine.unused_data
        # The engine may hold back output when the room ran out together with the input.
        while not engine.eof and (out := engine.decompress(b"", min(left, PIECE) + 1)):
            left -= len(out)
            yield out
    except zlib.error as failure:
        raise damaged(entry.name, f"Its compressed data is damaged ({failure}).") from None
    if not engine.eof:
        raise damaged(entry.name, "Its compressed data is cut off.")


def damaged(where: str, message: str) -> ReadError:
    """Return the error for an archive, or a member of it, whose bytes are not what they should be."""
    return ReadError([error(Code.NOT_A_WHEEL, where, message, "Download or build the wheel again.")])
