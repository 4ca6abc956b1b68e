"""The adapter: a shared library whose functions jump to functions of another library that have other names.

Each function is one jump through a slot that the loader fills before any code runs. A jump touches neither arguments
nor stack, so that whatever the calling convention does (Fortran's hidden lengths of strings, structures that are
returned, variable arguments) passes through it.

Code and relocations: x86-64 psABI and AArch64 psABI; notes: "Linux Extensions to gABI"; ``.gnu.hash``: binutils.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from nativelib.errors import WriteError
from nativelib.facts.elf import MACHINES
from nativelib.findings import Code
from nativelib.write.elf_layout import (
    DT_FLAGS,
    DT_FLAGS_1,
    DT_GNU_HASH,
    DT_RELA,
    DT_RELAENT,
    DT_RELASZ,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMENT,
    DT_SYMTAB,
    PF_R,
    PF_W,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_PROPERTY,
    PT_GNU_RELRO,
    PT_GNU_STACK,
    PT_LOAD,
    PT_NOTE,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_WRITE,
    SHT_DYNAMIC,
    SHT_DYNSYM,
    SHT_GNU_HASH,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_PROGBITS,
    SHT_RELA,
    SHT_STRTAB,
    TARGETS,
    Section,
    Segment,
    append,
    dynamic_names,
    dynamic_table,
    finished,
    header_sizes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nativelib.facts.elf import Machine

_STUB = 16
"""Bytes of one function: code, and its alignment."""
_SYMBOL, _RELA, _WORD = 24, 24, 8  # Elf64_Sym, Elf64_Rela
_GLOBAL_FUNCTION = 1 << 4 | 2  # STB_GLOBAL, STT_FUNC
_SEGMENTS, _TABLE_TAGS = 8, 10
"""Program headers, and tags of the dynamic table beside names."""


class _Kind(NamedTuple):
    """What an adapter for one machine is made of."""

    stub: Callable[[int, int], bytes]
    """Address of the function and of its slot, to its code."""
    relocation: int
    """``R_*_GLOB_DAT``: the loader writes a symbol's address."""
    property: tuple[int, int]
    """``GNU_PROPERTY_*_FEATURE_1_AND`` and its bits: jumps that are checked for where they land find a mark here."""


def _stub_x86_64(address: int, slot: int) -> bytes:
    # endbr64; jmp *slot(%rip); filled up with int3
    return b"\xf3\x0f\x1e\xfa\xff\x25" + struct.pack("<i", slot - (address + 10)) + b"\xcc" * 6


def _stub_aarch64(address: int, slot: int) -> bytes:
    # bti c; adrp x16, slot; ldr x17, [x16, slot's low 12 bits]; br x17. From there a branch may land on "bti c".
    pages = (slot >> 12) - (address >> 12)
    adrp = 0x90000010 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
    load = 0xF9400211 | (slot & 0xFFF) >> 3 << 10
    return struct.pack("<IIII", 0xD503245F, adrp, load, 0xD61F0220)


_KINDS = {
    MACHINES["x86_64"]: _Kind(_stub_x86_64, 6, (0xC0000002, 3)),  # indirect branches, shadow stack
    MACHINES["aarch64"]: _Kind(_stub_aarch64, 1025, (0xC0000000, 3)),  # BTI, PAC
}


