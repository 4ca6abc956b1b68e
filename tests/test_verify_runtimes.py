"""``nativelib verify`` with runtimes that the machine has, too, that start threads, or that others published."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cc import extension, shared_library, simple_module
from tests.support.counting import ARCHITECTURE, count_library, foreign_wheel, plain_extension
from tests.support.downloads import debian_package, pypi_wheel
from tests.support.nohost import host_files
from tests.support.projects import nativelib, repaired
from tests.support.threads import threaded_extension
from tests.support.tools import lacking
from tests.support.toy import Toy, consumer, installed, package
from tests.support.wheels import make_wheel
from tests.test_verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.long

WITHOUT = [word for name in ("split", "provider-first", "run-paths", "poisoned") for word in ("--without", name)]
"""For what a single run shows."""


@pytest.fixture(scope="module")
def openmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with the host's own libgomp."""
    found = [path for path in host_files(("libgomp",)) if path.name == "libgomp.so.1"]
    if not found:
        lacking("the host's libgomp.so.1")
    directory = tmp_path_factory.mktemp("openmp")
    return foreign_wheel(directory, Path(shutil.copy(found[0].resolve(), directory / "libgomp.so.1")), name="gomp_lib")


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel whose need of libgomp the host answers: nothing in it loads another copy."""
    directory = tmp_path_factory.mktemp("adder")
    return consumer(directory / "in", "adder", package("adder", threaded_extension(directory)))


def test_a_host_copy_that_hides_a_missing_preload(openmp: Path, adder: Path, tmp_path: Path) -> None:
    said = verify(tmp_path, [adder], "--provided-by", openmp, "--no-fork")
    assert said.answer.code == 1
    finding = said.finding("adder", "NL804")
    assert finding["severity"] == "error"
    assert "a copy of this machine, and not from gomp-lib" in finding["message"]
    assert "(check: import, split)" in finding["message"]
    results = said.checks("adder")
    # The libraries of LD_LIBRARY_PATH come before the host's.
    assert {name for name, result in results.items() if result == "failed"} == {"import", "split", "poisoned"}


def test_a_hook_is_enough_and_a_runtime_that_hangs_after_fork_is_told(
    openmp: Path, adder: Path, tmp_path: Path
) -> None:
    wheel = repaired(adder, "--provided-by", openmp, into=tmp_path / "out")
    snippet = "import adder; assert adder.value() == 299995"
    said = verify(tmp_path, [wheel], "--provided-by", openmp, "--fork-snippet", snippet, "--fork-timeout", "3")
    assert set(said.checks("adder").values()) == {"ok"}
    row = said.row(None, "fork")
    assert (row["result"], row["detail"]) == ("failed", "os.fork hang; multiprocessing hang; concurrent.futures hang")
    assert "With os.fork, multiprocessing, concurrent.futures, the child" in said.finding(None, "NL807")["message"]


def test_nothing_to_compute_is_no_success(openmp: Path, adder: Path, tmp_path: Path) -> None:
    wheel = repaired(adder, "--provided-by", openmp, into=tmp_path / "out")
    by_itself = verify(tmp_path / "1", [wheel], "--provided-by", openmp, *WITHOUT)
    assert by_itself.answer.code == 0
    assert by_itself.result(None, "fork") == "left out"
    assert by_itself.finding(None, "NL809")["severity"] == "note"
    assert set(by_itself.checks("adder")) == {"import", "symbols"}
    pure = make_wheel(tmp_path, "pure-1.0-py3-none-any.whl", {"pure/__init__.py": ""})
    asked = verify(tmp_path / "2", [pure], "--fork")
    assert asked.answer.code == 1
    assert asked.finding(None, "NL809")["severity"] == "error"
    assert asked.row("pure", "import")["detail"] == "1 package"


@pytest.mark.network
def test_openblas_with_the_threads_of_gcc(tmp_path: Path) -> None:
    """Debian's OpenMP flavour of OpenBLAS in a wheel: the product that the parent has computed hangs in the child."""
    files: dict[str, bytes | str | Path] = {"omp_blas/__init__.py": ""}
    for name in ("libopenblas0-openmp", "libgomp1", "libgfortran5", "libquadmath0"):
        for path in debian_package(name).rglob("lib*.so.[0-9]"):
            if "liblapack" not in path.name and "libblas" not in path.name:
                files[f"omp_blas/lib/{path.name}"] = path.resolve()
    provider = make_wheel(tmp_path, f"omp_blas-1.0-py3-none-manylinux_2_34_{ARCHITECTURE}.whl", files)
    product = """
    void cblas_dgemm(int, int, int, int, int, int, double, double *, int, double *, int, double, double *, int);
    static double a[512 * 512], b[512 * 512], c[512 * 512];
    static long product(void) {
        for (int i = 0; i < 512 * 512; i++) a[i] = b[i] = 1;
        cblas_dgemm(101, 111, 111, 512, 512, 512, 1, a, 512, b, 512, 0, c, 512);
        return c[1234];
    }"""
    library = next(path for name, path in files.items() if name.endswith("libopenblas.so.0"))
    assert isinstance(library, Path)
    source = simple_module("_ext", "product()", product)
    ext = extension(tmp_path / "ext", "_ext", source, needed=[library])
    wheel = repaired(consumer(tmp_path / "in", "blas", package("blas", ext)), "--provided-by", provider, into=tmp_path)
    options = ("--provided-by", provider, "--fork-snippet", "import blas; assert blas.value() == 512")
    said = verify(tmp_path, [wheel], *options, "--fork-timeout", "3")
    assert set(said.checks("blas").values()) == {"ok"}
    assert "os.fork hang" in said.row(None, "fork")["detail"]


