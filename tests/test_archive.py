"""Writing archives: raw copies, new members, determinism, Zip64, staged files."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import random
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wheel.wheelfile import WheelFile

from nativelib.errors import ReadError, WriteError
from nativelib.facts.order import member_order
from nativelib.findings import Code
from nativelib.read.wheel import read_wheel
from nativelib.write.archive import (
    NewMember,
    Promised,
    RawCopy,
    epoch_date_time,
    extract_member,
    read_member,
    write_wheel,
)
from tests.support.downloads import pypi_wheel
from tests.support.tools import require
from tests.support.wheels import make_wheel, members

if TYPE_CHECKING:
    from nativelib.facts.wheel import Member, WheelFacts

NAME = "demo-1.0-py3-none-any.whl"


def normalised(facts: WheelFacts, target: Path) -> Path:
    """Copy all members of a wheel in the right order."""
    by_name = {member.name: member for member in facts.members}
    order = member_order(by_name, facts.dist_info)
    write_wheel(target, [RawCopy(by_name[name]) for name in order], source=Path(facts.path))
    return target


def compressed(path: Path) -> dict[str, bytes]:
    """The compressed bytes of each member, located by the standard library."""
    data = path.read_bytes()
    out = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            with archive.open(info):  # checks the local header
                head = info.header_offset + 26
                lengths = [int.from_bytes(data[head + i : head + i + 2], "little") for i in (0, 2)]
                start = info.header_offset + 30 + sum(lengths)
                out[info.filename] = data[start : start + info.compress_size]
    return out


def check_with_others(path: Path) -> None:
    subprocess.run([require("unzip"), "-tqq", str(path)], check=True, capture_output=True)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


@pytest.mark.network
@pytest.mark.parametrize(("name", "version"), [("cffi", "2.1.1"), ("packaging", "25.0")])
def test_raw_copy_of_a_published_wheel(name: str, version: str, tmp_path: Path) -> None:
    wheel = pypi_wheel(name, version)
    facts = read_wheel(wheel)
    out = normalised(facts, tmp_path / wheel.name)
    assert compressed(out) == compressed(wheel)
    assert members(out) == {name: content for name, content in members(wheel).items() if not name.endswith("/")}
    check_with_others(out)
    with WheelFile(out) as read_back, zipfile.ZipFile(wheel) as original:
        for info in (info for info in original.infolist() if not info.is_dir()):
            copy = read_back.getinfo(info.filename)
            assert read_back.read(info.filename) == original.read(info.filename)
            assert (copy.date_time, copy.compress_type) == (info.date_time, info.compress_type)
            assert copy.external_attr >> 16 == 0o100000 | (info.external_attr >> 16 & 0o777)
            assert (copy.flag_bits, copy.extra) == (0, b"")
    again = read_wheel(out)
    assert again.normal
    assert normalised(again, tmp_path / "again.whl").read_bytes() == out.read_bytes()


@dataclass(frozen=True)
class Unseekable(io.RawIOBase):
    """A pipe to the zip writer, which then needs data descriptors."""

    file: io.BytesIO

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        return self.file.write(data)  # type: ignore[arg-type]


CONTENT = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 3_000_000).map(lambda size: b"nativelib " * (size // 10)),
    st.integers(0, 2_100_000).map(lambda size: random.Random(size).randbytes(size)),
)
FILES = st.dictionaries(
    st.sampled_from(["a.py", "b/c.txt", "b/ü.so", "d", "b/e/f"]),
    st.tuples(CONTENT, st.sampled_from([0, 8]), st.integers(0, 0o777), st.integers(0, 9)),
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(FILES, st.booleans(), st.booleans(), st.sampled_from([2**32 - 1, 1000, 1]))
def test_raw_copy_keeps_every_member(
    files: dict[str, tuple[bytes, int, int, int]], streamed: bool, forced64: bool, limit: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        source = make_wheel(Path(directory, "in"), NAME, {})
        plain = members(source)
        record = [line for line in plain["demo-1.0.dist-info/RECORD"].decode().splitlines() if "RECORD" not in line]
        record += [f"{name},sha512={_sha512(content)}," for name, (content, *_) in files.items()]
        plain["demo-1.0.dist-info/RECORD"] = "\n".join([*record, "demo-1.0.dist-info/RECORD,,", ""]).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(Unseekable(buffer) if streamed else buffer, "w") as archive:
            archive.comment = b"a comment"
            archive.mkdir("b")
            for name, (content, method, mode, level) in [
                *files.items(),
                *((n, (c, 8, 0o644, 6)) for n, c in plain.items()),
            ]:
                info = zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6))
                info.external_attr, info.compress_type = (0o100000 | mode) << 16, method
                info._compresslevel = level  # type: ignore[attr-defined]
                with archive.open(info, "w", force_zip64=forced64) as member:
                    member.write(content)
        source.write_bytes(buffer.getvalue())
        facts = read_wheel(source)
        assert not facts.normal
        out = Path(directory, NAME)
        digest = write_wheel(out, [RawCopy(m) for m in facts.members], source=source, limit=limit)
        before, after = compressed(source), compressed(out)
        assert before == after
        assert list(before) == list(after)
        check_with_others(out)
        again = read_wheel(out)
        assert again.members == digest.members
        assert (again.sha256, out.stat().st_size) == (digest.sha256, digest.size)
        assert [m.sha256 for m in again.members] == [m.sha256 for m in facts.members]
        if limit > 10**9:
            assert again.normal


def _sha512(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha512(content).digest()).decode().rstrip("=")


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "ü/b", "c.so"]), st.tuples(CONTENT, st.integers(0, 0o777)), max_size=3),
    st.integers(0, 9),
    st.booleans(),
    st.sampled_from([2**32 - 1, 5000, 1]),
)
def test_new_members_read_back(files: dict[str, tuple[bytes, int]], level: int, from_files: bool, limit: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        entries = []
        for number, (name, (content, mode)) in enumerate(files.items()):
            path = Path(directory, str(number))
            path.write_bytes(content)
            entries.append(NewMember(name, path if from_files else content, mode, (2020, 2, 29, 23, 59, 59)))
        out = Path(directory, "out.whl")
        digest = write_wheel(out, entries, source=None, level=level, limit=limit)
        assert members(out) == {name: content for name, (content, _) in files.items()}
        if files:
            check_with_others(out)
        for member in digest.members:
            content, mode = files[member.name]
            assert (member.sha256, member.size) == (hashlib.sha256(content).hexdigest(), len(content))
            assert (member.mode, member.date_time) == (mode, (2020, 2, 29, 23, 59, 58))
            assert member.compressed_size <= member.size
            assert read_member(out, member) == content
            extract_member(out, member, Path(directory, "extracted"))
            assert Path(directory, "extracted").read_bytes() == content


def test_zip64_is_what_others_understand(tmp_path: Path) -> None:
    entries = [NewMember("a", b"x" * 5000), NewMember("b", b"y")]
    write_wheel(tmp_path / "a.whl", entries, source=None, limit=2000)
    with zipfile.ZipFile(tmp_path / "a.whl") as archive:
        assert [info.extract_version for info in archive.infolist()] == [45, 20]
        assert archive.read("a") == b"x" * 5000
    check_with_others(tmp_path / "a.whl")


def test_many_members_need_zip64_too(tmp_path: Path) -> None:
    entries = [NewMember(f"d/{i}", b"") for i in range(65_536)]
    write_wheel(tmp_path / "a.whl", entries, source=None)
    with zipfile.ZipFile(tmp_path / "a.whl") as archive:
        assert len(archive.namelist()) == 65_536


def test_promised_members_are_waited_for(tmp_path: Path) -> None:
    def made(content: bytes) -> NewMember:
        if not content:
            raise WriteError.of(Code.TOOL_FAILED, "a.so", "It cannot be made.")
        return NewMember("a.so", content)

    with ThreadPoolExecutor(1) as pool:
        write_wheel(tmp_path / "w", [NewMember("b", b"x"), Promised("a.so", pool.submit(made, b"y" * 99))], source=None)
        with zipfile.ZipFile(tmp_path / "w") as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == {"b": b"x", "a.so": b"y" * 99}
        with pytest.raises(WriteError, match="It cannot be made"):
            write_wheel(tmp_path / "v", [NewMember("b", b"x"), Promised("a.so", pool.submit(made, b""))], source=None)
    assert not (tmp_path / "v").exists()


def test_the_last_member_is_made_from_the_others(tmp_path: Path) -> None:
    def record(written: tuple[Member, ...]) -> NewMember:
        return NewMember("RECORD", ",".join(m.sha256 for m in written).encode())

    write_wheel(tmp_path / "a.whl", [NewMember("a", b"x"), NewMember("b", b"y")], source=None, last=record)
    digests = [hashlib.sha256(c).hexdigest() for c in (b"x", b"y")]
    assert members(tmp_path / "a.whl")["RECORD"].decode() == ",".join(digests)
    with pytest.raises(WriteError, match="twice"):
        write_wheel(tmp_path / "b.whl", [NewMember("RECORD", b"x")], source=None, last=record)
    assert not (tmp_path / "b.whl").exists()


def test_the_bytes_depend_on_the_entries_alone(tmp_path: Path) -> None:
    program = (
        "import os, sys; os.umask(int(sys.argv[2], 8)); os.cpu_count = lambda: int(sys.argv[3])\n"
        "from pathlib import Path; from nativelib.write.archive import NewMember, epoch_date_time, write_wheel\n"
        "content = b'some text\\n' * 200_000 + Path(sys.argv[4]).read_bytes()[:3_500_000]\n"
        "entries = [NewMember(n, content, 0o755, epoch_date_time(os.environ)) for n in 'ab']\n"
        "print(write_wheel(Path(sys.argv[1]), entries, source=None).sha256)"
    )
    found = subprocess.run([require("gcc"), "-print-prog-name=cc1"], check=True, capture_output=True, text=True)
    machine_code = found.stdout.strip()
    digests = set()
    for number, (umask, zone, cores) in enumerate(
        [("022", "UTC", 1), ("077", "Pacific/Kiritimati", 2), ("0", "EST5", 7)]
    ):
        (tmp_path / str(number)).mkdir()
        argv = [sys.executable, "-c", program, str(tmp_path / str(number) / "x.whl"), umask, str(cores), machine_code]
        root = str(Path(__file__).parent.parent)
        environment = {**os.environ, "TZ": zone, "PYTHONPATH": root, "SOURCE_DATE_EPOCH": "1700000000"}
        digests.add(subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout)
    assert len(digests) == 1


@pytest.mark.parametrize(
    "entries",
    [
        [NewMember("a", b""), NewMember("a", b"")],
        [NewMember("../a", b"")],
        [NewMember("/a", b"")],
        [NewMember("a/", b"")],
        [NewMember("a", b"", 0o100644)],
        [NewMember("a", b"", 0o644, (1979, 12, 31, 0, 0, 0))],
        [NewMember("a", b"", 0o644, (2108, 1, 1, 0, 0, 0))],
        [NewMember("a", Path("/nonexistent/file"))],
    ],
)
def test_impossible_entries_are_refused(entries: list[NewMember], tmp_path: Path) -> None:
    with pytest.raises(WriteError) as caught:
        write_wheel(tmp_path / "a.whl", entries, source=None)
    assert caught.value.findings[0].code is Code.WRITE_FAILED
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_changed_is_noticed(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "in", NAME, {"a.py": b"first content" * 50})
    facts = read_wheel(wheel)
    member = facts.members[0]
    data = bytearray(wheel.read_bytes())
    data[40] ^= 0xFF
    wheel.write_bytes(data)
    with pytest.raises(ReadError, match=r"a\.py"):
        read_member(wheel, member)
    with pytest.raises(ReadError, match=r"a\.py"):
        extract_member(wheel, member, tmp_path / "target")
    wheel.write_bytes(bytes(len(data)))
    with pytest.raises(ReadError, match="changed"):
        write_wheel(tmp_path / "out.whl", [RawCopy(member)], source=wheel)
    with pytest.raises(WriteError, match="no wheel to copy from"):
        write_wheel(tmp_path / "out.whl", [RawCopy(member)], source=None)
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (1980, 1, 1, 0, 0, 0)),
        ("", (1980, 1, 1, 0, 0, 0)),
        ("0", (1980, 1, 1, 0, 0, 0)),
        ("-5", (1980, 1, 1, 0, 0, 0)),
        ("1700000001", (2023, 11, 14, 22, 13, 20)),
        ("999999999999999999", (2107, 12, 31, 23, 59, 58)),
    ],
)
def test_source_date_epoch(value: str | None, expected: tuple[int, ...]) -> None:
    assert epoch_date_time({} if value is None else {"SOURCE_DATE_EPOCH": value}) == expected


@pytest.mark.parametrize("value", ["today", "1.5", " 1", "1_0", "9" * 5000, "٣"])
def test_a_wrong_source_date_epoch_is_an_error(value: str) -> None:
    with pytest.raises(WriteError, match="SOURCE_DATE_EPOCH"):
        epoch_date_time({"SOURCE_DATE_EPOCH": value})
