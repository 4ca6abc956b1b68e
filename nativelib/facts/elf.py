"""What is known about one ELF file, and what an edit makes of it. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple


class Libc(StrEnum):
    """The C library family that a file was linked against."""

    GLIBC = "glibc"
    MUSL = "musl"
    BIONIC = "bionic"
    """Android's."""

    @property
    def run_path_tag(self) -> str:
        """The tag of a run path that its loader reads: Android's knows ``DT_RUNPATH`` alone, see :class:`ElfEdit`."""
        return "runpath" if self is Libc.BIONIC else "rpath"


class Symbol(NamedTuple):
    """A dynamic symbol and its version node. All versions of a name are separate symbols."""

    name: str
    version: str = ""

    def __str__(self) -> str:
        """Return ``name@version``, or the bare name."""
        return f"{self.name}@{self.version}" if self.version else self.name

    @classmethod
    def parse(cls, text: str) -> Symbol:
        """Return the symbol that ``str()`` wrote as *text*."""
        name, _, version = text.partition("@")
        return cls(name, version)


class Import(NamedTuple):
    """An undefined dynamic symbol.

    ``library`` is the file that the version need (``DT_VERNEED``) names, or empty without a version.
    """

    name: str
    version: str = ""
    library: str = ""
    weak: bool = False

    @property
    def symbol(self) -> Symbol:
        """The symbol that is asked for."""
        return Symbol(self.name, self.version)


class VersionNeed(NamedTuple):
    """One entry of ``DT_VERNEED``: *version* is needed from *library*."""

    library: str
    version: str
    weak: bool = False


class DlopenNote(NamedTuple):
    """One entry of the ELF note ``.note.dlopen``: a library that the file's code opens at run time.

    Source: UAPI group, "ELF dlopen metadata".
    """

    sonames: tuple[str, ...]
    """Alternatives, the preferred one first."""
    feature: str = ""
    description: str = ""
    priority: str = ""
    """``required``, ``recommended`` or ``suggested``."""


class Machine(NamedTuple):
    """The part of the ELF header that a loader compares. ``e_flags`` is apart: it decides only on some machines."""

    e_machine: int
    bits: int
    little_endian: bool

    @property
    def architecture(self) -> str:
        """The name that platform tags use (``x86_64``), or ``em<number>`` for a machine without one."""
        return _ARCHITECTURES.get(self, f"em{self.e_machine}")


_ARCHITECTURES = {
    Machine(62, 64, True): "x86_64",
    Machine(3, 32, True): "i686",
    Machine(183, 64, True): "aarch64",
    Machine(40, 32, True): "armv7l",
    Machine(21, 64, True): "ppc64le",
    Machine(21, 64, False): "ppc64",
    Machine(22, 64, False): "s390x",
    Machine(243, 64, True): "riscv64",
    Machine(258, 64, True): "loongarch64",
}

