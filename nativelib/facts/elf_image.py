"""Checked access to the bytes of an ELF file: every offset, count and string length is compared with what is there.

Nothing that a file says about itself is believed before it is compared with the file's size, so that arbitrary bytes
cost at most a time and a memory proportional to their number.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from nativelib.errors import NativelibError, ReadError
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Linkers merge strings with equal ends, so that the names of a file can be longer than its string table, by little.
# Without a limit a table of N bytes without a NUL has N names of N/2 bytes on average.
_NAME_BYTES_PER_TABLE_BYTE = 8
_MOST_NAME_BYTES = 256 << 20
PATH_MAX = 4096
"""Bytes of the longest path that open(2) takes."""


class Bytes(Protocol):
    """Bytes in memory or in a mapped file."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, key: slice, /) -> bytes | memoryview:
        """Return some of them."""


class Segment(NamedTuple):
    """The part of a program header that a reader needs."""

    kind: int
    """``p_type``."""
    offset: int
    """``p_offset``."""
    address: int
    """``p_vaddr``."""
    size: int
    """``p_filesz``, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The bytes of one file, with the word size and byte order that its header declares."""

    data: Bytes
    """The whole file."""
    where: str
    """What findings call the file."""
    bits: int
    """32 or 64."""
    order: str
    """``<`` or ``>``, as the struct module writes byte orders."""
    loads: tuple[Segment, ...] = ()
    """``PT_LOAD`` segments: what a loader maps."""

    def bad(self, message: str) -> NativelibError:
        """Return the error that says that the file is broken."""
        return bad_elf(self.where, message)

    def by_class(self, elf32: str, elf64: str) -> str:
        """Return the struct format for the file's word size."""
        return elf64 if self.bits == 64 else elf32

    def check(self, offset: int, size: int, what: str) -> None:
        """Raise ``ReadError`` if the *size* bytes at file offset *offset* are not all in the file."""
        if offset + size > len(self.data):
            raise self.bad(f"truncated: {what} ends at byte {offset + size}, the file has {len(self.data)} bytes")

    def take(self, offset: int, size: int, what: str) -> bytes | memoryview:
        """Return *size* bytes at file offset *offset*; ``ReadError`` if they are not all in the file."""
        self.check(offset, size, what)
        return self.data[offset : offset + size]

    def record(self, layout: str, offset: int, what: str) -> tuple[Any, ...]:
        """Return the record of struct format *layout* at file offset *offset*."""
        layout = self.order + layout
        return struct.unpack(layout, self.take(offset, struct.calcsize(layout), what))

    def table(self, layout: str, offset: int, count: int, what: str) -> Iterator[tuple[Any, ...]]:
        """Return the *count* records of struct format *layout* from file offset *offset* on."""
        layout = self.order + layout
        return struct.iter_unpack(layout, self.take(offset, struct.calcsize(layout) * count, what))

    def locate(self, address: int, size: int, what: str) -> int:
        """Return the file offset of the *size* bytes that a loader maps at *address*."""
        for load in self.loads:
            if load.address <= address and address + size <= load.address + load.size:
                return load.offset + address - load.address
        raise self.bad(f"broken dynamic table: {what} (address {address:#x}, {size} bytes) is in no PT_LOAD segment")


class Strings:
    """A string table. Names that are not UTF-8 get hex escapes: they print everywhere, and match no real name."""

    def __init__(self, image: Image, table: bytes) -> None:
        """Take the bytes of the table."""
        self._image = image
        self.table = table
        self._left = min(_NAME_BYTES_PER_TABLE_BYTE * len(table), _MOST_NAME_BYTES)

    def at(self, offset: int, most: int = _MOST_NAME_BYTES) -> str:
        """Return the string at *offset*; ``ReadError`` if it is not within the table, or longer than *most* bytes."""
        end = self.table.find(b"\0", offset)
        if end < 0:
            raise self._image.bad(f"broken string table: no string ends after its byte {offset}")
        self._left -= end - offset
        if self._left < 0:
            raise self._image.bad("broken string table: its strings overlap far more than a linker makes them")
        if end - offset > most:
            raise self._image.bad(f"a name of {end - offset} bytes, where {most} are the most that can be meant")
        return self.table[offset:end].decode(errors="backslashreplace")

    def path_at(self, offset: int, count: int = 1) -> str:
        """Return the string at *offset* as :meth:`at`, where it is a path or a list of at most *count* paths."""
        return self.at(offset, count * PATH_MAX)


def bad_elf(where: str, message: str) -> NativelibError:
    """Return the error that says that the file called *where* is not a sound ELF file."""
    return ReadError.of(
        Code.BAD_ELF,
        where,
        f"It is not a sound ELF file: {message}.",
        "Get an undamaged copy of the file, or build it again.",
    )
