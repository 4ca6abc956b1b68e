"""Verdicts about real files, beside those of auditwheel."""

from __future__ import annotations

import json
import posixpath
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.facts.elf import ElfFacts, Libc
from nativelib.facts.tags import PlatformTag, libc_of_extension
from nativelib.policy.judge import ObstacleKind, Verdict, judge, lookup
from nativelib.read.elf import is_elf, read_elf, read_elf_file
from tests.support.cc import extension, shared_library, simple_module
from tests.support.tools import lacking
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

# Requirement, and the platform to ask pip for.
PUBLISHED = [
    ("cffi==1.17.1", "manylinux2014_x86_64"),
    ("cffi==1.17.1", "manylinux2014_s390x"),
    ("cffi==1.17.1", "manylinux2014_i686"),
    ("MarkupSafe==3.0.2", "manylinux2014_aarch64"),
    ("MarkupSafe==3.0.2", "musllinux_1_2_x86_64"),
    ("greenlet==3.1.1", "manylinux_2_24_x86_64"),
    ("greenlet==3.1.1", "musllinux_1_1_x86_64"),
    ("numpy==2.2.6", "manylinux2014_x86_64"),
]


def read(wheel: Path) -> tuple[dict[str, ElfFacts], dict[str, frozenset[str]]]:
    """Return the ELF files of *wheel*, and what of their needs no file of the wheel is."""
    files = {name: read_elf(data, where=name) for name, data in members(wheel).items() if is_elf(data[:4])}
    own = {posixpath.basename(name) for name in files} | {facts.soname for facts in files.values() if facts.soname}
    return files, {name: frozenset(facts.needed) - own for name, facts in files.items()}


def our_verdict(wheel: Path, **options: Any) -> Verdict:
    files, external = read(wheel)
    # Debian's gcc links --as-needed: a small extension names no C library, and only its file name says which.
    evidence = [facts.libc for facts in files.values()] + [libc_of_extension(name) for name in files]
    libc = next(filter(None, evidence))
    return judge(files, external, libc=libc, architecture=next(iter(files.values())).architecture, **options)


def their_verdict(wheel: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return verdict


@pytest.fixture
def published(request: pytest.FixtureRequest) -> Path:
    """The published wheel that the test asks for, kept in pytest's cache."""
    requirement, platform = request.param
    config: pytest.Config = request.config
    directory = config.cache.mkdir("wheels") / f"{requirement}-{platform}"
    if not list(directory.glob("*.whl")):
        argv = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            str(directory),
        ]
        argv += ["--python-version", "3.12", "--platform", platform, requirement]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            lacking(f"{requirement} for {platform} from the package index ({done.stderr.strip().splitlines()[-1]})")
    return next(directory.glob("*.whl"))


@pytest.mark.network
@pytest.mark.parametrize("published", PUBLISHED, indirect=True, ids=lambda p: f"{p[0]}-{p[1]}")
def test_published_wheels_get_the_tag_that_auditwheel_gives(published: Path) -> None:
    ours, theirs = our_verdict(published), their_verdict(published)
    assert ours.tag == theirs["overall_tag"]
    files, _ = read(published)
    # auditwheel also lists versions of libraries that are in the wheel: these are not the system's.
    own = {posixpath.basename(name) for name in files}
    their_symbols = {lib: set(found) for lib, found in theirs["versioned_symbols"].items() if lib not in own}
    assert {lib: set(found) for lib, found in ours.versioned_symbols.items()} == their_symbols


@pytest.mark.network
@pytest.mark.parametrize("published", [("greenlet==3.1.1", "musllinux_1_1_x86_64")], indirect=True)
def test_an_existing_musl_tag_can_be_kept(published: Path) -> None:
    vouched = lookup("musllinux_1_1_x86_64")
    assert our_verdict(published, vouched=vouched).tag == "musllinux_1_1_x86_64"


def build(directory: Path, declarations: str = "", expression: str = "1", **options: Any) -> Path:
    """Build an extension and put it into a wheel for this machine."""
    module = extension(directory, "_ext", simple_module("_ext", expression, declarations), **options)
    architecture = read_elf_file(module).architecture
    name = f"pkg-1.0-cp{sys.version_info[0]}{sys.version_info[1]}-cp{sys.version_info[0]}{sys.version_info[1]}"
    return make_wheel(
        directory, f"{name}-linux_{architecture}.whl", {f"pkg/{module.name}": module, "pkg/__init__.py": ""}
    )


