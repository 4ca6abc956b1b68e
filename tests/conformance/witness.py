"""What stands in the ELF files of a wheel, as pyelftools reads it: a witness that is neither of the two tools."""

from __future__ import annotations

import io
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection

from tests.support.wheels import members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The dynamic section of one file."""

    soname: str | None
    needed: tuple[str, ...]
    run_path: tuple[str, ...]
    legacy: bool
    """Whether the run path is ``DT_RPATH``."""
    base: str | None
    """The soname that the linker was given, as the version definitions keep it when ``DT_SONAME`` is renamed."""


def elf_members(wheel: Path) -> dict[str, Seen]:
    """Return what stands in each dynamic ELF file of *wheel*."""
    found = ((name, look(data)) for name, data in members(wheel).items() if data[:4] == b"\x7fELF")
    return {name: seen for name, seen in found if seen is not None}


def look(data: bytes) -> Seen | None:
    """Return what stands in the ELF file *data*, or ``None`` for one that is not dynamic."""
    elf = ELFFile(io.BytesIO(data))
    segment = next((found for found in elf.iter_segments() if isinstance(found, DynamicSegment)), None)
    if segment is None:
        return None
    tags: list[Any] = list(segment.iter_tags())  # gets an attribute after the tag's name
    runpath = [tag.runpath for tag in tags if tag.entry.d_tag == "DT_RUNPATH"]
    rpath = [tag.rpath for tag in tags if tag.entry.d_tag == "DT_RPATH"]
    return Seen(
        soname=next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), None),
        needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        run_path=tuple(entry for text in runpath or rpath for entry in text.split(":") if entry),
        legacy=bool(rpath) and not runpath,
        base=next(_bases(elf), None),
    )


def _bases(elf: ELFFile) -> Iterator[str]:
    for section in elf.iter_sections():
        if isinstance(section, GNUVerDefSection):
            for definition, names in section.iter_versions():
                if definition.entry.vd_flags & 1:  # VER_FLG_BASE
                    yield next(names).name


def directories(member: str, seen: Seen) -> list[str]:
    """Return where the run path of *member* leads, as places of the wheel; ``..`` in front leaves it."""
    home = posixpath.dirname(member)
    texts = (entry.replace("${ORIGIN}", "$ORIGIN") for entry in seen.run_path)
    places = (text.replace("$ORIGIN", home or ".", 1) if text.startswith("$ORIGIN") else text for text in texts)
    return [posixpath.normpath(place) for place in places]


def resolved(files: Mapping[str, Seen]) -> dict[str, dict[str, str]]:
    """Return for each file which of its needs its own run path leads to, and to which member."""
    out: dict[str, dict[str, str]] = {}
    for member, seen in files.items():
        found = {}
        for soname in seen.needed:
            places = (posixpath.normpath(posixpath.join(place, soname)) for place in directories(member, seen))
            target = next((place for place in places if place in files), None)
            if target is not None:
                found[soname] = target
        out[member] = found
    return out
