"""Published wheels: vendored copies are recognised by content, taken out, and the result installs over the original."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import built, nativelib, project
from tests.support.tools import require
from tests.support.toy import EXT_SUFFIX, TAG, consumer, installed, package
from tests.support.venvs import clean_environment, fresh_venv, run_python
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.projects import Answer
    from tests.support.toy import Toy

LICENCE = """\
Copyright (c) the authors of vend.

----

This binary distribution of vend also bundles the following software:

Name: Toy
Files: vend.libs/libtoy*.so*
License: MIT
  Toy's licence.

Name: Other
Files: vend.libs/libother*.so*
License: MIT
  Other's licence.

----

Full texts.
"""


def published(wheel: Path, libraries: Path, directory: Path) -> Path:
    """Return *wheel* as auditwheel repairs it, with copies of *libraries*."""
    path = os.pathsep.join([str(Path(require("patchelf")).parent), os.environ["PATH"]])
    argv = [sys.executable, "-m", "auditwheel", "repair", str(wheel), "-w", str(directory), "--plat", "auto"]
    environment = {**clean_environment(), "PATH": path, "LD_LIBRARY_PATH": str(libraries)}
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    [found] = directory.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def vend(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published wheel with a vendored ``libtoy``; its ``value()`` is -1 until it gets toy-lib's."""
    directory = tmp_path_factory.mktemp("vend")
    files = {**package("vend", toy.plain), "vend-1.0.dist-info/licenses/LICENSE": LICENCE}
    return published(consumer(directory, "vend", files), toy.host, directory / "published")


def unvendor(wheel: Path, provider: Path | str, directory: Path, *words: str) -> Answer:
    """Repair *wheel* with *provider* into *directory*."""
    return nativelib("repair", wheel, "--provided-by", provider, "-w", directory, *words)


def only(answer: Answer) -> dict[str, Any]:
    """Return the entry of the one wheel, which must have been written."""
    assert answer.code == 0, answer.stdout + answer.stderr
    [entry] = answer.document["wheels"]
    return dict(entry)


def refused(answer: Answer) -> set[str]:
    """Return the codes of the errors that kept the wheel from being written."""
    assert answer.code == 1
    assert [entry["output"] for entry in answer.document["wheels"]] == [None]
    return {finding["code"] for finding in answer.findings if finding["severity"] == "error"}


def grafts(names: Iterable[str]) -> list[str]:
    """Return the vendored copies among members."""
    return [name for name in names if ".libs/" in name and not name.endswith("/")]


def needed(wheel: Path, ending: str, directory: Path) -> str:
    """Return what ``readelf -d`` says of the member with that *ending*."""
    [content] = [data for name, data in members(wheel).items() if name.endswith(ending)]
    file = directory / "read.so"
    file.write_bytes(content)
    return subprocess.run(["readelf", "-d", file], check=True, capture_output=True, text=True).stdout


def test_the_copy_goes_and_all_that_speaks_of_it(vend: Path, toy: Toy, tmp_path: Path) -> None:
    [copy] = [name for name in members(vend) if ".libs/libtoy" in name]
    assert copy != "vend.libs/libtoy.so.1"
    entry = only(unvendor(vend, toy.toy, tmp_path))
    assert entry["removed"] == [copy]
    [provided] = entry["provided"]
    assert provided == {"soname": copy.rpartition("/")[2], "provider": "toy-lib", "as": "libtoy-toy_lib.so.1"}
    result = tmp_path / str(entry["output"])
    inside = members(result)
    assert not grafts(inside)
    text = needed(result, EXT_SUFFIX, tmp_path)
    assert "[libtoy-toy_lib.so.1]" in text
    assert "vend.libs" not in text
    [licence] = [data.decode() for name, data in inside.items() if name.endswith("/licenses/LICENSE")]
    assert "Name: Toy" not in licence
    assert "Name: Other" in licence
    assert licence.endswith("Other's licence.\n\n----\n\nFull texts.\n")


def test_the_version_is_local_and_the_same_everywhere(vend: Path, toy: Toy, tmp_path: Path) -> None:
    first = only(unvendor(vend, toy.toy, tmp_path / "a"))
    moved = tmp_path / "elsewhere" / vend.name
    moved.parent.mkdir()
    shutil.copy(vend, moved)
    provider = shutil.copy(toy.toy, moved.parent)
    second = only(unvendor(moved, provider, tmp_path / "b"))
    one, two = Path(str(first["output"])), Path(str(second["output"]))
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()
    _, version, build, _ = parse_wheel_filename(one.name)
    assert re.fullmatch(r"1\.0\+nl\.[0-9a-f]{8}", str(version))
    assert not build
    assert f"vend-{version}.dist-info/RECORD" in members(one)
    assert f"\nVersion: {version}\n" in members(one)[f"vend-{version}.dist-info/METADATA"].decode()
    again = only(unvendor(one, toy.toy, tmp_path / "c"))
    assert Path(str(again["output"])).name == one.name
    assert Path(str(again["output"])).read_bytes() == one.read_bytes()


