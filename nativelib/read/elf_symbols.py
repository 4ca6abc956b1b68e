"""The dynamic symbols of an ELF file and their versions, found through the dynamic segment as a loader finds them.

By hand and in bulk, because symbols are where the time goes: pyelftools builds an object for each field of each
symbol, which takes some 50 times as long for the symbols of a large wheel, and it needs section headers for them.
Layouts: gABI (symbol table, hash table), LSB Core "Symbol Versioning" (``DT_VER*``), Drepper's "How To Write Shared
Libraries" and the ``.gnu.hash`` layout of binutils.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nativelib.facts.elf import Import, Symbol, VersionNeed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nativelib.read.elf_image import Image, Strings

DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT = 4, 5, 6, 10, 11  # gABI, dynamic section
DT_GNU_HASH = 0x6FFFFEF5
DT_VERSYM = 0x6FFFFFF0  # LSB Core, symbol versioning
DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
# Tags whose value is an address; the nearest one after the symbol table limits it.
_ADDRESSES = frozenset({4, 5, 7, 12, 13, 17, 23, 25, 26, 32, 36, DT_GNU_HASH, DT_VERSYM, DT_VERDEF, DT_VERNEED})

_VERSION_MASK = 0x7FFF  # bit 15 of a versym entry: not the default version, which is an export all the same
_MAX_VERSIONS = 0x8000  # indices have 15 bits, so that no file can use more
# Each costs some 250 bytes of memory, and in an archive perhaps less than one.
_MAX_SYMBOLS = 1_000_000
_BASE, _WEAK = 1, 2  # VER_FLG_BASE, VER_FLG_WEAK
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
_EXPORTED_BINDINGS = frozenset({1, 2, 10})  # STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE
_STB_LOCAL, _STB_WEAK = 0, 2
_STV_INTERNAL_OR_HIDDEN = frozenset({1, 2})
_STT_SECTION_OR_FILE = frozenset({3, 4})
# The psABIs of s390x and Alpha have 64-bit entries in DT_HASH; everybody else has 32-bit ones.
_WIDE_HASH_MACHINES = frozenset({22, 0x9026})


class Versions(NamedTuple):
    """What ``DT_VERNEED`` and ``DT_VERDEF`` say."""

    needs: tuple[VersionNeed, ...]
    definitions: tuple[str, ...]
    base: str | None
    by_index: Mapping[int, tuple[str, str]]
    """Version and library of each index that a versym entry can have; the library is empty for definitions."""


def read_versions(image: Image, tags: Mapping[int, int], strings: Strings) -> Versions:
    """Return the version needs and definitions; ``ReadError`` if a chain of them leaves the file or is too long."""
    by_index: dict[int, tuple[str, str]] = {}
    needs: list[VersionNeed] = []
    for library, version, index, flags in _needs(image, tags, strings):
        needs.append(VersionNeed(library, version, bool(flags & _WEAK)))
        by_index[index & _VERSION_MASK] = (version, library)
    definitions: list[str] = []
    base = None
    for version, index, flags in _definitions(image, tags, strings):
        if flags & _BASE:
            base = version
        else:
            definitions.append(version)
            by_index[index & _VERSION_MASK] = (version, "")
    return Versions(tuple(needs), tuple(definitions), base, by_index)


def _needs(image: Image, tags: Mapping[int, int], strings: Strings) -> Iterator[tuple[str, str, int, int]]:
    """Yield library, version, index and flags of each entry of ``DT_VERNEED``."""
    if DT_VERNEED not in tags:
        return
    seen = 0
    entry = image.locate(tags[DT_VERNEED], 16, "DT_VERNEED")
    for _ in range(min(tags.get(DT_VERNEEDNUM, 0), _MAX_VERSIONS)):
        _, count, file, auxiliary, following = image.record("HHIII", entry, "DT_VERNEED")
        library, aux = strings.at(file), entry + auxiliary
        seen += count
        if seen > _MAX_VERSIONS:
            raise image.bad(f"broken version needs: more than {_MAX_VERSIONS}")
        for _ in range(count):
            _, flags, index, name, step = image.record("IHHII", aux, "DT_VERNEED")
            yield library, strings.at(name), index, flags
            aux += step
        if not following:
            return
        entry += following


def _definitions(image: Image, tags: Mapping[int, int], strings: Strings) -> Iterator[tuple[str, int, int]]:
    """Yield version, index and flags of each entry of ``DT_VERDEF``; the parents of a version are left out."""
    if DT_VERDEF not in tags:
        return
    entry = image.locate(tags[DT_VERDEF], 20, "DT_VERDEF")
    for _ in range(min(tags.get(DT_VERDEFNUM, 0), _MAX_VERSIONS)):
        _, flags, index, _, _, auxiliary, following = image.record("HHHHIII", entry, "DT_VERDEF")
        name, _ = image.record("II", entry + auxiliary, "DT_VERDEF")
        yield strings.at(name), index, flags
        if not following:
            return
        entry += following


def read_symbols(
    image: Image, tags: Mapping[int, int], strings: Strings, versions: Versions, count: int
) -> tuple[frozenset[Import], frozenset[Symbol]]:
    """Return imports and exports among the first *count* dynamic symbols."""
    imports: list[Import] = []
    exports: list[Symbol] = []
    by_index, definitions = versions.by_index, frozenset(versions.definitions)
    name_at, unversioned = strings.at, ("", "")
    for (name, info, other, section), index in _symbols_with_index(image, tags, count):
        binding = info >> 4
        if section == _SHN_UNDEF:
            if name and binding != _STB_LOCAL:
                version, library = by_index.get(index & _VERSION_MASK, unversioned)
                imports.append(Import(name_at(name), version, library, binding == _STB_WEAK))
        elif binding in _EXPORTED_BINDINGS and other & 3 not in _STV_INTERNAL_OR_HIDDEN and index & _VERSION_MASK:
            text = name_at(name)
            names_a_version = section == _SHN_ABS and text in definitions
            if text and info & 15 not in _STT_SECTION_OR_FILE and not names_a_version:
                exports.append(Symbol(text, by_index.get(index & _VERSION_MASK, unversioned)[0]))
    return frozenset(imports), frozenset(exports)


def _symbols_with_index(
    image: Image, tags: Mapping[int, int], count: int
) -> Iterator[tuple[tuple[int, int, int, int], int]]:
    """Yield ``(st_name, st_info, st_other, st_shndx)`` and the version index of each dynamic symbol."""
    layout, size = _symbol(image)
    symbols = image.table(layout, image.locate(tags[DT_SYMTAB], count * size, "DT_SYMTAB"), count, "DT_SYMTAB")
    if DT_VERSYM not in tags:
        return ((symbol, 1) for symbol in symbols)
    versym = image.table("H", image.locate(tags[DT_VERSYM], count * 2, "DT_VERSYM"), count, "DT_VERSYM")
    return ((symbol, index) for symbol, (index,) in zip(symbols, versym, strict=True))


def _symbol(image: Image) -> tuple[str, int]:
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
        return section_size // _symbol(image)[1]
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
    size = _symbol(image)[1]
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
    return (min(following) - start) // _symbol(image)[1] if following else 0
