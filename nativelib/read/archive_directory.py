"""The directory of a zip file: from its bytes to entries, and what is unsafe about them.

It is our own reader because the standard library's takes the central directory's word for everything: local headers
that say something else, members that share bytes, and gaps that hide members pass it unseen.
"""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from nativelib.facts import zipformat as z
from nativelib.findings import Code, Finding, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_MEMBERS: Final = 200_000
"""More members than this are refused; the largest published wheels have about 30 000."""
MAX_COMMENT: Final = 0xFFFF
TAIL: Final = z.END64.size + z.LOCATOR64.size + z.END.size + MAX_COMMENT
"""Bytes at the end of the file that hold the end records, whatever the comment."""

# Bombs. Deflate reaches 1032:1 at best, on zeros; libraries and text stay below 20:1. So a big member beyond 500:1, or
# a big wheel beyond 100:1, was made to fill a disk. Below these sizes it may be what it likes.
MAX_RATIO: Final = 500
RATIO_FROM: Final = 16 << 20
MAX_TOTAL_RATIO: Final = 100
TOTAL_RATIO_FROM: Final = 1 << 30
_SLACK: Final = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEntry:
    """A record of the central directory."""

    entry: z.Entry
    raw_name: bytes
    """Name as it stands there."""
    flags: int
    """General purpose flags."""
    directory: bool
    """Whether it stands for a directory, so that it is no member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What the end records say."""

    count: int
    size: int
    offset: int
    raw: bytes
    """The end records as they are, from the end of the directory to the end of the file."""


def parse_end(tail: bytes, file_size: int, where: str) -> End:
    """Return the end records, found in *tail*, the last bytes of a file of *file_size* bytes.

    Raises :class:`ReadError` (``NOT_A_WHEEL``) if it is no zip file, is cut off, has something behind it, or is one
    part of several.
    """
    at = _find_end(tail)
    if at < 0:
        raise z.damaged(where, "It is not a zip file, or its end is missing.")
    _, disk, first_disk, here, count, size, offset, _ = z.END.unpack_from(tail, at)
    numbers = {disk, first_disk}
    begin = at
    locator = at - z.LOCATOR64.size
    if locator >= 0 and tail.startswith(z.LOCATOR64_MAGIC, locator):
        _, disk, end64, disks = z.LOCATOR64.unpack_from(tail, locator)
        begin = end64 - (file_size - len(tail))
        if not 0 <= begin <= locator - z.END64.size or not tail.startswith(z.END64_MAGIC, begin):
            raise z.damaged(where, "Its Zip64 end record is not where it should be.")
        _, length, _, _, d1, d2, here, count, size, offset = z.END64.unpack_from(tail, begin)
        numbers |= {disk, d1, d2, disks - 1}
        if begin + 12 + length != locator:
            raise z.damaged(where, "Its Zip64 end record has the wrong size.")
    if numbers - {0} or here != count:
        raise z.damaged(where, "It is one part of an archive that was split.")
    if offset + size != file_size - len(tail) + begin:
        raise z.damaged(
            where, "Its central directory is not where it should be: it is cut off, or something was added."
        )
    if count > MAX_MEMBERS:
        raise z.damaged(where, f"It has {count} members; more than {MAX_MEMBERS} are refused.")
    return End(count=count, size=size, offset=offset, raw=tail[begin:])


def _find_end(tail: bytes) -> int:
    """Return where the end record begins whose comment reaches exactly to the end of the file, or -1."""
    at = tail.rfind(z.END_MAGIC)
    while at >= 0:
        if at + z.END.size <= len(tail) and at + z.END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(
            tail
        ):
            return at
        at = tail.rfind(z.END_MAGIC, 0, at + 3)
    return -1


