"""Traces in an ELF file of what it was before it was renamed, and of how it was built."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mmap
    from collections.abc import Collection, Iterable

    from nativelib.facts.elf import Symbol

_ENDING = re.compile(rb"\.so(?:\.\d{1,9}){0,5}\0")
_NAME = re.compile(rb"[A-Za-z0-9_][\w.+-]{0,127}")
_MOST_LEFTOVERS = 64

# driver/others/openblas_get_config.c of OpenBLAS; compilers may keep the text in several pieces.
_CONFIG = re.compile(rb"OpenBLAS (\d[\w.]{0,31} [ -~]{1,100})")


def leftover_sonames(table: bytes, used: Collection[str | None]) -> tuple[str, ...]:
    """Return the sonames in the string *table* that are not *used*, in order.

    patchelf and in-place editors write a new name behind the old table and leave the old one where it was.
    """
    found: dict[str, None] = {}
    for ending in _ENDING.finditer(table):
        name = table[table.rfind(b"\0", 0, ending.start()) + 1 : ending.end() - 1]
        if _NAME.fullmatch(name):
            found[name.decode()] = None
        if len(found) > _MOST_LEFTOVERS:
            break
    return tuple(name for name in found if name not in used)


def openblas_config(data: bytes | mmap.mmap | memoryview, exports: Iterable[Symbol]) -> str:
    """Return the configuration that the OpenBLAS in *data* reports, or nothing for another library.

    It may be cut where the compiler split the text.
    """
    if not any("openblas_get_config" in symbol.name for symbol in exports):
        return ""
    found = _CONFIG.search(data)
    return " ".join(found[1].decode().split()) if found else ""