def test_what_is_done_otherwise_is_called_otherwise(vend: Path, toy: Toy, tmp_path: Path) -> None:
    names = {
        Path(str(only(unvendor(vend, toy.toy, tmp_path, "--pin", pin))["output"])).name for pin in ("auto", "exact")
    }
    assert len(names) == 2


def test_build_tag_and_kept_version(vend: Path, toy: Toy, tmp_path: Path) -> None:
    tagged = Path(str(only(unvendor(vend, toy.toy, tmp_path / "a", "--build-tag", "1nl"))["output"]))
    assert parse_wheel_filename(tagged.name)[1:3] == (Version("1.0"), (1, "nl"))
    assert "Build: 1nl" in members(tagged)["vend-1.0.dist-info/WHEEL"].decode()
    kept = Path(str(only(unvendor(vend, toy.toy, tmp_path / "b", "--keep-version"))["output"]))
    assert kept.name == vend.name
    assert nativelib("repair", vend, "--build-tag", "nl").code == 2
    shared = Path(str(only(unvendor(vend, toy.toy, tmp_path / "c", "--local-version", "Shared-1"))["output"]))
    assert parse_wheel_filename(shared.name)[1] == Version("1.0+shared.1")
    again = Path(str(only(unvendor(shared, toy.toy, tmp_path / "d", "--local-version", "shared.1"))["output"]))
    assert again.read_bytes() == shared.read_bytes()
    assert nativelib("repair", vend, "--local-version", "no!").code == 2


def test_a_wheel_that_no_index_takes_keeps_its_version(vend: Path, toy: Toy, tmp_path: Path) -> None:
    files = {n: d for n, d in members(vend).items() if not n.endswith(("/RECORD", "/WHEEL", "/"))}
    own = make_wheel(tmp_path, f"vend-1.0-{TAG}.whl", files)
    entry = only(unvendor(own, toy.toy, tmp_path / "out"))
    assert entry["removed"]
    assert parse_wheel_filename(Path(str(entry["output"])).name)[1] == Version("1.0")


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_it_is_installed_over_the_published_wheel(vend: Path, toy: Toy, tmp_path: Path, tool: str) -> None:
    result = Path(str(only(unvendor(vend, toy.toy, tmp_path / "index"))["output"]))
    page = tmp_path / "index.html"
    urls = [file.as_uri().replace("+", "%2B") for file in (result, vend, toy.toy)]
    page.write_text("<!DOCTYPE html>" + "".join(f'<a href="{url}">{url.rpartition("/")[2]}</a><br>' for url in urls))
    links = ["--find-links", str(page)]
    for what in (str(result), "vend", "vend==1.0"):
        environment = fresh_venv(tmp_path / f"env-{tool}-{len(what)}")
        install = environment.pip_install if tool == "pip" else environment.install
        install(vend)
        assert run_python(environment, "import vend; print(vend.value())").stdout == "-1\n"
        install(what, flags=[*links, "--upgrade"])
        assert run_python(environment, "import vend; print(vend.value())").stdout == "42\n"


def test_symbols_that_the_provider_lacks_are_named(toy: Toy, tmp_path: Path) -> None:
    wheel = consumer(tmp_path, "vend", package("vend", toy.extension("toy_new()")))
    answer = toy.repair(published(wheel, toy.host, tmp_path / "published"), toy.old)
    assert refused(answer) == {"NL301"}
    assert [f["symbols"] for f in answer.findings if f["code"] == "NL301"] == [["toy_new@TOY_1.2"]]


def test_other_vendored_copies_that_need_it_are_rewritten(toy: Toy, tmp_path: Path) -> None:
    files = package("vend", toy.extension("upper_value()", ["libupper.so.2"]))
    wheel = published(consumer(tmp_path, "vend", files), toy.host, tmp_path / "published")
    assert len(grafts(members(wheel))) == 2
    result = toy.repaired(wheel)
    [upper] = grafts(members(result))
    assert "libupper" in upper
    text = needed(result, upper, tmp_path)
    assert "[libtoy-toy_lib.so.1]" in text
    environment = installed(tmp_path / "env", result, links=[toy.wheels])
    assert run_python(environment, "import vend; print(vend.value())").stdout == "142\n"


