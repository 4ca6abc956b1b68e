"""The manifest ``nativelib.json`` of a library wheel: what it offers, as its author built it. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from nativelib.errors import ReadError
from nativelib.facts.elf import Symbol
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
"""Version of the manifest that is written and understood."""

MANIFEST = "nativelib.json"
"""File name in ``.dist-info``."""

ANCHOR = "nativelib_anchor.so"
"""File name of the anchor: consumers' tools rely on it."""

SYSTEM_STUBS = "/lib/system/"
"""Part of a member's name below which a library wheel has its stubs for the system's libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestLibrary:
    """One library that the wheel offers."""

    file: str
    """Path below the installation's root, ``openblas_lib/lib/libopenblas-openblas_lib.so.0``."""
    soname: str
    original_soname: str
    aliases: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    sha256: str
    build_id: str | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestPrivate:
    """A library that came along for the others. It provides nothing to consumers."""

    file: str
    soname: str
    original_soname: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRequire:
    """Another library wheel that this one needs."""

    name: str
    """Normalised distribution name."""
    import_name: str
    requirement: str
    """As in ``Requires-Dist``."""
    sonames: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole manifest."""

    name: str
    version: str
    import_name: str
    libraries: tuple[ManifestLibrary, ...]
    private: tuple[ManifestPrivate, ...] = ()
    requires: tuple[ManifestRequire, ...] = ()
    singleton: bool = False
    compatible: str | None = None
    pkg_config_names: tuple[str, ...] = ()
    """Names of its ``.pc`` files, for library wheels that need this one."""
    cmake_name: str | None = None
    abi: Mapping[str, str] = field(default_factory=dict)
    exports: Mapping[str, Mapping[Symbol, str]] = field(default_factory=dict)
    """For each soname: every exported symbol and the first release that had it."""

    @property
    def history(self) -> bool:
        """Whether the exports reach back before this release (``build --since``)."""
        return any(first != self.version for symbols in self.exports.values() for first in symbols.values())

    def document(self) -> dict[str, Any]:
        """Return the manifest as a JSON value, in a stable order."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "import_name": self.import_name,
            "libraries": [_plain(library) for library in self.libraries],
            "private": [_plain(library) for library in self.private],
            "requires": [_plain(require) for require in self.requires],
            "singleton": self.singleton,
            "compatible": self.compatible,
            "pkg_config_names": list(self.pkg_config_names),
            "cmake_name": self.cmake_name,
            "abi": dict(sorted(self.abi.items())),
            "exports": {
                soname: {str(symbol): first for symbol, first in sorted(symbols.items())}
                for soname, symbols in sorted(self.exports.items())
            },
        }

    def to_json(self) -> str:
        """Return the text of ``nativelib.json``."""
        return json.dumps(self.document(), indent=1, ensure_ascii=True) + "\n"


def _plain(value: ManifestLibrary | ManifestPrivate | ManifestRequire) -> dict[str, Any]:
    pairs = ((name, getattr(value, name)) for name in value.__slots__)
    return {name: list(item) if isinstance(item, tuple) else item for name, item in pairs}


def parse_manifest(text: str, *, where: str) -> Manifest:
    """Return the manifest that *text* holds.

    *where* names the file in errors. Raises :class:`~nativelib.errors.ReadError` if it is not JSON, of an unknown
    schema, or lacks a key.
    """
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ReadError.of(
                Code.NOT_A_PROVIDER,
                where,
                f"This manifest has schema {document['schema']!r}, and this nativelib understands {SCHEMA}.",
                "Use a newer nativelib.",
            )
        found = Manifest(
            name=_text(document, "name"),
            version=_text(document, "version"),
            import_name=_text(document, "import_name"),
            libraries=tuple(_library(item) for item in document["libraries"]),
            private=tuple(
                ManifestPrivate(**{key: _text(item, key) for key in ManifestPrivate.__slots__})
                for item in document.get("private", [])
            ),
            requires=tuple(
                ManifestRequire(
                    name=_text(item, "name"),
                    import_name=_text(item, "import_name"),
                    requirement=_text(item, "requirement"),
                    sonames=_texts(item, "sonames"),
                )
                for item in document.get("requires", [])
            ),
            singleton=bool(document.get("singleton", False)),
            compatible=document.get("compatible"),
            pkg_config_names=_texts(document, "pkg_config_names"),
            cmake_name=document.get("cmake_name"),
            abi={str(key): str(value) for key, value in document.get("abi", {}).items()},
            exports={
                str(soname): {Symbol.parse(symbol): str(first) for symbol, first in symbols.items()}
                for soname, symbols in document.get("exports", {}).items()
            },
        )
        _check(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise ReadError.of(
            Code.NOT_A_PROVIDER,
            where,
            f"The manifest is not readable: {type(cause).__name__}: {cause}.",
            "Build the library wheel again.",
        ) from cause
    return found


def _check(manifest: Manifest) -> None:
    """Raise ValueError or AttributeError for versions, a policy or import names that cannot be used as such."""
    firsts = {first for symbols in manifest.exports.values() for first in symbols.values()}
    for version in (manifest.version, *firsts):
        Version(version)
    if manifest.compatible is not None:
        SpecifierSet(manifest.compatible.replace("{version}", Version(manifest.version).public))
    for name in (manifest.import_name, *(require.import_name for require in manifest.requires)):
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not a Python name")


def _library(item: Mapping[str, Any]) -> ManifestLibrary:
    build_id = item.get("build_id")
    return ManifestLibrary(
        file=_text(item, "file"),
        soname=_text(item, "soname"),
        original_soname=_text(item, "original_soname"),
        aliases=_texts(item, "aliases"),
        needed=_texts(item, "needed"),
        sha256=_text(item, "sha256"),
        build_id=None if build_id is None else str(build_id),
        size=int(item["size"]),
    )


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a string")
    return value


def _texts(item: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = item.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise TypeError(f"{key} is not a list of strings")
    return tuple(value)
