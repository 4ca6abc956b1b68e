"""Who refers to which string of an ELF file's dynamic string table.

Linkers merge strings with equal ends: a symbol's name can be the tail of a library's. So what is to be overwritten must
be compared with everything that may refer to it.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nativelib.facts.elf_symbols import (
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    MAX_VERSIONS,
    count_symbols,
    symbol_layout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nativelib.facts.elf_header import Header
    from nativelib.facts.elf_image import Image

_DT_GNU_LIBLIST = 0x6FFFFEF9  # prelink's list of libraries, which names them in this table, too
# Tags of the gABI and of GNU whose value is no string: addresses, sizes, flags. Of any other tag it may be one.
_NO_STRINGS = frozenset({*range(2, 14), *range(16, 29), *range(30, 39), *range(0x6FFFFDF5, 0x6FFFFE00)})
_NO_STRINGS |= frozenset(
    {*range(0x6FFFFEF5, 0x6FFFFEFA), *range(0x6FFFFEFD, 0x6FFFFF00), *range(0x6FFFFFF0, 0x70000000)}
)


class Field(NamedTuple):
    """A 32-bit field of the file that holds the offset of a string."""

    at: int
    """File offset of the field."""
    value: int
    """Offset in the string table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StringTable:
    """The dynamic string table, and the references to it that are not in the dynamic table."""

    offset: int
    """File offset of the table."""
    content: bytes
    needed_from: tuple[Field, ...]
    """The files that version needs name."""
    fixed: frozenset[int]
    """Offsets that no edit changes: names of symbols, of versions, values of unknown tags."""

    def at(self, offset: int) -> bytes:
        """Return the string at *offset*."""
        return self.content[offset : self.content.index(b"\0", offset)]


def read_strings(
    image: Image, header: Header, entries: list[tuple[int, int]], own: frozenset[int]
) -> StringTable | None:
    """Return the string table of the file, or ``None`` where it cannot be known who refers to it.

    *entries* are those of the dynamic table; the strings of tags in *own* do not count as fixed. Raises ``ReadError``
    for a broken file.
    """
    tags = dict(entries)
    count = count_symbols(image, header.machine.e_machine, tags, header.dynsym_size)
    if DT_STRTAB not in tags or _DT_GNU_LIBLIST in tags or (DT_SYMTAB in tags and not count):
        return None
    size = tags.get(DT_STRSZ, 0)
    offset = image.locate(tags[DT_STRTAB], size, "DT_STRTAB")
    content = bytes(image.take(offset, size, "DT_STRTAB"))
    files, versions = _version_needs(image, tags)
    unknown = (value for tag, value in entries if tag not in own and tag not in _NO_STRINGS)
    fixed = frozenset(itertools.chain(_symbol_names(image, tags, count), versions, _definitions(image, tags), unknown))
    sound = content.endswith(b"\0") and all(field.value < size for field in files)
    if not sound or any(value >= size for tag, value in entries if tag in own):
        return None
    return StringTable(offset=offset, content=content, needed_from=tuple(files), fixed=fixed)


def _symbol_names(image: Image, tags: Mapping[int, int], count: int) -> Iterator[int]:
    if not count:
        return iter(())
    size = symbol_layout(image)[1]
    table = image.take(image.locate(tags[DT_SYMTAB], count * size, "DT_SYMTAB"), count * size, "DT_SYMTAB")
    return (name for (name,) in struct.iter_unpack(f"{image.order}I{size - 4}x", table))


def _version_needs(image: Image, tags: Mapping[int, int]) -> tuple[list[Field], list[int]]:
    """Return the fields that name files, and the offsets of the versions' names (LSB Core, symbol versioning)."""
    files: list[Field] = []
    names: list[int] = []
    if DT_VERNEED not in tags:
        return files, names
    entry = image.locate(tags[DT_VERNEED], 16, "DT_VERNEED")
    seen = 0
    for _ in range(min(tags.get(DT_VERNEEDNUM, 0), MAX_VERSIONS)):
        _, count, file, auxiliary, following = image.record("HHIII", entry, "DT_VERNEED")
        files.append(Field(entry + 4, file))
        seen += count
        names += _chain(image, entry + auxiliary, count, seen, "8xII")
        if not following:
            break
        entry += following
    return files, names


def _definitions(image: Image, tags: Mapping[int, int]) -> set[int]:
    """Return the offsets of the names of versions that are defined, and of their parents."""
    names: set[int] = set()
    if DT_VERDEF not in tags:
        return names
    entry = image.locate(tags[DT_VERDEF], 20, "DT_VERDEF")
    seen = 0
    for _ in range(min(tags.get(DT_VERDEFNUM, 0), MAX_VERSIONS)):
        count, auxiliary, following = image.record("6xH4xII", entry, "DT_VERDEF")
        seen += count
        names.update(_chain(image, entry + auxiliary, count, seen, "II"))
        if not following:
            break
        entry += following
    return names


def _chain(image: Image, entry: int, count: int, seen: int, layout: str) -> Iterator[int]:
    """Yield the names of *count* auxiliary records, each of which says how far the next one is.

    *seen* is how many there are so far with these: entries may share their records, so that each alone is short.
    """
    if seen > MAX_VERSIONS:
        raise image.bad(f"broken symbol versions: more than {MAX_VERSIONS}")
    for _ in range(count):
        name, following = image.record(layout, entry, "a symbol version")
        yield name
        if not following:
            return
        entry += following