# Providers that others published


@pytest.mark.network
def test_a_foreign_provider_is_opened_and_not_imported(tmp_path: Path) -> None:
    provider = pypi_wheel("scipy-openblas64", "0.3.34.481.3")
    with zipfile.ZipFile(provider) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/libscipy_openblas64_.so")]
        library = Path(archive.extract(name, tmp_path / "unpacked"))
    source = simple_module(
        "_ext", "scipy_openblas_get_num_procs64_() > 0", "int scipy_openblas_get_num_procs64_(void);"
    )
    ext = extension(tmp_path / "ext", "_ext", source, needed=[library])
    wheel = repaired(
        consumer(tmp_path / "in", "procs", package("procs", ext)), "--provided-by", provider, into=tmp_path
    )
    said = verify(tmp_path, [wheel], "--provided-by", provider, "--fork-snippet", "import procs; procs.value()")
    assert said.answer.code == 0, said.answer.stderr
    script = (said.keep / "scripts" / "provider-first-procs.py").read_text()
    assert "libscipy_openblas64_.so" in script
    assert '"scipy_openblas64"' not in script
    assert said.row(None, "fork")["detail"] == "os.fork ok; multiprocessing ok; concurrent.futures ok"


# Copies


def vendored(toy: Toy, directory: Path, name: str) -> Path:
    """Write a wheel that carries a copy of libtoy as earlier grafts left it."""
    copy = shared_library(
        directory, "libtoy-0123abcd.so.1", "int toy_value(void) { return 9; }", soname="libtoy-0123abcd.so.1"
    )
    source = simple_module("_ext", "toy_value()", "int toy_value(void);")
    ext = extension(directory, "_ext", source, needed=[copy], rpath=f"$ORIGIN/../{name}.libs")
    return consumer(directory / "in", name, {**package(name, ext), f"{name}.libs/{copy.name}": copy})


def test_a_second_copy_that_another_wheel_brings(toy: Toy, tmp_path: Path) -> None:
    good = toy.repaired(consumer(tmp_path / "in", "counter", package("counter", toy.plain)))
    other = vendored(toy, tmp_path / "1", "other")
    said = verify(tmp_path, [good, other], "--provided-by", toy.toy)
    assert set(said.checks("counter").values()) == set(said.checks("other").values()) == {"ok"}
    assert {said.result(None, name) for name in ("together", "reversed")} == {"failed"}
    finding = said.finding(None, "NL805")
    assert finding["severity"] == "error"
    assert "other.libs/libtoy-0123abcd.so.1, a copy of other, as well" in finding["message"]


