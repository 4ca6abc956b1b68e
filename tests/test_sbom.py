"""CycloneDX documents: valid, the same for the same input, and true of what is in the wheel."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from nativelib.facts.package import Package
from nativelib.plan.sbom import component, extend_sbom, without_grafts
from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import nativelib
from tests.support.tools import lacking, require
from tests.support.toy import EXT_SUFFIX, TAG
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.toy import Toy

_DIGEST = "ab" * 32
_VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


def checked(text: str) -> dict[str, Any]:
    """Return the document, which must be valid by the schema of CycloneDX 1.6, and refer only to what it has."""
    problem = _VALIDATOR.validate_str(text)
    assert problem is None, str(problem)
    document: dict[str, Any] = json.loads(text)
    refs = [document["metadata"]["component"]["bom-ref"], *(item["bom-ref"] for item in document["components"])]
    assert len(refs) == len(set(refs))
    assert {ref for item in document["dependencies"] for ref in (item["ref"], *item["dependsOn"])} == set(refs)
    return document


def sbom(wheel: Path) -> dict[str, Any]:
    [text] = [data for name, data in members(wheel).items() if name.endswith(".dist-info/sboms/nativelib.cdx.json")]
    return checked(text.decode())


def parts(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in document["components"]}


def test_the_validator_knows_the_schema() -> None:
    item = component("liba.so.1", _DIGEST, "x.libs/liba.so.1") | {"hashes": [{"alg": "SHA-256", "content": "zz"}]}
    assert _VALIDATOR.validate_str(extend_sbom(None, "x", "1", [item])) is not None


# --- components


def _licences(*texts: str) -> Any:
    package = Package(kind="rpm", name="a", version="1-1", licences=texts)
    item = component("liba.so.1", _DIGEST, "x.libs/liba.so.1", package=package)
    checked(extend_sbom(None, "x", "1", [item]))
    return item.get("licenses")


def test_licences() -> None:
    assert _licences() is None
    assert _licences("mit and (gpl-2.0-OR-later)") == [{"expression": "MIT AND (GPL-2.0-or-later)"}]
    assert _licences("GPLv3+ with exceptions") == [{"license": {"name": "GPLv3+ with exceptions"}}]
    # How several licences of a package go together, its copyright file does not say.
    assert _licences("MIT", "GPL-2+") == [{"license": {"name": "MIT"}}, {"license": {"name": "GPL-2+"}}]
    assert _licences("(" * 5000) == [{"license": {"name": "(" * 5000}}]
    assert _licences("(" * 250 + "MIT" + ")" * 247)


def test_what_the_project_says_of_its_own_library_wins() -> None:
    package = Package(kind="deb", name="libx1", version="1-2+b1", licences=("GPL-2+",), supplier="Some One")
    item = component("libx.so.1", _DIGEST, "x/lib/libx.so.1", version="1.0", licence="MIT", package=package)
    assert (item["version"], item["licenses"]) == ("1.0", [{"expression": "MIT"}])
    assert (item["purl"], item["supplier"]) == ("pkg:deb/libx1@1-2%2Bb1", {"name": "Some One"})


_words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
_packages = st.builds(
    Package,
    kind=st.sampled_from(["deb", "rpm", "apk"]),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,20}", fullmatch=True),
    version=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+~^:_-]{0,20}", fullmatch=True),
    architecture=st.sampled_from(["", "amd64", "x86_64"]),
    epoch=st.sampled_from(["", "1"]),
    vendor=st.sampled_from(["", "debian", "opensuse-leap"]),
    release=st.sampled_from(["", "12", "8.10"]),
    supplier=st.just("") | _words,
    licences=st.lists(_words | st.sampled_from(["MIT", "GPL-2.0-only OR MIT"]), max_size=3).map(tuple),
)


@given(st.lists(st.tuples(_words, st.none() | _packages), max_size=4, unique_by=lambda pair: pair[0]))
@settings(deadline=None)
def test_whatever_a_database_says_the_document_is_valid(found: list[tuple[str, Package | None]]) -> None:
    items = [component("lib.so", _DIGEST, f"x.libs/{name}", package=package) for name, package in found]
    document = checked(extend_sbom(None, "x", "1.0+local", items))
    for item in document["components"]:
        purl = item.get("purl", "pkg:a/b")
        # packageurl writes some hexadecimal digits small.
        assert PackageURL.from_string(purl).to_string().upper() == purl.upper()
    assert extend_sbom(None, "x", "1.0+local", items[::-1]) == extend_sbom(None, "x", "1.0+local", items)


@pytest.mark.parametrize(
    "present",
    ["", "[]", "null", '{"components": 3}', '{"components": [1, {}, {"bom-ref": 7}, {"bom-ref": null}]}', "[" * 10**5],
)
def test_a_document_that_nobody_can_have_meant_is_written_anew(present: str) -> None:
    item = component("liba.so", _DIGEST, "x.libs/liba.so")
    assert extend_sbom(present, "x", "1", [item]) == extend_sbom(None, "x", "1", [item])


def test_components_of_an_earlier_repair_stay_until_their_file_goes() -> None:
    one, two = (component(f"lib{name}.so", _DIGEST, f"x.libs/lib{name}.so") for name in "ab")
    first = extend_sbom(None, "x", "1", [one])
    assert set(parts(checked(extend_sbom(first, "x", "1", [two])))) == {"liba.so", "libb.so"}
    assert set(parts(checked(extend_sbom(first, "x", "1", [two], removed=["x.libs/liba.so"])))) == {"libb.so"}


# --- repaired wheels


@pytest.fixture(scope="module")
def grafting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that needs a library of the system, and one that no package owns."""
    work = tmp_path_factory.mktemp("grafting")
    own = shared_library(work, "libown.so.1", "int own(void) { return 1; }", soname="libown.so.1")
    source = simple_module("_ext", "omp_get_max_threads() + own()", "int omp_get_max_threads(void), own(void);")
    try:
        file = extension(work, "_ext", source, needed=[Path("-lgomp"), own], rpath=str(work))
    except RuntimeError:
        lacking("libgomp")
    return make_wheel(work, f"grafting-1.0-{TAG}.whl", {"pkg/__init__.py": "", f"pkg/_ext{EXT_SUFFIX}": file})


