"""The parts of an ELF file that we write ourselves: string table, headers, and sections one after another.

Layouts and numbers without another source are those of the generic ABI (System V ABI, chapters 4 and 5).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from nativelib.errors import WriteError
from nativelib.facts.elf import MACHINES
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import Machine

PT_LOAD, PT_DYNAMIC, PT_NOTE = 1, 2, 4
# Without PT_GNU_STACK glibc takes the file for an old one that wants an executable stack, and makes the process's so.
PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY = 0x6474E551, 0x6474E552, 0x6474E553
PF_X, PF_W, PF_R = 1, 2, 4
SHT_PROGBITS, SHT_STRTAB, SHT_RELA, SHT_HASH, SHT_DYNAMIC, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 1, 3, 4, 5, 6, 7, 8, 11
SHT_GNU_HASH = 0x6FFFFFF6
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
DT_NULL, DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_RELASZ, DT_RELAENT = 0, 1, 4, 5, 6, 7, 8, 9
DT_STRSZ, DT_SYMENT, DT_SONAME, DT_FLAGS, DT_GNU_HASH, DT_FLAGS_1 = 10, 11, 14, 30, 0x6FFFFEF5, 0x6FFFFFFB

_ET_DYN = 3
_RUN_PATH_TAGS = {"rpath": 15, "runpath": 29}


class Target(NamedTuple):
    """What a loader checks beside the machine."""

    e_flags: int
    """Flags of the processor ABI; a loader refuses some wrong ones."""
    page: int
    """Largest page size that kernels for the architecture use, in bytes: a smaller alignment would not load there."""


TARGETS = {
    MACHINES["x86_64"]: Target(0, 0x1000),
    MACHINES["i686"]: Target(0, 0x1000),
    MACHINES["aarch64"]: Target(0, 0x10000),
    MACHINES["armv7l"]: Target(0x05000000, 0x10000),  # EF_ARM_EABI_VER5; without a float ABI it suits both
    MACHINES["ppc64le"]: Target(2, 0x10000),  # ELFv2 ABI
    MACHINES["s390x"]: Target(0, 0x1000),
    MACHINES["riscv64"]: Target(5, 0x1000),  # EF_RISCV_RVC, EF_RISCV_FLOAT_ABI_DOUBLE
    MACHINES["loongarch64"]: Target(0x43, 0x10000),  # object ABI 1, double-precision floats
}


class Section(NamedTuple):
    """One section."""

    name: str
    kind: int
    content: bytes
    flags: int = SHF_ALLOC
    link: str = ""
    """Name of the section that it refers to."""
    entry: int = 0
    """Bytes of one entry, in a table."""
    info: int = 0
    alignment: int = 0
    """0 means a word, or 1 for strings."""
    shift: int = 0
    """Address in memory, less the offset in the file."""
    room: int = 0
    """Bytes that it has in memory alone (``SHT_NOBITS``)."""


class Segment(NamedTuple):
    """One program header."""

    kind: int
    flags: int
    offset: int
    size: int
    alignment: int
    shift: int = 0
    """As of a section."""
    room: int = 0
    """Bytes in memory behind those of the file."""


def order_of(machine: Machine) -> str:
    """Return the byte order as the struct module writes it."""
    return "<" if machine.little_endian else ">"


def string_table(names: Sequence[str], where: str) -> tuple[bytes, list[int]]:
    """Return a string table with *names*, and the offset of each. Raises WriteError about *where*."""
    table, offsets = bytearray(1), []
    for name in names:
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            encoded = b""
        if not encoded or b"\0" in encoded:
            raise WriteError.of(Code.WRITE_FAILED, where, f"{name!r} cannot be written as a name in an ELF file.")
        offsets.append(len(table))
        table += encoded + b"\0"
    return bytes(table), offsets


def dynamic_names(
    soname: str, needed: Sequence[str], run_path: Sequence[str], run_path_tag: str, others: Sequence[str] = ()
) -> tuple[bytes, list[tuple[int, int]], list[int]]:
    """Return ``.dynstr`` with all names, the tags of the dynamic table that use it, and the offsets of the *others*.

    Raises WriteError for names that an ELF string cannot hold, and for a run path tag that is none.
    """
    if run_path_tag not in _RUN_PATH_TAGS:
        raise WriteError.of(
            Code.WRITE_FAILED, soname, f"There is no run path tag {run_path_tag!r}.", "Use rpath or runpath."
        )
    paths = [":".join(run_path)] if run_path else []
    table, offsets = string_table([soname, *needed, *paths, *others], soname)
    behind = 1 + len(needed)
    tags = [*((DT_NEEDED, offset) for offset in offsets[1:behind]), (DT_SONAME, offsets[0])]
    tags += [(_RUN_PATH_TAGS[run_path_tag], offset) for offset in offsets[behind : behind + len(paths)]]
    return table, tags, offsets[behind + len(paths) :]


def dynamic_table(machine: Machine, tags: Sequence[tuple[int, int]]) -> bytes:
    """Return the content of ``.dynamic``; its end is added."""
    layout = f"{order_of(machine)}{'QQ' if machine.bits == 64 else 'II'}"
    return b"".join(struct.pack(layout, *tag) for tag in (*tags, (DT_NULL, 0)))


def header_sizes(machine: Machine) -> tuple[int, int]:
    """Return the bytes of the ELF header, and of one program header."""
    return (64, 56) if machine.bits == 64 else (52, 32)


def append(blob: bytearray, content: bytes, alignment: int) -> int:
    """Append *content* to *blob* at the next multiple of *alignment*, and return its offset."""
    blob.extend(bytes(-len(blob) % alignment))
    offset = len(blob)
    blob.extend(content)
    return offset


def finished(
    machine: Machine, blob: bytearray, sections: Sequence[Section], at: Mapping[str, int], segments: Sequence[Segment]
) -> bytes:
    """Return the whole file: *blob*, which begins with room for the headers, their content, and section headers.

    *at* has the file offset of each of *sections*.
    """
    order, wide = order_of(machine), machine.bits == 64
    header_size, entry_size = header_sizes(machine)
    names, name_offsets = string_table([*(s.name for s in sections), ".shstrtab"], "section names")
    everything = [*sections, Section(".shstrtab", SHT_STRTAB, names, flags=0)]
    at = {**at, ".shstrtab": append(blob, names, 1)}
    headers = append(blob, _section_headers(machine, everything, at, name_offsets), 8 if wide else 4)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if machine.little_endian else 2, 1]) + bytes(9)
    fields = (_ET_DYN, machine.e_machine, 1, 0, header_size, headers, TARGETS[machine].e_flags, header_size)
    counts = (entry_size, len(segments), 64 if wide else 40, len(everything) + 1, len(everything))
    head = ident + struct.pack(f"{order}{'HHIQQQIH5H' if wide else 'HHIIIIIH5H'}", *fields, *counts)
    head += b"".join(_program_header(order, wide, segment) for segment in segments)
    blob[: len(head)] = head
    return bytes(blob)


def _program_header(order: str, wide: bool, segment: Segment) -> bytes:
    kind, flags, offset, size, alignment, shift, room = segment
    places = (offset, offset + shift, offset + shift, size, size + room)
    if wide:
        return struct.pack(f"{order}II6Q", kind, flags, *places, alignment)
    return struct.pack(f"{order}8I", kind, *places, flags, alignment)


def _section_headers(
    machine: Machine, sections: Sequence[Section], at: Mapping[str, int], name_offsets: Sequence[int]
) -> bytes:
    """Return the section header table; its first entry is empty."""
    layout = f"{order_of(machine)}{'IIQQQQIIQQ' if machine.bits == 64 else '10I'}"
    indices = {section.name: index for index, section in enumerate(sections, 1)}
    rows = [bytes(struct.calcsize(layout))]
    for section, name in zip(sections, name_offsets, strict=True):
        offset = at[section.name]
        address = offset + section.shift if section.flags else 0
        alignment = section.alignment or (1 if section.kind == SHT_STRTAB else machine.bits // 8)
        size = len(section.content) + section.room
        row = (name, section.kind, section.flags, address, offset, size)
        rows.append(struct.pack(layout, *row, indices.get(section.link, 0), section.info, alignment, section.entry))
    return b"".join(rows)
