"""A prefix as an installed library has it, and what readelf says about files of wheels."""

from __future__ import annotations

import re
import subprocess
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.cc import program, shared_library
from tests.support.tools import require

if TYPE_CHECKING:
    from pathlib import Path

FOO_1 = "FOO_1.0 { global: foo_value; foo_old; local: *; };\n"
FOO_2 = f"{FOO_1}FOO_2.0 {{ global: foo_new; }} FOO_1.0;\n"
FOO = "int foo_value(void) { return 42; } int foo_old(void) { return 1; }"
TOOL = """
#include <stdio.h>
int bar_value(void);
int main(int count, char **words) {
    printf("%d", bar_value());
    for (int i = 1; i < count; i++) printf(" [%s]", words[i]);
    printf("\\n");
    return count - 1;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What is installed in a prefix.

    * ``libfoo.so.1.2`` with links, versioned, ``foo_value()`` is 42; a ``.la`` and a ``.a`` beside it;
    * ``libbar.so.2``, which needs it: ``bar_value()`` is 43;
    * ``libplain.so`` without DT_SONAME: ``plain_value()`` is 5;
    * ``bin/bar-tool``, which needs libbar and prints its value and its arguments;
    * headers, licences, a ``.pc`` file.
    """

    root: Path

    @property
    def lib(self) -> Path:
        """Directory of the libraries."""
        return self.root / "lib"


def make_prefix(root: Path, *, foo: str = FOO, version_script: str = FOO_1) -> Prefix:
    """Build :class:`Prefix` in *root*; *foo* is the source of libfoo."""
    prefix = Prefix(root=root)
    lib = prefix.lib
    real = shared_library(lib, "libfoo.so.1.2", foo, soname="libfoo.so.1", version_script=version_script)
    (lib / "libfoo.so.1").symlink_to("libfoo.so.1.2")
    (lib / "libfoo.so").symlink_to("libfoo.so.1")
    source = "int foo_value(void); int bar_value(void) { return foo_value() + 1; }"
    bar = shared_library(lib, "libbar.so.2", source, soname="libbar.so.2", needed=[real])
    shared_library(lib, "libplain.so", "int plain_value(void) { return 5; }")
    flags = [f"-Wl,-rpath-link,{lib}"]
    program(root / "bin", "bar-tool", TOOL, needed=[bar], flags=flags)
    archive(lib / "libfoo.a", "int foo_value(void) { return 42; }")
    texts = {
        "lib/libfoo.la": f"libdir='{lib}'\n",
        "lib/pkgconfig/foo.pc": f"prefix={root}\nName: foo\nDescription: foo\nVersion: 1.2\n",
        "bin/foo-script": '#!/bin/sh\necho "script $@"\n',
        "include/foo/foo.h": '#include "sub/deep.h"\nint foo_value(void);\n',
        "include/foo/sub/deep.h": "#define DEEP 1\n",
        "include/bar.h": "int bar_value(void);\n",
        "share/doc/foo/copyright": "licence of foo\n",
        "share/doc/bar/copyright": "licence of bar\n",
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "bin" / "foo-script").chmod(0o755)
    return prefix


def archive(path: Path, source: str) -> Path:
    """Compile *source* into the static library *path*."""
    code, compiled = path.with_suffix(".c"), path.with_suffix(".o")
    code.write_text(source)
    subprocess.run([require("gcc"), "-c", "-fPIC", code, "-o", compiled], check=True)
    subprocess.run([require("ar"), "rcs", path, compiled], check=True)
    code.unlink()
    compiled.unlink()
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """The dynamic section of a file, as readelf shows it."""

    soname: str | None
    needed: list[str]
    rpath: list[str]
    runpath: list[str]


def dynamic(path: Path) -> Dynamic:
    """Return the dynamic section of the file at *path*."""
    text = subprocess.run([require("readelf"), "-dW", path], capture_output=True, text=True, check=True).stdout

    def values(kind: str) -> list[str]:
        return re.findall(rf"\({kind}\)[^\[]*\[([^\]]*)\]", text)

    def split(kind: str) -> list[str]:
        return [entry for value in values(kind) for entry in value.split(":") if entry]

    return Dynamic(
        soname=next(iter(values("SONAME")), None),
        needed=values("NEEDED"),
        rpath=split("RPATH"),
        runpath=split("RUNPATH"),
    )


def unpacked(wheel: Path, into: Path) -> Path:
    """Unpack *wheel* as an installer would, as far as files of the library root go, and return *into*."""
    with zipfile.ZipFile(wheel) as opened:
        for info in opened.infolist():
            path = opened.extract(info, into)
            if mode := info.external_attr >> 16 & 0o777:
                (into / path).chmod(mode)
    return into
