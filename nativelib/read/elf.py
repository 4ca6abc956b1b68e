"""ELF files -> :class:`~nativelib.facts.elf.ElfFacts`.

A file is read as a loader reads it: header, segments, dynamic table. Section headers are optional. Layouts follow the
generic ABI ("gABI", System V Application Binary Interface, chapters 4 and 5).
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import stat
import struct
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from elftools.common.exceptions import ELFError
from elftools.construct.core import ConstructError
from elftools.elf.notes import iter_notes
from elftools.elf.structs import ELFStructs

from nativelib.errors import ReadError
from nativelib.facts.elf import DlopenNote, ElfFacts
from nativelib.facts.elf_header import (
    DT_NEEDED,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    ELF_MAGIC,
    PT_DYNAMIC,
    dynamic_entries,
    read_header,
)
from nativelib.facts.elf_image import PATH_MAX, Strings, bad_elf
from nativelib.facts.elf_symbols import DT_STRSZ, DT_STRTAB, DT_SYMENT, count_symbols
from nativelib.findings import Code
from nativelib.read.elf_symbols import Symbols, read_symbols, read_versions
from nativelib.read.elf_traces import leftover_sonames, openblas_config

if TYPE_CHECKING:
    from pathlib import Path

    from elftools.elf.elffile import ELFFile

    from nativelib.facts.elf_header import Header
    from nativelib.facts.elf_image import Image, Segment

Buffer: TypeAlias = bytes | mmap.mmap | memoryview

_PT_INTERP, _PT_NOTE = 3, 4
_DT_RELR = 36

# What a file of a few compressed kilobytes may cost. Real files have a string table of at most some
# 100 MB, and ten directories in their run path.
_MAX_NOTES = 65536  # bytes
_MAX_STRINGS = 256 << 20  # bytes
_MAX_DIRECTORIES = 64
_DLOPEN_NOTE = 0x407C0C0A  # UAPI group, "ELF dlopen metadata"; the vendor is "FDO"
# GNU_PROPERTY_X86_ISA_1_*, x86-64 psABI, "Program Property": one bit per level.
_ISA_LEVELS = ((1, "x86-64-baseline"), (2, "x86-64-v2"), (4, "x86-64-v3"), (8, "x86-64-v4"))


def is_elf(head: bytes) -> bool:
    """Return whether a file that begins with *head* (at least 4 bytes) claims to be an ELF file."""
    return head[:4] == ELF_MAGIC


def read_elf_file(path: Path, *, where: str | None = None) -> ElfFacts:
    """Return the facts of the ELF file at *path*, which findings call *where* (by default the path).

    The file is mapped, so that of a huge library only the tables come into memory. Raises ``ReadError``: ``NOT_FOUND``
    if it cannot be read, ``BAD_ELF`` if it is not a sound ELF file.
    """
    where = str(path) if where is None else where
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer
            raise bad_elf(where, "it is not a regular file")
        with path.open("rb") as file:
            # In blocks through read(): hashing the mapping would make every page of it resident.
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if file.tell() == 0:
                raise bad_elf(where, "it is empty")
            # Not closed here: the mapping goes when the last reference does, whatever an exception still refers to.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ReadError.of(Code.NOT_FOUND, where, f"It cannot be read: {error.strerror or error}.") from error
    return read_elf(data, where=where, sha256=digest)


def read_elf(data: Buffer, *, where: str, sha256: str | None = None) -> ElfFacts:
    """Return the facts of the ELF file with the content *data*, which findings call *where*.

    *sha256* is its digest as hex, if the caller has it already or has no use for it. Raises ``ReadError`` with
    ``BAD_ELF`` for everything that a loader could not use, above all for truncated files; no other exception, whatever
    the bytes are.
    """
    image, header = read_header(data, where)
    facts = ElfFacts(
        machine=header.machine,
        e_type=header.e_type,
        e_flags=header.e_flags,
        dynamic=False,
        interpreter=_interpreter(image, header),
        soname=None,
        needed=(),
        rpath=(),
        runpath=(),
        version_needs=(),
        version_definitions=(),
        version_base=None,
        imports=frozenset(),
        exports=frozenset(),
        **_notes(image, header)._asdict(),
        relr=False,
        sections=header.sections,
        load_end=max((s.offset + s.size for s in image.loads), default=0),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest() if sha256 is None else sha256,
    )
    dynamic = [s for s in header.of_kind(PT_DYNAMIC) if s.size]
    if not dynamic:
        return facts
    facts = _with_dynamic(facts, image, header, dynamic[0])
    return replace(facts, openblas=openblas_config(data, facts.exports))


def _interpreter(image: Image, header: Header) -> str | None:
    for segment in header.of_kind(_PT_INTERP):
        text = bytes(image.take(segment.offset, min(segment.size, PATH_MAX), "PT_INTERP"))
        return text.partition(b"\0")[0].decode(errors="backslashreplace")
    return None


def _with_dynamic(facts: ElfFacts, image: Image, header: Header, segment: Segment) -> ElfFacts:
    """Return *facts* with what the dynamic table says."""
    entries = dynamic_entries(image, segment)
    # Of a tag that stands twice, glibc and musl use the last one; only DT_NEEDED may be repeated.
    tags = dict(entries)
    if tags.get(DT_SYMENT, 0) not in (0, 24 if image.bits == 64 else 16):
        raise image.bad(f"broken dynamic table: symbols of {tags[DT_SYMENT]} bytes")
    strings = _string_table(image, tags)
    versions = read_versions(image, tags, strings)
    count = count_symbols(image, header.machine.e_machine, tags, header.dynsym_size)
    symbols = read_symbols(image, tags, strings, versions, count) if count else Symbols()
    soname = strings.path_at(tags[DT_SONAME]) if DT_SONAME in tags else None
    needed = tuple(strings.path_at(value) for tag, value in entries if tag == DT_NEEDED)
    return replace(
        facts,
        dynamic=True,
        soname=soname,
        needed=needed,
        rpath=_directories(strings, tags, DT_RPATH),
        runpath=_directories(strings, tags, DT_RUNPATH),
        version_needs=versions.needs,
        version_definitions=versions.definitions,
        version_base=versions.base,
        **symbols._asdict(),
        relr=_DT_RELR in tags,
        leftovers=leftover_sonames(strings.table, {soname, *needed}) if soname is not None else (),
    )


def _string_table(image: Image, tags: dict[int, int]) -> Strings:
    if DT_STRTAB not in tags:
        return Strings(image, b"")
    size = tags.get(DT_STRSZ, 0)
    if size > _MAX_STRINGS:
        raise image.bad(f"a string table (DT_STRTAB) of {size} bytes; more than {_MAX_STRINGS} are refused")
    return Strings(image, bytes(image.take(image.locate(tags[DT_STRTAB], size, "DT_STRTAB"), size, "DT_STRTAB")))


def _directories(strings: Strings, tags: dict[int, int], tag: int) -> tuple[str, ...]:
    text = strings.path_at(tags[tag], _MAX_DIRECTORIES) if tag in tags else ""
    return tuple(text.split(":")) if text else ()


class _Notes(NamedTuple):
    build_id: str | None
    isa_needed: frozenset[str]
    android_api: int | None
    dlopen: tuple[DlopenNote, ...]


class _NoteSource(NamedTuple):
    """The part of pyelftools' ``ELFFile`` that ``iter_notes`` uses; the whole of it reads section headers, too."""

    stream: io.BytesIO
    structs: ELFStructs
    elfclass: int


