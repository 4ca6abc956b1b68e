"""Other machines: library wheels built and consumers repaired here for them, and imported there by an emulator."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import program, shared_library, simple_module
from tests.support.foreign import FOREIGN, Foreign, ForeignPython, foreign_python, foreign_root
from tests.support.matrix import record
from tests.support.nohost import mapped_files
from tests.support.projects import built, nativelib, project, repaired
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.long]

TOY = "libtoy-toy_lib.so.1"
UPPER = "libupper-upper_lib.so.2"
PIP = "Try: python -m pip install"

# A product of two matrices, as dgemm has it, and its trace: the numbers are exact in any floating-point arithmetic.
TOY_SOURCE = """
#include <stdlib.h>
#include <string.h>
void toy_dgemm(int n, const double *a, const double *b, double *c) {
    memset(c, 0, sizeof(double) * n * n);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            for (int k = 0; k < n; k++) c[i * n + j] += SIGN * a[i * n + k] * b[k * n + j];
}
"""
UPPER_SOURCE = """
#include <stdlib.h>
void toy_dgemm(int, const double *, const double *, double *);
long upper_trace(int n) {
    double *a = malloc(3 * sizeof(double) * n * n), *b = a + n * n, *c = b + n * n, trace = 0;
    for (int i = 0; i < n * n; i++) a[i] = i % 7, b[i] = i % 5;
    toy_dgemm(n, a, b, c);
    for (int i = 0; i < n; i++) trace += c[i * n + i];
    free(a);
    return (long)trace;
}
"""
DRIVER = r"""
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **words) {
    for (int i = 1; i < count; i++) {
        void *handle = dlopen(words[i], RTLD_NOW | RTLD_LOCAL);
        long (*value)(void) = handle ? (long (*)(void))dlsym(handle, "cons_value") : 0;
        printf("%s\n", handle ? "opened" : dlerror());
        if (value) printf("= %ld\n", value());
    }
    return 0;
}
"""
SIZE = 8


def trace() -> int:
    """Return what ``upper_trace(SIZE)`` is."""
    a = [[float((SIZE * i + j) % 7) for j in range(SIZE)] for i in range(SIZE)]
    b = [[float((SIZE * i + j) % 5) for j in range(SIZE)] for i in range(SIZE)]
    return int(sum(a[i][k] * b[k][i] for i in range(SIZE) for k in range(SIZE)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cross:
    """A compiler for another machine and C library, and what it needs to know."""

    foreign: Foreign
    flags: tuple[str, ...] = ()
    program_flags: tuple[str, ...] = ()

    def library(
        self, directory: Path, name: str, source: str, *, needed: Sequence[Path] = (), flags: Sequence[str] = ()
    ) -> Path:
        """Compile a shared library whose soname is its name."""
        script = f"{name.partition('.')[0][3:].upper()}_1.0 {{ global: *; }};\n"
        return shared_library(
            directory,
            name,
            source,
            soname=name,
            needed=needed,
            version_script=script,
            cc=self.foreign.compiler,
            flags=[*self.flags, *flags],
        )


def glibc(foreign: Foreign) -> Cross:
    """Return the compiler for *foreign* as the distribution has it."""
    if not foreign.sysroot.is_dir():
        foreign.absent(f"the C library for {foreign.machine}")
    return Cross(foreign=foreign)


def musl(foreign: Foreign) -> tuple[Cross, Path]:
    """Return a compiler for *foreign* and musl, and the directory that the emulator needs."""
    root = foreign_root(foreign, "musl-dev", "musl")
    [start] = root.glob("usr/lib/*-linux-musl*/crt1.o")
    lib, include = start.parent, root / "usr" / "include" / start.parent.name
    # Where /lib is a link to /usr/lib, the packages may have it in either.
    libc = next(root.glob(f"**/lib/{start.parent.name}/libc.so"))
    loader = next(root.glob("lib/ld-musl-*.so.1")).relative_to(root)
    flags = ["-nostdinc", "-isystem", str(include), "-nostdlib", f"-L{libc.parent}", "-Wl,--no-as-needed", "-lc"]
    # musl has one size of long double for PowerPC, which is not the compiler's default.
    flags += ["-mlong-double-64"] if foreign.machine == "ppc64le" else []
    own = ["-no-pie", str(start), str(lib / "crti.o"), str(lib / "crtn.o"), f"-Wl,-dynamic-linker,/{loader}"]
    return Cross(foreign=foreign, flags=tuple(flags), program_flags=tuple(own)), root


@contextmanager
def noted(row: str) -> Iterator[None]:
    """Say in the table that what belongs to *row* was not run, if something is missing that may be."""
    try:
        yield
    except pytest.skip.Exception:
        record("Machines", row, "nothing: a compiler or packages for it could not be had", "not run")
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheels:
    """Two library wheels and a consumer of both, which carries a third library."""

    toy: Path
    upper: Path
    consumer: Path
    system: Path
    """Directory of other copies, which return negative numbers."""


def make_wheels(
    here: Path,
    cross: Cross,
    *,
    file: str,
    tag: str,
    body: str,
    flags: Sequence[str] = (),
    options: Sequence[str | Path] = (),
) -> Wheels:
    """Compile libraries and an extension *file* from *body*, and have the command make wheels of them."""
    prefixes = {}
    for name, sign in (("prefix", "1"), ("system", "-1")):
        lib = here / name / "lib"
        toy = cross.library(lib, "libtoy.so.1", TOY_SOURCE, flags=[f"-DSIGN={sign}"])
        prefixes[name] = cross.library(lib, "libupper.so.2", UPPER_SOURCE, needed=[toy])
    extra = cross.library(
        here / "elsewhere", "libextra.so.5", "#include <stdlib.h>\nlong extra_value(void) { return labs(-1000); }"
    )
    toy_project = project(here / "toy", "toy-lib", 'libraries = ["lib/libtoy.so.1"]\ncompatible = "<2"')
    toy_wheel = built(toy_project, "--prefix", here / "prefix", into=here / "dist")
    tool = 'libraries = ["lib/libupper.so.2"]\nprovided-by = ["toy-lib"]\ncompatible = "<2"'
    upper_project = project(here / "upper", "upper-lib", tool)
    upper_wheel = built(upper_project, "--prefix", here / "prefix", "--provided-by", toy_wheel, into=here / "dist")
    lib = here / "prefix" / "lib"
    linked = shared_library(
        here / "linked",
        file,
        f"long upper_trace(int), extra_value(void);\n{body}",
        needed=[lib / "libupper.so.2", lib / "libtoy.so.1", extra],
        cc=cross.foreign.compiler,
        flags=[*cross.flags, *flags],
    )
    wheel = make_wheel(
        here / "linked",
        f"cons-1.0-{tag}-linux_{cross.foreign.machine}.whl",
        {"cons/__init__.py": "from ._ext import value\n", f"cons/{file}": linked},
    )
    words: list[str | Path] = [
        "--provided-by",
        upper_wheel,
        "--provided-by",
        toy_wheel,
        "--ldpaths",
        extra.parent,
        *options,
    ]
    consumer = repaired(wheel, *words, into=here / "dist")
    return Wheels(toy=toy_wheel, upper=upper_wheel, consumer=consumer, system=here / "system" / "lib")


def unpacked(wheel: Path, directory: Path) -> Path:
    """Unpack *wheel* and return *directory*."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


