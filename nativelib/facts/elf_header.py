"""The parts of an ELF file that reading and editing it begin with: header, segments, the entries of the dynamic table.

Layouts follow the generic ABI ("gABI", System V Application Binary Interface, chapters 4 and 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nativelib.facts.elf import Machine
from nativelib.facts.elf_image import Image, Segment, bad_elf

if TYPE_CHECKING:
    from nativelib.facts.elf_image import Bytes

ELF_MAGIC = b"\x7fELF"
PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 14, 15, 29
_SHT_DYNSYM = 11
# What a file of a few compressed kilobytes may cost; real files have about ten segments, and fifty entries.
_MAX_SEGMENTS = 4096
_MAX_ENTRIES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the ELF header and the header tables say."""

    machine: Machine
    """Machine, word size and byte order."""
    e_type: int
    """``e_type``."""
    e_flags: int
    """Processor flags."""
    segments: tuple[Segment, ...]
    """All segments, in file order."""
    sections: bool
    """Whether there are section headers, all of them within the file."""
    dynsym_size: int | None
    """Size in bytes of the ``SHT_DYNSYM`` section, ``None`` without one."""

    def of_kind(self, kind: int) -> tuple[Segment, ...]:
        """Return the segments of type *kind*."""
        return tuple(s for s in self.segments if s.kind == kind)


def read_header(data: Bytes, where: str) -> tuple[Image, Header]:
    """Return the file with the content *data*, which findings call *where*, as an image, and what its header says.

    Raises ``ReadError`` (``BAD_ELF``) if a loader could not use them.
    """
    if bytes(data[:4]) != ELF_MAGIC:
        raise bad_elf(where, "it does not begin with the magic number")
    ident = bytes(data[:16])
    if len(ident) < 16:
        raise bad_elf(where, f"truncated: the ELF header has 52 bytes or more, the file has {len(ident)} bytes")
    if ident[4] not in (1, 2) or ident[5] not in (1, 2):  # EI_CLASS, EI_DATA
        raise bad_elf(where, f"unknown ELF class {ident[4]} or byte order {ident[5]}")
    image = Image(data=data, where=where, bits=32 * ident[4], order="<" if ident[5] == 1 else ">")
    fields = image.record(image.by_class("HHIIIIIHHHHHH", "HHIQQQIHHHHHH"), 16, "the ELF header")
    e_type, e_machine, _, _, phoff, shoff, e_flags, _, phentsize, phnum, shentsize, shnum, _ = fields
    segments = _segments(image, phoff, phentsize, phnum)
    image = replace(image, loads=tuple(s for s in segments if s.kind == PT_LOAD))
    for load in image.loads:
        image.check(load.offset, load.size, "a PT_LOAD segment")
    # e_shnum is 0 where there are 65280 sections or more (gABI); even then there is a first one.
    whole = shoff and shentsize == (64 if image.bits == 64 else 40) and shoff + shentsize * (shnum or 1) <= len(data)
    header = Header(
        machine=Machine(e_machine, image.bits, image.order == "<"),
        e_type=e_type,
        e_flags=e_flags,
        segments=segments,
        sections=bool(whole),
        dynsym_size=_dynsym_size(image, shoff, shnum) if whole else None,
    )
    return image, header


def _segments(image: Image, offset: int, entry_size: int, count: int) -> tuple[Segment, ...]:
    if count and entry_size != (56 if image.bits == 64 else 32):
        raise image.bad(f"program headers of {entry_size} bytes; loaders refuse them")
    if image.bits == 64:
        rows = image.table("I4xQQ8xQ16x", offset, count, "the program header table")
    else:
        rows = image.table("III4xI12x", offset, count, "the program header table")
    if count > _MAX_SEGMENTS:
        raise image.bad(f"{count} program headers; more than {_MAX_SEGMENTS} are refused")
    return tuple(Segment(*row) for row in rows)


def _dynsym_size(image: Image, offset: int, count: int) -> int | None:
    """Return the size in bytes of the ``SHT_DYNSYM`` section, or ``None`` without one."""
    layout = image.by_class("4xI12xI16x", "4xI24xQ24x")
    rows = image.table(layout, offset, count, "the section header table")
    return next((size for kind, size in rows if kind == _SHT_DYNSYM), None)


def dynamic_entries(image: Image, segment: Segment) -> list[tuple[int, int]]:
    """Return tag and value of each entry of the dynamic table in *segment*, without the ``DT_NULL`` that ends it."""
    size = 16 if image.bits == 64 else 8
    offset = image.locate(segment.address, segment.size, "PT_DYNAMIC")
    entries: list[tuple[int, int]] = []
    count = min(segment.size // size, _MAX_ENTRIES)
    for tag, value in image.table(image.by_class("II", "QQ"), offset, count, "PT_DYNAMIC"):
        if tag == DT_NULL:
            return entries
        entries.append((tag, value))
    raise image.bad(f"broken dynamic table: it does not end with DT_NULL ({count} entries)")
