"""Edits of the dynamic table that fit into the bytes that an ELF file has.

Nothing moves and nothing grows, so that section headers are not needed, and a library of any size costs no memory and
no second copy. A string is overwritten only if nothing else refers to any part of it; a string that the table has
already, be it as the tail of another one, is used again. What does not fit is left to patchelf. Layouts: gABI,
chapter 5, "Dynamic Section".
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.errors import ReadError, WriteError
from nativelib.facts.elf_header import (
    DT_NEEDED,
    DT_NULL,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    PT_DYNAMIC,
    dynamic_entries,
    read_header,
)
from nativelib.findings import Code
from nativelib.write.elf_strings import read_strings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from nativelib.facts.elf import ElfEdit
    from nativelib.facts.elf_image import Bytes, Image, Segment
    from nativelib.write.elf_strings import StringTable

_OWN = frozenset({DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH})
_RUN_PATHS = frozenset({DT_RPATH, DT_RUNPATH})
_DT_MIPS_RLD_MAP_REL = 0x70000035  # its value counts from its own place in the table


@dataclass(frozen=True, slots=True)
class Change:
    """Bytes to be written over others."""

    offset: int
    content: bytes


def edit_in_place(path: Path, edit: ElfEdit) -> bool:
    """Apply *edit* to the file at *path* if it fits into its bytes; return whether it did. If not, nothing changed.

    Raises ``WriteError`` (``WRITE_FAILED``) if the disk refuses.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            changes = changes_in_place(data, edit)
        if changes is None or not os.access(path, os.W_OK):
            return False
    except (ReadError, OSError, ValueError, struct.error):  # not there, empty or broken: patchelf says what is wrong
        return False
    try:
        with path.open("r+b") as target:
            for change in changes:
                target.seek(change.offset)
                target.write(change.content)
    except OSError as error:
        raise WriteError.of(Code.WRITE_FAILED, str(path), f"It cannot be edited: {error.strerror or error}.") from error
    return True


def changes_in_place(data: Bytes, edit: ElfEdit) -> list[Change] | None:
    """Return what *edit* writes over the bytes of the ELF file *data*, or ``None`` if it does not fit.

    Raises ``ReadError`` if the file is broken.
    """
    image, header = read_header(data, "the file")
    segment = next((s for s in header.of_kind(PT_DYNAMIC) if s.size), None)
    if segment is None:
        return None
    entries = dynamic_entries(image, segment)
    table = read_strings(image, header, entries, _OWN)
    if table is None:
        return None
    wanted = _wanted(entries, table, edit)
    names = dict(edit.replace_needed)
    files = [_renamed(table, field.value, names) for field in table.needed_from]
    strings = [value for tag, value in wanted if tag in _OWN] + files
    old = {value for tag, value in entries if tag in _OWN} | {field.value for field in table.needed_from}
    placed = _place(table, old, strings)
    if placed is None:
        return None
    offsets, changes = placed
    rows = [(tag, offsets[value] if isinstance(value, bytes) else value) for tag, value in wanted]
    rewritten = _dynamic_table(image, segment, entries, rows)
    if rewritten is None:
        return None
    for field, value in zip(table.needed_from, files, strict=True):
        offset = offsets[value] if isinstance(value, bytes) else value
        changes.append(Change(field.at, struct.pack(f"{image.order}I", offset)))
    return [*changes, rewritten]


def _wanted(entries: Sequence[tuple[int, int]], table: StringTable, edit: ElfEdit) -> list[tuple[int, int | bytes]]:
    """Return the entries that the dynamic table is to have: the value of a string that changes is the new string."""
    names, gone = dict(edit.replace_needed), {_bytes(name) for name in edit.remove_needed}
    run_path = None if edit.run_path is None else _bytes(":".join(edit.run_path))
    soname = None if edit.soname is None else _bytes(edit.soname)
    out: list[tuple[int, int | bytes]] = []
    missing: list[tuple[int, bytes]] = []
    if run_path:
        missing.append((DT_RPATH if edit.run_path_tag == "rpath" else DT_RUNPATH, run_path))
    if soname is not None:
        missing.append((DT_SONAME, soname))
    for tag, value in entries:
        if tag == DT_NEEDED:
            if table.at(value) not in gone:
                out.append((tag, _renamed(table, value, names)))
        elif (tag in _RUN_PATHS and run_path is not None) or (tag == DT_SONAME and soname is not None):
            # The first entry of its kind becomes the new one; others would compete with it.
            new = next((item for item in missing if (item[0] in _RUN_PATHS) == (tag in _RUN_PATHS)), None)
            if new is not None:
                missing.remove(new)
                out.append((new[0], value if table.at(value) == new[1] else new[1]))
        else:
            out.append((tag, value))
    return [*out, *missing]


