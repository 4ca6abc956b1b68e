"""The three formats of an rpm database: SQLite, ndb (SUSE), and Berkeley DB (up to RHEL 8 and its relatives).

Each reader yields the headers of packages that may have a file with one of some names. All bounds come from the size
of the file, so that a database which refers to itself ends.
"""

from __future__ import annotations

import os
import struct
from contextlib import closing
from typing import TYPE_CHECKING

from nativelib.read.bounded import open_bounded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_MAX_DATABASE = 1 << 30
_QUERY = """
    SELECT blob FROM Packages WHERE hnum IN (SELECT hnum FROM Basenames WHERE key = CAST(? AS TEXT)) ORDER BY hnum
"""
_MAX_STEPS = 20_000_000  # of SQLite's machine: some seconds, and a thousand times what an index look-up takes

_PAGE_HEADER = 26  # libdb's db_page.h, PAGE: lsn, pgno, prev_pgno, next_pgno, entries, hf_offset, level, type
_HASH_MAGIC = 0x061561
_OVERFLOW = 7
_BUCKETS = frozenset({2, 13})  # P_HASH_UNSORTED, P_HASH
_ON_PAGE, _OFF_PAGE = 1, 3  # H_KEYDATA, H_OFFPAGE


def sqlite_headers(path: Path, basenames: Collection[bytes]) -> Iterator[bytes]:
    """Yield the headers that the index of the SQLite database *path* has for *basenames*.

    Raises OSError or ValueError.
    """
    import sqlite3

    with open_bounded(path, _MAX_DATABASE):
        pass  # whether it is a file of bearable size
    steps = iter(range(_MAX_STEPS // 1000))
    try:
        # Immutable: nothing is locked, and no journal is made beside a database that is only read.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.set_progress_handler(lambda: next(steps, None) is None, 1000)
            for name in sorted(basenames):
                for (blob,) in database.execute(_QUERY, (name,)):
                    if isinstance(blob, bytes):
                        yield blob
    except sqlite3.Error as cause:
        raise ValueError(f"{path}: {cause}") from cause


def ndb_headers(path: Path, basenames: Collection[bytes]) -> Iterator[bytes]:
    """Yield the headers of the ndb file *path* that contain one of *basenames*.

    The layout is that of rpm's rpmpkg.c: a header, slots of 16 bytes that fill whole pages, and blobs in blocks of 16
    bytes. Raises OSError or ValueError.
    """
    with open_bounded(path, _MAX_DATABASE) as (file, size):
        magic, version, _generation, pages = struct.unpack("<4s3I", _exactly(file, 16, 0))
        if magic != b"RpmP" or version:
            raise ValueError(f"{path} is not an ndb database of version 0")
        left = size
        for slot in struct.iter_unpack("<4s3I", _exactly(file, min(pages * 4096, size) - 32, 32)):
            mark, number, block, blocks = slot
            if mark != b"Slot":
                raise ValueError(f"{path} has a damaged slot")
            if not block:
                continue
            start, found, _generation, length = struct.unpack("<4s3I", _exactly(file, 16, 16 * block))
            left -= length
            if start != b"BlbS" or found != number or length > 16 * blocks or left < 0:
                raise ValueError(f"{path} has a damaged blob")
            blob = _exactly(file, length, 16 * block + 16)
            if _mentions(blob, basenames):
                yield blob


def bdb_headers(path: Path, basenames: Collection[bytes]) -> Iterator[bytes]:
    """Yield the headers of the Berkeley DB hash file *path* that contain one of *basenames*.

    The layout is that of libdb's db_page.h. Pages are read in the order of the file, as the order of buckets does not
    matter here. Raises OSError or ValueError.
    """
    with open_bounded(path, _MAX_DATABASE) as (file, size):
        meta = _exactly(file, 512, 0)
        order = next((o for o in "<>" if struct.unpack_from(f"{o}I", meta, 12) == (_HASH_MAGIC,)), "")
        (page_size,) = struct.unpack_from(f"{order or '<'}I", meta, 20)
        # Encryption and checksums, which rpm does not use, would make the header of each page longer.
        if not order or meta[24] or meta[26] or page_size not in {512 << n for n in range(8)}:
            raise ValueError(f"{path} is not a plain Berkeley DB hash file")
        pages = _Pages(file, page_size, order, left=size // page_size)
        for number in range(1, size // page_size):
            page = pages.page(number)
            if page[25] in _BUCKETS:
                yield from (value for value in pages.values(page) if _mentions(value, basenames))


class _Pages:
    """The pages of a Berkeley DB file; no more of them can belong to values than there are."""

    def __init__(self, file: int, size: int, order: str, *, left: int) -> None:
        self._file, self._size, self._order, self._left = file, size, order, left

    def page(self, number: int) -> bytes:
        return _exactly(self._file, self._size, number * self._size)

    def values(self, page: bytes) -> Iterator[bytes]:
        """Yield the values of a bucket's *page*: its items are keys and values in turn, filled in from the end."""
        (entries,) = struct.unpack_from(f"{self._order}H", page, 20)
        items = struct.unpack_from(f"{self._order}{entries}H", page, _PAGE_HEADER)
        for end, start in zip(items[0::2], items[1::2], strict=False):
            kind = page[start : start + 1]
            if kind == bytes([_ON_PAGE]):
                yield page[start + 1 : end]
            elif kind == bytes([_OFF_PAGE]):
                yield self._chain(*struct.unpack_from(f"{self._order}2I", page, start + 4))

    def _chain(self, number: int, length: int) -> bytes:
        """Return the value of *length* bytes that begins on the overflow page *number*."""
        parts: list[bytes] = []
        while length > 0:
            page = self.page(number)
            (number,), (used,) = (struct.unpack_from(f"{self._order}{f}", page, at) for f, at in (("I", 16), ("H", 22)))
            self._left -= 1
            if page[25] != _OVERFLOW or used > min(length, self._size - _PAGE_HEADER) or self._left < 0:
                raise ValueError("a value of the Berkeley DB file is damaged")
            parts.append(page[_PAGE_HEADER : _PAGE_HEADER + used])
            length -= used
        return b"".join(parts)


def _mentions(blob: bytes, basenames: Collection[bytes]) -> bool:
    # Strings in a header end with a zero byte.
    return any(b"%s\0" % name in blob for name in basenames)


def _exactly(file: int, size: int, offset: int) -> bytes:
    data = os.pread(file, max(size, 0), offset)
    if len(data) != size:
        raise ValueError("it is cut off")
    return data
