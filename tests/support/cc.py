"""Real ELF files, from source text."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.tools import lacking, require

if TYPE_CHECKING:
    from collections.abc import Sequence


def shared_library(
    directory: Path,
    name: str,
    source: str,
    *,
    soname: str | None = None,
    needed: Sequence[Path] = (),
    version_script: str | None = None,
    cc: str = "gcc",
    flags: Sequence[str] = (),
    rpath: str | None = None,
) -> Path:
    """Compile *source* to the shared library *directory*/*name* and return its path.

    *needed* are libraries to link with: each becomes a ``DT_NEEDED`` entry, whether a symbol of it is used or not.
    *version_script* is the text of a GNU ld version script. *rpath* becomes ``DT_RUNPATH``; for ``DT_RPATH`` put
    ``-Wl,--disable-new-dtags`` into *flags*.
    """
    arguments = ["-shared", "-fPIC", *flags]
    if soname is not None:
        arguments.append(f"-Wl,-soname,{soname}")
    if rpath is not None:
        arguments.append(f"-Wl,-rpath,{rpath}")
    if version_script is not None:
        script = _written(directory, f"{name}.map", version_script)
        arguments.append(f"-Wl,--version-script={script}")
    return _compiled(cc, directory, name, source, arguments, needed)


def program(
    directory: Path, name: str, source: str, *, needed: Sequence[Path] = (), cc: str = "gcc", flags: Sequence[str] = ()
) -> Path:
    """Compile *source* to the program *directory*/*name* and return its path."""
    return _compiled(cc, directory, name, source, list(flags), needed)


def extension(
    directory: Path,
    module: str,
    source: str,
    *,
    needed: Sequence[Path] = (),
    cc: str = "gcc",
    flags: Sequence[str] = (),
    rpath: str | None = None,
) -> Path:
    """Compile *source* to the extension module *module* of the running CPython and return its path.

    *source* defines ``PyInit_<module>``; ``simple_module`` writes one.
    """
    include = sysconfig.get_path("include")
    if not Path(include, "Python.h").is_file():
        lacking("Python.h")
    name = f"{module}{sysconfig.get_config_var('EXT_SUFFIX')}"
    return shared_library(directory, name, source, needed=needed, cc=cc, flags=[f"-I{include}", *flags], rpath=rpath)


def simple_module(module: str, expression: str, declarations: str = "") -> str:
    """Return the source of an extension whose function ``value()`` returns the C integer *expression*."""
    return f"""
    #include <Python.h>
    {declarations}
    static PyObject *value(PyObject *self, PyObject *none) {{ return PyLong_FromLong((long)({expression})); }}
    static PyMethodDef methods[] = {{{{"value", value, METH_NOARGS, 0}}, {{0, 0, 0, 0}}}};
    static struct PyModuleDef definition = {{PyModuleDef_HEAD_INIT, "{module}", 0, -1, methods, 0, 0, 0, 0}};
    PyMODINIT_FUNC PyInit_{module}(void) {{ return PyModule_Create(&definition); }}
    """


def _written(directory: Path, name: str, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(text)
    return path


def _compiled(
    cc: str, directory: Path, name: str, source: str, arguments: Sequence[str], needed: Sequence[Path]
) -> Path:
    compiler = require(cc)
    suffix = ".cc" if "++" in cc else ".c"
    text = _written(directory, f"{name}{suffix}", source)
    output = directory / name
    # Debian's gcc passes --as-needed, which would drop libraries that no symbol is taken from.
    libraries = ["-Wl,--no-as-needed", *map(str, needed), "-Wl,--as-needed"] if needed else []
    argv = [compiler, "-O1", *arguments, "-o", str(output), str(text), *libraries]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}\n{done.stderr}")
    return output
