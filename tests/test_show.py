"""``nativelib show``: tags, libraries, leaks and hints of real wheels, and what it says of wheels that are wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.counting import consumer_wheel, count_library, library_wheel, plain_extension
from tests.support.projects import nativelib, repaired
from tests.support.wheels import make_wheel
from tests.test_json import check

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LINUX = "pkg-1.0-cp311-cp311-linux_x86_64.whl"


def show(*arguments: str | Path) -> dict[str, Any]:
    """Return what ``show`` says of one wheel, checked against the schema."""
    answer = nativelib("show", *arguments)
    check("show", answer.document)
    [entry] = answer.document["wheels"]
    assert answer.code == any(finding["severity"] == "error" for finding in entry["findings"])
    found: dict[str, Any] = entry
    return found


def codes(entry: dict[str, Any]) -> dict[str, list[str]]:
    """Return the codes of the findings with the places that they are about."""
    out: dict[str, list[str]] = {}
    for finding in entry["findings"]:
        out.setdefault(finding["code"], []).append(finding["where"])
    return out


def wheel_of(directory: Path, files: Mapping[str, bytes | str | Path], name: str = _LINUX) -> Path:
    return make_wheel(directory / "wheel", name, files)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return extension(tmp_path, "plain", simple_module("plain", "1"))


# Tags


def test_an_undeserved_tag_is_said_loudly(tmp_path: Path) -> None:
    """``getrandom`` came with glibc 2.25, so that manylinux_2_17 is too old."""
    source = simple_module("new", "getrandom(0, 0, 0)", "#include <sys/random.h>")
    new = extension(tmp_path, "new", source)
    wheel = wheel_of(
        tmp_path, {"pkg/new.so": new}, "pkg-1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
    )
    entry = show(wheel)
    assert entry["tag"] == "manylinux_2_26_x86_64"
    assert entry["platforms"] == ["manylinux2014_x86_64", "manylinux_2_17_x86_64"]
    [finding] = [f for f in entry["findings"] if f["code"] == "NL601"]
    assert finding["severity"] == "warning"
    assert "manylinux2014_x86_64, manylinux_2_17_x86_64" in finding["message"]
    assert "pkg/new.so needs GLIBC_2.25 of libc.so.6 (getrandom)" in finding["message"]
    first = entry["why"][0]
    assert (first["policies"][0], first["path"], first["symbols"]) == ("manylinux_2_24", "pkg/new.so", ["getrandom"])
    assert {name for why in entry["why"] for name in why["policies"]} == {
        *("manylinux_2_24", "manylinux_2_17", "manylinux_2_12", "manylinux_2_5")
    }


@pytest.mark.parametrize("tag", ["linux_x86_64", "manylinux_2_35_x86_64", "manylinux1_x86_64.manylinux_2_5_x86_64"])
def test_a_deserved_tag_is_no_finding(plain: Path, tmp_path: Path, tag: str) -> None:
    entry = show(wheel_of(tmp_path, {"pkg/plain.so": plain}, f"pkg-1.0-cp311-cp311-{tag}.whl"))
    assert (entry["tag"], entry["aliases"], entry["why"]) == ("manylinux_2_5_x86_64", ["manylinux1_x86_64"], [])
    assert "NL601" not in codes(entry)


def test_show_agrees_with_repair(tmp_path: Path) -> None:
    """Grafts, a provider and an excluded library: of the result, ``show`` says the tag that ``repair`` gave."""
    library = count_library(tmp_path / "count")
    graft = count_library(tmp_path / "graft", {"graft": 1}, soname="libgraft.so.1")
    driver = count_library(tmp_path / "driver", {"drive": 1}, soname="libdriver.so.1")
    provider = library_wheel(tmp_path / "provider", library)
    ext = plain_extension(tmp_path / "o", library, graft, driver, functions=("count_one", "graft", "drive"))
    wheel = consumer_wheel(tmp_path / "in", ext)
    counted = ("--provided-by", str(provider), "--exclude", "libdriver.so.*", "--ldpaths", str(graft.parent))
    before = show(wheel, *counted)
    assert before["tag"] == "linux_x86_64"
    result = repaired(wheel, *counted, into=tmp_path / "out")
    after = show(result, *counted)
    assert f"-{after['tag']}" in result.name or f".{after['tag']}" in result.name
    assert {f["code"] for f in after["findings"]} == set()
    answers = {need["soname"]: need["answer"] for elf in after["elf"] for need in elf["needed"]}
    assert answers["libcount-count_lib.so.1"] == "provided"
    assert answers["libdriver.so.1"] == "excluded"
    without = show(result, "--ldpaths", str(tmp_path))
    assert without["tag"] == "linux_x86_64"
    assert "NL601" in codes(without)


# Libraries and run paths


def test_missing_libraries_are_named_once(tmp_path: Path) -> None:
    gone = shared_library(tmp_path, "libgone.so.1", "int gone(void) { return 1; }", soname="libgone.so.1")
    uses = simple_module("uses", "gone()", "int gone(void);")
    files = {f"pkg/{name}.so": extension(tmp_path / name, "uses", uses, needed=[gone]) for name in "abcd"}
    gone.unlink()
    entry = show(wheel_of(tmp_path, files), "--ldpaths", str(tmp_path / "a"))
    [finding] = [f for f in entry["findings"] if f["code"] == "NL201"]
    assert finding["where"] == "pkg/a.so"
    assert "pkg/b.so, pkg/c.so and 1 more" in finding["message"]
    assert f"searched: {tmp_path / 'a'}" in finding["message"]
    assert entry["external"] == {"libgone.so.1": None}


def test_run_paths_that_leak(tmp_path: Path) -> None:
    files: dict[str, bytes | str | Path] = {}
    for name, rpath in (
        ("a", "$ORIGIN:/opt/build/lib"),
        ("b", "/opt/build/lib"),
        ("c", "$ORIGIN/../../x"),
        ("d", "$ORIGIN/../pkg.libs:${ORIGIN}"),
        ("e", "$ORIGIN:"),
    ):
        files[f"pkg/{name}.so"] = shared_library(tmp_path, f"{name}.so", "int x;", rpath=rpath)
    entry = show(wheel_of(tmp_path, files))
    assert sorted((leak["path"], leak["entry"], leak["kind"]) for leak in entry["leaks"]) == [
        ("pkg/a.so", "/opt/build/lib", "absolute"),
        ("pkg/b.so", "/opt/build/lib", "absolute"),
        ("pkg/c.so", "$ORIGIN/../../x", "outside"),
        ("pkg/e.so", "", "empty"),
    ]
    assert sorted(codes(entry)["NL214"]) == ["pkg/a.so", "pkg/c.so", "pkg/e.so"]
    [shared] = [f["message"] for f in entry["findings"] if "/opt/build/lib" in f["message"]]
    assert "pkg/b.so has it too" in shared


# Run-time hints


def test_what_is_opened_at_run_time(tmp_path: Path) -> None:
    library = count_library(tmp_path / "count")
    provider = library_wheel(tmp_path / "provider", library)
    opens = 'const char *names[] = {"libm.so.6", "libown.so.1", "libodd.so.1", "libdriver.so.1", "libcount.so.1"};'
    files: dict[str, bytes | str | Path] = {
        f"pkg/{name}.so": extension(tmp_path / name, name, simple_module(name, "names[0][0]", opens)) for name in "abcd"
    }
    own = shared_library(tmp_path, "libown.so.1", "int own;", soname="libown.so.1")
    files |= {"pkg/libown.so.1": own, "pkg/x.py": 'CDLL("libodd.so.1"); find_library("m")'}
    entry = show(wheel_of(tmp_path, files), "--provided-by", provider, "--exclude", "libdriver.*")
    found = {item["name"]: item for item in entry["opened"]}
    assert {name: (item["answer"], item["how"]) for name, item in found.items()} == {
        "libcount.so.1": ("provided", "string"),
        "libdriver.so.1": ("excluded", "string"),
        "libm.so": ("policy", "python"),
        "libm.so.6": ("policy", "string"),
        "libodd.so.1": (None, "python"),
        "libown.so.1": ("wheel", "string"),
    }
    assert found["libodd.so.1"]["where"] == ["pkg/a.so", "pkg/b.so", "pkg/c.so", "pkg/d.so", "pkg/x.py"]
    [note] = [f for f in entry["findings"] if f["code"] == "NL213"]
    assert (note["severity"], note["where"]) == ("note", "pkg/a.so")
    assert "libodd.so.1" in note["message"]
    assert "pkg/b.so, pkg/c.so and 2 more" in note["message"]


def test_a_pure_wheel_can_open_libraries(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path, "pure-1.0-py3-none-any.whl", {"pure.py": 'import ctypes\nctypes.CDLL("libzmq.so.5")'}, purelib=True
    )
    entry = show(wheel, "--allow-pure-python-wheel")
    assert (entry["pure"], entry["tag"]) == (True, "any")
    assert codes(entry) == {"NL110": ["pure-1.0-py3-none-any.whl"], "NL213": ["pure.py"]}


# Wheels that are wrong in some way


def test_one_broken_file_does_not_stop_the_audit(plain: Path, tmp_path: Path) -> None:
    entry = show(wheel_of(tmp_path, {"pkg/plain.so": plain, "pkg/cut.so": plain.read_bytes()[:3000]}))
    assert codes(entry)["NL105"] == ["pkg/cut.so"]
    assert entry["tag"] == "manylinux_2_5_x86_64"
    assert [elf["path"] for elf in entry["elf"]] == ["pkg/plain.so"]


def _for_machine(file: Path, e_machine: int) -> bytes:
    """Return *file* with another machine in its header, all else being as it was."""
    data = bytearray(file.read_bytes())
    data[18:20] = e_machine.to_bytes(2, "little")
    return bytes(data)


def test_a_mixture_of_machines(plain: Path, tmp_path: Path) -> None:
    files: dict[str, bytes | str | Path] = {"pkg/a.so": plain, "pkg/b.so": plain}
    files |= {"pkg/c.so": _for_machine(plain, 183)}
    entry = show(wheel_of(tmp_path, files, "pkg-1.0-cp311-cp311-linux_any.whl"))
    assert [f["code"] for f in entry["findings"] if f["severity"] == "error"] == ["NL210"]
    assert (entry["tag"], entry["architecture"], entry["pure"]) == (None, "x86_64", False)
    assert [elf["path"] for elf in entry["elf"]] == ["pkg/a.so", "pkg/b.so"]


def test_a_machine_without_tags(plain: Path, tmp_path: Path) -> None:
    entry = show(wheel_of(tmp_path, {"pkg/a.so": _for_machine(plain, 8)}))  # EM_MIPS
    assert [f["code"] for f in entry["findings"]] == ["NL205"]
    assert (entry["tag"], entry["architecture"]) == (None, "em8")
    assert [elf["path"] for elf in entry["elf"]] == ["pkg/a.so"]


def test_a_wheel_named_for_another_machine(plain: Path, tmp_path: Path) -> None:
    entry = show(wheel_of(tmp_path, {"pkg/a.so": plain}, "pkg-1.0-cp311-cp311-manylinux_2_17_aarch64.whl"))
    assert [f["code"] for f in entry["findings"]] == ["NL205"]
    assert entry["tag"] == "manylinux_2_5_x86_64"


def test_glibc_and_musl_in_one_wheel(tmp_path: Path) -> None:
    source = '#include <stdio.h>\nvoid f(void) { puts("x"); }'
    files = {"pkg/a.so": shared_library(tmp_path, "a.so", source)}
    files["pkg/b.so"] = shared_library(tmp_path, "b.so", source, cc="musl-gcc")
    entry = show(wheel_of(tmp_path, files))
    assert [f["code"] for f in entry["findings"] if f["severity"] == "error"] == ["NL210"]
    assert entry["tag"] is None
    assert {elf["path"] for elf in entry["elf"]} == {"pkg/a.so", "pkg/b.so"}


def test_helpers_for_other_machines_are_named(plain: Path, tmp_path: Path) -> None:
    other = shared_library(tmp_path, "firmware.so", "int f;", cc="aarch64-linux-gnu-gcc")
    entry = show(wheel_of(tmp_path, {"pkg/a.so": plain, "pkg/firmware.so": other}))
    [note] = [f for f in entry["findings"] if f["code"] == "NL210"]
    assert note["severity"] == "note"
    assert "1 file (pkg/firmware.so) for aarch64" in note["message"]
    assert entry["tag"] == "manylinux_2_5_x86_64"


# The tree


def test_the_tree(tmp_path: Path) -> None:
    """Two extensions over one chain that ends in a circle."""
    one = shared_library(tmp_path, "libone.so.1", "int one;", soname="libone.so.1")
    two = shared_library(tmp_path, "libtwo.so.1", "int two;", soname="libtwo.so.1", needed=[one])
    one = shared_library(tmp_path, "libone.so.1", "int one;", soname="libone.so.1", needed=[two])
    module = simple_module("m", "1")
    files: dict[str, bytes | str | Path] = {
        f"pkg/{name}.so": extension(tmp_path / name, "m", module, needed=[one], rpath="$ORIGIN") for name in "ab"
    }
    files |= {"pkg/libone.so.1": one, "pkg/libtwo.so.1": two, "pkg/alone.so": extension(tmp_path, "m", module)}
    files["pkg.data/scripts/run"] = program(tmp_path, "run", "int main(void) { return 0; }", needed=[two])
    wheel = wheel_of(tmp_path, files, "pkg-1.0-cp311-cp311-linux_x86_64.whl")
    entry = show(wheel, "--tree")
    rows = [(row["depth"], row["name"], row["answer"], row["again"], row["alike"]) for row in entry["tree"]]
    assert [row for row in rows if row[2] != "policy"] == [
        (0, "pkg/a.so", None, False, ["pkg/b.so"]),
        (1, "libone.so.1", "wheel", False, []),
        (2, "libtwo.so.1", "wheel", False, []),
        (3, "libone.so.1", "wheel", True, []),
        (0, "pkg/alone.so", None, False, []),
        (0, "pkg.data/scripts/run", None, False, []),
        (1, "libtwo.so.1", "wheel", True, []),
    ]
    circle = wheel_of(tmp_path / "c", {"pkg/libone.so.1": one, "pkg/libtwo.so.1": two})
    names = [(row["depth"], row["name"], row["again"]) for row in show(circle, "--tree")["tree"]]
    assert names == [
        (0, "pkg/libone.so.1", False),
        (1, "libtwo.so.1", False),
        (2, "libone.so.1", True),
    ]


def test_the_tree_goes_through_providers(tmp_path: Path) -> None:
    library = count_library(tmp_path / "count")
    provider = library_wheel(tmp_path / "provider", library)
    wheel = consumer_wheel(tmp_path / "in", plain_extension(tmp_path / "o", library))
    tree = show(wheel, "--provided-by", provider, "--tree")["tree"]
    at = next(i for i, row in enumerate(tree) if row["answer"] == "provided")
    assert (tree[at]["name"], tree[at]["source"]) == ("libcount.so.1", "count-lib 1.0")
    assert not [row for row in tree if row["answer"] == "missing"]


def test_several_wheels(plain: Path, tmp_path: Path) -> None:
    good = wheel_of(tmp_path, {"pkg/plain.so": plain})
    cut = tmp_path / "cut-1.0-cp311-cp311-linux_x86_64.whl"
    cut.write_bytes(good.read_bytes()[:500])
    answer = nativelib("show", cut, good, tmp_path / "none-1.0-py3-none-any.whl", "--tree")
    assert answer.code == 1
    check("show", answer.document)
    assert [entry["tag"] for entry in answer.document["wheels"]] == [None, "manylinux_2_5_x86_64", None]