def test_copies_of_two_wheels_without_a_provider(toy: Toy, tmp_path: Path) -> None:
    first = vendored(toy, tmp_path / "1", "first")
    copy = shared_library(
        tmp_path, "libtoy-89abcdef.so.1", "int toy_value(void) { return 8; }", soname="libtoy-89abcdef.so.1"
    )
    source = simple_module("_ext", "toy_value()", "int toy_value(void);")
    ext = extension(tmp_path, "_ext", source, needed=[copy], rpath="$ORIGIN/../second.libs")
    second = consumer(tmp_path / "in", "second", {**package("second", ext), f"second.libs/{copy.name}": copy})
    said = verify(tmp_path, [first, second])
    assert said.answer.code == 0
    finding = said.finding(None, "NL805")
    assert finding["severity"] == "warning"
    assert finding["where"] == "libtoy.so.1"
    assert "2 copies: first.libs/libtoy-0123abcd.so.1, second.libs/libtoy-89abcdef.so.1." in finding["message"]


# What is installed, and where it comes from


def test_wheels_for_others_are_told_and_the_rest_is_tried(toy: Toy, tmp_path: Path) -> None:
    good = toy.repaired(consumer(tmp_path / "in", "counter", package("counter", toy.plain)))
    library = count_library(tmp_path / "count")
    ext = plain_extension(tmp_path / "plain", library)
    files: dict[str, bytes | str | Path] = {"far/__init__.py": "", f"far/{ext.name}": ext, "far/libcount.so.1": library}
    far = make_wheel(tmp_path, f"far-1.0-cp311-abi3-musllinux_1_2_{ARCHITECTURE}.whl", files)
    said = verify(tmp_path, [far, good], "--provided-by", toy.toy)
    assert said.answer.code == 1
    assert "is not for this Python" in said.finding("far", "NL801")["message"]
    assert said.checks("far") == {}
    assert set(said.checks("counter").values()) == {"ok"}


def test_a_requirement_that_cannot_be_had(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "needy-1.0-py3-none-any.whl", {"needy.py": ""}, metadata_extra="Requires-Dist: not-to-be-had\n"
    )
    said = verify(tmp_path, [wheel])
    assert said.result(None, "install") == "failed"
    assert "not-to-be-had" in said.finding(None, "NL801")["message"]


def provider_forms(toy: Toy, directory: Path) -> Sequence[tuple[str | Path, ...]]:
    """Return the options that name toy-lib as an unpacked wheel, and as installed for some interpreter."""
    unpacked = directory / "unpacked"
    with zipfile.ZipFile(toy.toy) as archive:
        archive.extractall(unpacked)
    return [("--provided-by", unpacked), ("--provided-by", f"libtoy-toy_lib.so.1={unpacked}")]


def test_providers_that_are_no_wheel_files(toy: Toy, tmp_path: Path) -> None:
    good = toy.repaired(consumer(tmp_path / "in", "counter", package("counter", toy.plain)))
    for number, options in enumerate(provider_forms(toy, tmp_path)):
        said = verify(tmp_path / str(number), [good], *options, *WITHOUT)
        assert said.answer.code == 0, said.answer.stderr
        assert said.answer.document["wheels"][0]["provided"][0]["provider"] == "toy-lib"


def test_a_provider_that_nothing_needs(toy: Toy, tmp_path: Path) -> None:
    good = toy.repaired(consumer(tmp_path / "in", "counter", package("counter", toy.plain)))
    said = verify(tmp_path, [good], "--provided-by", toy.toy, "--provided-by", toy.kept)
    assert said.answer.code == 1
    assert said.finding(None, "NL202")["where"] == str(toy.kept)


def test_a_module_that_does_not_end(tmp_path: Path) -> None:
    source = simple_module("_ext", "1").replace("return PyModule_Create", "for (;;); return PyModule_Create")
    ext = extension(tmp_path, "_ext", source)
    wheel = consumer(tmp_path / "in", "endless", package("endless", ext))
    said = verify(tmp_path, [wheel], "--timeout", "3")
    assert "did not end within 3 s" in said.finding("endless", "NL802")["message"]
    assert set(said.checks("endless")) == {"import"}


def test_an_installed_provider(toy: Toy, tmp_path: Path) -> None:
    good = toy.repaired(consumer(tmp_path / "in", "counter", package("counter", toy.plain)))
    environment = installed(tmp_path / "venv", toy.toy)
    answer = nativelib(
        "verify", "--no-index", "--provided-by", "toy-lib", "--python", environment.python, good, *WITHOUT
    )
    assert answer.code == 0, answer.stderr
