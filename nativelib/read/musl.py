"""musl's C library on the search path: its version, and what it exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.facts.elf import Libc
from nativelib.facts.outside import SystemMusl
from nativelib.policy.judge import policy_libraries
from nativelib.read.elf import read_elf_file

if TYPE_CHECKING:
    from nativelib.read.search import SearchPath

# musl's loader prints the format string if it is run without a program (ldso/dynlink.c); the version is __libc_version.
_BANNER = b"musl libc ("
_VERSION = re.compile(rb"\0(\d+)\.(\d+)\.\d+(?:-[\w.-]+)?(?=\0)")
_LARGEST = 16 << 20
"""In bytes. musl is smaller than one MiB, and what is so called and larger is something else."""


def find_musl(path: SearchPath) -> SystemMusl | None:
    """Return the first musl on *path* that says its version, or ``None``; a file that cannot be read is passed over."""
    names = [name for name in policy_libraries(Libc.MUSL, path.architecture) if name.startswith(("libc.", "ld-musl-"))]
    candidates = (Path(directory, name) for directory in path.directories for name in sorted(names))
    return next((found for candidate in candidates if (found := _read(candidate, path)) is not None), None)


def _read(candidate: Path, path: SearchPath) -> SystemMusl | None:
    try:
        if not candidate.is_file() or candidate.stat().st_size > _LARGEST:  # on a system with glibc, a linker script
            return None
        content = candidate.read_bytes()
        facts = read_elf_file(candidate)
    except (OSError, ReadError):
        return None
    versions = set(_VERSION.findall(content))
    if facts.architecture != path.architecture or _BANNER not in content or len(versions) != 1:
        return None
    [(major, minor)] = versions
    return SystemMusl(
        path=str(candidate),
        version=(int(major), int(minor)),
        exports=frozenset(symbol.name for symbol in facts.exports),
    )