def _renamed(table: StringTable, offset: int, names: dict[str, str]) -> int | bytes:
    """Return the new name for the library that is named at *offset*, or the offset if that stays."""
    name = table.at(offset)
    text = name.decode("utf-8", "surrogateescape")
    new = _bytes(names[text]) if text in names else name
    return offset if new == name else new


def _place(
    table: StringTable, old: Collection[int], wanted: Iterable[int | bytes]
) -> tuple[dict[bytes, int], list[Change]] | None:
    """Return an offset for each new string of *wanted*, and what to write for that; ``None`` if there is no room.

    *wanted* also has the offsets of *old* that are kept. Room is where strings were that nothing refers to any more;
    what is left of it is cleared.
    """
    wanted = set(wanted)
    kept = {value for value in wanted if isinstance(value, int)}
    free = _free_spans(table, set(old) - kept, table.fixed | kept)
    filled = dict.fromkeys(free, b"")
    offsets: dict[bytes, int] = {}
    for string in sorted((value for value in wanted if isinstance(value, bytes)), key=lambda s: (-len(s), s)):
        found = _existing(table.content, string, free)
        if found is None:
            room = [s for s in free if len(filled[s]) + len(string) <= s[1] - s[0]]
            if not room or not string or b"\0" in string:
                return None
            span = min(room, key=lambda s: (s[1] - s[0] - len(filled[s]), s))
            found = span[0] + len(filled[span])
            filled[span] += string + b"\0"
        offsets[string] = found
    changes = [Change(table.offset + start, filled[start, end].ljust(end - start, b"\0")) for start, end in free]
    return offsets, changes


def _free_spans(table: StringTable, released: Iterable[int], used: Collection[int]) -> list[tuple[int, int]]:
    """Return start and end (its NUL) of each string around an offset in *released* that has no *used* offset in it."""
    spans = set()
    for offset in released:
        spans.add((table.content.rfind(b"\0", 0, offset) + 1, table.content.index(b"\0", offset)))
    return sorted(span for span in spans if not any(span[0] <= offset < span[1] for offset in used))


def _existing(content: bytes, string: bytes, free: Sequence[tuple[int, int]]) -> int | None:
    """Return where *string* stands already, outside of the *free* spans."""
    found = content.find(string + b"\0")
    while found >= 0:
        if not any(start <= found < end for start, end in free):
            return found
        found = content.find(string + b"\0", found + 1)
    return None


def _dynamic_table(
    image: Image, segment: Segment, entries: Sequence[tuple[int, int]], rows: Sequence[tuple[int, int]]
) -> Change | None:
    """Return the dynamic table with *rows* instead of *entries*; ``None`` if it has no room for them."""
    layout = image.by_class("II", "QQ")
    size = struct.calcsize(image.order + layout)
    offset = image.locate(segment.address, segment.size, "PT_DYNAMIC")
    if len(rows) != len(entries) and any(tag == _DT_MIPS_RLD_MAP_REL for tag, _ in entries):
        return None
    # Linkers leave empty entries at the end; one of them has to stay, because it ends the table.
    spare = bytes(image.take(offset + len(entries) * size, segment.size - len(entries) * size, "PT_DYNAMIC"))
    if len(rows) > len(entries) and (len(rows) - len(entries) + 1) * size > len(spare) - len(spare.lstrip(b"\0")):
        return None
    packed = b"".join(struct.pack(image.order + layout, *row) for row in rows)
    return Change(offset, packed + struct.pack(image.order + layout, DT_NULL, 0) * (len(entries) - len(rows)))


def _bytes(name: str) -> bytes:
    """Return *name* as it stands in a string table."""
    return name.encode("utf-8", "surrogateescape")
