"""Archives that were made, or broken, to do harm: each gets a finding, none a traceback."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nativelib.errors import ReadError
from nativelib.findings import Code
from nativelib.read.archive import WheelArchive
from nativelib.read.wheel import read_wheel
from tests.support.wheels import make_wheel

NAME = "demo-1.0-py3-none-any.whl"
FILE = 0o100644 << 16


@dataclass(frozen=True)
class Raw:
    """A member, every field of which can be a lie."""

    name: bytes = b"a.py"
    content: bytes = b"print()\n" * 10
    method: int = 8
    flags: int = 0
    attributes: int = FILE
    size: int | None = None
    crc: int | None = None
    data: bytes | None = None
    central_name: bytes | None = None
    central_size: int | None = None
    central_crc: int | None = None
    central_method: int | None = None
    offset: int | None = None
    extra: bytes = b""
    gap: bytes = b""

    @property
    def compressed(self) -> bytes:
        if self.data is not None:
            return self.data
        if self.method != 8:
            return self.content
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        return engine.compress(self.content) + engine.flush()


def archive(*raws: Raw, comment: bytes = b"", tail: bytes = b"", head: bytes = b"", count: int | None = None) -> bytes:
    """Write a zip file by hand, lies included."""
    out, central = head, b""
    for raw in raws:
        out += raw.gap
        data = raw.compressed
        size = len(raw.content) if raw.size is None else raw.size
        crc = zlib.crc32(raw.content) if raw.crc is None else raw.crc
        offset = len(out) if raw.offset is None else raw.offset
        out += struct.pack(
            "<4s5H3L2H", b"PK\3\4", 20, raw.flags, raw.method, 0, 33, crc, len(data), size, len(raw.name), 0
        )
        out += raw.name + data
        name = raw.name if raw.central_name is None else raw.central_name
        method = raw.method if raw.central_method is None else raw.central_method
        central += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 788, 20, raw.flags, method, 0, 33,
            crc if raw.central_crc is None else raw.central_crc, len(data),
            size if raw.central_size is None else raw.central_size, len(name), len(raw.extra), 0, 0, 0,
            raw.attributes, offset,
        )  # fmt: skip
        central += name + raw.extra
    number = len(raws) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, number, number, len(central), len(out), len(comment))
    return out + central + end + comment + tail


def refusal(data: bytes, directory: Path) -> ReadError:
    """The error of an archive with these bytes, read to the end."""
    path = directory / NAME
    path.write_bytes(data)
    with pytest.raises(ReadError) as caught:
        read_all(path)
    return caught.value


def read_all(path: Path) -> list[bytes]:
    with WheelArchive(path) as opened:
        return [opened.read(entry) for entry in opened.entries]


def test_the_builder_builds_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(archive(Raw(), Raw(name=b"b/c.py", method=0), Raw(name="ü".encode(), flags=0x800), comment=b"x"))
    with WheelArchive(path) as opened:
        assert [entry.name for entry in opened.entries] == ["a.py", "b/c.py", "ü"]
        assert {opened.read(entry) for entry in opened.entries} == {b"print()\n" * 10}


ZEROS = bytes(40 << 20)
UNSAFE = {
    "duplicate": (Raw(), Raw()),
    "duplicate directory": (Raw(), Raw(name=b"a.py/", content=b"", method=0)),
    "inside a file": (Raw(name=b"a"), Raw(name=b"a/b")),
    "encrypted": (Raw(flags=1),),
    "strongly encrypted": (Raw(flags=1 << 6),),
    "patch data": (Raw(flags=1 << 5),),
    "absolute": (Raw(name=b"/etc/passwd"),),
    "parent": (Raw(name=b"../a"),),
    "parent inside": (Raw(name=b"a/../../b"),),
    "dot": (Raw(name=b"./a"),),
    "empty component": (Raw(name=b"a//b"),),
    "empty": (Raw(name=b""),),
    "only a slash": (Raw(name=b"/", content=b"", method=0),),
    "backslash": (Raw(name=b"a\\b"),),
    "NUL": (Raw(name=b"a\0b"),),
    "newline": (Raw(name=b"a\nb"),),
    "escape sequence": (Raw(name=b"a\x1b[2Jb"),),
    "drive": (Raw(name=b"C:/a"),),
    "drive without slash": (Raw(name=b"c:a"),),
    "too long": (Raw(name=b"a/" * 2048 + b"b"),),
    "not UTF-8": (Raw(name=b"\xff.py", flags=0x800),),
    "surrogate": (Raw(name=b"\xed\xa0\x80", flags=0x800),),
    "not marked as UTF-8": (Raw(name="ü".encode()),),
    "second name": (Raw(extra=struct.pack("<2HBL", 0x7075, 9, 1, zlib.crc32(b"a.py")) + b"evil"),),
    "symbolic link": (Raw(attributes=0o120777 << 16),),
    "device": (Raw(attributes=0o060644 << 16),),
    "pipe": (Raw(attributes=0o010644 << 16),),
    "directory type": (Raw(attributes=0o040755 << 16),),
    "directory with content": (Raw(name=b"d/", attributes=0o040755 << 16),),
    "other name": (Raw(central_name=b"b.py"),),
    "other size": (Raw(central_size=7),),
    "other CRC": (Raw(central_crc=7),),
    "other method": (Raw(central_method=0),),
    "bzip2": (Raw(method=12),),
    "lzma": (Raw(method=14),),
    "stored with two sizes": (Raw(method=0, size=7),),
    "bomb": (Raw(content=ZEROS),),
    "impossible ratio": (Raw(size=0xFFFFFFF0),),
    "overlap": (Raw(name=b"a"), Raw(name=b"b", gap=b""), Raw(name=b"a", offset=0)),
    "inside another": (Raw(method=0, content=archive(Raw(name=b"b"))[:80]), Raw(name=b"b", offset=34)),
    "behind the data": (Raw(offset=0xFFFFFF00),),
    "no header there": (Raw(offset=1),),
    "hidden member": (Raw(), Raw(name=b"b", gap=archive(Raw(name=b"hidden"))[:60])),
    "hidden member in front": (Raw(gap=archive(Raw(name=b"hidden"))[:60]),),
    "short Zip64 field": (Raw(central_size=0xFFFFFFFF, extra=struct.pack("<2HL", 1, 4, 7)),),
    "huge Zip64 offset": (Raw(offset=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 2**64 - 1)),),
}


@pytest.mark.parametrize("raws", UNSAFE.values(), ids=UNSAFE)
def test_unsafe_members_are_refused(raws: tuple[Raw, ...], tmp_path: Path) -> None:
    findings = refusal(archive(*raws), tmp_path).findings
    assert {finding.code for finding in findings} == {Code.UNSAFE_MEMBER}


def test_unsafe_members_are_all_named_at_once(tmp_path: Path) -> None:
    raws = [Raw(name=b"/a"), Raw(name=b"fine"), Raw(name=b"../b"), Raw(name=b"c", flags=1)]
    assert [f.where for f in refusal(archive(*raws), tmp_path).findings] == ["/a", "../b", "c"]


def test_a_total_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    raws = [Raw(name=str(i).encode(), content=b"", size=15 << 20, data=bytes(1000)) for i in range(100)]
    assert "bomb" in refusal(archive(*raws), tmp_path).findings[-1].message


DEFLATED = Raw().compressed
DAMAGED = {
    "wrong CRC": Raw(crc=7),
    "more than declared": Raw(size=70),
    "less than declared": Raw(size=90),
    "cut deflate stream": Raw(data=DEFLATED[:-3]),
    "no deflate stream": Raw(data=b"\xff" * 30),
    "data behind the stream": Raw(data=DEFLATED + b"more"),
    "nothing at all": Raw(data=b""),
    "stored and wrong": Raw(method=0, crc=0),
    "endless": Raw(content=bytes(8 << 20), size=1),
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_damaged_content_is_noticed(raw: Raw, tmp_path: Path) -> None:
    [finding] = refusal(archive(raw), tmp_path).findings
    assert (finding.code, finding.where) == (Code.NOT_A_WHEEL, "a.py")


def test_never_more_comes_out_than_the_directory_declares(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(archive(Raw(content=bytes(200 << 20), size=3 << 20)))
    with WheelArchive(path) as opened:
        got: list[int] = []
        with pytest.raises(ReadError):
            got.extend(len(piece) for piece in opened.stream(opened.entries[0]))
        assert 2 << 20 <= sum(got) <= 3 << 20


GOOD = archive(Raw(), Raw(name=b"b"))
BROKEN = {
    "empty": b"",
    "text": b"<html>404 not found</html>",
    "no end": GOOD[:-1],
    "only the end": GOOD[-22:],
    "cut in the middle": GOOD[: len(GOOD) // 2],
    "something behind": GOOD + b"x",
    "something in front": b"#!/bin/sh\n" + GOOD,
    "fewer members": archive(Raw(), count=0),
    "more members": archive(Raw(), count=2),
    "too many members": archive(Raw(), count=65_535),
    "broken directory": GOOD.replace(b"PK\1\2", b"PK\1\1"),
    "another disk": GOOD[:-18] + b"\1" + GOOD[-17:],
    "broken Zip64": GOOD[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 2**63, 1) + GOOD[-22:],
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_zip_file_is_refused(data: bytes, tmp_path: Path) -> None:
    [finding] = refusal(data, tmp_path).findings
    assert (finding.code, finding.where) == (Code.NOT_A_WHEEL, str(tmp_path / NAME))


def test_harmless_oddities_are_accepted(tmp_path: Path) -> None:
    raws = [
        Raw(name=b"d/", content=b"", method=0, attributes=0o040755 << 16),
        Raw(gap=b"padding"),
        Raw(name=b"b", attributes=0),
    ]
    path = tmp_path / NAME
    path.write_bytes(archive(*raws))
    with WheelArchive(path) as opened:
        assert [(entry.name, entry.mode) for entry in opened.entries] == [("a.py", 0o644), ("b", 0o644)]
        assert not opened.is_normal("demo-1.0.dist-info")


def test_paths_that_are_no_wheel_file(tmp_path: Path) -> None:
    (tmp_path / "dir-1.0-py3-none-any.whl").mkdir()
    os.mkfifo(tmp_path / "pipe-1.0-py3-none-any.whl")
    (tmp_path / "demo.whl").write_bytes(GOOD)
    (tmp_path / "demo-1.0.zip").write_bytes(GOOD)
    (tmp_path / "loop-1.0-py3-none-any.whl").symlink_to("loop-1.0-py3-none-any.whl")
    expected = {
        "dir-1.0-py3-none-any.whl": (Code.NOT_A_WHEEL, "directory"),
        "pipe-1.0-py3-none-any.whl": (Code.NOT_A_WHEEL, "not a regular file"),
        "demo.whl": (Code.NOT_A_WHEEL, "not named like a wheel"),
        "demo-1.0.zip": (Code.NOT_A_WHEEL, "not named like a wheel"),
        "none-1.0-py3-none-any.whl": (Code.NOT_FOUND, "no such file"),
        "demo.whl/none-1.0-py3-none-any.whl": (Code.NOT_FOUND, "no such file"),
        "loop-1.0-py3-none-any.whl": (Code.NOT_FOUND, "cannot be read"),
        "nul\0-1.0-py3-none-any.whl": (Code.NOT_FOUND, "no such file"),
    }
    for name, (code, message) in expected.items():
        with pytest.raises(ReadError) as caught:
            read_wheel(tmp_path / name)
        [finding] = caught.value.findings
        assert finding.code is code
        assert message in finding.message


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_wheel_gives_facts_or_a_finding(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        wheel = make_wheel(
            Path(directory), NAME, {"demo/__init__.py": "x = 1\n" * 40, "demo/b.so": b"\x7fELF" + bytes(90)}
        )
        content = bytearray(wheel.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(content) - 1))
            new = data.draw(st.binary(max_size=4))
            content[at : at + data.draw(st.sampled_from([len(new), 0, 1]))] = new
        wheel.write_bytes(content)
        # Every other exception than this one fails the test.
        with suppress(ReadError):
            facts = read_wheel(wheel)
            with zipfile.ZipFile(io.BytesIO(content)) as oracle:
                assert oracle.testzip() is None
                assert {m.name for m in facts.members} == set(oracle.namelist())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(Raw), min_size=1, max_size=3), st.data())
def test_lies_in_single_fields_never_end_in_another_exception(raws: list[Raw], data: st.DataObject) -> None:
    number = st.one_of(st.none(), st.integers(0, 2**32 - 1))
    raws = [
        replace(
            raw,
            name=data.draw(st.binary(max_size=6)),
            offset=data.draw(number),
            central_size=data.draw(number),
            extra=data.draw(st.binary(max_size=30)),
            flags=data.draw(st.integers(0, 0xFFFF)),
            attributes=data.draw(st.integers(0, 2**32 - 1)),
        )
        for raw in raws
    ]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, NAME)
        path.write_bytes(archive(*raws, count=data.draw(st.one_of(st.none(), st.integers(0, 0xFFFF)))))
        with suppress(ReadError):
            assert all(len(content) <= len(path.read_bytes()) * 1100 for content in read_all(path))
