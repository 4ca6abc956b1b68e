"""What un-vendoring decides without touching files: names, versions, licence texts, and facts of an OpenBLAS."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from nativelib.plan.abi import openblas_abi
from nativelib.plan.licences import without_sections
from nativelib.plan.local_version import local_version
from nativelib.plan.vendored import hashes_of, stem_of
from nativelib.read.elf import read_elf_file
from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import built, nativelib, project
from tests.support.tools import require
from tests.support.toy import consumer, package

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.projects import Answer


@pytest.mark.parametrize(
    ("name", "hashes", "stem"),
    [
        ("libgomp-e985bcbb.so.1.0.0", ["e985bcbb"], "libgomp"),
        ("libopenblas-r0-11edc3fa.3.15.so", ["11edc3fa"], "libopenblas-r0.3.15"),
        ("libgfortran-040039e1-0352e75f.so.5.0.0", ["040039e1", "0352e75f"], "libgfortran"),
        ("libscipy_openblas64_-32a4b2a6.so", ["32a4b2a6"], "libscipy_openblas64_"),
        ("libglib-2.0-0123abcd.so.0", ["0123abcd"], "libglib-2.0"),
        ("libfoo-deadbeefs.so.1", [], "libfoo-deadbeefs"),
        ("libfoo.so.1", [], "libfoo"),
        ("plugin.so", [], "plugin"),
    ],
)
def test_hash_and_stem(name: str, hashes: list[str], stem: str) -> None:
    assert list(hashes_of(name)) == hashes
    assert stem_of(name) == stem


@pytest.mark.parametrize(
    ("version", "result"),
    [
        ("2.4.6", "2.4.6+nl.1a2b3c4d"),
        ("2.13.0+cpu", "2.13.0+cpu.nl.1a2b3c4d"),
        ("2.4.6+nl.00000aaa", "2.4.6+nl.1a2b3c4d"),
        ("2.13.0+cpu.nl.00000aaa", "2.13.0+cpu.nl.1a2b3c4d"),
        ("1!2.0rc1", "1!2.0rc1+nl.1a2b3c4d"),
    ],
)
def test_local_version(version: str, result: str) -> None:
    assert local_version(version, "1a2b3c4d" + "0" * 56) == result
    assert str(Version(result)) == result


@given(st.binary(max_size=20))
def test_a_local_version_is_normal_and_preferred(data: bytes) -> None:
    found = Version(local_version("2.4.6", hashlib.sha256(data).hexdigest()))
    assert str(found) == local_version("2.4.6", hashlib.sha256(data).hexdigest())
    assert found > Version("2.4.6")


def test_leading_zeros_and_numbers_are_passed_over() -> None:
    assert local_version("1.0", "00000012345678ab" + "0" * 48) == "1.0+nl.2345678a"


TEXT = """\
Own licence.

----

This binary distribution of NumPy also bundles the following software:


Name: OpenBLAS
Files: numpy.libs/libscipy_openblas*.so
License: BSD-3-Clause
  Text of it.

Name: GCC runtime library
Files: numpy.libs/libgfortran*.so, numpy.libs/libquadmath*.so
License: GPL
  Text.

