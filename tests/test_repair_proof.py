"""The proof: a provider is accepted if it has what the consumer takes from it, and refused once one thing is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.counting import (
    consumer_wheel,
    count_library,
    counting_extension,
    foreign_wheel,
    library_wheel,
    plain_extension,
)
from tests.support.downloads import pypi_wheel
from tests.support.nohost import mapped_files
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.venvs import run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.projects import Answer
    from tests.support.venvs import Environment

USED = ("count_a", "count_b", "count_c")
UNUSED = ("count_x",)
NODES = {"COUNT_1": ("count_a", "count_x"), "COUNT_2": ("count_b",), "COUNT_3": ("count_c",)}
VALUES = {"count_a": 1, "count_b": 20, "count_c": 300, "count_x": 4000}


def renamed(wheel: Path, directory: Path, ending: str, old: str, new: str) -> Path:
    """Return a copy of *wheel* whose library *ending* has the name *new* instead of *old* in its string table.

    Both have the same length, so nothing moves: it is the same library without that one symbol, or node.
    """
    if len(old) != len(new):
        raise ValueError(f"{old} and {new} have different lengths")
    files = {name: content for name, content in members(wheel).items() if not name.endswith(("/RECORD", "/"))}
    [member] = [name for name in files if name.endswith(ending)]
    if files[member].count(f"\0{old}\0".encode()) < 1:
        raise ValueError(f"{member} has no {old}")
    # Everywhere: patchelf leaves the old table behind where it has moved it.
    files[member] = files[member].replace(f"\0{old}\0".encode(), f"\0{new}\0".encode())
    return make_wheel(directory, wheel.name, files)


def missing(answer: Answer) -> list[str]:
    """Return the symbols that a refusal names."""
    assert answer.code == 1
    assert [entry["output"] for entry in answer.document["wheels"]] == [None]
    found = [f for f in answer.findings if f["severity"] == "error"]
    assert {finding["code"] for finding in found} == {"NL301"}, found
    for finding in found:
        assert all(symbol in finding["message"] for symbol in finding["symbols"])
    return sorted(symbol for finding in found for symbol in finding["symbols"])


# One thing taken away


class Stock:
    """Providers and consumers of one library, with version nodes and without."""

    def __init__(self, root: Path, *, nodes: bool) -> None:
        self.library = count_library(root / "count", VALUES, nodes=NODES if nodes else None)
        self.wheels = {
            "own": library_wheel(root / "own", self.library),
            "foreign": foreign_wheel(root / "foreign", self.library),
        }
        self.consumer = consumer_wheel(root / "in", plain_extension(root / "obj", self.library, functions=USED))

    def repair(self, provider: Path, out: Path, *, reference: bool = False) -> Answer:
        where = ("--ldpaths", self.library.parent) if reference else ()
        return nativelib("repair", self.consumer, "--provided-by", provider, *where, "-w", out)


@pytest.fixture(scope="session")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock(tmp_path_factory.mktemp("versioned"), nodes=True)


@pytest.fixture(scope="session")
def unversioned(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    return Stock(tmp_path_factory.mktemp("unversioned"), nodes=False)


@pytest.mark.parametrize("kind", ["own", "foreign"])
def test_each_used_symbol_counts(unversioned: Stock, kind: str, tmp_path: Path) -> None:
    provider = unversioned.wheels[kind]
    assert unversioned.repair(provider, tmp_path / "whole").code == 0
    for name in USED:
        less = renamed(provider, tmp_path / name, _library(kind), name, f"C{name[1:]}")
        assert missing(unversioned.repair(less, tmp_path / "out")) == [name]
        assert missing(unversioned.repair(less, tmp_path / "out", reference=True)) == [name]
    for name in UNUSED:
        less = renamed(provider, tmp_path / name, _library(kind), name, f"C{name[1:]}")
        assert unversioned.repair(less, tmp_path / "out").code == 0


@pytest.mark.parametrize("kind", ["own", "foreign"])
def test_each_used_symbol_and_node_counts(versioned: Stock, kind: str, tmp_path: Path) -> None:
    provider = versioned.wheels[kind]
    owner = {name: node for node, names in NODES.items() for name in names}
    assert versioned.repair(provider, tmp_path / "whole").code == 0
    for name in USED:
        less = renamed(provider, tmp_path / name, _library(kind), name, f"C{name[1:]}")
        assert missing(versioned.repair(less, tmp_path / "out")) == [f"{name}@{owner[name]}"]
    for node, names in NODES.items():
        less = renamed(provider, tmp_path / node, _library(kind), node, f"K{node[1:]}")
        assert missing(versioned.repair(less, tmp_path / "out")) == [f"{n}@{node}" for n in names if n in USED]


def _library(kind: str) -> str:
    return {"own": "/lib/libcount-count_lib.so.1", "foreign": "/libcount.so.1"}[kind]


def test_a_newer_version_of_a_symbol_beside_the_old_one(versioned: Stock, tmp_path: Path) -> None:
    """All versions of a name are kept: glibc's own way to change a function."""
    source = """
    int a_new(void) { return 2; } int a_old(void) { return 1; }
    __asm__(".symver a_old,count_a@COUNT_1"); __asm__(".symver a_new,count_a@@COUNT_9");
    """
    nodes = {**NODES, "COUNT_1": ("count_x",), "COUNT_9": ()}
    rest = {name: value for name, value in VALUES.items() if name != "count_a"}
    newer = library_wheel(tmp_path / "new", count_library(tmp_path / "l", rest, nodes=nodes, more=source))
    assert versioned.repair(newer, tmp_path / "out").code == 0
    only = library_wheel(
        tmp_path / "only",
        count_library(
            tmp_path / "o",
            rest,
            nodes=nodes,
            more='int a_new(void) { return 2; } __asm__(".symver a_new,count_a@@COUNT_9");',
        ),
    )
    assert missing(versioned.repair(only, tmp_path / "out")) == ["count_a@COUNT_1"]


