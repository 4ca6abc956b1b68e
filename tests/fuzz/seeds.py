"""What fuzzing begins with: real ELF files of several machines, small, and real wheels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.facts.elf import MACHINES
from nativelib.write.anchor import build_anchor
from tests.support.cc import shared_library
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE = """
extern int other(void);
int __attribute__((weak)) maybe(void);
__thread int local_to_a_thread = 1;
int value(void) { return maybe ? maybe() : other() + local_to_a_thread; }
"""
_NODES = "V_1 { global: value; local: *; };\nV_2 { global: local_to_a_thread; } V_1;\n"
_COMPILERS = ("gcc", "aarch64-linux-gnu-gcc", "arm-linux-gnueabihf-gcc", "s390x-linux-gnu-gcc", "musl-gcc")
_CASES = Path(__file__).parent / "cases"


def elf_files(directory: Path) -> Iterator[bytes]:
    """Yield ELF files: libraries of every compiler that is there, and an anchor for each machine that has one."""
    for number, compiler in enumerate(filter(shutil.which, _COMPILERS)):
        # Small pages and no startup files: a mutation should rarely fall on padding or code.
        flags = ["-nostartfiles", "-Wl,-z,max-page-size=4096", "-Wl,-z,noseparate-code"]
        for style in ("sysv", "gnu"):
            yield shared_library(
                directory,
                f"libseed{number}-{style}.so",
                _SOURCE,
                soname="libseed.so.1",
                version_script=_NODES,
                cc=compiler,
                flags=[*flags, f"-Wl,--hash-style={style}", "-Wl,--build-id"],
                rpath="$ORIGIN/../lib:/opt/lib",
            ).read_bytes()
    for name, machine in MACHINES.items():
        if name != "ppc64":  # no platform tag has it, so nobody needs an anchor for it
            yield build_anchor(machine, soname="anchor.so", needed=["liba.so.1", "libb.so.2"])


def wheels(directory: Path, elf: bytes) -> Iterator[bytes]:
    """Yield wheels: with an ELF file, with folded metadata and odd names, as plain as can be."""
    name = "demo-1.0-py3-none-any.whl"
    folded = "Requires-Dist: a>=1;\n python_version < '4'\nProvides-Extra: x\n\nA body.\n"
    contents: list[tuple[dict[str, bytes | str | Path], str]] = [
        ({"demo/__init__.py": "x = 1\n" * 40, "demo/_ext.so": elf}, folded),
        ({'demo/a,"b".py': "", "demo/ü.txt": "ü", "demo-1.0.data/scripts/run": "#!python\n"}, ""),
        ({}, ""),
    ]
    for number, (files, extra) in enumerate(contents):
        yield make_wheel(directory / str(number), name, files, metadata_extra=extra).read_bytes()


def write_seeds(target: str, corpus: Path, scratch: Path) -> None:
    """Fill the directory *corpus* for *target*, with the kept cases in front."""
    corpus.mkdir(parents=True, exist_ok=True)
    for case in sorted((_CASES / target).iterdir()):
        shutil.copy(case, corpus / case.name)
    files = list(elf_files(scratch))
    contents = files if target == "elf" else list(wheels(scratch, files[-1]))
    for number, content in enumerate(contents):
        (corpus / f"seed-{number:02}").write_bytes(content)