MACHINES: dict[str, Machine] = {name: machine for machine, name in _ARCHITECTURES.items()}
"""Machine of each architecture name that a platform tag can carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFacts:
    """Everything that nativelib wants to know about one ELF file; each file is read once."""

    machine: Machine
    """Machine, word size and byte order."""
    e_type: int
    """2 ``ET_EXEC``, 3 ``ET_DYN``."""
    e_flags: int
    """Processor flags of the ELF header."""
    dynamic: bool
    """Whether there is a dynamic segment at all (a static program has none)."""
    interpreter: str | None
    """``PT_INTERP``; a program has one, a library normally has none."""
    soname: str | None
    """``DT_SONAME``."""
    needed: tuple[str, ...]
    """``DT_NEEDED`` in file order."""
    rpath: tuple[str, ...]
    """``DT_RPATH``, split at colons."""
    runpath: tuple[str, ...]
    """``DT_RUNPATH``, split at colons; glibc ignores ``DT_RPATH`` where it is present."""
    version_needs: tuple[VersionNeed, ...]
    """``DT_VERNEED`` in file order."""
    version_definitions: tuple[str, ...]
    """``DT_VERDEF`` without the base entry."""
    version_base: str | None
    """The base entry of ``DT_VERDEF``: usually the soname that the linker was given."""
    imports: frozenset[Import]
    """Undefined symbols, weak ones included."""
    exports: frozenset[Symbol]
    """Defined symbols that other files can bind to, with all versions of a name."""
    data: frozenset[str] = frozenset()
    """Names of those exports that are variables, thread-local ones included."""
    build_id: str | None
    """GNU build-id, as hex."""
    isa_needed: frozenset[str]
    """``GNU_PROPERTY_X86_ISA_1_NEEDED`` as ``x86-64-baseline``, ``x86-64-v2``, ``-v3``, ``-v4``."""
    relr: bool
    """Whether ``DT_RELR`` is used: needs glibc 2.36 or musl 1.2.4."""
    sections: bool
    """Whether there are section headers; patchelf and strip refuse files without."""
    load_end: int
    """File offset after the last ``PT_LOAD``: a shorter file is truncated and crashes the loader."""
    size: int
    """Size of the file in bytes."""
    sha256: str
    """SHA-256 of the file, as hex."""
    android_api: int | None = None
    """API level that the file was built for, from the note of the NDK's start files (``.note.android.ident``)."""
    dlopen: tuple[DlopenNote, ...] = ()
    """What ``.note.dlopen`` says about libraries that are opened at run time."""
    leftovers: tuple[str, ...] = ()
    """Sonames in the string table that nothing refers to any more: a tool that renames leaves the old name behind."""
    openblas: str = ""
    """Of an OpenBLAS: how it was configured, as far as its text is in one piece (``0.3.31 USE64BITINT ...``)."""

    @property
    def architecture(self) -> str:
        """Architecture name as in platform tags."""
        return self.machine.architecture

    @property
    def run_path(self) -> tuple[str, ...]:
        """The run path that the loader honours: ``DT_RUNPATH`` if there is one, else ``DT_RPATH``."""
        return self.runpath or self.rpath

    def run_paths(self, tag: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the run path under *tag* (``rpath`` or ``runpath``), and the one under the other tag."""
        return (self.rpath, self.runpath) if tag == "rpath" else (self.runpath, self.rpath)

    @property
    def python_extension(self) -> bool:
        """Whether it exports a Python module initialiser (``PyInit_*``, Python 2's ``init*`` apart)."""
        return any(s.name.startswith(("PyInit_", "PyInitU_", "_cffi_pypyinit_")) for s in self.exports)

    @property
    def libc(self) -> Libc | None:
        """The C library by the file's own evidence, or ``None`` without any.

        ``DT_NEEDED`` counts before version needs. Debian's musl-gcc writes ``libc.so``, Alpine ``libc.musl-ARCH.so.1``;
        an ``--as-needed`` link of a small extension may leave no trace at all. Android's is called ``libc.so``, too,
        but its files have a note, or version needs, which musl does not know.
        """
        if self.android_api is not None or _is_bionic(self.interpreter):
            return Libc.BIONIC
        for name in self.needed:
            if name.startswith("libc.musl-"):
                return Libc.MUSL
            if name == "libc.so":
                versioned = any(need.library == name for need in self.version_needs)
                return Libc.BIONIC if versioned else Libc.MUSL
            if name == "libc.so.6" or name.startswith(("ld-linux", "ld64.so", "ld.so.")):
                return Libc.GLIBC
        if any(need.version.startswith("GLIBC_") for need in self.version_needs):
            return Libc.GLIBC
        if self.interpreter:
            return Libc.MUSL if "ld-musl" in self.interpreter else Libc.GLIBC
        return None

    def suits(self, libc: Libc) -> bool:
        """Return whether nothing in the file speaks against *libc*. ``libc.so`` alone can be musl's and Android's."""
        if libc is Libc.BIONIC and self.libc is Libc.MUSL:
            return self.interpreter is None and not any(name.startswith("libc.musl-") for name in self.needed)
        return self.libc in (None, libc)


def _is_bionic(interpreter: str | None) -> bool:
    """Return whether *interpreter* is Android's loader: ``/system/bin/linker64``, or the same below ``/apex``."""
    return interpreter is not None and re.search(r"/bin/linker(_asan|_hwasan)?(64)?$", interpreter) is not None


_LIBPYTHON = re.compile(r"libpython\d+(\.\d+)?[a-z]*\.so(\.\d+)*$|libpypy.*-c\.so$")


def is_libpython(soname: str) -> bool:
    """Return whether *soname* is the interpreter's own library."""
    return _LIBPYTHON.match(soname) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfEdit:
    """A change of the dynamic section of one file. An empty edit changes nothing."""

    soname: str | None = None
    """New ``DT_SONAME``, or ``None`` to leave it."""
    replace_needed: tuple[tuple[str, str], ...] = ()
    """Pairs (old, new) of ``DT_NEEDED``; version needs that name the old file follow."""
    remove_needed: tuple[str, ...] = ()
    """``DT_NEEDED`` entries to take out."""
    run_path: tuple[str, ...] | None = None
    """New run path, ``()`` to remove it, ``None`` to leave it."""
    run_path_tag: str = "rpath"
    """``rpath`` (glibc, musl) or ``runpath`` (Android): which tag the new run path gets."""

    def __bool__(self) -> bool:
        """Return whether it changes anything."""
        return bool(self.soname is not None or self.replace_needed or self.remove_needed or self.run_path is not None)

    def apply_to(self, facts: ElfFacts) -> ElfFacts:
        """Return the facts that the edited file must have; size and digest are left as they are."""
        new = dict(self.replace_needed)
        gone = set(self.remove_needed)
        rpath, runpath = facts.rpath, facts.runpath
        if self.run_path is not None:
            rpath = self.run_path if self.run_path_tag == "rpath" else ()
            runpath = self.run_path if self.run_path_tag == "runpath" else ()
        return replace(
            facts,
            soname=facts.soname if self.soname is None else self.soname,
            needed=tuple(new.get(name, name) for name in facts.needed if name not in gone),
            version_needs=tuple(n._replace(library=new.get(n.library, n.library)) for n in facts.version_needs),
            imports=frozenset(i._replace(library=new.get(i.library, i.library)) for i in facts.imports)
            if new
            else facts.imports,
            rpath=rpath,
            runpath=runpath,
        )


def identity(facts: ElfFacts) -> ElfFacts:
    """Return *facts* without what an edit changes as a side effect, to compare a prediction with what was read back."""
    return replace(facts, size=0, sha256="", load_end=0, leftovers=())