def test_weak_references_and_data(tmp_path: Path) -> None:
    """A weak reference may stay open; a variable counts as a function does."""
    whole = count_library(tmp_path / "whole", {"f": 1}, more="int table[4] = {1}; int extra(void) { return 1; }")
    less = count_library(tmp_path / "less", {"f": 1}, more="int table[4] = {1};")
    none = count_library(tmp_path / "none", {"f": 1}, more="int extra(void) { return 1; }")
    more = "extern int table[4]; int get(void) { return table[1]; }\n#pragma weak extra\n"
    more += "int extra(void); int maybe(void) { return extra ? extra() : 0; }"
    consumer = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "obj", whole, functions=("f",), more=more))
    where = ("--ldpaths", whole.parent, "-w", tmp_path / "out")
    fine = library_wheel(tmp_path / "w1", less)
    assert nativelib("repair", consumer, "--provided-by", fine, *where).code == 0
    poor = library_wheel(tmp_path / "w2", none)
    assert missing(nativelib("repair", consumer, "--provided-by", poor, *where)) == ["table"]


def test_what_comes_from_another_library_is_not_asked_of_the_provider(tmp_path: Path) -> None:
    count = count_library(tmp_path / "count", {"f": 1, "both": 2})
    other = count_library(tmp_path / "other", {"g": 1, "both": 3}, soname="libother.so.1")
    provider = library_wheel(tmp_path / "w", count_library(tmp_path / "less", {"f": 1}))
    consumer = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "obj", count, other, functions=("f", "g")))
    where = ("--ldpaths", f"{count.parent}:{other.parent}", "-w", tmp_path / "out")
    assert nativelib("repair", consumer, "--provided-by", provider, *where).code == 0
    # "both" was taken from the first library that has it, as the linker saw it.
    taken = consumer_wheel(tmp_path / "in2", plain_extension(tmp_path / "o2", count, other, functions=("g", "both")))
    assert missing(nativelib("repair", taken, "--provided-by", provider, *where)) == ["both"]


def test_a_symbol_that_moved_into_a_private_library_of_the_provider(tmp_path: Path) -> None:
    """The loader finds it there too, and so does the proof; the example runs."""
    whole = count_library(tmp_path / "whole", {"f": 1, "g": 20})
    inner = count_library(tmp_path / "inner", {"g": 20}, soname="libinner.so.1")
    outer = count_library(tmp_path / "outer", {"f": 1}, needed=[inner])
    provider = library_wheel(tmp_path / "w", outer, "--ldpaths", inner.parent)
    ext = counting_extension(tmp_path / "obj", whole, functions=("f", "g"))
    answer = nativelib(
        "repair", consumer_wheel(tmp_path / "in", ext), "--provided-by", provider, "-w", tmp_path / "out"
    )
    assert answer.code == 0, answer.stdout


# Real releases

NUMPY = ("numpy", "2.4.6")
HASHED, PLAIN = "libscipy_openblas64_-32a4b2a6.so", "libscipy_openblas64_.so"
X86_64 = "manylinux_2_17_x86_64"


@pytest.fixture(scope="session")
def numpy_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """numpy's published wheel, as its own build would have left it: linked with OpenBLAS, which is not in it."""
    python = f"{sys.version_info[0]}{sys.version_info[1]}"
    published = pypi_wheel(*NUMPY, platform="manylinux_2_28_x86_64", python=python)
    root = tmp_path_factory.mktemp("numpy")
    files: dict[str, bytes | str | Path] = {}
    patched = 0
    for name, content in members(published).items():
        if name.startswith("numpy.libs/") or name.endswith(("/RECORD", "/WHEEL", "/")):
            continue
        files[name] = content
        if HASHED.encode() in content:
            path = root / str(patched)
            path.write_bytes(content)
            subprocess.run(
                [require("patchelf"), "--replace-needed", HASHED, PLAIN, "--remove-rpath", str(path)], check=True
            )
            files[name] = path.read_bytes()
            patched += 1
    assert patched == 3
    return make_wheel(root, f"numpy-2.4.6-cp{python}-cp{python}-linux_x86_64.whl", files)


