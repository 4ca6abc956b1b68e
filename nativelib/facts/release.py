"""What is known about the files of one release: its wheels, of any system, and its source distribution. No I/O."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.version import Version

from nativelib.facts.tags import Family, PlatformTag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.facts.metadata import Metadata
    from nativelib.facts.wheel import WheelName

SYSTEMS: Mapping[str, Mapping[str, str]] = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "android": {"sys_platform": "android", "platform_system": "Android", "os_name": "posix"},
    "darwin": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "ios": {"sys_platform": "ios", "platform_system": "iOS", "os_name": "posix"},
    "win32": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    "emscripten": {"sys_platform": "emscripten", "platform_system": "Emscripten", "os_name": "posix"},
}
"""Environment markers that go together on each system (PEP 508; PEP 738 for Android, PEP 730 for iOS)."""

_FOREIGN = {"macosx": "darwin", "win": "win32", "win32": "win32", "ios": "ios", "emscripten": "emscripten"}
_FOREIGN |= {"pyodide": "emscripten", "pyemscripten": "emscripten"}
_OWN = {Family.MANYLINUX: "linux", Family.MUSLLINUX: "linux", Family.LINUX: "linux", Family.ANDROID: "android"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DistFile:
    """One file of a release."""

    path: str
    """Absolute path."""
    metadata: Metadata
    """The fields of METADATA; of a source distribution, of PKG-INFO."""
    wheel: WheelName | None = None
    """The parts of a wheel's name; ``None`` for a source distribution."""
    texts: Mapping[str, bytes] = field(default_factory=dict, compare=False)
    """Content of files of a wheel's ``.dist-info``; of a source distribution, of its ``pyproject.toml``."""

    @property
    def filename(self) -> str:
        """Its file name."""
        return posixpath.basename(self.path)

    @property
    def label(self) -> str:
        """What tells a wheel from the others of its release, in a word; of a source distribution, its file name."""
        if self.wheel is None:
            return self.filename
        platform = self.linux[0].text if self.linux else self.wheel.platforms[0]
        return f"{'.'.join(self.wheel.pythons)}-{'.'.join(self.wheel.abis)}-{platform}"

    @property
    def version(self) -> Version:
        """Its version."""
        return Version(self.metadata.version)

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags; of a source distribution none."""
        return self.wheel.platforms if self.wheel is not None else ()

    @property
    def systems(self) -> frozenset[str]:
        """Names of :data:`SYSTEMS` that a wheel can be installed on, ``any`` for all; empty if its tag says none."""
        return frozenset(filter(None, map(_system, self.platforms)))

    @property
    def linux(self) -> tuple[PlatformTag, ...]:
        """Its platform tags for Linux, the oldest system first."""
        tags = (PlatformTag.parse(tag) for tag in self.platforms)
        return tuple(sorted((tag for tag in tags if _OWN.get(tag.family) == "linux"), key=lambda tag: tag.sort_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderWheel:
    """A wheel of a provider, of which its name says enough: for whom it is."""

    path: str
    """Absolute path."""
    wheel: WheelName
    counts: bool
    """Whether requirements on it are checked: it was named, or it is a library wheel."""

    @property
    def platforms(self) -> tuple[PlatformTag, ...]:
        """Its platform tags, the oldest system first."""
        return tuple(sorted(map(PlatformTag.parse, self.wheel.platforms), key=lambda tag: tag.sort_key))


def _system(platform: str) -> str:
    """Return the system of a platform tag, ``any``, or nothing for an unknown one."""
    tag = PlatformTag.parse(platform)
    if tag.family is Family.ANY:
        return "any"
    return _OWN.get(tag.family) or _FOREIGN.get(re.split(r"[_-]", platform)[0], "")