VALUE = trace() + 1000


# The distribution has no packages for riscv64, only a compiler.
PACKAGED = [name for name in FOREIGN if name != "riscv64"]


@pytest.mark.network
@pytest.mark.parametrize(
    ("machine", "libc"), [*((name, "glibc") for name in FOREIGN), *((name, "musl") for name in PACKAGED)]
)
def test_anchors_serve_a_consumer_in_c(machine: str, libc: str, tmp_path: Path) -> None:
    foreign = FOREIGN[machine]
    with noted(f"{machine}, {libc}: anchors"):
        cross, root = (glibc(foreign), foreign.sysroot) if libc == "glibc" else musl(foreign)
    body = f"long cons_value(void) {{ return upper_trace({SIZE}) + extra_value(); }}"
    file = f"_ext.cpython-311-{machine}-linux-{'gnu' if libc == 'glibc' else 'musl'}.so"
    wheels = make_wheels(tmp_path, cross, file=file, tag="cp311-cp311", body=body, options=["--no-run-path"])
    family = "manylinux" if libc == "glibc" else "musllinux"
    for wheel in (wheels.toy, wheels.upper, wheels.consumer):
        platforms = wheel.stem.rpartition("-")[2].split(".")
        assert all(tag.startswith(family) and tag.endswith(f"_{machine}") for tag in platforms), wheel
    driver = program(tmp_path, "driver", DRIVER, cc=foreign.compiler, flags=[*cross.program_flags, *cross.flags])
    sites = {name: unpacked(getattr(wheels, name), tmp_path / "sites" / name) for name in ("toy", "upper", "consumer")}
    anchors = [sites[name] / f"{name}_lib" / "lib" / "nativelib_anchor.so" for name in ("toy", "upper")]
    extension = sites["consumer"] / "cons" / file
    # Systems for these two may have pages of 64 KiB.
    for page in (4096, 65536) if machine in {"aarch64", "ppc64le"} and libc == "glibc" else (None,):
        argv: list[str | Path] = [*foreign.emulated(root, page=page), driver]
        done = subprocess.run([*argv, *anchors, extension], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines() == ["opened", "opened", "opened", f"= {VALUE}"], (done, page)
        done = subprocess.run([*argv, extension], capture_output=True, text=True, check=False)
        assert UPPER in done.stdout
        assert "opened" not in done.stdout
    record(
        "Machines",
        f"{machine}, {libc}: anchors",
        "two library wheels and a consumer, made on another machine; loaded by a program in C under qemu-user",
        "works",
    )


def site_of(name: str, wheels: Wheels, directory: Path) -> Path:
    """Return a directory in which only the wheel *name* is."""
    target = directory / name
    return target if target.is_dir() else unpacked(getattr(wheels, name), target)


def seen(
    python: ForeignPython, *path: Path, env: dict[str, str] | None = None, page: int | None = None
) -> tuple[int, dict[str, int]]:
    """Import the consumer; return its number and the mapped files. A warning fails it."""
    code = """
import cons, json
with open("/proc/self/maps") as maps:
    print(json.dumps([cons.value(), maps.read()]))
"""
    done = python.run(code, *path, env=env, flags=["-W", "error"], page=page)
    assert (done.returncode, done.stderr) == (0, "")
    value, maps = json.loads(done.stdout)
    return value, mapped_files(maps)


def refusal(python: ForeignPython, *path: Path, env: dict[str, str] | None = None) -> str:
    """Import the consumer, which must end with an ImportError, and return its text."""
    done = python.run("import cons", *path, env=env)
    _, found, text = done.stderr.rpartition("\nImportError: ")
    assert done.returncode == 1, done.stderr
    assert found, done.stderr
    return text


@pytest.mark.network
@pytest.mark.parametrize("machine", PACKAGED)
def test_python_of_another_machine(machine: str, tmp_path: Path) -> None:
    foreign = FOREIGN[machine]
    with noted(f"{machine}: Python"):
        cross, python = glibc(foreign), foreign_python(foreign)
    file, tag = f"_ext{python.suffix}", f"{python.tag}-{python.tag}"
    body = simple_module("_ext", f"upper_trace({SIZE}) + extra_value()")
    wheels = make_wheels(tmp_path, cross, file=file, tag=tag, body=body, flags=python.include)
    toy, upper, consumer = (site_of(name, wheels, tmp_path / "sites") for name in ("toy", "upper", "consumer"))

    value, mapped = seen(python, consumer, upper, toy)
    assert value == VALUE
    for library in (toy / "toy_lib" / "lib" / TOY, upper / "upper_lib" / "lib" / UPPER):
        assert mapped[str(library)] == library.stat().st_ino
    [grafted] = (consumer / "cons.libs").glob("libextra-*.so.5")
    assert mapped[str(grafted)] == grafted.stat().st_ino

    # pip chooses wheels for other machines by their tags.
    together = tmp_path / "together"
    platforms = wheels.consumer.stem.rpartition("-")[2].split(".")
    platforms += wheels.toy.stem.rpartition("-")[2].split(".") + wheels.upper.stem.rpartition("-")[2].split(".")
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(tmp_path / "dist")]
    argv += [
        "--target",
        str(together),
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={python.version}",
    ]
    argv += [*(f"--platform={platform}" for platform in dict.fromkeys(platforms)), "cons"]
    subprocess.run(argv, check=True, capture_output=True)
    assert seen(python, together, page=65536 if machine == "aarch64" else None)[0] == VALUE
    # Without the hook, the run path finds them.
    hook = together / "cons" / "_distributor_init.py"
    hook.write_text("")
    assert seen(python, together)[0] == VALUE

    text = refusal(python, consumer)
    assert f"cons needs {UPPER} of upper-lib, which is not installed" in text or f"cons needs {TOY} of toy-lib" in text
    assert f"{PIP} '" in text
    text = refusal(python, consumer, upper)
    assert "toy-lib" in text
    assert f"{PIP} 'toy-lib" in text

    system = {"LD_LIBRARY_PATH": str(wheels.system), "NATIVELIB_SYSTEM": "all"}
    value, mapped = seen(python, consumer, upper, toy, env=system)
    assert value == 1000 - trace()
    assert str(wheels.system / "libtoy.so.1") in mapped
    text = refusal(python, consumer, upper, toy, env={"NATIVELIB_SYSTEM": "toy-lib"})
    assert "toy-lib 1.0: NATIVELIB_SYSTEM asks for the system's libtoy.so.1" in text

    spoilt = shutil.copytree(toy, tmp_path / "spoilt")
    host = shared_library(tmp_path, "host.so", "int toy(void) { return 1; }", soname=TOY)
    shutil.copy(host, spoilt / "toy_lib" / "lib" / TOY)
    text = refusal(python, consumer, upper, spoilt)
    assert f"{TOY} is built for {platform.machine()}, and this Python for {machine}" in text
    record(
        "Machines",
        f"{machine}: Python",
        "wheels made on another machine, imported by the distribution's CPython under qemu-user: "
        "apart and together, hook and run path, missing and wrong provider, NATIVELIB_SYSTEM",
        "works",
    )


