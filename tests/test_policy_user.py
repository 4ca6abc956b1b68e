"""``--policy``: a policy of the user's own."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from nativelib.errors import ReadError
from nativelib.facts.elf import MACHINES, Libc
from nativelib.policy.judge import lookup, platform_tags
from nativelib.policy.load import libc_libraries
from nativelib.policy.user import parse_policies
from nativelib.read.elf import read_elf_file
from tests.support.cc import extension, shared_library, simple_module
from tests.support.projects import Answer, nativelib
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from nativelib.policy.values import Policy

DOCUMENT: dict[str, Any] = json.loads((files("nativelib") / "schemas" / "policy.json").read_text())
SCHEMA = Draft202012Validator(DOCUMENT)
CORP: dict[str, Any] = {"name": "corp", "extends": "manylinux_2_28", "libraries": ["libcorp.so.1"]}


def of(**keys: Any) -> dict[str, Policy]:
    """Return the policy of a document with *keys*, by architecture."""
    document = {"name": "corp", **keys}
    SCHEMA.validate(document)
    return {policy.architecture: policy for policy in parse_policies(json.dumps(document), "corp.json")}


def problems(text: str) -> dict[str, str]:
    """Return what is wrong with a document: place to message."""
    with pytest.raises(ReadError) as caught:
        parse_policies(text, "corp.json")
    assert {finding.code.value for finding in caught.value.findings} == {"NL603"}
    return {finding.where: f"{finding.message} {finding.remedy}" for finding in caught.value.findings}


# --- documents --------------------------------------------------------------------------------------------------------


def test_it_adds_to_a_known_policy() -> None:
    base = lookup("manylinux_2_28_x86_64")
    assert base is not None
    forbidden = sorted(base.forbidden["libz.so.1"])
    found = of(
        extends="manylinux_2_28",
        libraries=["libcorp.so.1"],
        without=["libexpat.so.1"],
        versions={"GLIBC": {"all": ["2.29"], "x86_64": ["2.30"]}, "CORP": {"all": ["1"]}},
        forbids={"libcorp.so.1": ["secret"]},
        permits={"libz.so.1": forbidden[:1]},
    )
    assert set(found) == {"aarch64", "armv7l", "i686", "ppc64le", "s390x", "x86_64"}
    own = found["x86_64"]
    parts = libc_libraries(Libc.GLIBC, "x86_64")
    assert own.libraries == base.libraries - {"libexpat.so.1"} | {"libcorp.so.1"} | parts
    assert own.symbol_versions["GLIBC"] == base.symbol_versions["GLIBC"] | {"2.29", "2.30"}
    assert found["aarch64"].allows_version("GLIBC_2.29")
    assert not found["aarch64"].allows_version("GLIBC_2.30")
    assert (own.allows_version("CORP_1"), own.allows_version("CORP_2")) == (True, False)
    assert own.forbidden["libcorp.so.1"] == {"secret"}
    assert own.forbidden["libz.so.1"] == set(forbidden[1:])
    assert (own.name, own.tag, own.libc, own.version) == ("corp", "linux_x86_64", Libc.GLIBC, (2, 28))


def test_alone_it_allows_its_own_libraries_and_judges_no_version() -> None:
    found = of(libraries=["libcorp.so.1"], libc="glibc")
    assert set(found) == set(MACHINES)
    assert found["s390x"].libraries == {"libcorp.so.1"} | libc_libraries(Libc.GLIBC, "s390x")
    assert {"libc.so.6", "libm.so.6", "ld64.so.1"} <= found["s390x"].libraries
    assert found["s390x"].allows_version("GLIBC_2.99")
    musl = of(libc="musl")["x86_64"]
    assert (musl.libc, musl.relr) == (Libc.MUSL, True)
    assert musl.libraries == {"libc.so", "libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1"}


@pytest.mark.parametrize(
    ("tag", "tags"),
    [
        ("linux", ("linux_x86_64",)),
        ("manylinux_2_30", ("manylinux_2_30_x86_64",)),
        ("manylinux2014", ("manylinux2014_x86_64", "manylinux_2_17_x86_64")),
        ("manylinux_2_17", ("manylinux2014_x86_64", "manylinux_2_17_x86_64")),
    ],
)
def test_tags_that_installers_know(tag: str, tags: tuple[str, ...]) -> None:
    assert platform_tags(of(extends="manylinux2014", tag=tag)["x86_64"]) == tags


@pytest.mark.parametrize("text", ["", "{", "[]", '"corp"', "null", "[" * 100_000])
def test_what_is_no_object(text: str) -> None:
    assert set(problems(text)) == {"corp.json"}


def test_everything_that_is_wrong_is_said_at_once() -> None:
    document = {
        "name": "Corp Policy",
        "extend": "manylinux_2_28",
        "libc": "glibcc",
        "tag": "corp",
        "architectures": ["amd64"],
        "libraries": "libcorp.so.1",
        "without": [1, "a b"],
        "versions": {"GLIBC": {"mips": ["2.29"]}, "ZLIB": ["1.2.9"]},
        "forbids": ["libz.so.1"],
    }
    found = problems(json.dumps(document))
    assert {place.removeprefix("corp.json: ") for place in found} == {
        "name",
        "extend",
        "libc",
        "tag",
        "architectures[0]",
        "libraries",
        "without[0]",
        "without[1]",
        "versions.GLIBC.mips",
        "versions.ZLIB",
        "forbids",
    }
    assert "Did you mean extends?" in found["corp.json: extend"]
    assert not SCHEMA.is_valid(document)


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"name": "linux"}, "name"),
        ({"name": "manylinux2014"}, "name"),
        ({"name": "auto"}, "name"),
        ({"extends": "manylinux_2_18"}, "extends"),
        ({"extends": "android_24"}, "extends"),
        ({"extends": "manylinux_2_28", "libc": "musl"}, "libc"),
        ({"extends": "manylinux_2_28", "tag": "musllinux_1_2"}, "tag"),
        ({"extends": "manylinux_2_5", "architectures": ["aarch64"]}, "architectures[0]"),
        ({"libraries": ["libz.so.1"], "without": ["libz.so.1"]}, "without"),
        ({"extends": "manylinux_2_28", "without": ["libm.so.6"]}, "without"),
        ({"libc": "musl", "without": ["ld-musl-x86_64.so.1"]}, "without"),
    ],
)
def test_contradictions(keys: dict[str, Any], place: str) -> None:
    assert set(problems(json.dumps({"name": "corp", **keys}))) == {f"corp.json: {place}"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(sorted(DOCUMENT["properties"]))


@given(st.dictionaries(KEYS | st.text(max_size=6), JSON | st.sampled_from(["corp", "manylinux_2_28", "musl"])))
def test_any_document_is_a_policy_or_refused(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    try:
        found = parse_policies(text, "corp.json")
    except ReadError:
        assert problems(text)
    else:
        assert found
        assert SCHEMA.is_valid(document)


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel whose extension needs a library that no platform tag allows."""
    root = tmp_path_factory.mktemp("corp")
    library = shared_library(root / "lib", "libcorp.so.1", "int corp(void) { return 7; }", soname="libcorp.so.1")
    module = extension(root, "_ext", simple_module("_ext", "corp()", "extern int corp(void);"), needed=[library])
    machine = read_elf_file(module).architecture
    return make_wheel(
        root, f"pkg-1.0-cp311-cp311-linux_{machine}.whl", {"pkg/__init__.py": "", f"pkg/{module.name}": module}
    )


