"""A small native library, ``libcount.so.1``, as gcc makes it, and wheels around it.

Each function takes nothing and returns a number. With version nodes it looks like a grown C library; without, like
most others.
"""

from __future__ import annotations

import sysconfig
from typing import TYPE_CHECKING

from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import built, project
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SONAME = "libcount.so.1"
FUNCTIONS = {"count_one": 1, "count_two": 2}
NODES = {"COUNT_1": ("count_one",), "COUNT_2": ("count_two",)}
ARCHITECTURE = sysconfig.get_platform().rpartition("-")[2]
PYTHON = f"cp{sysconfig.get_config_var('py_version_nodot')}"


def count_library(
    directory: Path,
    functions: Mapping[str, int] = FUNCTIONS,
    *,
    soname: str = SONAME,
    nodes: Mapping[str, Sequence[str]] | None = None,
    cc: str = "gcc",
    needed: Sequence[Path] = (),
    more: str = "",
) -> Path:
    """Compile a library with *functions* below ``<directory>/lib`` and return its path.

    *nodes* are version nodes with their functions, oldest first; what is in none is then not exported. *more* is
    further source text.
    """
    source = "\n".join(f"int {name}(void) {{ return {value}; }}" for name, value in functions.items())
    script = "".join(f"{node} {{ {''.join(f'{n}; ' for n in names)}}};\n" for node, names in (nodes or {}).items())
    return shared_library(
        directory / "lib",
        soname,
        f"{source}\n{more}\n",
        soname=soname,
        needed=needed,
        version_script=f"{script}NATIVELIB_TEST_REST {{ local: *; }};\n" if script else None,
        cc=cc,
    )


def library_wheel(
    directory: Path, library: Path, *options: str | Path, name: str = "count-lib", version: str = "1.0", tool: str = ""
) -> Path:
    """Build the library wheel *name* around *library*, with the lines *tool* in its spec, and return it."""
    spec = f'prefix = "{library.parent.parent}"\nlibraries = ["lib/{library.name}"]\n{tool}'
    source = project(directory / f"{name}-{version}-source", name, spec, version=version)
    return built(source, *options, into=directory)


def foreign_wheel(
    directory: Path, library: Path, *, name: str = "foreign_count", version: str = "1.0", arch: str = ARCHITECTURE
) -> Path:
    """Write a wheel that carries *library* in its package, as others than nativelib make them, and return it."""
    files: dict[str, str | Path] = {f"{name}/__init__.py": "", f"{name}/lib/{library.name}": library}
    return make_wheel(directory, f"{name}-{version}-py3-none-manylinux_2_17_{arch}.whl", files)


def consumer_wheel(
    directory: Path,
    extension_file: Path,
    *,
    name: str = "counter",
    version: str = "1.0",
    files: Mapping[str, bytes | str | Path] | None = None,
    metadata_extra: str = "",
    purelib: bool = False,
    platform: str = f"linux_{ARCHITECTURE}",
) -> Path:
    """Write the wheel *name* with *extension_file* in its package, and return it."""
    members: dict[str, bytes | str | Path] = {
        f"{name}/__init__.py": f'"""Count."""\n\nfrom {name}.{extension_file.name.partition(".")[0]} import value\n',
        f"{name}/{extension_file.name}": extension_file,
        **(files or {}),
    }
    filename = f"{name}-{version}-{PYTHON}-{PYTHON}-{platform}.whl"
    return make_wheel(directory, filename, members, metadata_extra=metadata_extra, purelib=purelib)


def counting_extension(
    directory: Path, *libraries: Path, functions: Sequence[str] = tuple(FUNCTIONS), module: str = "_counter"
) -> Path:
    """Compile an importable extension whose ``value()`` is the sum of *functions*, linked with *libraries*."""
    declarations = "\n".join(f"int {name}(void);" for name in functions)
    total = " + ".join(f"{name}()" for name in functions) or "0"
    return extension(directory, module, simple_module(module, total, declarations), needed=libraries)


def plain_extension(
    directory: Path,
    *libraries: Path,
    functions: Sequence[str] = tuple(FUNCTIONS),
    module: str = "_counter",
    cc: str = "gcc",
    rpath: str | None = None,
    more: str = "",
) -> Path:
    """Compile what looks like an extension for any processor and C library: it asks nothing of Python.

    *more* is further source text.
    """
    declarations = "\n".join(f"int {name}(void);" for name in functions)
    total = " + ".join(f"{name}()" for name in functions) or "0"
    init = f"void *PyInit_{module}(void) {{ return 0; }}"
    source = f"{declarations}\nint value(void) {{ return {total}; }}\n{init}\n{more}\n"
    return shared_library(directory, f"{module}.abi3.so", source, needed=libraries, cc=cc, rpath=rpath)
