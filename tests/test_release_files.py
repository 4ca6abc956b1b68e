"""``nativelib metadata`` on files: what is read, what is written, what it says and how it ends."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from nativelib import ReleaseRequest, check_release, sync_release
from nativelib.errors import NativelibError
from nativelib.findings import Code
from tests.support.projects import nativelib
from tests.support.release import PYPROJECT, make_sdist
from tests.support.wheels import make_wheel, members
from tests.test_json import check, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BLAS = 'blas-lib<2,>=1; sys_platform == "linux"'
X86, MAC, WIN = "manylinux_2_17_x86_64", "macosx_11_0_arm64", "win_amd64"
MACH_O = b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01" + bytes(24)


def wheel(
    directory: Path,
    platform: str,
    *requires: str,
    ours: bool = False,
    version: str = "1.0",
    metadata: str | None = None,
) -> Path:
    """Write a wheel that requires *requires*; with *ours* a repair wrote the last of them."""
    info = f"numx-{version}.dist-info"
    files: dict[str, bytes | str | Path] = {"numx/__init__.py": "", "numx/_core.so": MACH_O}
    if ours:
        note = {"schema": 1, "requires": [requires[-1]], "provided": [], "grafted": []}
        files[f"{info}/nativelib-repair.json"] = json.dumps(note)
    if metadata is not None:
        files[f"{info}/METADATA"] = metadata
    lines = "".join(f"Requires-Dist: {value}\n" for value in requires)
    return make_wheel(directory, f"numx-{version}-cp311-cp311-{platform}.whl", files, metadata_extra=lines)


def sdist(directory: Path, *requires: str, more: str = "") -> Path:
    lines = "".join(f"Requires-Dist: {value}\n" for value in requires)
    return make_sdist(
        directory,
        f"Metadata-Version: 2.4\nName: numx\nVersion: 1.0\n{more}{lines}",
        pyproject=PYPROJECT.replace("counter", "numx"),
        name="numx-1.0",
    )


def requires_of(path: Path) -> list[str]:
    [text] = [content.decode() for name, content in members(path).items() if name.endswith(".dist-info/METADATA")]
    return [line.partition(": ")[2] for line in text.splitlines() if line.startswith("Requires-Dist: ")]


def metadata(*arguments: str | Path, code: int, cwd: Path | None = None) -> tuple[dict[str, Any], list[str]]:
    """Run ``nativelib metadata``; return the document, which must be as the schema says, and its codes."""
    answer = nativelib("metadata", *arguments, cwd=cwd)
    assert answer.code == code, answer.stdout + answer.stderr
    check("metadata", answer.document)
    return answer.document, [f"{finding['severity']} {finding['code']}" for finding in answer.findings]


def checked(*files: Path, **more: Any) -> list[Code]:
    """Return the codes of what ``check`` finds, without a process."""
    return [found.code for item in check_release(ReleaseRequest(files=files, **more)) for found in item.findings]


def test_check_fails_before_and_passes_after(tmp_path: Path) -> None:
    files = [wheel(tmp_path, X86, "a", BLAS, ours=True), wheel(tmp_path, MAC, "a"), wheel(tmp_path, WIN, "a")]
    document, codes = metadata("check", *files, code=1)
    assert codes == ["error NL406", "note NL408"]
    [release] = document["releases"]
    assert release["requires"] == ["a", BLAS]
    assert {item["tool"] for item in release["tools"]} == {"pip", "uv lock", "poetry lock", "PyPI"}
    out = tmp_path / "out"
    document, codes = metadata("sync", *files, "-w", out, code=0)
    assert codes == ["note NL408"]
    [release] = document["releases"]
    assert {item["file"].rpartition("-")[2]: item["added"] for item in release["files"]} == {
        f"{X86}.whl": [],
        f"{MAC}.whl": [BLAS],
        f"{WIN}.whl": [BLAS],
    }
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in files)
    assert {tuple(requires_of(path)) for path in out.iterdir()} == {("a", BLAS)}
    assert checked(*out.iterdir()) == [Code.NO_PROVIDER_WHEEL]  # a note


def test_what_needs_no_change_is_copied_and_the_rest_is_copied_raw(tmp_path: Path) -> None:
    same, other = wheel(tmp_path, X86, BLAS, ours=True), wheel(tmp_path, MAC)
    out = tmp_path / "out"
    metadata("sync", same, other, "-w", out, code=0)
    assert (out / same.name).read_bytes() == same.read_bytes()
    before, after = members(other), members(out / other.name)
    assert {name for name in before if before[name] != after[name]} == {
        "numx-1.0.dist-info/METADATA",
        "numx-1.0.dist-info/RECORD",
    }
    with zipfile.ZipFile(other) as old, zipfile.ZipFile(out / other.name) as new:
        assert old.getinfo("numx/_core.so").date_time == new.getinfo("numx/_core.so").date_time
        assert new.getinfo("numx-1.0.dist-info/METADATA").date_time == (1980, 1, 1, 0, 0, 0)


def test_the_same_input_gives_the_same_bytes_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    files = [wheel(tmp_path, X86, BLAS, ours=True), wheel(tmp_path, MAC)]
    for name, mask in (("one", 0o022), ("two", 0o077)):
        before = os.umask(mask)
        try:
            metadata("sync", *files, "-w", tmp_path / name, code=0)
        finally:
            os.umask(before)
    metadata("sync", *(tmp_path / "one").iterdir(), "-w", tmp_path / "again", code=0)
    for file in files:
        expected = (tmp_path / "one" / file.name).read_bytes()
        assert expected == (tmp_path / "two" / file.name).read_bytes()
        assert expected == (tmp_path / "again" / file.name).read_bytes()


def test_wheels_are_not_written_over_themselves(tmp_path: Path) -> None:
    files = [wheel(tmp_path, X86, BLAS, ours=True), wheel(tmp_path, MAC)]
    before = [file.read_bytes() for file in files]
    _, codes = metadata("sync", *files, "-w", tmp_path, code=1)
    assert codes == ["error NL108"]
    assert [file.read_bytes() for file in files] == before
    document, _ = metadata("sync", files[0], "-w", tmp_path, code=0)
    assert [file.read_bytes() for file in files] == before
    [release] = document["releases"]
    assert release["files"][0]["output"] == str(files[0])


def test_a_repair_knows_what_was_joined_as_its_own(tmp_path: Path) -> None:
    newer = 'blas-lib<2,>=1.3; sys_platform == "linux"'
    arm = "manylinux_2_17_aarch64"
    files = [wheel(tmp_path, X86, BLAS, ours=True), wheel(tmp_path, arm, newer, ours=True)]
    metadata("sync", *files, "-w", tmp_path / "out", code=0)
    for file in files:
        out = tmp_path / "out" / file.name
        assert requires_of(out) == [newer]
        note = json.loads(members(out)["numx-1.0.dist-info/nativelib-repair.json"])
        assert note["requires"] == [newer]


def test_the_version_of_the_format_rises_only_if_it_must(tmp_path: Path) -> None:
    old = "Metadata-Version: 1.1\nName: numx\nVersion: 1.0\n\nA body.\n"
    files = [wheel(tmp_path, X86, BLAS, ours=True), wheel(tmp_path, MAC, metadata=old)]
    metadata("sync", *files, "-w", tmp_path / "out", code=0)
    text = members(tmp_path / "out" / files[1].name)["numx-1.0.dist-info/METADATA"].decode()
    assert text == f"Metadata-Version: 2.1\nName: numx\nVersion: 1.0\nRequires-Dist: {BLAS}\n\nA body.\n"
    assert b"Metadata-Version: 2.1\n" in members(files[0])["numx-1.0.dist-info/METADATA"]


def test_the_sdist_is_read_and_the_project_gets_lines_to_paste(tmp_path: Path) -> None:
    files = [wheel(tmp_path, X86, "packaging>=20", BLAS, ours=True), wheel(tmp_path, MAC, "packaging>=20")]
    source = sdist(tmp_path, "packaging>=20")
    _, codes = metadata("check", *files, source, code=1)
    assert codes == ["error NL406", "error NL407", "note NL408"]
    document, codes = metadata("sync", *files, source, "-w", tmp_path / "out", code=0)
    assert codes == ["warning NL407", "note NL408"]
    [release] = document["releases"]
    assert "    'blas-lib<2,>=1; sys_platform == \"linux\"',\n" in release["declare"]["dependencies"]
    assert release["declare"]["dynamic"] == '[project]\ndynamic = ["dependencies"]\n'
    assert not (tmp_path / "out" / source.name).exists()
    plain = run("metadata", "sync", *files, source, "-w", tmp_path / "out")
    assert '    dynamic = ["dependencies"]\n' in plain.stdout
    # What the lines lead to: either of the two.
    for declared in (sdist(tmp_path, "packaging>=20", BLAS), sdist(tmp_path, more="Dynamic: Requires-Dist\n")):
        assert checked(*(tmp_path / "out").glob("*.whl"), declared) == [Code.NO_PROVIDER_WHEEL]


def test_a_zip_is_a_source_distribution_too(tmp_path: Path) -> None:
    path = tmp_path / "numx-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("numx-1.0/PKG-INFO", "Metadata-Version: 2.4\nName: numx\nVersion: 1.0\nRequires-Dist: a\n")
    assert checked(wheel(tmp_path, X86, "a"), path) == []
    assert checked(wheel(tmp_path, X86, "b"), path) == [Code.SDIST_DIFFERS]


def test_providers_are_looked_for_by_file_and_by_directory(tmp_path: Path) -> None:
    links = tmp_path / "links"
    arm = "manylinux_2_17_aarch64"
    files = [wheel(tmp_path, X86, BLAS, ours=True), wheel(tmp_path, arm, BLAS, ours=True), wheel(tmp_path, MAC, BLAS)]
    one = make_wheel(links, f"blas_lib-1.2-py3-none-{X86}.whl", {"blas_lib/__init__.py": ""})
    make_wheel(links, "unrelated-1-py3-none-any.whl", {})
    _, codes = metadata("sync", *files, "--find-links", links, "-w", tmp_path / "out", code=1)
    assert codes == ["error NL408"]
    assert not (tmp_path / "out").exists()
    assert checked(*files, find_links=(links,)) == [Code.NO_PROVIDER_WHEEL]
    assert checked(*files, provided_by=(one,)) == [Code.NO_PROVIDER_WHEEL]
    two = make_wheel(links, f"blas_lib-1.2-py3-none-{arm}.whl", {"blas_lib/__init__.py": ""})
    assert checked(*files, find_links=(links,)) == []
    assert checked(*files, provided_by=(one, two)) == []
    metadata("check", *files, "--provided-by", one, "--provided-by", two, code=0)


def test_local_versions_are_explained(tmp_path: Path) -> None:
    own = "1.0+nl.0a1b2c3d"
    files = [wheel(tmp_path, X86), wheel(tmp_path, MAC), wheel(tmp_path, X86, BLAS, ours=True, version=own)]
    document, codes = metadata("check", *files, code=0)
    assert codes == ["warning NL405", "note NL408"]
    assert [release["version"] for release in document["releases"]] == ["1.0", own]


def _tar(path: Path, *entries: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def _bomb(path: Path) -> Path:
    """A header that says that its text has four gigabytes: tarfile would read them at once."""
    info = tarfile.TarInfo("numx-1.0/PKG-INFO")
    info.size, info.type = 4 << 30, tarfile.XHDTYPE
    path.write_bytes(gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20)))
    return path


def _backwards(path: Path) -> Path:
    """A member whose size is negative, so that the next one seems to be the same again."""
    block = bytearray(tarfile.TarInfo("numx-1.0/a").tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = (-512).to_bytes(12, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path.write_bytes(gzip.compress(bytes(tarfile.TarInfo("numx-1.0/b").tobuf()) + bytes(block) + bytes(1 << 16)))
    return path


def _zip(path: Path, *, flags: int = 0, method: int = 0) -> Path:
    """A zip file whose directory says that PKG-INFO is encrypted, or packed by an unknown method."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("numx-1.0/PKG-INFO", _INFO)
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        start = data.index(signature) + at
        data[start] |= flags
        data[start + 2] |= method
    path.write_bytes(data)
    return path


