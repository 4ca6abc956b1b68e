"""Hints at libraries that are opened at run time, from the bytes of ELF files and of Python sources.

Nobody can know what a program will open. What is reported is what it says: in notes that were made for it, and in
constants. A hint proves nothing, and that there is none proves nothing.
"""

from __future__ import annotations

import ast
import itertools
import mmap
import re
import threading
import warnings
from typing import TYPE_CHECKING, Final

from nativelib.errors import ReadError
from nativelib.facts.elf_image import Image
from nativelib.facts.hint import How, Opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.read.elf import Buffer

MAX_SOURCE: Final = 512 << 10
"""Bytes of a Python source beyond which it is not looked into: a syntax tree takes a hundred times as much memory."""

# Real files have a handful.
_MAX_NAMES: Final = 200
_PIECE: Final = 8 << 20
# gABI, "Sections": mapped, and neither written nor executed.
_SHT_PROGBITS: Final = 1
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4
_CONSTANT_MASK: Final = _SHF_WRITE | _SHF_ALLOC | _SHF_EXECINSTR

# A whole C string. That the pattern begins with a literal makes the search as fast as bytes.find().
_SONAME: Final = re.compile(rb"\0(lib[\w+.-]{1,120}?\.so(?:\.\d{1,9}){0,4})(?=\0)")
_LIBRARY: Final = re.compile(r"[\w+.-]{1,120}\.so(\.\d+)*")
_STEM: Final = re.compile(r"[\w+.-]{1,120}")
_OPENERS: Final = frozenset({"CDLL", "PyDLL", "LoadLibrary", "find_library", "load_library", "dlopen"})
_OPENERS_WRITTEN: Final = tuple(name.encode() for name in sorted(_OPENERS))
# What all of them end with; bytes.find() is several times faster than a search for a pattern.
_ENDS_OF_OPENERS: Final = (b"DLL", b"ibrary", b"dlopen")
_LITERAL_CALL: Final = re.compile(rb"""\s*\(\s*(?:\w+\s*=\s*)?[bBrRuU]?["']""")
_WITHOUT_SUFFIX: Final = {"find_library": "lib{}.so", "load_library": "{}.so"}
_PARSING: Final = threading.Lock()


def opened_by_elf(data: Buffer, facts: ElfFacts, member: str) -> tuple[Opened, ...]:
    """Return the libraries that the ELF file *member* with the content *data* seems to open, sorted.

    What it needs anyway, and its own name, are left out. Of a mapped file no more than a few megabytes become resident.
    """
    found = {
        name: Opened(name, member, How.NOTE, f"{note.feature}: {note.description}".strip(": "))
        for note in reversed(facts.dlopen)
        for name in note.sonames
    }
    own = {facts.soname, *facts.needed, *(need.library for need in facts.version_needs), member.rpartition("/")[2]}
    names = (name for name in _strings(data, member) if name not in own)
    for name in itertools.islice(names, _MAX_NAMES):
        found.setdefault(name, Opened(name, member, How.STRING))
    return tuple(sorted(found.values()))


def _strings(data: Buffer, member: str) -> Iterator[str]:
    """Yield each constant that looks like a soname once."""
    seen: set[bytes] = set()
    for start, end in _constants(data, member):
        for match in _matches(data, start, end):
            if match not in seen:
                seen.add(match)
                yield match.decode("ascii", "backslashreplace")


def _matches(data: Buffer, start: int, end: int) -> Iterator[bytes]:
    """Yield what stands between *start* and *end* and looks like a soname."""
    overlap = 256
    for begin in range(max(start - 1, 0), end, _PIECE):  # one byte before: the NUL in front of the first constant
        view = memoryview(data)[begin : min(begin + _PIECE + overlap, end)]
        with view:
            yield from [bytes(match[1]) for match in _SONAME.finditer(view)]
        if isinstance(data, mmap.mmap):
            # The pages come back when somebody looks at them again.
            page = begin - begin % mmap.PAGESIZE
            data.madvise(mmap.MADV_DONTNEED, page, min(_PIECE, len(data) - page))


def _constants(data: Buffer, member: str) -> Sequence[tuple[int, int]]:
    """Return begin and end of the sections of constants; the whole file if no section headers say where they are."""
    whole = ((0, len(data)),)
    image = Image(data=data, where=member, bits=32 * data[4], order="<" if data[5] == 1 else ">")
    try:
        # e_shoff, e_shentsize and e_shnum; then sh_type, sh_flags, sh_offset and sh_size.
        offset, size, count = image.record(image.by_class("I10xHH", "Q10xHH"), 24 + image.bits // 4, "the ELF header")
        if not offset or size != (40 if image.bits == 32 else 64):
            return whole
        layout = image.by_class("4xII4xII16x", "4xIQ8xQQ24x")
        sections = list(image.table(layout, offset, count, "the section header table"))
    except ReadError:
        return whole
    return _merged(
        (start, min(start + length, len(data)))
        for kind, flags, start, length in sections
        if kind == _SHT_PROGBITS and flags & _CONSTANT_MASK == _SHF_ALLOC
    )


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return *ranges* without overlaps: each of thousands of section headers may claim the whole file."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def opened_by_python(source: bytes, member: str) -> tuple[Opened, ...]:
    """Return the libraries that the Python source *member* opens by a literal name, sorted.

    Calls are known by the last part of their name: ``ctypes.CDLL("libfoo.so.1")``, ``cdll.LoadLibrary(...)``,
    ``find_library("foo")``, ``ffi.dlopen(...)``, ``np.ctypeslib.load_library("libfoo", ...)``. Names of other systems'
    libraries are left out, and a source that cannot be parsed has no hints.
    """
    if not any(_calls_with_literal(source, end) for end in _ENDS_OF_OPENERS):
        return ()
    names = {name for call in _calls(source) if (name := _name_opened(call)) is not None}
    return tuple(Opened(name, member, How.PYTHON) for name in sorted(names)[:_MAX_NAMES])


def _calls_with_literal(source: bytes, word: bytes) -> bool:
    """Return whether the name of an opener that ends with *word*, a parenthesis and a quotation mark stand together."""
    at = source.find(word)
    while at >= 0:
        end = at + len(word)
        if source[max(end - 16, 0) : end].endswith(_OPENERS_WRITTEN) and _LITERAL_CALL.match(source, end):
            return True
        at = source.find(word, end)
    return False


def _calls(source: bytes) -> list[ast.Call]:
    with _PARSING, warnings.catch_warnings():  # the filters are the process's own, so one thread at a time
        warnings.simplefilter("ignore")
        try:
            return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []


def _name_opened(call: ast.Call) -> str | None:
    """Return the file name of the library that *call* opens, or ``None``."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    argument = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "name"), None)
    if function not in _OPENERS or not isinstance(argument, ast.Constant):
        return None
    text = argument.value.decode("utf-8", "replace") if isinstance(argument.value, bytes) else argument.value
    if not isinstance(text, str):
        return None
    name = text.rpartition("/")[2]
    if _LIBRARY.fullmatch(name):
        return name
    pattern = _WITHOUT_SUFFIX.get(function, "")
    foreign = name.endswith((".dll", ".dylib", ".framework"))
    return pattern.format(name) if pattern and _STEM.fullmatch(name) and not foreign else None
