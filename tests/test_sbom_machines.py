"""Repair and build on machines of other distributions: a directory stands for the root of each."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from nativelib.cli.repair_text import to_json
from nativelib.findings import Code, Severity
from nativelib.pipeline.build import BuildRequest, build_library_wheel
from nativelib.pipeline.consumer import RepairRequest
from nativelib.pipeline.repair import repair_wheels
from nativelib.read.packages import find_owners
from tests.support.cc import extension, shared_library, simple_module
from tests.support.packages import machine, write_files
from tests.support.projects import project
from tests.support.toy import EXT_SUFFIX, TAG
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from pathlib import Path

ALPINE = "ID=alpine\nVERSION_ID=3.19.1\n"


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """A prefix with ``libouter.so.1``, which needs ``libinner.so.2`` from elsewhere."""
    inner = shared_library(
        tmp_path / "elsewhere", "libinner.so.2", "int inner(void) { return 2; }", soname="libinner.so.2"
    )
    text = "int inner(void); int outer(void) { return inner(); }"
    return shared_library(
        tmp_path / "prefix/lib",
        "libouter.so.1",
        text,
        soname="libouter.so.1",
        needed=[inner],
        rpath=str(inner.parent),
    )


def _on(root: Path, installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let repair and build look into the apk database *installed* below *root*."""
    write_files(machine(root, os_release=ALPINE), {"lib/apk/db/installed": installed})
    for user in ("repair", "build"):
        monkeypatch.setattr(f"nativelib.pipeline.{user}.find_owners", partial(find_owners, root=root))


def _installed(directory: Path, name: str, file: str) -> str:
    return f"P:{name}\nV:2.1-r0\nA:x86_64\nL:MIT\nm:Some One <one@example.org>\nF:{str(directory)[1:]}\nR:{file}\n\n"


def _components(wheel: Path) -> dict[str, dict[str, Any]]:
    content = members(wheel)
    [name] = [name for name in content if name.endswith("nativelib.cdx.json")]
    return {item["name"]: item for item in json.loads(content[name])["components"]}


def _consumer(directory: Path, library: Path) -> Path:
    flags = [f"-Wl,-rpath-link,{library.parents[2] / 'elsewhere'}"]
    source = simple_module("_ext", "outer()", "int outer(void);")
    file = extension(directory / "ext", "_ext", source, needed=[library], rpath=str(library.parent), flags=flags)
    return make_wheel(directory, f"user-1.0-{TAG}.whl", {"pkg/__init__.py": "", f"pkg/_ext{EXT_SUFFIX}": file})


def test_repair(libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _on(tmp_path / "root", _installed(libraries.parent, "outer", libraries.name), monkeypatch)
    [result] = repair_wheels(RepairRequest(wheels=(_consumer(tmp_path, libraries),), wheel_dir=tmp_path / "out"))
    grafted = {item["soname"]: item["package"] for item in to_json(result)["grafted"]}
    purl = "pkg:apk/alpine/outer@2.1-r0?arch=x86_64&distro=alpine-3.19.1"
    assert grafted == {"libouter.so.1": purl, "libinner.so.2": None}
    assert result.output is not None
    found = _components(result.output)
    outer = found["libouter.so.1"]
    assert (outer["purl"], outer["version"], outer["supplier"]) == (purl, "2.1-r0", {"name": "Some One"})
    assert outer["licenses"] == [{"expression": "MIT"}]
    assert "purl" not in found["libinner.so.2"]


def test_the_package_may_name_a_directory_that_has_become_a_link(
    libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search path leads over the link, and the database knows no other name."""
    (tmp_path / "link").symlink_to(libraries.parent)
    _on(tmp_path / "root", _installed(tmp_path / "link", "outer", libraries.name), monkeypatch)
    for path in (tmp_path / "link", libraries.parent):
        below = tmp_path / "root" / str(path)[1:]
        below.parent.mkdir(parents=True, exist_ok=True)
        below.symlink_to(libraries.parent)
    wheel = _consumer(tmp_path, libraries)
    environ = {"LD_LIBRARY_PATH": "", "NATIVELIB_LD_LIBRARY_PATH": str(tmp_path / "link")}
    [result] = repair_wheels(RepairRequest(wheels=(wheel,), wheel_dir=tmp_path / "out", environ=environ))
    packages = {item["soname"]: item["package"] for item in to_json(result)["grafted"]}
    assert str(packages["libouter.so.1"]).startswith("pkg:apk/alpine/outer@2.1-r0")


def test_a_broken_database_is_a_note(libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _on(tmp_path / "root", "", monkeypatch)
    write_files(tmp_path / "root", {"var/lib/rpm/Packages": "no database"})
    plain = extension(tmp_path / "plain", "_ext", simple_module("_ext", "1"))
    wheels = (
        _consumer(tmp_path, libraries),
        make_wheel(tmp_path, f"plain-1.0-{TAG}.whl", {f"_ext{EXT_SUFFIX}": plain}),
    )
    user, alone = repair_wheels(RepairRequest(wheels=wheels, wheel_dir=tmp_path / "out"))
    assert (user.failed, alone.failed) == (False, False)
    [said] = [finding for finding in user.findings if finding.code is Code.PACKAGES_UNREADABLE]
    assert (said.severity, said.where) == (Severity.NOTE, "rpm")
    # Nothing was copied into the other one.
    assert Code.PACKAGES_UNREADABLE not in {finding.code for finding in alone.findings}


def test_build(libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    packages = _installed(libraries.parent, "outer", libraries.name) + _installed(elsewhere, "inner", "libinner.so.2")
    _on(tmp_path / "root", packages, monkeypatch)
    source = project(tmp_path / "source", "outer-lib", 'libraries = ["lib/libouter.so.1"]', version="7.0")
    request = BuildRequest(directory=source, prefix=tmp_path / "prefix", wheel_dir=tmp_path / "out")
    result = build_library_wheel(request)
    assert result.wheel is not None
    found = _components(result.wheel)
    # What the project says of its own library, it knows better; of somebody else's it says nothing.
    assert (found["libouter.so.1"]["version"], found["libinner.so.2"]["version"]) == ("7.0", "2.1-r0")
    purls = {name: item["purl"].partition("@")[0] for name, item in found.items()}
    assert purls == {"libouter.so.1": "pkg:apk/alpine/outer", "libinner.so.2": "pkg:apk/alpine/inner"}
    assert [str(item.package).partition("@")[0] for item in result.plan.summary.grafted] == ["pkg:apk/alpine/inner"]
