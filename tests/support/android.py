"""ELF files as Android's NDK makes them, from the compilers that are at hand.

What makes them Android's is what a loader and an auditor look at: the note of the NDK's start files, a C library that
is called ``libc.so`` and has version nodes, no start files of the host, and ``DT_RUNPATH``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.cc import shared_library

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMPILERS = {"arm64_v8a": "aarch64-linux-gnu-gcc", "x86_64": "gcc"}
"""ABI to the compiler for it."""

# Section, name, type 1 and length as in bionic's crtbrand.S; the level, then names of the NDK release.
_NOTE = r"""
__asm__(".pushsection .note.android.ident,\"a\",%note\n"
        ".balign 4\n.long 8, 132, 1\n.ascii \"Android\\0\"\n"
        ".long {level}\n.ascii \"r27c\"\n.zero 60\n.ascii \"12479018\"\n.zero 56\n.popsection");
"""


class Ndk:
    """Compiles for one ABI of Android."""

    def __init__(self, directory: Path, abi: str = "arm64_v8a", *, compiler: str | None = None) -> None:
        """Write stubs of the system's libraries below *directory*."""
        self.abi, self.cc, self.stubs = abi, compiler or COMPILERS[abi], directory / "stubs"
        self.system = {
            name: self.library(
                self.stubs, name, "int malloc_usable(void) { return 0; }", level=None, needed=(), version="LIBC"
            )
            for name in ("libc.so", "libm.so", "libvulkan.so", "libpython3.13.so")
        }

    def library(
        self,
        directory: Path,
        name: str,
        source: str,
        *,
        level: int | None = 24,
        needed: Sequence[Path | str] = ("libc.so",),
        version: str | None = None,
        soname: str | None = None,
        rpath: str | None = None,
        flags: Sequence[str] = (),
    ) -> Path:
        """Compile a library for API *level* (no note without one); it needs files, or system libraries by name."""
        return shared_library(
            directory,
            name,
            source + (_NOTE.replace("{level}", str(level)) if level is not None else ""),
            soname=soname or name,
            needed=[self.system[item] if isinstance(item, str) else item for item in needed],
            version_script=f"{version} {{ global: *; }};" if version else None,
            cc=self.cc,
            flags=["-nostdlib", "-Wl,--enable-new-dtags", *flags],
            rpath=rpath,
        )
