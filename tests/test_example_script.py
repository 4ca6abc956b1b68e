"""The example that compiles a library with a build script: its wheel, for this machine and others, and a consumer."""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import parse_wheel_filename

from nativelib.read.elf import read_elf
from tests.support.cc import extension, shared_library, simple_module
from tests.support.foreign import FOREIGN, debian_source, foreign_python
from tests.support.matrix import record
from tests.support.musl_python import musl_python
from tests.support.projects import nativelib, repaired
from tests.support.tools import require
from tests.support.toy import consumer, installed, package
from tests.support.venvs import clean_environment, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = [pytest.mark.long, pytest.mark.network]

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "lz4"
SONAME = "liblz4-lz4_lib.so.1"

# Compresses a text that repeats itself and gives the length that comes back, if the text does.
ROUND_TRIP = """
#include <stdlib.h>
#include <string.h>
int LZ4_compress_default(const char *, char *, int, int), LZ4_decompress_safe(const char *, char *, int, int);
static long round_trip(void) {
    enum { N = 10000 };
    char *text = malloc(3 * N), *packed = text + N, *back = packed + N;
    for (int i = 0; i < N; i++) text[i] = i % 17;
    int size = LZ4_compress_default(text, packed, N, N);
    int whole = size > 0 ? LZ4_decompress_safe(packed, back, size, N) : 0;
    long result = size < N / 10 && whole == N && !memcmp(text, back, N) ? whole : -1;
    free(text);
    return result;
}
"""


def sources() -> Path:
    require("make")
    archive = debian_source("lz4")
    assert archive is not None
    return archive


def lz4_wheel(into: Path, *, compiler: str = "gcc") -> Path:
    """Build the example with *compiler*; its directory is not written to."""
    environment = {"LZ4_SOURCES": str(sources().parent), "CC": require(compiler)}
    answer = nativelib("build", EXAMPLE, "-w", into, env=environment)
    assert answer.code == 0, answer.stdout + answer.stderr
    assert not [finding for finding in answer.findings if finding["severity"] != "note"]
    return Path(answer.document["wheel"])


def platforms(wheel: Path) -> set[str]:
    return {tag.platform for tag in parse_wheel_filename(wheel.name)[3]}


def consumer_of(library: Path, here: Path, file: str, tag: str, *, compiler: str, flags: Sequence[str]) -> list[Path]:
    """Compile and repair a consumer of *library*; return the directories in which both lie unpacked."""
    site = unpacked(library, here / "library")
    built = shared_library(
        here / "linked",
        file,
        simple_module("_ext", "round_trip()", ROUND_TRIP),
        needed=[site / "lz4_lib" / "lib" / SONAME],
        cc=compiler,
        flags=flags,
    )
    files: dict[str, str | Path] = {"cons/__init__.py": "from ._ext import value\n", f"cons/{file}": built}
    wheel = make_wheel(here / "linked", f"cons-1.0-{tag}.whl", files)
    return [unpacked(repaired(wheel, "--provided-by", library, into=here / "out"), here / "consumer"), site]


