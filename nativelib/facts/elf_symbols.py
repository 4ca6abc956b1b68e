"""Where the dynamic symbols of an ELF file are, and how many; found as a loader finds them.

Layouts: gABI (symbol table, hash table), LSB Core "Symbol Versioning" (``DT_VER*``) and the ``.gnu.hash`` layout of
binutils.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.elf_image import Image

DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT = 4, 5, 6, 10, 11  # gABI, dynamic section
DT_GNU_HASH = 0x6FFFFEF5
DT_VERSYM = 0x6FFFFFF0  # LSB Core, symbol versioning
DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
# Tags whose value is an address; the nearest one after the symbol table limits it.
_ADDRESSES = frozenset({4, 5, 7, 12, 13, 17, 23, 25, 26, 32, 36, DT_GNU_HASH, DT_VERSYM, DT_VERDEF, DT_VERNEED})
MAX_VERSIONS = 0x8000
"""Indices of versions have 15 bits, so that no file can use more."""
# Each costs some 250 bytes of memory, and in an archive perhaps less than one.
_MAX_SYMBOLS = 1_000_000
# The psABIs of s390x and Alpha have 64-bit entries in DT_HASH; everybody else has 32-bit ones.
_WIDE_HASH_MACHINES = frozenset({22, 0x9026})


def symbol_layout(image: Image) -> tuple[str, int]:
    """Return layout (name, info, other, section index; value and size skipped) and size of one symbol."""
    return image.by_class("I8xBBH", "IBBH16x"), 24 if image.bits == 64 else 16


def count_symbols(image: Image, e_machine: int, tags: Mapping[int, int], section_size: int | None) -> int:
    """Return how many dynamic symbols there are; no tag of the dynamic table says it outright.

    *section_size* is the size of the ``SHT_DYNSYM`` section in bytes, or ``None`` without section headers.
    ``ReadError`` if the table that says it is broken, or if there are more than any library has.
    """
    if DT_SYMTAB not in tags:
        return 0
    return _plausible(image, _count(image, e_machine, tags, section_size), "symbols (DT_SYMTAB)")


def _plausible(image: Image, count: int, what: str) -> int:
    """Return *count*; ``ReadError`` if no file has so many."""
    if count > _MAX_SYMBOLS:
        raise image.bad(f"{count} {what}; more than {_MAX_SYMBOLS} are refused")
    return count


def _count(image: Image, e_machine: int, tags: Mapping[int, int], section_size: int | None) -> int:
    if DT_HASH in tags:
        wide = image.bits == 64 and e_machine in _WIDE_HASH_MACHINES
        layout, size = ("QQ", 16) if wide else ("II", 8)
        return int(image.record(layout, image.locate(tags[DT_HASH], size, "DT_HASH"), "DT_HASH")[1])
    count = _count_hashed(image, tags) if DT_GNU_HASH in tags else 0
    if count:
        return count
    if section_size is not None:
        return section_size // symbol_layout(image)[1]
    return _count_up_to_next_table(image, tags)


def _count_hashed(image: Image, tags: Mapping[int, int]) -> int:
    """Return one more than the highest index in ``DT_GNU_HASH``, 0 if it is empty.

    Symbols that are not hashed come first, so that the last hashed one is the last of all. An empty table says nothing
    (binutils then writes a first index of 1 whatever the number of imports is).
    """
    offset = image.locate(tags[DT_GNU_HASH], 16, "DT_GNU_HASH")
    buckets, first, words, _ = image.record("IIII", offset, "DT_GNU_HASH")
    bucket_offset = offset + 16 + words * image.bits // 8
    _plausible(image, buckets, "buckets in DT_GNU_HASH")
    last = max((b for (b,) in image.table("I", bucket_offset, buckets, "DT_GNU_HASH")), default=0)
    if last == 0:
        return 0
    if last < first:
        raise image.bad(f"broken DT_GNU_HASH: a bucket has symbol {last}, the first hashed one is {first}")
    chains = bucket_offset + buckets * 4
    size = symbol_layout(image)[1]
    while not image.record("I", chains + (last - first) * 4, "DT_GNU_HASH")[0] & 1:
        last += 1
        _plausible(image, last, "symbols (DT_SYMTAB)")
    # A chain that does not end runs out of symbol table long before it runs out of file.
    image.locate(tags[DT_SYMTAB], (last + 1) * size, "DT_SYMTAB")
    return int(last) + 1


def _count_up_to_next_table(image: Image, tags: Mapping[int, int]) -> int:
    """Return how many symbols fit between the symbol table and what comes next: glibc's last resort in dladdr."""
    start = tags[DT_SYMTAB]
    following = [value for tag, value in tags.items() if tag in _ADDRESSES and value > start]
    return (min(following) - start) // symbol_layout(image)[1] if following else 0