def policy_file(directory: Path, **keys: Any) -> Path:
    path = directory / "corp.json"
    path.write_text(json.dumps({**CORP, "extends": "manylinux_2_41", **keys}))
    return path


def repair(wheel: Path, into: Path, *options: str | Path) -> Answer:
    return nativelib("repair", wheel, "-w", into, "--ldpaths", wheel.parent / "lib", *options)


def test_its_libraries_stay_where_they_are(wheel: Path, tmp_path: Path) -> None:
    [plain] = repair(wheel, tmp_path / "plain").document["wheels"]
    assert [graft["soname"] for graft in plain["grafted"]] == ["libcorp.so.1"]
    answer = repair(wheel, tmp_path / "own", "--policy", policy_file(tmp_path), "--plat", "corp")
    assert answer.code == 0, answer.stdout
    [own] = answer.document["wheels"]
    assert (own["grafted"], own["findings"]) == ([], [])
    machine = wheel.stem.rpartition("linux_")[2]
    assert own["tags"] == [f"linux_{machine}"]
    named = repair(
        wheel, tmp_path / "2", "--policy", policy_file(tmp_path, tag="manylinux_2_41"), "--plat", f"corp_{machine}"
    )
    assert named.document["wheels"][0]["tags"] == [f"manylinux_2_41_{machine}"]