def unpacked(wheel: Path, directory: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def test_wheel_for_old_systems_and_a_consumer(tmp_path: Path) -> None:
    wheel = lz4_wheel(tmp_path / "dist")
    version = sources().name.partition("_")[2].partition(".orig")[0]
    content = members(wheel)
    assert wheel.name.startswith(f"lz4_lib-{version}-py3-none-")
    if platform.machine() == "x86_64":
        assert platforms(wheel) == {"manylinux_2_17_x86_64", "manylinux2014_x86_64"}
    assert {f"lz4_lib/lib/{SONAME}", "lz4_lib/include/lz4.h"} <= set(content)
    assert b"Yann Collet" in content[f"lz4_lib-{version}.dist-info/licenses/LICENSE"]
    facts = read_elf(content[f"lz4_lib/lib/{SONAME}"], where=SONAME)
    assert (facts.soname, facts.needed) == (SONAME, ("libc.so.6",))
    assert not [entry for entry in facts.run_path if not entry.startswith("$ORIGIN")]
    assert not [name for name, data in content.items() if b"nativelib-" in data and str(tmp_path).encode() in data]

    # Linked as the wheel's own program says, in an environment that has it.
    development = installed(tmp_path / "development", wheel)
    argv = [str(development.python), "-m", "lz4_lib", "--cflags", "--libs"]
    words = shlex.split(
        subprocess.run(argv, env=clean_environment(), capture_output=True, text=True, check=True).stdout
    )
    source = simple_module("_ext", "round_trip()", f"#include <lz4.h>\n{ROUND_TRIP}")
    file = extension(tmp_path, "_ext", source, flags=["-Wl,--no-as-needed", *words])
    linked = consumer(tmp_path, "cons", package("cons", file))
    shutil.rmtree(development.path)
    result = repaired(linked, "--provided-by", wheel, into=tmp_path / "dist")
    environment = installed(tmp_path / "venv", result, links=[tmp_path / "dist"])
    code = "import cons, lz4_lib; print(cons.value(), lz4_lib.__version__, *lz4_lib.loaded().values())"
    value, found, loaded = run_python(environment, code).stdout.split()
    assert (value, found) == ("10000", version)
    assert Path(loaded).samefile(environment.site / "lz4_lib" / "lib" / SONAME)
    record(
        "Machines",
        f"{platform.machine()}: a library compiled by a build script",
        "examples/lz4; a consumer linked as `python -m lz4_lib --cflags --libs` says",
        "works, tagged manylinux2014",
    )


def test_musl(tmp_path: Path) -> None:
    wheel = lz4_wheel(tmp_path / "dist", compiler="musl-gcc")
    assert platforms(wheel) == {f"musllinux_1_2_{platform.machine()}"}
    python = musl_python()
    tag = f"{python.tag}-{python.tag}-linux_{platform.machine()}"
    flags = [f"-I{python.include}"]
    path = consumer_of(wheel, tmp_path, f"_ext{python.suffix}", tag, compiler="musl-gcc", flags=flags)
    code = f"import sys; sys.path[:0] = {[*map(str, path)]!r}; import cons; print(cons.value())"
    assert run_python(python.python, code).stdout == "10000\n"
    record(
        "C libraries",
        "a library compiled by a build script, musl",
        "examples/lz4 with CC=musl-gcc; a consumer in CPython for musl",
        "works",
    )


def test_another_machine(tmp_path: Path) -> None:
    foreign = FOREIGN["aarch64"]
    wheel = lz4_wheel(tmp_path / "dist", compiler=foreign.compiler)
    assert platforms(wheel) == {"manylinux_2_17_aarch64", "manylinux2014_aarch64"}
    python = foreign_python(foreign)
    tag = f"{python.tag}-{python.tag}-linux_aarch64"
    path = consumer_of(wheel, tmp_path, f"_ext{python.suffix}", tag, compiler=foreign.compiler, flags=python.include)
    done = python.run("import cons; print(cons.value())", *path, flags=["-W", "error"])
    assert (done.stdout, done.stderr) == ("10000\n", "")
    record(
        "Machines",
        "aarch64: a library compiled by a build script",
        "examples/lz4 with CC=aarch64-linux-gnu-gcc; a consumer in CPython under qemu-user",
        "works, tagged manylinux2014",
    )


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """The second time as a user runs it: a copy of the example elsewhere, which fetches the sources."""
    require("apt-get")
    one = lz4_wheel(tmp_path / "one")
    example = shutil.copytree(EXAMPLE, tmp_path / "lz4", ignore=shutil.ignore_patterns("build", "dist"))
    answer = nativelib("build", example, "-w", tmp_path / "two", env={"CC": require("gcc")})
    assert answer.code == 0, answer.stdout + answer.stderr
    assert list((example / "build").glob("lz4_*.orig.tar.*"))
    two = Path(answer.document["wheel"])
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_without_apt_the_script_says_where_sources_go(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "ls", "tail", "mkdir", "pwd"):
        (programs / name).symlink_to(require(name))
    example = shutil.copytree(EXAMPLE, tmp_path / "lz4", ignore=shutil.ignore_patterns("build", "dist"))
    answer = nativelib("build", example, "-w", tmp_path / "dist", env={"PATH": str(programs)})
    assert answer.code == 1
    (text,) = answer.errors().values()
    assert "there is no apt-get here; put the sources into" in text
    assert not list((tmp_path / "dist").glob("*"))
