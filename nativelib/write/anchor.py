"""The anchor: an ELF library without code whose only purpose is its ``DT_NEEDED`` entries.

Opening it loads what it names, by name. That is what musl needs (there a library that was opened by path does not
satisfy a later ``DT_NEEDED``) and what glibc is content with, also for libraries without ``DT_SONAME``. A stub is the
same thing with other names: ``DT_SONAME`` a soname of ours, ``DT_NEEDED`` the system's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nativelib.errors import WriteError
from nativelib.facts.elf import MACHINES
from nativelib.findings import Code
from nativelib.write.elf_layout import (
    DT_GNU_HASH,
    DT_HASH,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMENT,
    DT_SYMTAB,
    PF_R,
    PF_W,
    PT_DYNAMIC,
    PT_GNU_STACK,
    PT_LOAD,
    SHF_ALLOC,
    SHF_WRITE,
    SHT_DYNAMIC,
    SHT_DYNSYM,
    SHT_GNU_HASH,
    SHT_HASH,
    SHT_STRTAB,
    TARGETS,
    Section,
    Segment,
    append,
    dynamic_names,
    dynamic_table,
    finished,
    header_sizes,
    order_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import Machine


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
    if machine not in TARGETS:
        known = ", ".join(target.architecture for target in TARGETS)
        message = f"No anchor can be made for {machine.architecture} ({machine.bits} bits)."
        raise WriteError.of(Code.WRONG_ARCHITECTURE, soname, message, f"The known architectures are {known}.")
    names, tags, _ = dynamic_names(soname, needed, run_path, run_path_tag)
    return _assemble(machine, _sections(machine, names), tags)


def _sections(machine: Machine, names: bytes) -> list[Section]:
    """Return what is mapped, without the dynamic table: one null symbol, hash tables without an entry, and *names*."""
    order, wide = order_of(machine), machine.bits == 64
    # One bucket, first symbol 1, one bloom word of 0, which no symbol passes: as binutils writes an empty table.
    gnu_hash = struct.pack(f"{order}IIII{'Q' if wide else 'I'}I", 1, 1, 1, 0, 0, 0)
    # One empty bucket and one chain entry, the null symbol's.
    sysv_hash = struct.pack(f"{order}IIII", 1, 1, 0, 0)
    symbol = 24 if wide else 16
    sections = [
        Section(".gnu.hash", SHT_GNU_HASH, gnu_hash, link=".dynsym"),
        Section(".hash", SHT_HASH, sysv_hash, link=".dynsym", entry=4),
        Section(".dynsym", SHT_DYNSYM, bytes(symbol), link=".dynstr", entry=symbol, info=1),
        Section(".dynstr", SHT_STRTAB, names),
    ]
    # The s390x ABI has 64-bit words in DT_HASH, and tools that do not know it; DT_GNU_HASH is enough there.
    return [s for s in sections if not (s.name == ".hash" and machine == MACHINES["s390x"])]


def _assemble(machine: Machine, sections: list[Section], tags: list[tuple[int, int]]) -> bytes:
    """Return the file: headers, *sections*, the dynamic table, section headers.

    One readable and writable segment from the first byte on, so that each address is its file offset. Loaders write
    into the dynamic table (``DT_DEBUG``, and glibc relocates its addresses in place), hence writable.
    """
    word = machine.bits // 8
    header_size, entry_size = header_sizes(machine)
    blob, at = bytearray(header_size + 3 * entry_size), dict[str, int]()
    for section in sections:
        at[section.name] = append(blob, section.content, word)
    table = dynamic_table(machine, [*tags, *_table_tags(sections, at)])
    dynamic = Section(".dynamic", SHT_DYNAMIC, table, SHF_ALLOC | SHF_WRITE, ".dynstr", 2 * word)
    at[dynamic.name] = append(blob, table, word)
    segments = [
        Segment(PT_LOAD, PF_R | PF_W, 0, len(blob), TARGETS[machine].page),
        Segment(PT_DYNAMIC, PF_R | PF_W, at[".dynamic"], len(table), word),
        Segment(PT_GNU_STACK, PF_R | PF_W, 0, 0, 16),
    ]
    return finished(machine, blob, [*sections, dynamic], at, segments)


def _table_tags(sections: list[Section], at: Mapping[str, int]) -> list[tuple[int, int]]:
    sizes = {s.name: len(s.content) for s in sections}
    addresses = {".gnu.hash": DT_GNU_HASH, ".hash": DT_HASH, ".dynsym": DT_SYMTAB, ".dynstr": DT_STRTAB}
    return [
        *((addresses[s.name], at[s.name]) for s in sections),
        (DT_STRSZ, sizes[".dynstr"]),
        (DT_SYMENT, sizes[".dynsym"]),
    ]
