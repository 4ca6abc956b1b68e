"""Tags of every machine on any host, and refusals that name what is in the way."""

from __future__ import annotations

import platform
import struct
from typing import TYPE_CHECKING

import pytest

from nativelib.read.elf import read_elf_file
from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import Answer, nativelib
from tests.support.tools import lacking
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

COMPILERS = {
    "aarch64": "aarch64-linux-gnu-gcc",
    "armv7l": "arm-linux-gnueabihf-gcc",
    "i686": "i686-linux-gnu-gcc",
    "ppc64le": "powerpc64le-linux-gnu-gcc",
    "riscv64": "riscv64-linux-gnu-gcc",
    "s390x": "s390x-linux-gnu-gcc",
    "x86_64": "gcc",
}
OLDEST = {"i686": "manylinux_2_5", "x86_64": "manylinux_2_5", "riscv64": "manylinux_2_31"}
SOURCE = "int PyInit__ext(void) { return 1; }"


def module(directory: Path, architecture: str, *flags: str) -> Path:
    """Compile an extension that needs nothing of its system."""
    path = shared_library(directory, "_ext.so", SOURCE, cc=COMPILERS[architecture], flags=["-nostdlib", *flags])
    if read_elf_file(path).architecture != architecture:
        lacking(f"a compiler for {architecture} under the name {COMPILERS[architecture]}")
    return path


def wheel_of(directory: Path, content: bytes | Path, *platforms: str, suffix: str = "abi3") -> Path:
    name = f"pkg-1.0-cp39-abi3-{'.'.join(platforms)}.whl"
    return make_wheel(directory / "in", name, {"pkg/__init__.py": "", f"pkg/_ext.{suffix}.so": content})


def repair(wheel: Path, *options: str) -> Answer:
    return nativelib("repair", wheel, "-w", wheel.parent / "out", *options)