def build_adapter(
    machine: Machine,
    *,
    soname: str,
    needed: Sequence[str],
    forwards: Sequence[tuple[str, str]],
    run_path: Sequence[str] = ("$ORIGIN",),
    run_path_tag: str = "rpath",
) -> bytes:
    """Return the content of an adapter for *machine*; the same arguments give the same bytes.

    *forwards* are pairs of a function's name and of the name that it jumps to, in the libraries *needed*; at least
    one, and no name may stand on both sides: it would be found here instead of there. The other arguments are those of
    an anchor. Raises ``WriteError`` for another machine, and for names that an ELF string cannot hold.
    """
    if machine not in _KINDS:
        known = ", ".join(kind.architecture for kind in _KINDS)
        message = f"No adapter can be made for {machine.architecture} ({machine.bits} bits)."
        raise WriteError.of(Code.WRONG_ARCHITECTURE, soname, message, f"The known architectures are {known}.")
    kind, page = _KINDS[machine], TARGETS[machine].page
    targets = sorted({target for _, target in forwards})
    hashes, forwards = _hash_table(forwards, 1 + len(targets))
    names, tags, offsets = dynamic_names(
        soname, needed, run_path, run_path_tag, [*targets, *(name for name, _ in forwards)]
    )
    empty = _sections(kind, names, hashes, len(targets), len(forwards), len(tags), page)
    _, at = _laid_out(machine, empty)
    address = {section.name: at[section.name] + section.shift for section in empty}
    slots = {target: address[".got"] + index * _WORD for index, target in enumerate(targets)}
    filled = {
        ".dynsym": _symbols(offsets, len(targets), address[".text"], [s.name for s in empty].index(".text") + 1),
        ".rela.dyn": b"".join(
            struct.pack("<QQq", slots[target], index << 32 | kind.relocation, 0)
            for index, target in enumerate(targets, 1)
        ),
        ".text": b"".join(
            kind.stub(address[".text"] + index * _STUB, slots[target]) for index, (_, target) in enumerate(forwards)
        ),
        ".dynamic": dynamic_table(machine, [*tags, *_table_tags(address, len(names), len(targets))]),
    }
    sections = [section._replace(content=filled.get(section.name, section.content)) for section in empty]
    blob, _ = _laid_out(machine, sections)
    # The last page of what the loader writes is whole, for only whole pages can be made read-only afterwards. The name
    # is the one that linkers give to zeros of this kind.
    behind = len(blob) + 2 * page
    padding = Section(
        ".bss.rel.ro", SHT_NOBITS, b"", SHF_ALLOC | SHF_WRITE, alignment=1, shift=2 * page, room=-behind % page
    )
    at[padding.name] = len(blob)
    sections.append(padding)
    return finished(machine, blob, sections, at, _segments(sections, at, page))


def _sections(
    kind: _Kind, names: bytes, hashes: bytes, targets: int, functions: int, tags: int, page: int
) -> list[Section]:
    """Return the sections, with zeros where addresses will stand.

    What is read, what is run, and what the loader writes are three segments. They follow each other in the file and are
    a page further apart in memory each: no page of memory belongs to two, and the file has no gaps.
    """
    symbols, table = bytes((1 + targets + functions) * _SYMBOL), bytes((tags + _TABLE_TAGS + 1) * 2 * _WORD)
    code, data, writable = SHF_ALLOC | SHF_EXECINSTR, 2 * page, SHF_ALLOC | SHF_WRITE
    return [
        Section(".note.gnu.property", SHT_NOTE, _property_note(kind), alignment=_WORD),
        Section(".gnu.hash", SHT_GNU_HASH, hashes, link=".dynsym", alignment=_WORD),
        Section(".dynsym", SHT_DYNSYM, symbols, link=".dynstr", entry=_SYMBOL, info=1, alignment=_WORD),
        Section(".dynstr", SHT_STRTAB, names, alignment=1),
        Section(".rela.dyn", SHT_RELA, bytes(targets * _RELA), link=".dynsym", entry=_RELA, alignment=_WORD),
        Section(".text", SHT_PROGBITS, bytes(functions * _STUB), code, alignment=_STUB, shift=page),
        Section(".dynamic", SHT_DYNAMIC, table, writable, ".dynstr", 2 * _WORD, alignment=_WORD, shift=data),
        Section(".got", SHT_PROGBITS, bytes(targets * _WORD), writable, entry=_WORD, alignment=_WORD, shift=data),
    ]


def _laid_out(machine: Machine, sections: Sequence[Section]) -> tuple[bytearray, dict[str, int]]:
    """Return *sections* behind room for the headers, and the offset of each."""
    header_size, entry_size = header_sizes(machine)
    blob = bytearray(header_size + _SEGMENTS * entry_size)
    return blob, {section.name: append(blob, section.content, section.alignment) for section in sections}


