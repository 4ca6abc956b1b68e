"""Reading whole wheels: facts, RECORD, names, memory."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nativelib.errors import ReadError
from nativelib.findings import Code, Severity
from nativelib.read.wheel import read_wheel
from nativelib.write.archive import RawCopy, write_wheel
from tests.support.cc import shared_library
from tests.support.downloads import pypi_wheel
from tests.support.wheels import make_wheel, members, record_digest

NAME = "demo_pkg-1.0-cp311-cp311-linux_x86_64.whl"
INFO = "demo_pkg-1.0.dist-info"
FILES: dict[str, bytes | str | Path] = {"demo_pkg/__init__.py": "x = 1\n", "demo_pkg/data.txt": "text"}


def rewritten(wheel: Path, changes: dict[str, bytes | None]) -> Path:
    """Replace, add or remove members, without a thought of RECORD."""
    content: dict[str, bytes | None] = {**members(wheel), **changes}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            if data is not None:
                archive.writestr(name, data)
    return wheel


def refused(wheel: Path, *, check_record: bool = True) -> ReadError:
    with pytest.raises(ReadError) as caught:
        read_wheel(wheel, check_record=check_record)
    return caught.value


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, NAME, FILES)


def test_facts_of_a_wheel_with_a_library(tmp_path: Path) -> None:
    library = shared_library(tmp_path / "build", "libdemo.so.1", "int demo(void) { return 1; }", soname="libdemo.so.1")
    hook: dict[str, bytes | str | Path] = {
        "demo_pkg/_distributor_init.py": "hook",
        "demo_pkg/sub/__init__.py": "",
        "demo_pkg/libdemo.so.1": library,
    }
    wheel = make_wheel(tmp_path, NAME, {**FILES, **hook}, metadata_extra="Requires-Dist: numpy\n")
    facts = read_wheel(wheel)
    assert (facts.path, facts.filename, facts.dist_info) == (str(wheel), NAME, INFO)
    assert facts.sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert facts.metadata.encode() == members(wheel)[f"{INFO}/METADATA"]
    assert facts.wheel.encode() == members(wheel)[f"{INFO}/WHEEL"]
    assert set(facts.elf) == {"demo_pkg/libdemo.so.1"}
    elf = facts.elf["demo_pkg/libdemo.so.1"]
    assert (elf.soname, elf.sha256) == ("libdemo.so.1", hashlib.sha256(library.read_bytes()).hexdigest())
    assert facts.findings == ()
    texts = {name: content for name, content in members(wheel).items() if name.endswith("__init__.py") or INFO in name}
    assert facts.texts == texts | {"demo_pkg/_distributor_init.py": b"hook"}
    with zipfile.ZipFile(wheel) as oracle:
        infos = oracle.infolist()
    assert [m.name for m in facts.members] == [info.filename for info in infos]
    for member, info in zip(facts.members, infos, strict=True):
        assert (member.size, member.compressed_size, member.crc) == (info.file_size, info.compress_size, info.CRC)
        assert (member.method, member.date_time) == (info.compress_type, info.date_time)
        assert (member.mode, member.header_offset) == (info.external_attr >> 16 & 0o777, info.header_offset)
        assert member.sha256 == hashlib.sha256(members(wheel)[info.filename]).hexdigest()


def test_relative_paths_become_absolute_and_links_keep_their_name(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(wheel.parent)
    (wheel.parent / "stored").write_bytes(wheel.read_bytes())
    wheel.unlink()
    wheel.symlink_to("stored")
    assert read_wheel(Path(NAME)).path == str(wheel)


def test_normal_is_what_this_project_writes(wheel: Path, tmp_path: Path) -> None:
    # The standard library writes the same form when it is asked for nothing special.
    facts = read_wheel(wheel)
    assert facts.normal
    out = tmp_path / "out" / NAME
    out.parent.mkdir()
    write_wheel(out, [RawCopy(member) for member in facts.members], source=wheel)
    assert out.read_bytes() == wheel.read_bytes()
    write_wheel(out, [RawCopy(member) for member in facts.members[::-1]], source=wheel)
    assert not read_wheel(out).normal
    for comment in (b"", b"a comment"):
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.comment = comment
        assert read_wheel(wheel).normal is (comment == b"")


def test_a_broken_elf_member_is_a_warning(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, NAME, {**FILES, "demo_pkg/broken.so": b"\x7fELF" + bytes(3)})
    facts = read_wheel(wheel)
    assert facts.elf == {}
    [finding] = facts.findings
    assert (finding.code, finding.severity, finding.where) == (Code.BAD_ELF, Severity.WARNING, "demo_pkg/broken.so")


def test_all_disagreements_with_record_are_listed(wheel: Path) -> None:
    rewritten(wheel, {"demo_pkg/data.txt": b"TEXT", "demo_pkg/extra.py": b"", "demo_pkg/__init__.py": None})
    failure = refused(wheel)
    assert {finding.code for finding in failure.findings} == {Code.BAD_RECORD}
    names = ["demo_pkg/__init__.py", "demo_pkg/data.txt", "demo_pkg/extra.py"]
    assert sorted(finding.where for finding in failure.findings) == names
    assert read_wheel(wheel, check_record=False).member("demo_pkg/extra.py")


def test_other_good_hashes_are_checked_and_bad_ones_refused(wheel: Path) -> None:
    text = members(wheel)[f"{INFO}/RECORD"].decode()
    line = f"sha256={record_digest(b'text')},4"
    for algorithm in ("sha384", "sha512", "blake2b", "sha3_256"):
        digest = record_digest_with(algorithm, b"text")
        good = rewritten(wheel, {f"{INFO}/RECORD": text.replace(line, f"{digest},4").encode()})
        assert read_wheel(good).member("demo_pkg/data.txt")
        wrong = record_digest_with(algorithm, b"other")
        rewritten(wheel, {f"{INFO}/RECORD": text.replace(line, f"{wrong},4").encode()})
        assert "digest is" in refused(wheel).findings[0].message
    for algorithm in ("md5", "sha1"):
        digest = record_digest_with(algorithm, b"text")
        rewritten(wheel, {f"{INFO}/RECORD": text.replace(line, f"{digest},4").encode()})
        assert "sha256 or better" in refused(wheel).findings[0].message


def record_digest_with(algorithm: str, content: bytes) -> str:
    return f"{algorithm}={base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b'=').decode()}"


def test_signatures_need_no_line(wheel: Path) -> None:
    rewritten(wheel, {f"{INFO}/RECORD.jws": b"{}", f"{INFO}/RECORD.p7s": b"x"})
    assert read_wheel(wheel).member(f"{INFO}/RECORD.jws")


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({f"{INFO}/RECORD": None}, Code.BAD_RECORD, "missing"),
        ({f"{INFO}/RECORD": b"\xff"}, Code.BAD_RECORD, "not UTF-8"),
        ({f"{INFO}/RECORD": b"one column"}, Code.BAD_RECORD, "columns"),
        ({"other-2.dist-info/RECORD": b""}, Code.BAD_RECORD, "several"),
        ({f"{INFO}/{name}": None for name in ("RECORD", "WHEEL", "METADATA")}, Code.NOT_A_WHEEL, "no .dist-info"),
    ],
)
def test_a_wheel_without_a_proper_record_is_refused(
    changes: dict[str, bytes | None], code: Code, message: str, wheel: Path
) -> None:
    [finding] = refused(rewritten(wheel, changes)).findings
    assert finding.code is code
    assert message in finding.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{INFO}/METADATA": None}, "missing"),
        ({f"{INFO}/WHEEL": None}, "missing"),
        ({f"{INFO}/METADATA": b"\xff"}, "not UTF-8"),
        ({f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nTag: a-b-c\n"}, "Root-Is-Purelib"),
        ({f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo_pkg\n"}, "Version"),
        ({f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: other\nVersion: 1.0\n"}, "other 1.0"),
        ({f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.1\n"}, "demo-pkg 1.1"),
        ({f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: demo-pkg\nVersion: one\n"}, "demo-pkg one"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(changes: dict[str, bytes | None], message: str, wheel: Path) -> None:
    [finding] = refused(rewritten(wheel, changes), check_record=False).findings
    assert finding.code is Code.BAD_METADATA
    assert message in finding.message


def test_equal_names_and_versions_may_be_spelled_differently(tmp_path: Path) -> None:
    metadata = "Metadata-Version: 2.1\nName: Demo.Pkg\nVersion: 1.0.0\n"
    wheel = make_wheel(tmp_path, NAME, {**FILES, f"{INFO}/METADATA": metadata})
    assert read_wheel(wheel).metadata == metadata


def test_a_renamed_wheel_is_refused(wheel: Path) -> None:
    for name in ("other-1.0-cp311-cp311-linux_x86_64.whl", "demo_pkg-2.0-cp311-cp311-linux_x86_64.whl"):
        [finding] = refused(wheel.rename(wheel.with_name(name))).findings
        assert (finding.code, finding.remedy) == (Code.BAD_RECORD, "Give the file its original name.")
        wheel = wheel.with_name(name)


def test_huge_texts_are_not_held(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, NAME, {**FILES, "demo_pkg/sub/__init__.py": os.urandom(1_100_000)})
    assert "demo_pkg/sub/__init__.py" not in read_wheel(wheel).texts
    padded = f"Metadata-Version: 2.1\nName: demo-pkg\nVersion: 1.0\n\n{os.urandom(9_000_000).hex()}"
    [finding] = refused(make_wheel(tmp_path, NAME, {**FILES, f"{INFO}/METADATA": padded})).findings
    assert (finding.code, finding.where) == (Code.UNSAFE_MEMBER, f"{INFO}/METADATA")
    modules: dict[str, bytes | str | Path] = {f"demo_pkg/p{i}/__init__.py": os.urandom(1_000_000) for i in range(52)}
    [finding] = refused(make_wheel(tmp_path, NAME, modules)).findings
    assert (finding.code, finding.where) == (Code.UNSAFE_MEMBER, INFO)


MEASURE = """
import re, sys
from pathlib import Path
from nativelib.read.wheel import read_wheel
facts = read_wheel(Path(sys.argv[1]))
[elf] = facts.elf.values()
# Not ru_maxrss: that begins with the size of the process that started this one.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(elf.soname, elf.size, elf.sha256, peak // 1024)
"""


def test_memory_does_not_grow_with_the_libraries(tmp_path: Path) -> None:
    library = shared_library(tmp_path, "libbig.so", "int big(void) { return 1; }", soname="libbig.so")
    with library.open("ab") as file:
        for _ in range(160):
            file.write(os.urandom(1 << 20))
    wheel = make_wheel(tmp_path / "out", NAME, {"demo_pkg/libbig.so": library})
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(wheel)], capture_output=True, text=True, env=environment, check=True
    )
    soname, size, sha256, mebibytes = done.stdout.split()
    assert (soname, int(size)) == ("libbig.so", library.stat().st_size)
    assert sha256 == hashlib.sha256(library.read_bytes()).hexdigest()
    assert int(mebibytes) < 120
    assert sorted(path.name for path in tmp_path.iterdir()) == ["libbig.so", "libbig.so.c", "out"]


def test_no_room_for_a_large_library_is_a_finding(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, NAME, {"demo_pkg/libbig.so": b"\x7fELF" + os.urandom(9 << 20)})
    program = (
        "import resource, sys; from pathlib import Path; from nativelib.errors import ReadError\n"
        "from nativelib.read.wheel import read_wheel\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: read_wheel(Path(sys.argv[1]))\n"
        "except ReadError as failure: print(failure)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(wheel)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "demo_pkg/libbig.so: It cannot be unpacked into a temporary file: File too large.\n"


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "version", "platform"),
    [("numpy", "2.4.6", "manylinux_2_27_x86_64"), ("cffi", "2.1.1", "musllinux_1_2_x86_64")],
)
def test_published_wheels_are_read_whole(name: str, version: str, platform: str) -> None:
    wheel = pypi_wheel(name, version, platform=platform, python="311")
    facts = read_wheel(wheel)
    content = {name: data for name, data in members(wheel).items() if not name.endswith("/")}
    assert {m.name: m.sha256 for m in facts.members} == {n: hashlib.sha256(d).hexdigest() for n, d in content.items()}
    assert set(facts.elf) == {n for n, d in content.items() if d.startswith(b"\x7fELF")}
    assert facts.findings == ()