def parse_directory(data: bytes, count: int, where: str, problems: list[Finding]) -> tuple[RawEntry, ...]:
    """Return the *count* records of the central directory *data*; add what is unsafe in one of them to *problems*.

    Raises :class:`ReadError` (``NOT_A_WHEEL``) if the directory itself is damaged.
    """
    entries: list[RawEntry] = []
    at = 0
    while at < len(data):
        if len(data) - at < z.CENTRAL.size or not data.startswith(z.CENTRAL_MAGIC, at):
            raise z.damaged(where, "Its central directory is damaged.")
        fields = z.CENTRAL.unpack_from(data, at)
        name_end = at + z.CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        raw_name, extra = data[at + z.CENTRAL.size : name_end], data[name_end:extra_end]
        at = extra_end + fields[12]
        if at > len(data):
            raise z.damaged(where, "Its central directory is damaged.")
        entries.append(_entry(fields, raw_name, extra, problems))
    if len(entries) != count:
        raise z.damaged(where, f"Its central directory has {len(entries)} members, but {count} are announced.")
    return tuple(entries)


def _entry(fields: tuple[int, ...], raw_name: bytes, extra: bytes, problems: list[Finding]) -> RawEntry:
    """Return the entry of one unpacked record, and add to *problems* what is unsafe in it alone."""
    flags, method, time, date, crc, compressed_size, size = fields[3:10]
    name = raw_name.decode("utf-8" if flags & z.FLAG_UTF8 else "ascii", "backslashreplace")
    if name.encode() != raw_name:
        message = "Its name is not UTF-8, or not marked as such, so that installers would read it differently."
        problems.append(error(Code.UNSAFE_MEMBER, name, message))
    extras = dict(_extra_fields(extra))
    try:
        size, compressed_size, offset = zip64_values(extras, size, compressed_size, fields[16])
    except struct.error:
        problems.append(error(Code.UNSAFE_MEMBER, name, "Its Zip64 field is too short."))
        offset = fields[16]
    mode = fields[15] >> 16
    raw = RawEntry(
        entry=z.Entry(
            name=name,
            size=size,
            compressed_size=compressed_size,
            crc=crc,
            method=method,
            # Archives made without Unix attributes have no mode at all; a file that nobody may read is never meant.
            mode=mode & 0o777 or 0o644,
            date_time=z.date_time_of(time, date),
            header_offset=offset,
        ),
        raw_name=raw_name,
        flags=flags,
        directory=name.endswith("/"),
    )
    problems.extend(
        error(Code.UNSAFE_MEMBER, name, f"It {text}.") for text in _entry_problems(raw, mode, extras, fields[13])
    )
    return raw


def _entry_problems(raw: RawEntry, mode: int, extras: dict[int, bytes], disk: int) -> Iterator[str]:
    """Yield what is unsafe about one entry, each as the rest of a sentence about it."""
    entry = raw.entry
    name_problem = z.name_problem(entry.name)
    if name_problem:
        yield name_problem
    # Info-ZIP's field: version, CRC-32 of the name that it replaces, name. Some readers obey it, others do not.
    unicode_path = extras.get(z.UNICODE_PATH_EXTRA)
    if unicode_path is not None and unicode_path[5:] != raw.raw_name:
        yield "has a second, different name"
    if raw.flags & z.FLAGS_ENCRYPTED:
        yield "is encrypted"
    if raw.flags & z.FLAG_PATCH:
        yield "is patch data, not a file"
    if entry.method not in (z.STORED, z.DEFLATED):
        yield f"is compressed with method {entry.method}; wheels use only 0 (stored) and 8 (deflated)"
    if entry.method == z.STORED and entry.size != entry.compressed_size:
        yield "is stored, but with two different sizes"
    if disk:
        yield "is said to be in another part of the archive"
    yield from _kind_problems(raw, stat.S_IFMT(mode))
    if entry.size > RATIO_FROM and entry.size > MAX_RATIO * entry.compressed_size + _SLACK:
        yield f"would unpack to {entry.size} bytes from {entry.compressed_size}, like a decompression bomb"


