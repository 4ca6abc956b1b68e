"""The dynamic symbols of an ELF file and their versions, found through the dynamic segment as a loader finds them.

By hand and in bulk, because symbols are where the time goes: pyelftools builds an object for each field of each
symbol, which takes some 50 times as long for the symbols of a large wheel, and it needs section headers for them.
Layouts: gABI (symbol table, hash table), LSB Core "Symbol Versioning" (``DT_VER*``), Drepper's "How To Write Shared
Libraries" and the ``.gnu.hash`` layout of binutils.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nativelib.facts.elf import Import, Symbol, VersionNeed
from nativelib.facts.elf_symbols import (
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    DT_VERSYM,
    MAX_VERSIONS,
    symbol_layout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nativelib.facts.elf_image import Image, Strings

_VERSION_MASK = 0x7FFF  # bit 15 of a versym entry: not the default version, which is an export all the same
_BASE, _WEAK = 1, 2  # VER_FLG_BASE, VER_FLG_WEAK
_SHN_UNDEF, _SHN_ABS = 0, 0xFFF1
_EXPORTED_BINDINGS = frozenset({1, 2, 10})  # STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE
_STB_LOCAL, _STB_WEAK = 0, 2
_STV_INTERNAL_OR_HIDDEN = frozenset({1, 2})
_STT_SECTION_OR_FILE = frozenset({3, 4})
_STT_DATA = frozenset({1, 5, 6})  # STT_OBJECT, STT_COMMON, STT_TLS


class Symbols(NamedTuple):
    """The dynamic symbols of a file."""

    imports: frozenset[Import] = frozenset()
    exports: frozenset[Symbol] = frozenset()
    data: frozenset[str] = frozenset()
    """Names of exports that are variables."""


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
    for _ in range(min(tags.get(DT_VERNEEDNUM, 0), MAX_VERSIONS)):
        _, count, file, auxiliary, following = image.record("HHIII", entry, "DT_VERNEED")
        library, aux = strings.at(file), entry + auxiliary
        seen += count
        if seen > MAX_VERSIONS:
            raise image.bad(f"broken version needs: more than {MAX_VERSIONS}")
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
    seen = 0
    entry = image.locate(tags[DT_VERDEF], 20, "DT_VERDEF")
    for _ in range(min(tags.get(DT_VERDEFNUM, 0), MAX_VERSIONS)):
        _, flags, index, count, _, auxiliary, following = image.record("HHHHIII", entry, "DT_VERDEF")
        seen += count
        if seen > MAX_VERSIONS:
            raise image.bad(f"broken version definitions: more than {MAX_VERSIONS}")
        name, _ = image.record("II", entry + auxiliary, "DT_VERDEF")
        yield strings.at(name), index, flags
        if not following:
            return
        entry += following


def read_symbols(image: Image, tags: Mapping[int, int], strings: Strings, versions: Versions, count: int) -> Symbols:
    """Return imports and exports among the first *count* dynamic symbols."""
    imports: list[Import] = []
    exports: list[Symbol] = []
    data: list[str] = []
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
                if info & 15 in _STT_DATA:
                    data.append(text)
    return Symbols(frozenset(imports), frozenset(exports), frozenset(data))


def _symbols_with_index(
    image: Image, tags: Mapping[int, int], count: int
) -> Iterator[tuple[tuple[int, int, int, int], int]]:
    """Yield ``(st_name, st_info, st_other, st_shndx)`` and the version index of each dynamic symbol."""
    layout, size = symbol_layout(image)
    symbols = image.table(layout, image.locate(tags[DT_SYMTAB], count * size, "DT_SYMTAB"), count, "DT_SYMTAB")
    if DT_VERSYM not in tags:
        return ((symbol, 1) for symbol in symbols)
    versym = image.table("H", image.locate(tags[DT_VERSYM], count * 2, "DT_VERSYM"), count, "DT_VERSYM")
    return ((symbol, index) for symbol, (index,) in zip(symbols, versym, strict=True))