@pytest.mark.network
def test_openblas_of_another_machine(tmp_path: Path) -> None:
    """A large library that was not compiled here, with a Fortran runtime to graft."""
    foreign = FOREIGN["aarch64"]
    cross, python = glibc(foreign), foreign_python(foreign)
    root = foreign_root(foreign, "libopenblas0-pthread", "libgfortran5", "libgcc-s1", "gcc-12-base")
    lib = root / "usr" / "lib" / foreign.triplet
    tool = """
libraries = ["lib/**/openblas-pthread/libopenblas.so.0"]
licenses = ["share/doc/libopenblas0-pthread/copyright"]
compatible = "<0.4"
"""
    source = project(tmp_path / "openblas", "openblas-lib", tool, version="0.3.21")
    answer = nativelib("build", source, "--prefix", root / "usr", "--ldpaths", lib, "-w", tmp_path / "dist")
    assert answer.code == 0, answer.stdout
    [private] = [path for path in answer.document["private"] if "gfortran" in str(path)]
    assert private
    body = """
double cblas_ddot(int, const double *, int, const double *, int);
void cblas_dgemm(int, int, int, int, int, int, double, const double *, int, const double *, int, double, double *, int);
static long both(void) {
    double a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8}, c[4] = {0};
    cblas_dgemm(101, 111, 111, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2);
    return (long)(cblas_ddot(4, c, 1, a, 1));
}
"""
    file = f"_ext{python.suffix}"
    extension = shared_library(
        tmp_path,
        file,
        simple_module("_ext", "both()", body),
        needed=[lib / "openblas-pthread" / "libopenblas.so.0"],
        cc=cross.foreign.compiler,
        flags=[*python.include, "-Wl,--allow-shlib-undefined"],
    )
    wheel = make_wheel(
        tmp_path,
        f"cons-1.0-{python.tag}-{python.tag}-linux_aarch64.whl",
        {"cons/__init__.py": "from ._ext import value\n", f"cons/{file}": extension},
    )
    consumer = repaired(wheel, "--provided-by", answer.document["wheel"], into=tmp_path / "dist")
    sites = [unpacked(path, tmp_path / path.stem) for path in (consumer, *(tmp_path / "dist").glob("openblas_lib*"))]
    value, mapped = seen(python, *sites)
    assert value == 19 + 2 * 22 + 3 * 43 + 4 * 50
    assert len([path for path in mapped if "openblas" in path.rpartition("/")[2]]) == 1
    assert not [path for path in mapped if path.startswith(str(lib))]
    record(
        "Machines",
        "aarch64: OpenBLAS",
        "the distribution's OpenBLAS as a library wheel, its Fortran runtime grafted, made on another machine; "
        "cblas_dgemm called in the distribution's CPython under qemu-user",
        "works",
    )