def tags(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.stdout
    found: list[str] = answer.document["wheels"][0]["tags"]
    return found


@pytest.mark.parametrize("architecture", sorted(COMPILERS))
def test_any_tag_of_any_machine_on_any_host(architecture: str, tmp_path: Path) -> None:
    path = module(tmp_path, architecture)
    oldest = OLDEST.get(architecture, "manylinux_2_17")
    glibc = wheel_of(tmp_path / "glibc", path, f"linux_{architecture}")
    assert f"{oldest}_{architecture}" in tags(repair(glibc))
    for plat in (f"manylinux_2_35_{architecture}", f"manylinux_2_41_{architecture}", f"linux_{architecture}"):
        assert tags(repair(glibc, "--plat", plat, "--only-plat")) == [plat]
    name = f"cpython-312-{architecture}-linux-musl"
    musl = wheel_of(tmp_path / "musl", path, f"linux_{architecture}", suffix=name)
    for plat in (f"musllinux_1_1_{architecture}", f"musllinux_1_2_{architecture}"):
        assert tags(repair(musl, "--plat", plat, "--only-plat")) == [plat]
    wrong = repair(glibc, "--plat", f"manylinux_2_41_{'s390x' if architecture != 's390x' else 'i686'}")
    assert "NL205" in wrong.errors()["--plat"]
    unknown = repair(glibc, "--plat", f"manylinux_2_99_{architecture}")
    assert "NL602" in unknown.errors()["--plat"]


def test_a_machine_that_no_compiler_here_knows(tmp_path: Path) -> None:
    """LoongArch: the header alone says it, and nothing else is asked of a file that needs nothing."""
    content = bytearray(module(tmp_path, "x86_64").read_bytes())
    struct.pack_into("<H", content, 18, 258)
    wheel = wheel_of(tmp_path, bytes(content), "linux_loongarch64")
    assert tags(repair(wheel)) == ["manylinux_2_36_loongarch64"]


@pytest.mark.parametrize("machine", ["armv6l", "armv8l"])
def test_other_arm_wheels_are_judged_as_armv7l_and_keep_their_tag(machine: str, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, module(tmp_path, "armv7l"), f"linux_{machine}")
    shown = nativelib("show", wheel).document["wheels"][0]
    assert (shown["tag"], shown["architecture"]) == ("manylinux_2_17_armv7l", "armv7l")
    assert tags(repair(wheel)) == [f"linux_{machine}", "manylinux2014_armv7l", "manylinux_2_17_armv7l"]
    assert tags(repair(wheel, "--plat", "manylinux_2_31_armv7l", "--only-plat")) == ["manylinux_2_31_armv7l"]
    wrong = wheel_of(tmp_path / "wrong", module(tmp_path, "aarch64"), f"linux_{machine}")
    assert "NL205 This file is for aarch64" in "".join(repair(wrong).errors().values())


def test_soft_float_arm_is_refused_by_name(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, module(tmp_path, "armv7l", "-mfloat-abi=softfp"), "linux_armv5l")
    [said] = repair(wheel).errors().values()
    assert "NL601" in said
    assert "does not pass arguments in floating-point registers (hard-float)" in said
    assert nativelib("show", wheel).document["wheels"][0]["tag"] == "linux_armv7l"
    assert not list((wheel.parent / "out").glob("*"))


def test_a_machine_without_tags_is_refused_by_name(tmp_path: Path) -> None:
    content = bytearray(module(tmp_path, "x86_64").read_bytes())
    struct.pack_into("<H", content, 18, 8)
    wheel = wheel_of(tmp_path, bytes(content), "linux_mips64")
    for answer in (repair(wheel), nativelib("show", wheel)):
        assert answer.code == 1
        [said] = answer.errors().values()
        assert "NL205 No manylinux, musllinux or Android tag exists for its machine" in said
        assert "e_machine 8, 64 bits, little-endian" in said
    assert not list((wheel.parent / "out").glob("*"))


def test_a_python_with_fpectl_is_refused_by_repair_as_by_show(tmp_path: Path) -> None:
    """``show`` and ``repair`` must not differ: auditwheel's do, and its repair tags such wheels."""
    source = simple_module("_ext", "PyFPE_jbuf[0]", "extern int PyFPE_jbuf[];")
    path = extension(tmp_path, "_ext", source)
    wheel = wheel_of(tmp_path, path, f"linux_{platform.machine()}")
    shown = nativelib("show", wheel).document["wheels"][0]
    assert shown["tag"] == f"linux_{platform.machine()}"
    for options in ([], ["--plat", f"manylinux_2_41_{platform.machine()}"]):
        [said] = repair(wheel, *options).errors().values()
        assert "NL601" in said
        assert "needs a Python built with fpectl (PyFPE_jbuf)" in said
    assert not list((wheel.parent / "out").glob("*"))
    assert tags(repair(wheel, "--plat", f"linux_{platform.machine()}")) == [f"linux_{platform.machine()}"]


def test_a_narrow_python_2_is_refused_by_name(tmp_path: Path) -> None:
    source = (
        "extern int PyUnicodeUCS2_AsASCIIString(void); int init_ext(void) { return PyUnicodeUCS2_AsASCIIString(); }"
    )
    path = shared_library(tmp_path, "_ext.so", source)
    [said] = repair(wheel_of(tmp_path, path, f"linux_{platform.machine()}")).errors().values()
    assert "needs a narrow Unicode build of Python 2 (PyUnicodeUCS2_AsASCIIString)" in said


def test_a_refusal_names_the_policy_that_was_asked_for_or_the_most_lenient(tmp_path: Path) -> None:
    machine = platform.machine()
    source = simple_module("_ext", "getentropy(0, 0)", "extern int getentropy(void *, unsigned long);")
    path = extension(tmp_path, "_ext", source)
    wheel = wheel_of(tmp_path, path, f"linux_{machine}")
    [said] = repair(wheel, "--plat", f"manylinux_2_24_{machine}").errors().values()
    assert f"It does not comply with manylinux_2_24_{machine}: pkg/_ext.abi3.so: needs GLIBC_2.25" in said
    [other] = repair(wheel, "--plat", f"musllinux_1_2_{machine}").errors().values()
    assert f"The wheel is linked with glibc, and musllinux_1_2_{machine} is for musl." in other

    stub = shared_library(
        tmp_path,
        "libc.so.6",
        "int new_one(void) { return 1; }",
        soname="libc.so.6",
        version_script="GLIBC_2.99 { global: *; };",
        flags=["-nostdlib"],
    )
    source = "extern int new_one(void); int PyInit__ext(void) { return new_one(); }"
    future = shared_library(tmp_path, "_f.so", source, needed=[stub], flags=["-nostdlib"])
    [none] = repair(wheel_of(tmp_path / "future", future, f"linux_{machine}")).errors().values()
    assert "It does not comply with any policy, not even manylinux_2_41: pkg/_ext.abi3.so: needs GLIBC_2.99" in none