def _notes(image: Image, header: Header) -> _Notes:
    """Return what the notes say; a broken note says nothing, to us as to loaders."""
    build_id, isa, android, left = None, 0, None, _MAX_NOTES
    dlopen: list[DlopenNote] = []
    for segment in header.of_kind(_PT_NOTE):
        left -= segment.size
        if left < 0:
            break
        content = bytes(image.take(segment.offset, segment.size, "PT_NOTE"))
        source = _NoteSource(io.BytesIO(content), _structs(image.order == "<", image.bits), image.bits)
        try:
            for note in iter_notes(cast("ELFFile", source), 0, len(content)):
                if note.n_name == "GNU" and note.n_type == "NT_GNU_BUILD_ID":
                    build_id = build_id or str(note.n_desc) or None
                elif note.n_name == "GNU" and note.n_type == "NT_GNU_PROPERTY_TYPE_0":
                    isa |= _isa_bits(note.n_desc)
                elif note.n_name == "Android" and note.n_descsz >= 4:
                    # crtbrand.S of bionic: the API level, then names of the NDK release, which older ones left out.
                    android = struct.unpack_from(f"{image.order}I", note.n_descdata)[0]
                elif note.n_name == "FDO" and note.n_type == _DLOPEN_NOTE:
                    dlopen += _dlopen_notes(bytes(note.n_desc))
        except (ELFError, ConstructError):
            continue
    levels = frozenset(name for bit, name in _ISA_LEVELS if isa & bit)
    return _Notes(build_id, levels, android, tuple(dict.fromkeys(dlopen)))


def _dlopen_notes(content: bytes) -> list[DlopenNote]:
    """Return the entries of one ``.note.dlopen``: a JSON array of objects, of which ``soname`` alone must be there."""
    try:
        entries = json.loads(content.rstrip(b"\0"))
    except (ValueError, RecursionError):
        return []
    found: list[DlopenNote] = []
    for entry in entries if isinstance(entries, list) else ():
        names = entry.get("soname") if isinstance(entry, dict) else None
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            said = (str(entry.get(key, "")) for key in ("feature", "description", "priority"))
            found.append(DlopenNote(tuple(names), *said))
    return found


def _isa_bits(properties: list[object]) -> int:
    needed = [p for p in properties if getattr(p, "pr_type", None) == "GNU_PROPERTY_X86_ISA_1_NEEDED"]
    return next((int(bits) for p in needed if isinstance(bits := getattr(p, "pr_data", None), int)), 0)


@cache
def _structs(little_endian: bool, bits: int) -> ELFStructs:
    # The structs are the same for all files of one kind, and building them takes longer than reading notes with them.
    structs = ELFStructs(little_endian, bits)
    structs.create_basic_structs()
    structs.create_advanced_structs()
    return structs