def _segments(sections: Sequence[Section], at: Mapping[str, int], page: int) -> list[Segment]:
    found = {section.name: section for section in sections}

    def over(first: str, last: str, kind: int, flags: int, alignment: int) -> Segment:
        start, end = at[first], at[last] + len(found[last].content)
        return Segment(kind, flags, start, end - start, alignment, found[first].shift, found[last].room)

    note, padding = ".note.gnu.property", ".bss.rel.ro"
    read = over(note, ".rela.dyn", PT_LOAD, PF_R, page)
    return [
        read._replace(offset=0, size=read.offset + read.size),
        over(".text", ".text", PT_LOAD, PF_R | PF_X, page),
        over(".dynamic", padding, PT_LOAD, PF_R | PF_W, page),
        over(".dynamic", ".dynamic", PT_DYNAMIC, PF_R | PF_W, _WORD),
        over(note, note, PT_NOTE, PF_R, _WORD),
        over(note, note, PT_GNU_PROPERTY, PF_R, _WORD),
        Segment(PT_GNU_STACK, PF_R | PF_W, 0, 0, 16),
        over(".dynamic", padding, PT_GNU_RELRO, PF_R, 1),
    ]


def _table_tags(address: Mapping[str, int], names: int, targets: int) -> list[tuple[int, int]]:
    """Return the tags of the dynamic table that hold no names: as many as ``_TABLE_TAGS`` says."""
    return [
        (DT_GNU_HASH, address[".gnu.hash"]),
        (DT_STRTAB, address[".dynstr"]),
        (DT_SYMTAB, address[".dynsym"]),
        (DT_STRSZ, names),
        (DT_SYMENT, _SYMBOL),
        (DT_RELA, address[".rela.dyn"]),
        (DT_RELASZ, targets * _RELA),
        (DT_RELAENT, _RELA),
        (DT_FLAGS, 8),  # DF_BIND_NOW: there is nothing lazy here, and tools that look for it find it said
        (DT_FLAGS_1, 1),  # DF_1_NOW
    ]


def _symbols(offsets: Sequence[int], targets: int, text: int, section: int) -> bytes:
    """Return ``.dynsym``: what is forwarded to, undefined, then the functions, of which the first is at *text*."""
    undefined = [struct.pack("<IBBHQQ", name, _GLOBAL_FUNCTION, 0, 0, 0, 0) for name in offsets[:targets]]
    defined = [
        struct.pack("<IBBHQQ", name, _GLOBAL_FUNCTION, 0, section, text + index * _STUB, _STUB)
        for index, name in enumerate(offsets[targets:])
    ]
    return b"".join([bytes(_SYMBOL), *undefined, *defined])


def _hash_table(forwards: Sequence[tuple[str, str]], first: int) -> tuple[bytes, list[tuple[str, str]]]:
    """Return ``.gnu.hash`` for functions of which the first is symbol *first*, and *forwards* in the order it asks."""
    buckets = max(1, len(forwards) // 4)
    # Twelve bits a symbol, as binutils; two of them are set for each.
    words = 1 << (len(forwards) * 12 // 64).bit_length()
    shift = 5 + words.bit_length()
    values = {name: _gnu_hash(name) for name, _ in forwards}
    hashed = sorted((values[name] % buckets, values[name], name, target) for name, target in forwards)
    bloom, starts, chain = [0] * words, [0] * buckets, []
    for index, (bucket, value, _, _) in enumerate(hashed):
        bloom[value // 64 % words] |= 1 << value % 64 | 1 << (value >> shift) % 64
        starts[bucket] = starts[bucket] or first + index
        last = index + 1 == len(hashed) or hashed[index + 1][0] != bucket
        chain.append(value & ~1 | last)
    head = struct.pack(f"<IIII{words}Q", buckets, first, words, shift, *bloom)
    return head + struct.pack(f"<{buckets + len(chain)}I", *starts, *chain), [pair[2:] for pair in hashed]


def _gnu_hash(name: str) -> int:
    value = 5381
    for byte in name.encode(errors="surrogatepass"):
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


def _property_note(kind: _Kind) -> bytes:
    # Name, NT_GNU_PROPERTY_TYPE_0, and one property of four bytes, filled up to eight.
    return struct.pack("<III4sIII4x", 4, 16, 5, b"GNU\0", kind.property[0], 4, kind.property[1])
