"""musl: a library that was opened by its path does not serve a later DT_NEEDED there, so the anchor has to.

No Python for musl is needed: a driver in C opens what a Python would open, out of wheels that pip has installed.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import program, shared_library
from tests.support.nohost import mapped_files
from tests.support.projects import built, nativelib, project, repaired
from tests.support.tools import require
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = platform.machine()
TAG = f"musllinux_1_2_{MACHINE}"
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"
CONSUMER = f"cons-1.0-{PYTHON}-{PYTHON}-linux_{MACHINE}.whl"
BASE = "libbase-base_lib.so.1"
TOP = "libtop-top_lib.so.2"

DRIVER = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **words) {
    void *last = 0;
    for (int i = 1; i < count; i++) {
        if (!strncmp(words[i], "call:", 5)) {
            long (*f)(long) = last ? (long (*)(long))dlsym(last, words[i] + 5) : 0;
            if (f) printf("= %ld\n", f(20)); else printf("no %s\n", words[i] + 5);
        } else if ((last = dlopen(words[i], RTLD_NOW | RTLD_LOCAL))) printf("opened\n");
        else printf("refused: %s\n", dlerror());
    }
    FILE *maps = fopen("/proc/self/maps", "r");
    for (char line[4096]; fgets(line, sizeof line, maps);) fputs(line, stderr);
    return 0;
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Musl:
    """What the tests are made of; every wheel is repaired or built by the command."""

    directory: Path
    base: Path
    """Library wheel of libbase.so.1."""
    top: Path
    """Library wheel of libtop.so.2, which needs libbase.so.1 of the other wheel."""
    linked: Path
    """The consumer as it was built."""
    consumer: Path
    """Repaired, without a run path."""
    driver: Path

    def run(self, *words: str | Path, env: dict[str, str] | None = None) -> tuple[list[str], dict[str, int]]:
        """Return what the driver said for each word, and the files that it had mapped with their inodes."""
        argv = [self.driver, *words]
        done = subprocess.run(argv, env=env or {}, cwd="/", capture_output=True, text=True, check=True)
        return done.stdout.splitlines(), mapped_files(done.stderr)


@pytest.fixture(scope="module")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Musl:
    require("musl-gcc")
    here = tmp_path_factory.mktemp("musl")
    lib = here / "prefix" / "lib"
    base = shared_library(
        lib, "libbase.so.1", "long base_value(long x) { return 2 * x; }", soname="libbase.so.1", cc="musl-gcc"
    )
    source = "long base_value(long); long top_value(long x) { return base_value(x) + 1; }"
    top = shared_library(lib, "libtop.so.2", source, soname="libtop.so.2", needed=[base], cc="musl-gcc")
    spec = 'prefix = "../prefix"\nlibraries = ["lib/{}"]'
    base_wheel = built(project(here / "base", "base-lib", spec.format("libbase.so.1")), into=here / "dist")
    top_project = project(here / "top", "top-lib", spec.format("libtop.so.2") + '\nprovided-by = ["base-lib"]')
    top_wheel = built(top_project, "--provided-by", base_wheel, into=here / "dist")
    body = "long cons_value(long x) { return 10 * top_value(x); } void *PyInit_ext(void) { return 0; }"
    extension = shared_library(
        here,
        f"ext.cpython-311-{MACHINE}-linux-musl.so",
        f"long top_value(long); {body}",
        needed=[top],
        cc="musl-gcc",
        flags=[f"-Wl,-rpath-link,{lib}"],
    )
    linked = make_wheel(here / "linked", CONSUMER, {"cons/__init__.py": "", f"cons/{extension.name}": extension})
    consumer = repaired(linked, "--provided-by", top_wheel, "--no-run-path", into=here / "dist")
    driver = program(here, "driver", DRIVER, cc="musl-gcc")
    return Musl(directory=here, base=base_wheel, top=top_wheel, linked=linked, consumer=consumer, driver=driver)


def install(directory: Path, *wheels: Path, links: Path | None = None) -> Path:
    """Install *wheels* for musl into *directory*, with their dependencies if they are found in *links*."""
    # The running Python is for another C library, so it has to be told which tags count.
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--target", directory, "--only-binary=:all:"]
    argv += [f"--platform={TAG}", "--implementation=cp", f"--find-links={links}" if links else "--no-deps"]
    subprocess.run([*map(str, argv), *map(str, wheels)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="module")
def apart(musl: Musl) -> tuple[Path, Path, Path]:
    """The two library wheels and the consumer, each installed into a directory of its own."""
    wheels = {"site_base": musl.base, "site_top": musl.top, "site_cons": musl.consumer}
    one, two, three = (install(musl.directory / name, wheel) for name, wheel in wheels.items())
    return one / "base_lib" / "lib", two / "top_lib" / "lib", next(three.glob("cons/ext*"))


def test_tags_are_those_of_musl(musl: Musl) -> None:
    assert musl.base.name == f"base_lib-1.0-py3-none-{TAG}.whl"
    assert musl.top.name == f"top_lib-1.0-py3-none-{TAG}.whl"
    assert musl.consumer.name == f"cons-1.0-{PYTHON}-{PYTHON}-{TAG}.whl"


def test_an_older_musl_is_the_users_word(musl: Musl, tmp_path: Path) -> None:
    older = f"musllinux_1_1_{MACHINE}"
    assert older in built(musl.directory / "base", "--plat", older, into=tmp_path).name
    assert older in repaired(musl.linked, "--provided-by", musl.top, "--plat", older, into=tmp_path).name


def test_requirements_form_a_chain(musl: Musl, tmp_path: Path) -> None:
    assert requirements(musl.consumer) == ['top-lib==1.0; sys_platform == "linux"']
    assert requirements(musl.top) == ['base-lib==1.0; sys_platform == "linux"']
    site = install(tmp_path / "site", musl.consumer, links=musl.directory / "dist")
    assert (site / "base_lib" / "lib" / BASE).is_file()


def requirements(wheel: Path) -> list[str]:
    content = next(content for name, content in members(wheel).items() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(content).get_all("Requires-Dist", [])


def test_anchors_serve_a_consumer_elsewhere(musl: Musl, apart: tuple[Path, Path, Path]) -> None:
    base, top, extension = apart
    anchors = [base / "nativelib_anchor.so", top / "nativelib_anchor.so"]
    said, mapped = musl.run(*anchors, extension, "call:cons_value", "call:PyInit_ext")
    assert said[:4] == ["opened", "opened", "opened", "= 410"]
    for library in (base / BASE, top / TOP):
        assert mapped[str(library)] == library.stat().st_ino
    assert not [path for path in mapped if re.search(r"/lib(base|top)\.so", path)]


def test_full_paths_do_not_serve_it(musl: Musl, apart: tuple[Path, Path, Path]) -> None:
    base, top, extension = apart
    said, _ = musl.run(base / BASE, extension)
    assert said[0] == "opened"
    assert said[1].startswith(f"refused: Error loading shared library {TOP}")
    # Not even the library of the other wheel finds its neighbour so: each wheel needs its anchor.
    said, _ = musl.run(base / BASE, top / TOP)
    assert said == [
        "opened",
        f"refused: Error loading shared library {BASE}: No such file or directory (needed by {top / TOP})",
    ]
    said, _ = musl.run(base / "nativelib_anchor.so", top / TOP, extension)
    assert said[:2] == ["opened", "opened"]
    assert said[2].startswith(f"refused: Error loading shared library {TOP}")


def test_nothing_is_found_without_any_preload(musl: Musl, apart: tuple[Path, Path, Path]) -> None:
    said, mapped = musl.run(apart[2])
    assert said[0].startswith("refused: ")
    assert not [path for path in mapped if "libbase" in path or "libtop" in path]


def test_order_of_the_anchors_counts_apart_and_not_together(
    musl: Musl, apart: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    base, top, _ = apart
    said, _ = musl.run(top / "nativelib_anchor.so", base / "nativelib_anchor.so")
    assert said[0].startswith(f"refused: Error loading shared library {BASE}")
    together = install(tmp_path / "site", musl.base, musl.top)
    said, mapped = musl.run(together / "top_lib" / "lib" / "nativelib_anchor.so", "call:top_value")
    assert said == ["opened", "= 41"]
    assert (together / "base_lib" / "lib" / BASE).stat().st_ino in mapped.values()


def test_run_path_serves_a_consumer_in_the_same_directory(musl: Musl, tmp_path: Path) -> None:
    wheel = repaired(musl.linked, "--provided-by", musl.top, into=tmp_path / "dist")
    site = install(tmp_path / "site", wheel, links=musl.directory / "dist")
    assert not (site / "cons.libs").exists()
    said, mapped = musl.run(next(site.glob("cons/ext*")), "call:cons_value")
    assert said == ["opened", "= 410"]
    inodes = {(site / package / "lib" / name).stat().st_ino for package, name in (("base_lib", BASE), ("top_lib", TOP))}
    assert inodes <= set(mapped.values())
    alone = install(tmp_path / "alone", wheel)
    assert musl.run(next(alone.glob("cons/ext*")))[0][0].startswith(f"refused: Error loading shared library {TOP}")


def test_system_copies_under_the_names_of_the_wheel(musl: Musl, apart: tuple[Path, Path, Path]) -> None:
    base, top, extension = apart
    anchors = [directory / "system" / "nativelib_anchor.so" for directory in (base, top)]
    system = musl.directory / "prefix" / "lib"
    said, mapped = musl.run(*anchors, extension, "call:cons_value", env={"LD_LIBRARY_PATH": str(system)})
    assert said == ["opened", "opened", "opened", "= 410"]
    for name in ("libbase.so.1", "libtop.so.2"):
        assert mapped[str(system / name)] == (system / name).stat().st_ino
    assert str(base / BASE) not in mapped
    assert str(top / TOP) not in mapped
    said, _ = musl.run(*anchors)
    assert said[0].startswith("refused: Error loading shared library libbase.so.1")


@pytest.fixture(scope="module")
def glibc(musl: Musl) -> tuple[Path, Path]:
    """A library wheel and a consumer of the same sonames, for the other C library."""
    here = musl.directory / "glibc"
    source = '#include <stdio.h>\nlong top_value(long x) { return printf("%ld", x); }'
    top = shared_library(here / "prefix" / "lib", "libtop.so.2", source, soname="libtop.so.2")
    wheel = built(
        project(here / "top", "top-lib", 'prefix = "../prefix"\nlibraries = ["lib/libtop.so.2"]'), into=here / "dist"
    )
    source = (
        '#include <stdio.h>\nlong top_value(long); void *PyInit_ext(void) { puts(""); return (void *)top_value(1); }'
    )
    extension = shared_library(here, f"ext.cpython-311-{MACHINE}-linux-gnu.so", source, needed=[top])
    return wheel, make_wheel(here, CONSUMER, {"cons/__init__.py": "", f"cons/{extension.name}": extension})


def test_the_other_c_library_is_refused(musl: Musl, glibc: tuple[Path, Path], tmp_path: Path) -> None:
    library, consumer = glibc
    for wheel, provider, said in (
        (musl.linked, library, "top-lib 1.0 is linked with glibc, and the wheel with musl"),
        (consumer, musl.top, "top-lib 1.0 is linked with musl, and the wheel with glibc"),
    ):
        answer = nativelib("repair", wheel, "--provided-by", provider, "-w", tmp_path / "out")
        assert answer.code == 1
        (text,) = answer.errors().values()
        assert text.startswith("NL206 ")
        assert said in text
        assert not list((tmp_path / "out").glob("*"))


def test_a_library_wheel_of_the_other_c_library_is_refused(musl: Musl, tmp_path: Path) -> None:
    """The needed libraries have one soname and one function, and the C library is all that differs."""
    body = '#include <stdio.h>\nlong base_value(long x) { return puts("") + x; }'
    other = shared_library(tmp_path / "glibc", "libbase.so.1", body, soname="libbase.so.1")
    base = built(
        project(tmp_path / "a", "base-lib", f'prefix = "{other.parent}"\nlibraries = ["*.so.1"]'), into=tmp_path
    )
    body = '#include <stdio.h>\nlong base_value(long); long rim_value(long x) { return puts("") + base_value(x); }'
    needed = [musl.directory / "prefix" / "lib" / "libbase.so.1"]
    rim = shared_library(tmp_path / "musl", "librim.so.1", body, soname="librim.so.1", needed=needed, cc="musl-gcc")
    tool = f'prefix = "{rim.parent}"\nlibraries = ["*.so.1"]\nprovided-by = ["{base}"]'
    answer = nativelib("build", project(tmp_path / "b", "rim-lib", tool), "-w", tmp_path / "out")
    assert (answer.code, answer.document["wheel"]) == (1, None)
    (text,) = answer.errors().values()
    assert text.startswith("NL206 ")
    assert "base-lib 1.0 is linked with glibc, and the wheel with musl" in text


def test_a_foreign_provider_needs_the_run_path(musl: Musl, tmp_path: Path) -> None:
    name = f"foreign-3.0-py3-none-{TAG}.whl"
    libraries = {f"foreign/libs/{path.name}": path for path in (musl.directory / "prefix" / "lib").glob("*.so.?")}
    foreign = make_wheel(tmp_path, name, {"foreign/__init__.py": "", **libraries})
    answer = nativelib("repair", musl.linked, "--provided-by", foreign, "--no-run-path", "-w", tmp_path / "out")
    assert answer.code == 1
    assert "NL503" in next(iter(answer.errors().values()))
    answer = nativelib("repair", musl.linked, "--provided-by", foreign, "-w", tmp_path / "out")
    assert [f["code"] for f in answer.findings if f["severity"] == "warning"] == ["NL503"]
    with zipfile.ZipFile(answer.document["wheels"][0]["output"]) as archive:
        archive.extractall(tmp_path / "site")
    with zipfile.ZipFile(foreign) as archive:
        archive.extractall(tmp_path / "site")
    said, _ = musl.run(next((tmp_path / "site").glob("cons/ext*")), "call:cons_value")
    assert said[0] == "opened"
    assert said[1] == "= 410"