def openblas(bits: int, version: str) -> Path:
    return pypi_wheel(f"scipy-openblas{bits}", version, platform=X86_64, python="311")


@pytest.mark.long
@pytest.mark.network
@pytest.mark.parametrize("version", ["0.3.27.44.6", "0.3.31.188.0"])
def test_numpy_runs_on_a_release_that_has_all_it_takes(
    numpy_wheel: Path, version: str, tmp_path: Path, make_venv: Callable[..., Environment]
) -> None:
    provider = openblas(64, version)
    answer = nativelib("repair", numpy_wheel, "--provided-by", provider, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
    [entry] = answer.document["wheels"]
    assert entry["provided"] == [{"soname": PLAIN, "provider": "scipy-openblas64", "as": PLAIN}]
    assert entry["requires"] == [f'scipy-openblas64=={version}; sys_platform == "linux"']
    assert entry["grafted"] == []
    assert entry["hooks"] == ["numpy/_distributor_init.py"]
    assert not [f for f in entry["findings"] if f["severity"] != "note"], entry["findings"]

    environment = make_venv()
    environment.install(entry["output"], provider)
    code = """
import numpy
a = numpy.array([[4.0, 1.0], [2.0, 3.0]])
assert numpy.allclose(numpy.linalg.solve(a, [1.0, 2.0]), [0.1, 0.6])
assert numpy.allclose(sorted(numpy.linalg.eigvals(a)), [2.0, 5.0])
b = numpy.arange(250000.0).reshape(500, 500) / 1e5
assert numpy.allclose((b @ b)[7], sum(b[7, i] * b[i] for i in range(500)))
print(open("/proc/self/maps").read())
"""
    mapped = mapped_files(run_python(environment, code).stdout)
    library = environment.site / "scipy_openblas64" / "lib" / PLAIN
    copies = {path: inode for path, inode in mapped.items() if "openblas" in Path(path).name}
    assert copies == {str(library): library.stat().st_ino}
    # Without the provider numpy says what is missing.
    alone = make_venv("alone")
    alone.install(entry["output"], flags=("--no-deps",))
    done = run_python(alone, "import numpy", check=False)
    assert done.returncode == 1
    assert f"pip install 'scipy-openblas64=={version}'" in done.stderr


@pytest.mark.long
@pytest.mark.network
@pytest.mark.parametrize(("bits", "version"), [(64, "0.3.24.95.1"), (32, "0.3.27.44.6")])
def test_numpy_is_refused_a_release_under_another_name(
    numpy_wheel: Path, bits: int, version: str, tmp_path: Path
) -> None:
    provider = openblas(bits, version)
    answer = nativelib("repair", numpy_wheel, "--provided-by", provider, "-w", tmp_path / "out")
    assert answer.code == 1
    [finding] = [finding for finding in answer.findings if finding["severity"] == "error"]
    assert finding["code"] == "NL202"
    assert PLAIN in finding["message"]
    assert {64: "libscipy_openblas64_.so.0", 32: "libscipy_openblas.so"}[bits] in finding["message"]
    assert list(tmp_path.rglob("*.whl")) == []


@pytest.mark.long
@pytest.mark.network
def test_numpy_is_refused_the_other_integer_width(numpy_wheel: Path, tmp_path: Path) -> None:
    """Also where the user insists that it is the one: its functions have other names."""
    provider = f"{PLAIN}={openblas(32, '0.3.27.44.6')}"
    gone = missing(nativelib("repair", numpy_wheel, "--provided-by", provider, "-w", tmp_path / "out"))
    assert len(set(gone)) == 57
    assert "scipy_cblas_dgemm64_" in gone
    assert "scipy_dgesv_64_" in gone


@pytest.mark.long
@pytest.mark.network
@pytest.mark.parametrize("symbol", ["scipy_cblas_dgemm64_", "scipy_dgesv_64_"])
def test_numpy_is_refused_a_release_without_one_function(numpy_wheel: Path, symbol: str, tmp_path: Path) -> None:
    less = renamed(openblas(64, "0.3.27.44.6"), tmp_path, f"/{PLAIN}", symbol, f"S{symbol[1:]}")
    answer = nativelib("repair", numpy_wheel, "--provided-by", less, "-w", tmp_path / "out")
    assert set(missing(answer)) == {symbol}
    unused = renamed(
        openblas(64, "0.3.27.44.6"), tmp_path / "u", f"/{PLAIN}", "scipy_cblas_sgemmt64_", "Scipy_cblas_sgemmt64_"
    )
    answer = nativelib("repair", numpy_wheel, "--provided-by", unused, "-w", tmp_path / "out")
    assert answer.code == 0, answer.stdout