def test_what_only_the_removed_copy_needed_goes_as_well(toy: Toy, tmp_path: Path) -> None:
    inner = shared_library(tmp_path / "host", "libinner.so.1", "int inner(void) { return 1; }", soname="libinner.so.1")
    source = "int inner(void); int kept_value(void) { return inner(); }"
    script = "KEPT_3.0 { global: kept_value; local: *; };\n"
    shared_library(
        tmp_path / "host", "libkept.so.3", source, soname="libkept.so.3", version_script=script, needed=[inner]
    )
    declaration = "int kept_value(void);"
    file = extension(
        tmp_path / "ext",
        "_ext",
        simple_module("_ext", "kept_value()", declaration),
        needed=[tmp_path / "host" / "libkept.so.3"],
        flags=[f"-Wl,-rpath-link,{tmp_path / 'host'}"],
    )
    wheel = published(consumer(tmp_path, "vend", package("vend", file)), tmp_path / "host", tmp_path / "published")
    assert len(grafts(members(wheel))) == 2
    entry = only(unvendor(wheel, toy.kept, tmp_path / "out"))
    assert len(entry["removed"]) == 2


def test_a_copy_with_another_name_is_known_by_its_build_id(toy: Toy, tmp_path: Path) -> None:
    source = "int kept_value(void) { return 5; }"
    flags = ["-Wl,--build-id=sha1"]
    prefix, host = tmp_path / "prefix" / "lib", tmp_path / "host"
    library = shared_library(prefix, "libkept.so.3", source, soname="libkept.so.3", flags=flags)
    lib = project(tmp_path / "spec", "twin-lib", 'libraries = ["lib/libkept.so.3"]', version="1.0")
    provider = built(lib, "--prefix", tmp_path / "prefix", into=tmp_path / "libs")
    host.mkdir()
    copy = Path(shutil.copy(library, host / "libodd-12345678.so.3"))
    subprocess.run([require("patchelf"), "--set-soname", copy.name, str(copy)], check=True)
    # Nothing of the old name is left, and no version definition says it.
    copy.write_bytes(copy.read_bytes().replace(b"libkept.so.3", b"xxxxxxx.xx.x"))
    file = extension(
        tmp_path / "ext", "_ext", simple_module("_ext", "kept_value()", "int kept_value(void);"), needed=[copy]
    )
    files = {**package("vend", file), f"vend.libs/{copy.name}": copy}
    entry = only(toy.repair(consumer(tmp_path, "vend", files), provider))
    assert entry["removed"] == [f"vend.libs/{copy.name}"]


def left(answer: Answer) -> str:
    """Return why a library stays, which must be the only thing that a provider was asked for."""
    assert refused(answer) == {"NL202"}
    [found] = [finding for finding in answer.findings if finding["code"] == "NL215"]
    return str(found["message"])


@pytest.mark.parametrize(
    ("name", "soname", "why"),
    [
        ("libtoy.d33e0c76.so.1", "libtoy.so.1", "its name was changed by another tool"),
        ("libtoy-12345678.so.1", "libtoy-12345678.so.1", "nothing in it says"),
    ],
)
def test_names_alone_are_no_evidence(toy: Toy, tmp_path: Path, name: str, soname: str, why: str) -> None:
    copy = shared_library(tmp_path / "v", name, "int toy_value(void) { return 3; }", soname=soname)
    directory = tmp_path / "e"
    file = extension(directory, "_ext", simple_module("_ext", "toy_value()", "int toy_value(void);"), needed=[copy])
    subprocess.run([require("patchelf"), "--replace-needed", soname, name, str(file)], check=True)
    files = {**package("vend", file), f"vend.libs/{name}": copy}
    assert why in left(toy.repair(consumer(tmp_path, "vend", files)))


@pytest.mark.parametrize(
    ("old", "file", "why"),
    [
        ("libtoy.so.0", "libtoy-12345678.so.0", "it was libtoy.so.0"),
        ("libtoy.so.1", "libtoy-vend-12345678.so.1", "libtoy.so.1 was renamed before it was copied in"),
    ],
)
def test_another_soname_and_a_copy_that_was_not_to_be_shared(
    toy: Toy, tmp_path: Path, old: str, file: str, why: str
) -> None:
    copy = shared_library(tmp_path / "v", file, "int toy_value(void) { return 3; }", soname=old)
    subprocess.run([require("patchelf"), "--set-soname", file, str(copy)], check=True)
    source = simple_module("_ext", "toy_value()", "int toy_value(void);")
    files = {**package("vend", extension(tmp_path / "e", "_ext", source, needed=[copy])), f"vend.libs/{file}": copy}
    assert why in left(toy.repair(consumer(tmp_path, "vend", files)))


def test_the_packages_own_library_stays(toy: Toy, tmp_path: Path) -> None:
    copy = shared_library(tmp_path / "v", "libtoy.so.1", "int toy_value(void) { return 3; }", soname="libtoy.so.1")
    source = simple_module("_ext", "toy_value()", "int toy_value(void);")
    file = extension(tmp_path / "e", "_ext", source, needed=[copy], rpath="$ORIGIN/lib")
    files = {**package("vend", file), "vend/lib/libtoy.so.1": copy}
    assert "it is the package's own" in left(toy.repair(consumer(tmp_path, "vend", files)))
