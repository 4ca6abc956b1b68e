"""The anchor: an ELF library without code whose only purpose is its ``DT_NEEDED`` entries.

Opening it loads what it names, by name. That is what musl needs (there a library that was opened by path does not
satisfy a later ``DT_NEEDED``) and what glibc is content with, also for libraries without ``DT_SONAME``. A stub is the
same thing with other names: ``DT_SONAME`` a soname of ours, ``DT_NEEDED`` the system's.

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

_ET_DYN, _PT_LOAD, _PT_DYNAMIC, _RW = 3, 1, 2, 6
# Without this header glibc takes the file for an old one that wants an executable stack, and makes the process's so.
_PT_GNU_STACK = 0x6474E551
_SHT_STRTAB, _SHT_HASH, _SHT_DYNAMIC, _SHT_DYNSYM, _SHT_GNU_HASH = 3, 5, 6, 11, 0x6FFFFFF6
_SHF_WRITE, _SHF_ALLOC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_HASH, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 0, 1, 4, 5, 6, 10, 11, 14
_DT_GNU_HASH = 0x6FFFFEF5
_RUN_PATH_TAGS = {"rpath": 15, "runpath": 29}


class _Target(NamedTuple):
    """What a loader checks beside the machine."""

    e_flags: int
    """Flags of the processor ABI; a loader refuses some wrong ones."""
    page: int
    """Largest page size that kernels for the architecture use, in bytes: a smaller alignment would not load there."""


_TARGETS = {
    MACHINES["x86_64"]: _Target(0, 0x1000),
    MACHINES["i686"]: _Target(0, 0x1000),
    MACHINES["aarch64"]: _Target(0, 0x10000),
    MACHINES["armv7l"]: _Target(0x05000000, 0x10000),  # EF_ARM_EABI_VER5; without a float ABI it suits both
    MACHINES["ppc64le"]: _Target(2, 0x10000),  # ELFv2 ABI
    MACHINES["s390x"]: _Target(0, 0x1000),
    MACHINES["riscv64"]: _Target(5, 0x1000),  # EF_RISCV_RVC, EF_RISCV_FLOAT_ABI_DOUBLE
    MACHINES["loongarch64"]: _Target(0x43, 0x10000),  # object ABI 1, double-precision floats
}


class _Section(NamedTuple):
    name: str
    kind: int
    content: bytes
    flags: int = _SHF_ALLOC
    link: str = ""
    entry: int = 0


def build_anchor(
    machine: Machine,
    *,
    soname: str,
    needed: Sequence[str],
    run_path: Sequence[str] = ("$ORIGIN",),
    run_path_tag: str = "rpath",
) -> bytes:
    """Return the content of an anchor (or stub) for *machine*; the same arguments give the same bytes.

    *needed* is loaded in this order, searched in *run_path* (``()`` for none), which is written as ``DT_RPATH`` or,
    with *run_path_tag* ``runpath``, as ``DT_RUNPATH``. Raises ``WriteError`` for a machine without a row in the table
    and for names that an ELF string cannot hold.
    """
    if machine not in _TARGETS:
        known = ", ".join(target.architecture for target in _TARGETS)
        message = f"No anchor can be made for {machine.architecture} ({machine.bits} bits)."
        raise WriteError.of(Code.WRONG_ARCHITECTURE, soname, message, f"The known architectures are {known}.")
    if run_path_tag not in _RUN_PATH_TAGS:
        raise WriteError.of(
            Code.WRITE_FAILED, soname, f"There is no run path tag {run_path_tag!r}.", "Use rpath or runpath."
        )
    names, offsets = _string_table([soname, *needed, *([":".join(run_path)] if run_path else [])], soname)
    tags = [*((_DT_NEEDED, offset) for offset in offsets[1 : 1 + len(needed)]), (_DT_SONAME, offsets[0])]
    if run_path:
        tags.append((_RUN_PATH_TAGS[run_path_tag], offsets[-1]))
    return _assemble(machine, _TARGETS[machine], _sections(machine, names), tags)


def _string_table(names: Sequence[str], where: str) -> tuple[bytes, list[int]]:
    """Return a string table with *names*, and the offset of each."""
    table, offsets = b"\0", []
    for name in names:
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            encoded = b""
        if not encoded or b"\0" in encoded:
            raise WriteError.of(Code.WRITE_FAILED, where, f"{name!r} cannot be written as a name in an ELF file.")
        offsets.append(len(table))
        table += encoded + b"\0"
    return table, offsets


def _sections(machine: Machine, names: bytes) -> list[_Section]:
    """Return what is mapped, without the dynamic table: one null symbol, hash tables without an entry, and *names*."""
    order, wide = _order(machine), machine.bits == 64
    # One bucket, first symbol 1, one bloom word of 0, which no symbol passes: as binutils writes an empty table.
    gnu_hash = struct.pack(f"{order}IIII{'Q' if wide else 'I'}I", 1, 1, 1, 0, 0, 0)
    # One empty bucket and one chain entry, the null symbol's.
    sysv_hash = struct.pack(f"{order}IIII", 1, 1, 0, 0)
    symbol = 24 if wide else 16
    sections = [
        _Section(".gnu.hash", _SHT_GNU_HASH, gnu_hash, link=".dynsym"),
        _Section(".hash", _SHT_HASH, sysv_hash, link=".dynsym", entry=4),
        _Section(".dynsym", _SHT_DYNSYM, bytes(symbol), link=".dynstr", entry=symbol),
        _Section(".dynstr", _SHT_STRTAB, names),
    ]
    # The s390x ABI has 64-bit words in DT_HASH, and tools that do not know it; DT_GNU_HASH is enough there.
    return [s for s in sections if not (s.name == ".hash" and machine == MACHINES["s390x"])]


def _assemble(machine: Machine, target: _Target, sections: list[_Section], tags: list[tuple[int, int]]) -> bytes:
    """Return the file: headers, *sections*, the dynamic table, section headers.

    One readable and writable segment from the first byte on, so that each address is its file offset. Loaders write
    into the dynamic table (``DT_DEBUG``, and glibc relocates its addresses in place), hence writable.
    """
    order, wide = _order(machine), machine.bits == 64
    word, header_size, entry_size = (8, 64, 56) if wide else (4, 52, 32)
    blob, at = bytearray(header_size + 3 * entry_size), dict[str, int]()
    for section in sections:
        at[section.name] = _append(blob, section.content, word)
    tags = [*tags, *_table_tags(sections, at), (_DT_NULL, 0)]
    table = b"".join(struct.pack(f"{order}{'QQ' if wide else 'II'}", *tag) for tag in tags)
    dynamic = _Section(".dynamic", _SHT_DYNAMIC, table, _SHF_ALLOC | _SHF_WRITE, ".dynstr", 2 * word)
    at[dynamic.name] = _append(blob, table, word)
    end = len(blob)
    all_names = [s.name for s in sections] + [".dynamic", ".shstrtab"]
    name_table, name_offsets = _string_table(all_names, "section names")
    everything = [*sections, dynamic, _Section(".shstrtab", _SHT_STRTAB, name_table, flags=0)]
    at[".shstrtab"] = _append(blob, name_table, 1)
    headers = _section_headers(order, wide, everything, at, name_offsets)
    section_headers = _append(blob, headers, word)

    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if machine.little_endian else 2, 1]) + bytes(9)
    fields = (_ET_DYN, machine.e_machine, 1, 0, header_size, section_headers, target.e_flags, header_size)
    counts = (entry_size, 3, 64 if wide else 40, len(everything) + 1, len(everything))
    segments = [
        (_PT_LOAD, 0, end, target.page),
        (_PT_DYNAMIC, at[".dynamic"], len(table), word),
        (_PT_GNU_STACK, 0, 0, 16),
    ]
    head = ident + struct.pack(f"{order}{'HHIQQQIH5H' if wide else 'HHIIIIIH5H'}", *fields, *counts)
    blob[: header_size + 3 * entry_size] = head + b"".join(_program_header(order, wide, s) for s in segments)
    return bytes(blob)


def _append(blob: bytearray, content: bytes, alignment: int) -> int:
    """Append *content* to *blob* at the next multiple of *alignment*, and return its offset."""
    blob.extend(bytes(-len(blob) % alignment))
    offset = len(blob)
    blob.extend(content)
    return offset


def _table_tags(sections: list[_Section], at: Mapping[str, int]) -> list[tuple[int, int]]:
    sizes = {s.name: len(s.content) for s in sections}
    addresses = {".gnu.hash": _DT_GNU_HASH, ".hash": _DT_HASH, ".dynsym": _DT_SYMTAB, ".dynstr": _DT_STRTAB}
    return [
        *((addresses[s.name], at[s.name]) for s in sections),
        (_DT_STRSZ, sizes[".dynstr"]),
        (_DT_SYMENT, sizes[".dynsym"]),
    ]


def _program_header(order: str, wide: bool, segment: tuple[int, int, int, int]) -> bytes:
    kind, offset, size, alignment = segment
    if wide:
        return struct.pack(f"{order}II6Q", kind, _RW, offset, offset, offset, size, size, alignment)
    return struct.pack(f"{order}8I", kind, offset, offset, offset, size, size, _RW, alignment)


def _section_headers(
    order: str, wide: bool, sections: list[_Section], at: Mapping[str, int], name_offsets: list[int]
) -> bytes:
    """Return the section header table; its first entry is empty."""
    layout = f"{order}{'IIQQQQIIQQ' if wide else '10I'}"
    word = 8 if wide else 4
    indices = {s.name: index for index, s in enumerate(sections, 1)}
    rows = [bytes(struct.calcsize(layout))]
    for section, name in zip(sections, name_offsets, strict=True):
        offset = at[section.name]
        address = offset if section.flags else 0
        info = 1 if section.kind == _SHT_DYNSYM else 0  # index of the first symbol that is not local
        alignment = 1 if section.kind == _SHT_STRTAB else word
        row = (name, section.kind, section.flags, address, offset, len(section.content))
        rows.append(struct.pack(layout, *row, indices.get(section.link, 0), info, alignment, section.entry))
    return b"".join(rows)


def _order(machine: Machine) -> str:
    return "<" if machine.little_endian else ">"