def test_a_new_symbol_version(tmp_path: Path) -> None:
    wheel = build(
        tmp_path,
        "#include <string.h>\n#include <stdlib.h>\nextern int getentropy(void *, size_t);",
        'getentropy(malloc(8), 8) + strlen("x")',
    )
    ours, theirs = our_verdict(wheel), their_verdict(wheel)
    assert ours.tag == theirs["overall_tag"]
    assert ours.policy is not None
    assert ours.policy.version >= (2, 25)
    reasons = {(o.policy, o.symbols) for o in ours.obstacles if "GLIBC_2.25" in o.detail}
    assert ("manylinux_2_24", ("getentropy",)) in reasons


@pytest.mark.parametrize("uses_libc", [True, False])
def test_relative_relocations(tmp_path: Path, uses_libc: bool) -> None:
    table = (
        "extern int atoi(const char *);\nstatic const char *table[] = {" + ",".join(f'"{n}"' for n in range(64)) + "};"
    )
    expression = "atoi(table[self != 0])" if uses_libc else "table[self != 0][0]"
    wheel = build(tmp_path, table, expression, flags=["-Wl,-z,pack-relative-relocs", "-O0"])
    (facts,) = read(wheel)[0].values()
    if not facts.relr:
        lacking("a linker with -z pack-relative-relocs")
    ours, theirs = our_verdict(wheel), their_verdict(wheel)
    assert ours.tag == f"manylinux_2_36_{facts.architecture}"
    assert (ours.obstacles[0].policy, ours.obstacles[0].kind) == ("manylinux_2_35", ObstacleKind.RELR)
    # The linker adds GLIBC_ABI_DT_RELR only to files that need libc, and auditwheel knows the relocations by it alone.
    assert (theirs["overall_tag"] == ours.tag) == uses_libc


def test_instruction_set(tmp_path: Path) -> None:
    wheel = build(tmp_path, flags=["-march=x86-64-v3", "-mneeded", "-Wl,-z,x86-64-v3"])
    (facts,) = read(wheel)[0].values()
    assert "x86-64-v3" in facts.isa_needed
    ours, theirs = our_verdict(wheel), their_verdict(wheel)
    assert ours.tag == theirs["overall_tag"] == f"linux_{facts.architecture}"
    assert {o.kind for o in ours.obstacles} == {ObstacleKind.ISA}
    assert PlatformTag.parse(our_verdict(wheel, ignore_isa=True).tag).libc is Libc.GLIBC


def test_a_library_that_is_not_in_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = shared_library(tmp_path, "libfoo.so.1", "int foo(void) { return 1; }", soname="libfoo.so.1")
    wheel = build(tmp_path, "extern int foo(void);", "foo()", needed=[library])
    monkeypatch.setenv("AUDITWHEEL_LD_LIBRARY_PATH", str(tmp_path))
    ours, theirs = our_verdict(wheel), their_verdict(wheel)
    assert ours.tag == theirs["overall_tag"]
    assert ours.policy is None
    assert {o.kind for o in ours.obstacles} == {ObstacleKind.LIBRARY}


def test_forbidden_symbols_of_zlib(tmp_path: Path) -> None:
    zlib = shared_library(tmp_path, "libz.so.1", "int inflate_fast(void) { return 1; }", soname="libz.so.1")
    wheel = build(tmp_path, "extern int inflate_fast(void);", "inflate_fast()", needed=[zlib])
    ours, theirs = our_verdict(wheel), their_verdict(wheel)
    assert ours.tag == theirs["overall_tag"]
    assert {o.symbols for o in ours.obstacles if o.kind is ObstacleKind.FORBIDDEN} == {("inflate_fast",)}


def test_python_with_fpectl(tmp_path: Path) -> None:
    wheel = build(tmp_path, "extern int PyFPE_jbuf[];", "PyFPE_jbuf[0]")
    ours, theirs = our_verdict(wheel), their_verdict(wheel)
    assert {o.kind for o in ours.obstacles} == {ObstacleKind.PYFPE}
    assert ours.policy is None
    # A data symbol without a type, as the linker writes it for an undefined name, counts there too.
    assert theirs["pyfpe"]
    assert ours.tag == theirs["overall_tag"]


def test_musl(tmp_path: Path) -> None:
    path = shared_library(
        tmp_path, "libm1.so", "#include <stdlib.h>\nvoid *f(void) { return malloc(1); }", cc="musl-gcc"
    )
    facts = read_elf_file(path)
    assert facts.libc is Libc.MUSL
    files, external = {"m.so": facts}, {"m.so": frozenset(facts.needed)}
    verdict = judge(files, external, libc=Libc.MUSL, architecture=facts.architecture)
    assert verdict.tag == f"musllinux_1_2_{facts.architecture}"
    wrong = judge(files, external, libc=Libc.GLIBC, architecture=facts.architecture)
    assert wrong.policy is None
    assert wrong.ignored == ("m.so",)