def _link(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("numx-1.0/PKG-INFO")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    return path


_INFO = b"Metadata-Version: 2.4\nName: numx\nVersion: 1.0\n"
_BAD: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "missing": ("NL101", lambda d: d / "numx-1.0.tar.gz"),
    "directory": ("NL102", lambda d: d),
    "text": ("NL409", lambda d: _written(d / "numx-1.0.tar.gz", b"no archive")),
    "empty": ("NL409", lambda d: _written(d / "numx-1.0.tar.gz", b"")),
    "cut off": ("NL409", lambda d: _written(d / "numx-1.0.tar.gz", sdist(d / "x").read_bytes()[:100])),
    "no zip": ("NL409", lambda d: _written(d / "numx-1.0.zip", b"no archive")),
    "no PKG-INFO": ("NL409", lambda d: _tar(d / "numx-1.0.tar.gz", ("numx-1.0/setup.py", b""))),
    "PKG-INFO too deep": ("NL409", lambda d: _tar(d / "numx-1.0.tar.gz", ("a/b/PKG-INFO", _INFO))),
    "a link": ("NL409", lambda d: _link(d / "numx-1.0.tar.gz")),
    "name": ("NL409", lambda d: _tar(d / "numx.tar.gz", ("numx-1.0/PKG-INFO", _INFO))),
    "backwards": ("NL409", lambda d: _backwards(d / "numx-1.0.tar.gz")),
    "encrypted": ("NL409", lambda d: _zip(d / "numx-1.0.zip", flags=1)),
    "unknown method": ("NL409", lambda d: _zip(d / "numx-1.0.zip", method=99)),
    "no LZMA": ("NL409", lambda d: _zip(d / "numx-1.0.zip", method=14)),
    "bomb": ("NL103", lambda d: _bomb(d / "numx-1.0.tar.gz")),
    "other name": ("NL106", lambda d: _tar(d / "numy-1.0.tar.gz", ("numy-1.0/PKG-INFO", _INFO))),
    "not UTF-8": ("NL106", lambda d: _tar(d / "numx-1.0.tar.gz", ("numx-1.0/PKG-INFO", _INFO + b"Author: \xff\n"))),
    "no name": ("NL106", lambda d: _tar(d / "numx-1.0.tar.gz", ("numx-1.0/PKG-INFO", b"Metadata-Version: 2.4\n"))),
    "no wheel": ("NL102", lambda d: _written(d / "numx-1.0-py3-none-any.whl", b"no archive")),
    "other files": ("NL102", lambda d: _written(d / "notes.txt", b"")),
    "two releases": ("NL404", lambda d: wheel(d, WIN, version="1.1")),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("what", _BAD)
def test_bad_files_are_findings(what: str, tmp_path: Path) -> None:
    code, make = _BAD[what]
    bad = make(tmp_path)
    request = ReleaseRequest(files=(wheel(tmp_path, X86, "a"), bad), wheel_dir=tmp_path / "out")
    for act in (check_release, sync_release):
        with pytest.raises(NativelibError) as caught:
            act(request)
        assert {finding.code for finding in caught.value.findings} == {code}
        assert all(bad.name in finding.where for finding in caught.value.findings)
        assert not (tmp_path / "out").exists()


def test_a_command_that_fails_prints_json_all_the_same(tmp_path: Path) -> None:
    document, codes = metadata("sync", wheel(tmp_path, X86), wheel(tmp_path, X86, version="1.1"), code=1)
    assert codes == ["error NL404"]
    assert (document["name"], document["releases"]) == (None, [])


def test_a_metadata_that_record_does_not_know_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path, X86, "a")
    content = members(path)
    content["numx-1.0.dist-info/METADATA"] += b"Requires-Dist: injected\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(NativelibError) as caught:
        checked(path)
    assert [finding.code for finding in caught.value.findings] == [Code.BAD_RECORD]