----
Full text of license texts
"""
BLAS = "numpy.libs/libscipy_openblas64_-32a4b2a6.so"
FORTRAN = "numpy.libs/libgfortran-8f1e9814.so.5.0.0"
QUAD = "numpy.libs/libquadmath-828275a7.so.0.0.0"


def test_sections_of_what_was_taken_out_go() -> None:
    found = without_sections(TEXT, [BLAS], [FORTRAN, QUAD])
    assert "OpenBLAS" not in found
    assert "This binary distribution" in found
    assert found.endswith(TEXT[TEXT.index("Name: GCC") :])


def test_a_section_stays_while_one_of_its_files_does() -> None:
    assert without_sections(TEXT, [FORTRAN], [BLAS, QUAD]) == TEXT
    assert without_sections(TEXT, [FORTRAN, QUAD], [BLAS, FORTRAN.replace("8f", "9f")]) == TEXT


def test_of_the_whole_list_nothing_is_left() -> None:
    found = without_sections(TEXT, [BLAS, FORTRAN, QUAD], [])
    assert found == "Own licence.\n\n----\n\n----\nFull text of license texts\n"


@pytest.mark.parametrize(
    "text", ["", "MIT\n", "Name: x\n", "Files: numpy.libs/*\n", "Name: a\nFiles:\n", "Name:\n" * 3]
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert without_sections(text, [BLAS], []) == text


@given(st.text(alphabet="Name:Fils \n-*.", max_size=200))
def test_any_text_is_survived(text: str) -> None:
    assert len(without_sections(text, [BLAS], [])) <= len(text)


def blas(directory: Path, flags: str, call: str, *, value: int, file: str = "libfakeblas.so.0") -> Path:
    """A library that says of itself what OpenBLAS says, and imports *call*."""
    source = f"""
    #include <pthread.h>
    void GOMP_parallel(void);
    static const char config[] = "OpenBLAS 0.3.99{flags} DYNAMIC_ARCH NO_AFFINITY Haswell";
    const char *openblas_get_config(void) {{ return config; }}
    void start(void) {{ {call}; }}
    int fake_dot(void) {{ return {value}; }}
    """
    flags_ = ["-Wl,--unresolved-symbols=ignore-all", "-Wl,--build-id=none"]
    return shared_library(directory, file, source, soname="libfakeblas.so.0", flags=flags_)


THREADS = "pthread_create(0, 0, 0, 0)"


@pytest.mark.parametrize(
    ("flags", "call", "abi"),
    [
        ("", THREADS, {"blas-int": "32", "threading": "pthreads"}),
        ("  USE64BITINT", "GOMP_parallel()", {"blas-int": "64", "threading": "openmp"}),
        (" NO_LAPACK", "", {"blas-int": "32", "threading": "serial"}),
    ],
)
def test_what_an_openblas_says_of_itself(tmp_path: Path, flags: str, call: str, abi: dict[str, str]) -> None:
    assert openblas_abi(read_elf_file(blas(tmp_path, flags, call, value=1))) == abi


def unvendored(tmp_path: Path, copy: tuple[str, str], provider: tuple[str, str], *words: str) -> Answer:
    """Repair a wheel with a vendored fake BLAS *copy* with a library wheel of the fake BLAS *provider*."""
    blas(tmp_path / "prefix" / "lib", *provider, value=2)
    spec = project(tmp_path / "spec", "fake-lib", 'libraries = ["lib/libfakeblas.so.0"]', version="1.0")
    wheel = built(spec, "--prefix", tmp_path / "prefix", into=tmp_path / "libs")
    name = "libfakeblas-12345678.so.0"
    file = blas(tmp_path / "v", *copy, value=1, file=name)
    subprocess.run([require("patchelf"), "--set-soname", name, str(file)], check=True)
    source = simple_module("_ext", "fake_dot()", "int fake_dot(void);")
    unresolved = ["-Wl,--unresolved-symbols=ignore-all"]
    own = extension(tmp_path / "e", "_ext", source, needed=[file], flags=unresolved)
    consumed = consumer(tmp_path, "vend", {**package("vend", own), f"vend.libs/{name}": file})
    return nativelib("repair", consumed, "--provided-by", wheel, "-w", tmp_path / "out", *words)


LP64, ILP64, SERIAL = ("", THREADS), ("  USE64BITINT", THREADS), ("", "")


@pytest.mark.parametrize(
    ("copy", "provider", "meant"),
    [(LP64, ILP64, "blas-int=64"), (ILP64, LP64, "blas-int=32"), (SERIAL, LP64, "threading=pthreads")],
)
def test_a_copy_that_was_built_otherwise_is_not_replaced(
    tmp_path: Path, copy: tuple[str, str], provider: tuple[str, str], meant: str
) -> None:
    answer = unvendored(tmp_path, copy, provider)
    assert answer.code == 1
    [found] = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert found["code"] == "NL303"
    assert found["where"].endswith("vend.libs/libfakeblas-12345678.so.0")
    assert f"--require-abi {meant}" in found["remedy"]
    assert not list((tmp_path / "out").glob("*"))
    assert nativelib("repair", *answered(tmp_path), "--require-abi", meant).code == 0


def answered(tmp_path: Path) -> list[str]:
    """Return the same wheel and provider again."""
    [wheel], [provider] = tmp_path.glob("vend-*.whl"), (tmp_path / "libs").glob("*.whl")
    return [str(wheel), "--provided-by", str(provider), "-w", str(tmp_path / "out")]


def test_the_same_build_replaces_it(tmp_path: Path) -> None:
    assert unvendored(tmp_path, LP64, LP64).code == 0
