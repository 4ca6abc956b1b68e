"""The ELF reader agrees with pyelftools, which goes through section headers, on libraries that distributions ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection, GNUVerSymSection
from elftools.elf.sections import SymbolTableSection

from nativelib.read.elf import read_elf_file
from tests.support.downloads import debian_package
from tests.support.tools import lacking


def _reference(path: Path) -> tuple[list[str], set[tuple[str, str]], set[tuple[str, str, str]]]:
    """Return needed, exports and imports of *path* as pyelftools has them, through the section headers."""
    with path.open("rb") as file:
        elf = ELFFile(file)  # type: ignore[no-untyped-call,unused-ignore]
        sections = list(elf.iter_sections())
        dynamic: Any = next(s for s in sections if isinstance(s, DynamicSection))
        needed = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
        names: dict[int, tuple[str, str]] = {}
        definitions = set()
        for section in sections:
            if isinstance(section, GNUVerNeedSection):
                for need, auxiliaries in section.iter_versions():
                    names.update({a["vna_other"]: (a.name, need.name) for a in auxiliaries})
            if isinstance(section, GNUVerDefSection):
                for definition, parts in section.iter_versions():
                    if not definition["vd_flags"] & 1:
                        names[definition["vd_ndx"]] = (next(iter(parts)).name, "")
                        definitions.add(names[definition["vd_ndx"]][0])
        versym: Any = next((s for s in sections if isinstance(s, GNUVerSymSection)), None)
        table: Any = next(s for s in sections if isinstance(s, SymbolTableSection) and s.name == ".dynsym")
        exports, imports = set(), set()
        for index, symbol in enumerate(table.iter_symbols()):
            ndx = versym.get_symbol(index)["ndx"] if versym else 1
            number = ndx & 0x7FFF if isinstance(ndx, int) else 0 if ndx == "VER_NDX_LOCAL" else 1
            version, library = names.get(number, ("", ""))
            bind = symbol["st_info"]["bind"]
            if symbol["st_shndx"] == "SHN_UNDEF":
                if symbol.name and bind != "STB_LOCAL":
                    imports.add((symbol.name, version, library))
            elif (
                number
                and bind != "STB_LOCAL"
                and symbol["st_other"]["visibility"] in {"STV_DEFAULT", "STV_PROTECTED"}
                and symbol["st_info"]["type"] not in {"STT_SECTION", "STT_FILE"}
                and not (symbol["st_shndx"] == "SHN_ABS" and symbol.name in definitions)
            ):
                exports.add((symbol.name, version))
        return needed, exports, imports


@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6", "ld-linux*", "libstdc++.so.6", "libgcc_s.so.1"])
@pytest.mark.parametrize("directory", ["/lib/x86_64-linux-gnu", "/usr/aarch64-linux-gnu/lib"])
def test_reference(directory: str, name: str) -> None:
    path = next((p for d in (directory, f"/usr{directory}") for p in sorted(Path(d).glob(name)) if p.is_file()), None)
    if path is None:
        lacking(f"{name} in {directory}")
    _compare_with_reference(path)


@pytest.mark.network
def test_reference_with_another_byte_order() -> None:
    paths = sorted(debian_package("libc6", architecture="s390x").glob("lib/*/lib[cm].so.6"))
    assert len(paths) == 2
    for path in paths:
        _compare_with_reference(path)


def _compare_with_reference(path: Path) -> None:
    needed, exports, imports = _reference(path)
    facts = read_elf_file(path)
    assert list(facts.needed) == needed
    assert {tuple(s) for s in facts.exports} == exports
    assert {(i.name, i.version, i.library) for i in facts.imports} == imports
    assert len(exports) > 10