def test_the_package_of_a_grafted_library(grafting: Path, tmp_path: Path) -> None:
    answer = nativelib("repair", grafting, "-w", tmp_path)
    assert answer.code == 0, answer.stderr
    [wheel] = answer.document["wheels"]
    grafted = {item["soname"]: item for item in wheel["grafted"]}
    found = parts(sbom(Path(wheel["output"])))
    for soname, item in grafted.items():
        assert found[soname]["properties"] == [{"name": "nativelib:path", "value": item["path"]}]
        digest = hashlib.sha256(Path(item["from"]).read_bytes()).hexdigest()
        assert found[soname]["hashes"] == [{"alg": "SHA-256", "content": digest}]
        assert found[soname].get("purl") == item["package"]
    assert grafted["libown.so.1"]["package"] is None
    assert found["libown.so.1"].keys() == {"type", "bom-ref", "name", "hashes", "properties"}
    if not Path("/var/lib/dpkg/status").exists():
        lacking("dpkg")
    purl = PackageURL.from_string(grafted["libgomp.so.1"]["package"])
    shown = subprocess.run(
        [require("dpkg-query"), "-W", "-f", "${Version}|${Architecture}", purl.name],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{purl.version}|{dict(purl.qualifiers)['arch']}" == shown
    assert found["libgomp.so.1"]["version"] == purl.version


def test_people_read_the_package_as_well(grafting: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "nativelib", "repair", str(grafting), "-w", str(tmp_path)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"grafted +(\S+)(?: \((\S+ \S+)\))? as (\S+)", said)
    owners = {Path(path).name.partition(".")[0]: owner for path, owner, _ in lines}
    assert owners["libown"] == ""
    assert owners["libgomp"].startswith("libgomp")


def test_the_same_bytes_and_nothing_new_the_second_time(grafting: Path, tmp_path: Path) -> None:
    results = []
    for name in ("one", "two"):
        answer = nativelib("repair", grafting, "-w", tmp_path / name)
        results.append(Path(answer.document["wheels"][0]["output"]))
    assert results[0].read_bytes() == results[1].read_bytes()
    again = nativelib("repair", results[0], "-w", tmp_path / "again")
    assert Path(again.document["wheels"][0]["output"]).read_bytes() == results[0].read_bytes()
    assert again.document["wheels"][0]["grafted"] == []


def test_a_library_wheel(toy: Toy) -> None:
    found = parts(sbom(toy.upper))
    assert found["libupper.so.2"]["version"] == "2.0"
    assert "purl" not in found["libupper.so.2"]


# --- auditwheel's document

# As auditwheel 6.7.0 wrote it into a published wheel of scikit-learn 1.9.1, whose libgomp it had copied.
GOMP = (
    "pkg:rpm/almalinux/libgomp@8.5.0-28.el8_10.alma.1#c61017c9a24eb6e1e1a3cdc9becd004a6419cbda3d54b4848b98f240a4829571"
)
OTHER = "pkg:rpm/almalinux/libquadmath@8.5.0-28.el8_10.alma.1#" + "0" * 64


def auditwheel_document(*refs: str) -> str:
    main = {"type": "library", "bom-ref": "pkg:pypi/x@1", "name": "x", "version": "1", "purl": "pkg:pypi/x@1"}
    packages = [
        {
            "type": "library",
            "bom-ref": ref,
            "name": ref.rpartition("/")[2].partition("@")[0],
            "purl": ref.partition("#")[0],
        }
        for ref in refs
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.4",
        "version": 1,
        "metadata": {"component": main, "tools": [{"name": "auditwheel", "version": "6.7.0"}]},
        "components": [main, *packages],
        "dependencies": [{"ref": main["bom-ref"], "dependsOn": list(refs)}, *({"ref": ref} for ref in refs)],
    }
    return json.dumps(document)


def test_what_leaves_the_wheel_leaves_its_document() -> None:
    removed = ["scikit_learn.libs/libgomp-e985bcbb.so.1.0.0"]
    assert without_grafts(auditwheel_document(GOMP, OTHER), removed, last=False) == auditwheel_document(OTHER)
    assert without_grafts(auditwheel_document(GOMP, OTHER), removed, last=True) == auditwheel_document()


def test_what_is_not_known_to_leave_stays() -> None:
    present = auditwheel_document(GOMP, OTHER)
    assert without_grafts(present, ["x.libs/libother-12345678.so.1"], last=False) is present
    for text in ("", "{", "[]", '{"components": [3], "dependencies": 4}', auditwheel_document()):
        assert without_grafts(text, ["x.libs/libgomp-e985bcbb.so.1.0.0"], last=True) is text


def _vendored(toy: Toy, work: Path, *more: str) -> Path:
    """A wheel with a vendored libtoy and auditwheel's document about it; *more* are further vendored libraries."""
    copy = shared_library(work / "v", "libtoy.so.1", "int toy_value(void) { return 1; }", soname="libtoy.so.1")
    own = [shared_library(work / name, name, "int other(void) { return 1; }", soname=name) for name in more]
    file = toy.extension("toy_value()", flags=["-Wl,--no-as-needed", *map(str, own)])
    digest = hashlib.sha256(b"/usr/lib64/libtoy.so.1").hexdigest()
    text = auditwheel_document(f"pkg:rpm/almalinux/toy@1-1#{digest}", OTHER)
    files = {"vend.libs/libtoy.so.1": copy, **{f"vend.libs/{path.name}": path for path in own}}
    return make_wheel(
        work,
        f"vend-1.0-{TAG}.whl",
        {
            "pkg/__init__.py": "",
            f"pkg/_ext{EXT_SUFFIX}": file,
            **files,
            "vend-1.0.dist-info/sboms/auditwheel.cdx.json": text,
        },
    )


@pytest.mark.parametrize(("more", "left"), [((), []), (("libquad.so.1",), [OTHER])])
def test_repair_takes_out_what_it_unvendors(toy: Toy, tmp_path: Path, more: tuple[str, ...], left: list[str]) -> None:
    wheel = _vendored(toy, tmp_path, *more)
    content = members(toy.repaired(wheel))
    assert "vend.libs/libtoy.so.1" not in content
    assert content["vend-1.0.dist-info/sboms/auditwheel.cdx.json"].decode() == auditwheel_document(*left)


def test_what_repair_does_not_touch_stays_as_it_is(toy: Toy, tmp_path: Path) -> None:
    wheel = _vendored(toy, tmp_path)
    answer = nativelib("repair", wheel, "-w", tmp_path / "out")
    [result] = answer.document["wheels"]
    name = "vend-1.0.dist-info/sboms/auditwheel.cdx.json"
    assert members(Path(result["output"]))[name] == members(wheel)[name]
    assert result["removed"] == []