def _kind_problems(raw: RawEntry, kind: int) -> Iterator[str]:
    """Yield what is unsafe about the file type *kind* (the ``S_IFMT`` bits)."""
    if kind == stat.S_IFLNK:
        yield "is a symbolic link"
    elif kind not in (0, stat.S_IFDIR if raw.directory else stat.S_IFREG):
        yield "has a name and a file type that do not fit each other, or is no file"
    if raw.directory and raw.entry.size:
        yield "is a directory with content"


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the extra fields, id and data; a rest that is too short is padding."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def zip64_values(extras: dict[int, bytes], *values: int) -> tuple[int, ...]:
    """Return *values* with those that say "look into the Zip64 field" taken from there.

    Raises ``struct.error`` if the field is too short for them.
    """
    data, at, out = extras.get(z.ZIP64_EXTRA, b""), 0, []
    for value in values:
        if value == z.LIMIT and z.ZIP64_EXTRA in extras:
            out.append(struct.unpack_from("<Q", data, at)[0])
            at += 8
        else:
            out.append(value)
    return tuple(out)


def local_problem(raw: RawEntry, header: bytes) -> tuple[str, int]:
    """Return what is wrong with the local header that *header* begins with, and how long it is.

    What it says must be what the central directory says. Sizes and CRC may be missing where a data descriptor follows.
    """
    if len(header) < z.LOCAL.size or not header.startswith(z.LOCAL_MAGIC):
        return "has no header where the directory says", 0
    _, _, flags, method, _, _, crc, compressed_size, size, name_length, extra_length = z.LOCAL.unpack_from(header)
    length = z.LOCAL.size + name_length + extra_length
    name = header[z.LOCAL.size : z.LOCAL.size + name_length]
    if name != raw.raw_name:
        return "has another name in its own header than in the directory", length
    entry = raw.entry
    if method != entry.method or (flags ^ raw.flags) & (z.FLAGS_ENCRYPTED | z.FLAG_PATCH):
        return "has another method in its own header than in the directory", length
    try:
        extras = dict(_extra_fields(header[z.LOCAL.size + name_length : length]))
        size, compressed_size = zip64_values(extras, size, compressed_size)
    except struct.error:
        return "has a Zip64 field in its own header that is too short", length
    told = (size, compressed_size, crc)
    if not flags & z.FLAG_DESCRIPTOR and told != (entry.size, entry.compressed_size, entry.crc):
        return "has other sizes or another CRC in its own header than in the directory", length
    return "", length


def directory_problems(entries: Iterable[RawEntry], file_size: int) -> Iterator[Finding]:
    """Yield what is unsafe about the entries together: names that occur twice or clash, and their size in all."""
    seen: set[str] = set()
    for raw in entries:
        name = raw.entry.name.removesuffix("/")
        if name in seen:
            yield error(Code.UNSAFE_MEMBER, raw.entry.name, "It is in the archive more than once.")
        seen.add(name)
    yield from _inside_files(entries)
    total = sum(raw.entry.size for raw in entries)
    if total > TOTAL_RATIO_FROM and total > MAX_TOTAL_RATIO * file_size:
        message = f"Its members would unpack to {total} bytes from {file_size}, like a decompression bomb."
        yield error(Code.UNSAFE_MEMBER, "the whole archive", message)


def _inside_files(entries: Iterable[RawEntry]) -> Iterator[Finding]:
    """Yield the entries that lie in another one, which is a file."""
    file = None
    # With the separator as the lowest character, what lies in a file follows it at once. Looking up every directory of
    # every name would take minutes for names of two thousand directories.
    for raw in sorted(entries, key=lambda raw: raw.entry.name.replace("/", "\0")):
        if file is not None and raw.entry.name.startswith(f"{file}/"):
            yield error(Code.UNSAFE_MEMBER, raw.entry.name, f"It lies in {file}, which is a file.")
        elif not raw.directory:
            file = raw.entry.name
