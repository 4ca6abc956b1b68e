"""Cases in which a repair once went wrong without a word, or ended in a traceback. Each is a small real wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.facts.provider import Provider, ProviderKind
from nativelib.plan.requirement import specifier
from nativelib.read.elf import read_elf_file
from tests.support.cc import extension, program, shared_library, simple_module
from tests.support.projects import nativelib
from tests.support.tools import require
from tests.support.toy import TAG, consumer, installed, library_wheel, package
from tests.support.venvs import run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.projects import Answer
    from tests.support.toy import Toy


def done(answer: Answer) -> Path:
    """Return the wheel that was written."""
    assert answer.code == 0, answer.stdout + answer.stderr
    [entry] = answer.document["wheels"]
    return Path(entry["output"])


def codes(answer: Answer) -> list[str]:
    """Return the codes of the errors of a refusal, which leaves no wheel."""
    assert answer.code == 1, answer.stdout
    assert all(entry["output"] is None for entry in answer.document["wheels"])
    return [finding["code"] for finding in answer.findings if finding["severity"] == "error"]


def ext(
    directory: Path, expression: str, *needed: Path, module: str = "_ext", rpath: str | None = None, **names: str
) -> Path:
    """Return an extension with the libraries *needed*; *names* gives each library another name in DT_NEEDED."""
    functions = {word.split("(")[0].strip() for word in expression.split("+")} - {"1"}
    source = simple_module(module, expression, "".join(f"int {name}(void);" for name in sorted(functions)))
    links = [f"-Wl,-rpath-link,{library.parent}" for library in needed]
    file = extension(directory, module, source, needed=needed, rpath=rpath, flags=links)
    for old, new in names.items():
        subprocess.run([require("patchelf"), "--replace-needed", old, new, str(file)], check=True)
    return file


def unpacked(wheel: Path, directory: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory)
    return directory


def value(directory: Path, module: str) -> int:
    """Return what ``value()`` of *module* returns in a process that finds nothing but *directory*."""
    code = f"import sys; sys.path.insert(0, {str(directory)!r}); from {module} import value; print(value())"
    return int(run_python(sys.executable, code).stdout)


# Files that are found after the repair as they were before


def test_program_that_moves_still_finds_the_libraries_of_its_wheel(toy: Toy, tmp_path: Path) -> None:
    own = shared_library(tmp_path, "libown.so.1", "int own(void) { return 5; }", soname="libown.so.1")
    source = "int own(void), toy_value(void); int main(void) { return own() + toy_value(); }"
    start = program(
        tmp_path, "start", source, needed=[own, toy.host / "libtoy.so.1"], flags=["-Wl,-rpath,$ORIGIN/../somewhere"]
    )
    files: dict[str, str | bytes | Path] = {
        "pkg/__init__.py": "",
        "pkg/libown.so.1": own,
        "prog-1.0.data/scripts/start": start,
    }
    wheel = done(toy.repair(consumer(tmp_path, "prog", files)))
    environment = installed(tmp_path / "venv", wheel, links=[toy.wheels])
    assert subprocess.run([str(environment.bin / "start")], check=False).returncode == 47


def test_program_keeps_libpython(toy: Toy, tmp_path: Path) -> None:
    """No interpreter is around a program, so nobody brings libpython along."""
    name = f"libpython{sysconfig.get_python_version()}.so.9.9"
    python = shared_library(tmp_path / "p", name, "int Py_IsInitialized(void) { return 3; }", soname=name)
    source = "int Py_IsInitialized(void); int main(void) { return Py_IsInitialized(); }"
    embed = program(tmp_path, "embed", source, needed=[python])
    wheel = consumer(tmp_path, "embed", {"pkg/__init__.py": "", "pkg/embed": embed})
    assert codes(nativelib("repair", wheel, "-w", tmp_path / "out")) == ["NL201"]
    left = done(nativelib("repair", wheel, "--exclude", "libpython*", "-w", tmp_path / "out"))
    assert name.encode() in members(left)["pkg/embed"]


def test_graft_that_needs_a_library_of_the_wheel_finds_it(tmp_path: Path) -> None:
    inner = shared_library(tmp_path / "i", "libinner.so.1", "int inner(void) { return 4; }", soname="libinner.so.1")
    text = "int inner(void); int outer(void) { return inner(); }"
    outer = shared_library(tmp_path / "o", "libouter.so.1", text, soname="libouter.so.1", needed=[inner])
    file = ext(tmp_path, "outer()", outer, inner, rpath=str(outer.parent))
    subprocess.run([require("patchelf"), "--remove-needed", "libinner.so.1", str(file)], check=True)
    wheel = consumer(tmp_path, "grafted", {**package("pkg", file), "pkg/lib/libinner.so.1": inner})
    result = done(nativelib("repair", wheel, "-w", tmp_path / "out"))
    assert value(unpacked(result, tmp_path / "u"), "pkg") == 4


def test_extension_that_needs_another_extension(toy: Toy, tmp_path: Path) -> None:
    source = simple_module("_core", "1") + "int core(void) { return 77; }"
    core = extension(tmp_path / "c", "_core", source)
    file = ext(tmp_path, "core()", core, rpath="$ORIGIN", **{str(core): core.name})
    files = {**package("pkg", file), f"pkg/{core.name}": core, f"pkg/sub/{toy.plain.name}": toy.plain}
    result = done(toy.repair(consumer(tmp_path, "pair", files)))
    environment = installed(tmp_path / "venv", result, links=[toy.wheels])
    assert run_python(environment, "import pkg; print(pkg.value())").stdout == "77\n"
    # Behind a loader module it would have another name.
    bare = {file.name: file, core.name: core}
    top = consumer(tmp_path / "top", "top", {**bare, toy.plain.name.replace("_ext", "_toy"): toy.plain})
    assert done(toy.repair(top)).is_file()
    linked = ext(tmp_path / "l", "core()", core, toy.host / "libtoy.so.1", rpath="$ORIGIN", **{str(core): core.name})
    needed = extension(tmp_path / "n", "_core", source, needed=[toy.host / "libtoy.so.1"])
    moved = consumer(tmp_path / "moved", "moved", {linked.name: linked, needed.name: needed})
    assert set(codes(toy.repair(moved, arguments=["--loader-modules"]))) == {"NL501"}


# What is left out of the result


def test_replaced_copy_stays_where_another_name_of_it_is_needed(toy: Toy, tmp_path: Path) -> None:
    text = "int toy_value(void) { return 9; }"
    copy = shared_library(tmp_path / "v", "libfull.so", text, soname="libtoy.so.1")
    nameless = shared_library(tmp_path / "n", "libfull.so", text)
    other = ext(tmp_path, "toy_value()", nameless, module="_other", **{str(nameless): "libfull.so"})
    subprocess.run([require("patchelf"), "--set-rpath", "$ORIGIN/../two.libs", str(other)], check=True)
    files = {**package("pkg", toy.plain), f"pkg/{other.name}": other, "two.libs/libfull.so": copy}
    result = done(toy.repair(consumer(tmp_path, "two", files)))
    environment = installed(tmp_path / "venv", result, links=[toy.wheels])
    assert run_python(environment, "import pkg, pkg._other as o; print(pkg.value(), o.value())").stdout == "42 9\n"


def test_only_graft_directories_are_cleared(toy: Toy, tmp_path: Path) -> None:
    """What lies in a package may be opened by its Python code."""
    side = shared_library(tmp_path / "s", "libside.so.1", "int side(void) { return 3; }", soname="libside.so.1")
    deep = shared_library(tmp_path / "s", "libdeep.so.1", "int deep(void) { return 3; }", soname="libdeep.so.1")
    text = "int side(void), deep(void); int toy_value(void) { return side() + deep(); }"
    copy = shared_library(tmp_path / "v", "libtoy.so.1", text, soname="libtoy.so.1", needed=[side, deep])
    files = {"cleared.libs/libtoy.so.1": copy, "pkg/libside.so.1": side, "cleared.libs/libdeep.so.1": deep}
    wheel = consumer(tmp_path, "cleared", {**package("pkg", toy.plain), **files})
    answer = toy.repair(wheel)
    assert answer.document["wheels"][0]["removed"] == ["cleared.libs/libdeep.so.1", "cleared.libs/libtoy.so.1"]
    assert "pkg/libside.so.1" in members(done(answer))


def test_a_library_that_goes_leaves_sbom_and_note(toy: Toy, tmp_path: Path) -> None:
    file = ext(tmp_path, "toy_value()", toy.host / "libtoy.so.1", rpath=str(toy.host))
    grafted = done(nativelib("repair", consumer(tmp_path, "gone", package("pkg", file)), "-w", tmp_path / "one"))
    [copy] = [name.partition("/")[2] for name in members(grafted) if name.startswith("gone.libs/")]
    # A wheel with the tag of a policy may have been published; it would get a local version.
    result = members(done(toy.repair(grafted, f"{copy}={toy.toy}", arguments=["--keep-version"])))
    assert not [name for name in result if name.startswith("gone.libs/")]
    assert json.loads(result["gone-1.0.dist-info/sboms/nativelib.cdx.json"])["components"] == []
    assert json.loads(result["gone-1.0.dist-info/nativelib-repair.json"])["grafted"] == []


def test_the_copy_in_the_wheel_says_whose_a_symbol_is(toy: Toy, tmp_path: Path) -> None:
    """Also where not everything that is loaded is at hand."""
    text = "int toy_value(void) { return 1; } int toy_extra(void) { return 2; }"
    copy = shared_library(tmp_path / "v", "libtoy.so.1", text, soname="libtoy.so.1")
    driver = shared_library(tmp_path / "d", "libdriver.so.1", "int driver(void) { return 2; }", soname="libdriver.so.1")
    file = ext(tmp_path, "toy_extra()+driver()", copy, driver)
    wheel = consumer(tmp_path, "whose", {**package("pkg", file), "whose.libs/libtoy.so.1": copy})
    answer = toy.repair(wheel, arguments=["--exclude", "libdriver.so.1"])
    assert codes(answer) == ["NL301"]
    assert [finding["symbols"] for finding in answer.findings if finding["code"] == "NL301"] == [["toy_extra"]]


# Grafts


def test_equal_files_at_two_places(tmp_path: Path) -> None:
    one = shared_library(tmp_path / "a", "libsame.so.1", "int same(void) { return 3; }", soname="libsame.so.1")
    (tmp_path / "b").mkdir()
    shutil.copy(one, tmp_path / "b")
    first = ext(tmp_path / "1", "same()", one, rpath=str(tmp_path / "a"))
    second = ext(tmp_path / "2", "same()", one, module="_other", rpath=str(tmp_path / "b"))
    wheel = consumer(tmp_path, "equal", {**package("pkg", first), f"pkg/{second.name}": second})
    answer = nativelib("repair", wheel, "-w", tmp_path / "out")
    result = unpacked(done(answer), tmp_path / "u")
    assert len(answer.document["wheels"][0]["grafted"]) == 1
    assert [value(result, "pkg"), value(result, "pkg._other")] == [3, 3]


def test_the_same_file_was_grafted_by_an_earlier_repair(tmp_path: Path) -> None:
    library = shared_library(tmp_path / "a", "libsame.so.1", "int same(void) { return 3; }", soname="libsame.so.1")
    file = ext(tmp_path / "1", "same()", library, rpath=str(library.parent))
    earlier = done(nativelib("repair", consumer(tmp_path, "same", package("pkg", file)), "-w", tmp_path / "one"))
    late = ext(tmp_path / "2", "same()", library, module="_late", rpath=str(library.parent))
    files = {name: content for name, content in members(earlier).items() if ".dist-info/" not in name}
    wheel = consumer(tmp_path / "again", "same", {**files, f"pkg/{late.name}": late})
    result = unpacked(done(nativelib("repair", wheel, "-w", tmp_path / "two")), tmp_path / "u")
    assert len(list(result.glob("same.libs/*"))) == 1
    assert value(result, "pkg._late") == 3


@pytest.mark.parametrize(("flag", "expected"), [("--enable-new-dtags", 2), ("--disable-new-dtags", 1)])
def test_the_search_path_has_the_loader_s_order(tmp_path: Path, flag: str, expected: int) -> None:
    """ld.so(8): LD_LIBRARY_PATH comes before DT_RUNPATH and after DT_RPATH."""
    for number in (1, 2):
        text = f"int same(void) {{ return {number}; }}"
        shared_library(tmp_path / str(number), "libsame.so.1", text, soname="libsame.so.1")
    source = simple_module("_ext", "same()", "int same(void);")
    needed = [tmp_path / "1" / "libsame.so.1"]
    file = extension(tmp_path, "_ext", source, needed=needed, rpath=str(tmp_path / "1"), flags=[f"-Wl,{flag}"])
    assert bool(read_elf_file(file).runpath) == (expected == 2)
    wheel = consumer(tmp_path, "order", package("pkg", file))
    answer = nativelib("repair", wheel, "-w", tmp_path / "out", env={"LD_LIBRARY_PATH": str(tmp_path / "2")})
    assert value(unpacked(done(answer), tmp_path / "u"), "pkg") == expected


# Which provider, which release


@pytest.mark.parametrize("more", [("--ldpaths",), ("--exclude", "libkept.so.3")])
def test_a_provider_of_an_earlier_repair_that_is_not_named_again(toy: Toy, tmp_path: Path, more: Sequence[str]) -> None:
    """Its library would be copied in beside it, or the hook would no longer load it."""
    file = toy.extension("kept_value()+toy_value()", ("libkept.so.3", "libtoy.so.1"))
    once = toy.repaired(consumer(tmp_path, "twice", package("pkg", file)), toy.kept, toy.toy)
    more = (*more, str(toy.host)) if len(more) == 1 else more
    answer = nativelib("repair", once, "--provided-by", toy.toy, *more, "-w", tmp_path / "again")
    assert codes(answer) == ["NL201"]
    assert "kept-lib" in answer.stdout
    both = nativelib("repair", once, "--provided-by", toy.toy, "--provided-by", toy.kept, "-w", tmp_path / "both")
    assert done(both).read_bytes() == once.read_bytes()


def test_two_releases_of_one_provider(toy: Toy, tmp_path: Path) -> None:
    new = shared_library(tmp_path / "p/lib", "libkept.so.4", "int newer(void) { return 4; }", soname="libkept.so.4")
    four = library_wheel(tmp_path / "w", "kept-lib", "4.0", tmp_path / "p", ["lib/*.so.4"], spec='soname = "keep"')
    file = ext(tmp_path, "newer()", new, module="_newer")
    old = toy.extension("kept_value()", ("libkept.so.3",))
    wheel = consumer(tmp_path, "both", {**package("pkg", old), f"pkg/{file.name}": file})
    assert codes(toy.repair(wheel, toy.kept, four)) == ["NL204"]


def test_the_lower_bound_counts_libraries_without_used_symbols(toy: Toy, tmp_path: Path) -> None:
    for prefix, names in (("old", "a"), ("new", "ab")):
        for name in names:
            text = f"int {name}{name}(void) {{ return 1; }}"
            shared_library(tmp_path / prefix / "lib", f"lib{name}.so.1", text, soname=f"lib{name}.so.1")
    first = library_wheel(tmp_path / "w", "ab-lib", "1.0", tmp_path / "old", ["lib/*.so.1"])
    second = library_wheel(
        tmp_path / "w", "ab-lib", "2.0", tmp_path / "new", ["lib/*.so.1"], arguments=["--since", first]
    )
    libraries = [tmp_path / "new/lib" / name for name in ("liba.so.1", "libb.so.1")]
    file = ext(tmp_path, "aa()", *libraries)
    answer = toy.repair(consumer(tmp_path, "bound", package("pkg", file)), second)
    assert answer.document["wheels"][0]["requires"] == ['ab-lib>=2.0; sys_platform == "linux"']


def test_a_library_wheel_is_passed_through(toy: Toy, tmp_path: Path) -> None:
    """As with ``repair --provided-by dist/toy.whl dist/*.whl``: it must not be made to depend on itself."""
    wheel = consumer(tmp_path, "user", package("pkg", toy.plain))
    options = ("--provided-by", toy.toy, "--ldpaths", toy.host, "-w", tmp_path / "out")
    answer = nativelib("repair", wheel, toy.toy, *options)
    assert answer.code == 0, answer.stdout
    user, library = answer.document["wheels"]
    assert user["requires"]
    assert (library["requires"], library["grafted"], library["removed"]) == ([], [], [])
    assert Path(library["output"]).read_bytes() == toy.toy.read_bytes()
    shown = nativelib("show", toy.toy).document["wheels"][0]
    assert shown["tag"] in toy.toy.name
    assert shown["findings"] == []


def test_a_provider_to_import_that_is_none(toy: Toy, tmp_path: Path) -> None:
    wheel = consumer(tmp_path, "user", package("pkg", toy.plain))
    assert codes(toy.repair(wheel, arguments=["--import-provider", "toi-lib"])) == ["NL202"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1", "~=1.0"), ("1rc1", "~=1.0rc1"), ("1.post1", "~=1.0.post1"), ("2!1.dev3", "~=2!1.0.dev3"), ("1.2", "~=1.2")],
)
def test_a_compatible_pin_of_a_short_version(version: str, expected: str) -> None:
    provider = Provider(
        name="x", version=version, origin="x", kind=ProviderKind.FOREIGN, import_name="x", libraries=(), every=()
    )
    assert str(specifier(provider, {}, pin="compatible")) == expected


# Input that is no good


def test_an_author_who_compares_texts(toy: Toy, tmp_path: Path) -> None:
    extra = "Requires-Dist: toy-lib===foo\n"
    wheel = make_wheel(tmp_path, f"texts-1.0-{TAG}.whl", package("pkg", toy.plain), metadata_extra=extra)
    assert codes(toy.repair(wheel)) == ["NL401"]


def test_an_init_that_nobody_can_parse(toy: Toy, tmp_path: Path) -> None:
    wheel = consumer(tmp_path, "deep", package("pkg", toy.plain, f"x = {'-' * 9999}1\n"))
    assert codes(toy.repair(wheel)) == ["NL501"]


def test_a_needed_name_that_is_longer_than_file_names_can_be(toy: Toy, tmp_path: Path) -> None:
    name = f"lib{'x' * 300}.so.1"
    file = ext(tmp_path, "toy_value()", toy.host / "libtoy.so.1", **{"libtoy.so.1": name})
    wheel = consumer(tmp_path, "long", package("pkg", file))
    shown = nativelib("show", wheel)
    assert shown.code == 0
    assert shown.document["wheels"][0]["external"][name] is None
    assert codes(nativelib("repair", wheel, "-w", tmp_path / "out")) == ["NL201"]


@pytest.mark.parametrize("text", ["a" * 5000, f"/{'a' * 300}/x"])
def test_a_provider_whose_name_is_too_long(toy: Toy, tmp_path: Path, text: str) -> None:
    assert codes(toy.repair(consumer(tmp_path, "user", package("pkg", toy.plain)), text)) == ["NL101"]


def _without_name(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\n")


def _manifest(**changes: Any) -> Callable[[Path], None]:
    def change(info: Path) -> None:
        document = json.loads((info / "nativelib.json").read_text())
        (info / "nativelib.json").write_text(json.dumps({**document, **changes}))

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda info: (info / "METADATA").unlink(), "NL106"),
        (_without_name, "NL106"),
        (lambda info: (info / "METADATA").write_bytes(b"\xff\xfe"), "NL106"),
        (lambda info: (info / "METADATA").write_text("Name: toy-lib\nVersion: unknown\n"), "NL106"),
        (lambda info: (info / "RECORD").write_bytes(b"\xff,,\n"), "NL106"),
        (lambda info: (info / "nativelib.json").write_text("[" * 99999), "NL107"),
        (_manifest(version="unknown"), "NL107"),
        (_manifest(compatible="garbage"), "NL107"),
        (_manifest(compatible=5), "NL107"),
        (_manifest(exports={"libtoy-toy_lib.so.1": {"toy_value@TOY_1.0": "zzz"}}), "NL107"),
        (_manifest(import_name="a b"), "NL107"),
    ],
)
def test_an_unpacked_provider_that_is_broken(
    toy: Toy, tmp_path: Path, change: Callable[[Path], object], code: str
) -> None:
    provider = unpacked(toy.toy, tmp_path / "provider")
    wheel = consumer(tmp_path, "user", package("pkg", toy.plain))
    change(next(provider.glob("*.dist-info")))
    assert codes(toy.repair(wheel, provider)) == [code]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"provided": 5, "requires": 7, "grafted": "x", "components": 5}',
        '{"provided": [{"as": [], "provider": 1}, 5], "requires": [5, {}], "grafted": [{"path": []}]}',
        '{"components": [{"bom-ref": [1]}, 5, {"bom-ref": null}]}',
        "[" * 99999,
        b"\xff",
    ],
)
def test_notes_of_an_earlier_repair_that_are_none(toy: Toy, tmp_path: Path, text: str | bytes) -> None:
    file = ext(tmp_path, "kept_value()", toy.host / "libkept.so.3", module="_graft", rpath=str(toy.host))
    names = ("nativelib-repair.json", "sboms/nativelib.cdx.json")
    files = {f"noted-1.0.dist-info/{name}": text for name in names}
    wheel = consumer(tmp_path, "noted", {**package("pkg", toy.plain), f"pkg/{file.name}": file, **files})
    result = members(done(toy.repair(wheel)))
    assert json.loads(result[f"noted-1.0.dist-info/{names[0]}"])["provided"]
    assert json.loads(result[f"noted-1.0.dist-info/{names[1]}"])["components"]