def test_providers_that_are_not_there(tmp_path: Path) -> None:
    file, text = wheel(tmp_path, X86, BLAS), _written(tmp_path / "blas.txt", b"")
    other = make_wheel(tmp_path, "other_lib-1-py3-none-any.whl", {})
    for code, request in (
        (Code.NOT_FOUND, ReleaseRequest(files=(file,), provided_by=(tmp_path / "none.whl",))),
        (Code.NOT_FOUND, ReleaseRequest(files=(file,), find_links=(tmp_path / "none",))),
        (Code.NOT_FOUND, ReleaseRequest(files=(file,), find_links=(text,))),
        (Code.NOT_A_PROVIDER, ReleaseRequest(files=(file,), provided_by=(text,))),
        (Code.UNUSED_PROVIDER, ReleaseRequest(files=(file,), provided_by=(other,))),
    ):
        with pytest.raises(NativelibError) as caught:
            check_release(request)
        assert [finding.code for finding in caught.value.findings] == [code]


@pytest.mark.parametrize("arguments", [(), ("check",), ("mend", "x.whl"), ("check", "-w", "x", "a.whl")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = run("metadata", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: nativelib" in done.stderr


def test_help_has_examples() -> None:
    for words in ((), ("check",), ("sync",)):
        assert "examples:\n  nativelib metadata" in run("metadata", *words, "--help").stdout