def test_what_it_does_not_allow_is_grafted_or_refused(wheel: Path, tmp_path: Path) -> None:
    options = ("--policy", policy_file(tmp_path, libraries=[]), "--plat", "corp")
    assert repair(wheel, tmp_path / "out", *options).document["wheels"][0]["grafted"]
    old = policy_file(tmp_path, extends="manylinux_2_5", forbids={"libcorp.so.1": ["corp"]})
    refused = repair(wheel, tmp_path / "no", "--policy", old, "--plat", "corp")
    assert refused.code == 1
    [said] = refused.errors().values()
    assert "NL601 It does not comply with corp: " in said
    assert "needs symbols that not every libcorp.so.1 exports (corp)" in said
    assert not list((tmp_path / "no").glob("*"))
    kept = repair(wheel, tmp_path / "no", "--policy", old, "--plat", "corp", "--no-update-tags")
    assert kept.errors() == refused.errors()


def test_the_c_library_is_never_copied_in(wheel: Path, tmp_path: Path) -> None:
    """A policy that extends nothing need not name it."""
    path = tmp_path / "corp.json"
    path.write_text(json.dumps({"name": "corp", "libraries": ["libcorp.so.1"]}))
    answer = repair(wheel, tmp_path / "out", "--policy", path, "--plat", "corp")
    assert answer.code == 0, answer.stdout
    [own] = answer.document["wheels"]
    assert (own["grafted"], own["findings"]) == ([], [])


def test_a_file_that_would_not_count_is_a_mistake(wheel: Path, tmp_path: Path) -> None:
    answer = repair(wheel, tmp_path / "out", "--policy", policy_file(tmp_path))
    assert answer.code == 1
    assert answer.errors() == {
        "--policy": "NL603 The file defines corp, and --plat names auto: the file would not count. Add --plat corp."
    }
    foreign = policy_file(tmp_path, architectures=["s390x"])
    assert (
        "NL205 corp is for s390x"
        in repair(wheel, tmp_path / "out", "--policy", foreign, "--plat", "corp").errors()["--policy"]
    )
    musl = policy_file(tmp_path, extends="musllinux_1_2")
    assert (
        "NL206 corp is for musl"
        in repair(wheel, tmp_path / "out", "--policy", musl, "--plat", "corp").errors()["--policy"]
    )


@pytest.mark.parametrize(("content", "code"), [(None, "NL101"), (b"\xff", "NL603"), (b"{}", "NL603")])
@pytest.mark.parametrize("command", ["repair", "show"])
def test_a_broken_file_is_a_finding(
    command: str, content: bytes | None, code: str, wheel: Path, tmp_path: Path
) -> None:
    path = tmp_path / "corp.json"
    if content is not None:
        path.write_bytes(content)
    plat = ("--plat", "corp", "-w", tmp_path / "out") if command == "repair" else ()
    answer = nativelib(command, wheel, "--policy", path, *plat)
    assert answer.code == 1
    assert {finding["code"] for finding in answer.findings} == {code}
    assert not (tmp_path / "out").exists()


def test_show_says_whether_it_is_met(wheel: Path, tmp_path: Path) -> None:
    lib = ("--ldpaths", wheel.parent / "lib")
    [met] = nativelib("show", wheel, *lib, "--policy", policy_file(tmp_path)).document["wheels"]
    machine = wheel.stem.rpartition("linux_")[2]
    assert met["tag"] == f"linux_{machine}"
    assert [finding["code"] for finding in met["findings"]] == ["NL604"]
    assert f"It complies with corp, and would be tagged linux_{machine}." in met["findings"][0]["message"]
    needs = {need["soname"]: need["answer"] for file in met["elf"] for need in file["needed"]}
    assert needs["libcorp.so.1"] == "policy"
    [unmet] = nativelib("show", wheel, *lib, "--policy", policy_file(tmp_path, libraries=[])).document["wheels"]
    [said] = unmet["findings"]
    assert (said["code"], said["severity"]) == ("NL601", "warning")
    assert "It does not comply with corp" in said["message"]
    assert "needs libcorp.so.1" in said["message"]
