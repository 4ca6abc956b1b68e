"""Packages of a system's package manager: who owned a file before it was copied into a wheel. No I/O."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.findings import Finding

# The letters that dpkg, rpm and apk allow, taken together. What a database says goes into documents and onto terminals.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+._-]{0,199}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^:_-]{0,199}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{0,100}")
_PLAIN = frozenset(f"{string.ascii_letters}{string.digits}-._~:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package that is installed on the machine."""

    kind: Literal["deb", "rpm", "apk"]
    """Its kind, as purls call it."""
    name: str
    version: str
    """With the release; with the epoch as well where the package manager writes it into the version (dpkg)."""
    architecture: str = ""
    epoch: str = ""
    """Epoch of an rpm package, if it has one."""
    vendor: str = ""
    """``ID`` of os-release(5): who made the distribution."""
    release: str = ""
    """``VERSION_ID`` of os-release(5)."""
    supplier: str = ""
    """Who made the package, in the database's own words."""
    licences: tuple[str, ...] = ()
    """Its licences, in the package's own words; of rpm and apk one text that covers all of it."""

    @property
    def sound(self) -> bool:
        """Whether name, version and what else goes into the purl are of the form that package managers enforce."""
        words = (self.architecture, self.epoch, self.vendor, self.release)
        return bool(
            _NAME.fullmatch(self.name) and _VERSION.fullmatch(self.version) and all(map(_WORD.fullmatch, words))
        )

    @property
    def purl(self) -> str:
        """The package URL, as the purl specification and its definitions of the types deb, rpm and apk have it."""
        qualifiers = {
            "arch": self.architecture,
            "distro": f"{self.vendor}-{self.release}" if self.release else self.vendor,
            "epoch": self.epoch,
        }
        name = self.name if self.kind == "rpm" else self.name.lower()
        return make_purl(self.kind, self.vendor.lower(), name, self.version, qualifiers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """What the package databases of the machine say about some files."""

    packages: Mapping[str, Package] = field(default_factory=dict)
    """Path of each file that a package owns, with the package."""
    findings: tuple[Finding, ...] = ()
    """Databases that could not be read."""

    def purl(self, path: str) -> str | None:
        """Return the purl of the package that owns *path*, if one does."""
        package = self.packages.get(path)
        return package.purl if package else None


def make_purl(kind: str, namespace: str, name: str, version: str, qualifiers: Mapping[str, str] | None = None) -> str:
    """Return a package URL (purl specification, "Rules for each purl component"); *qualifiers* in order of their keys.

    A *namespace* or a qualifier that is empty is left out.
    """
    above = f"{_encode(namespace)}/" if namespace else ""
    tail = "&".join(f"{key}={_encode(value)}" for key, value in (qualifiers or {}).items() if value)
    return f"pkg:{kind}/{above}{_encode(name)}@{_encode(version)}{'?' if tail else ''}{tail}"


def _encode(text: str) -> str:
    # The specification leaves a colon as it is, and encodes all else that RFC 3986 does not call unreserved.
    return "".join(chr(c) if chr(c) in _PLAIN else f"%{c:02X}" for c in text.encode("utf-8", "replace"))


def _decode(text: str) -> str:
    return re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), text)


def purl_label(purl: str) -> str:
    """Return name and version of the package that *purl* names, for people: ``libgomp1 12.2.0-14``."""
    name, _, version = purl.partition("?")[0].rpartition("/")[2].partition("@")
    return f"{_decode(name)} {_decode(version)}".rstrip()
