"""Wheels that are small until they are read: what they cost is bounded, in memory and in time."""

from __future__ import annotations

import io
import resource
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.support.bombs import NAME, Part, Repeated, bomb_wheel, elf_bomb
from tests.support.limits import Cost, costly
from tests.test_archive_hostile import FILE, Raw, archive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MIB = 1 << 20
MEMORY = 700 * MIB
SECONDS = 30
DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_GNU_HASH = 4, 5, 6, 10, 11, 0x6FFFFEF5
DT_NEEDED, DT_SONAME, DT_INIT, DT_RPATH, DT_RUNPATH = 1, 14, 7, 15, 29


def cost(command: str, wheel: Path, out: Path) -> Cost:
    """What *command* takes; the limit of memory would turn a slip into a finding of its own."""
    options = ("-w", out) if command == "repair" else ()
    found = costly(command, wheel, *options, limits={resource.RLIMIT_AS: 2048 * MIB})
    assert found.peak < MEMORY
    assert found.cpu < SECONDS
    assert found.answer.document["wheels"]
    assert "NL901" not in found.answer.stdout
    return found


@pytest.fixture(params=["show", "repair"])
def command(request: pytest.FixtureRequest) -> str:
    """Each command that reads wheels."""
    return str(request.param)


def errors(found: Cost) -> set[str]:
    return {finding["code"] for finding in found.answer.findings if finding["severity"] == "error"}


def refused(command: str, content: bytes, directory: Path, says: str) -> None:
    wheel = directory / NAME
    wheel.write_bytes(content)
    assert wheel.stat().st_size < 40 * MIB
    found = cost(command, wheel, directory / "out")
    assert (found.answer.code, errors(found)) == (1, {"NL103"})
    assert says in found.answer.stdout
    assert not (directory / "out").exists() or not list((directory / "out").iterdir())


# --- archives


def zeros(size: int) -> bytes:
    """A deflate stream of *size* zeros, without ever holding them."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    once = engine.compress(bytes(MIB)) + engine.flush(zlib.Z_FULL_FLUSH)
    return once * (size // MIB) + b"\3\0"


def quoted(count: int, kernel: int) -> bytes:
    """An archive of *count* members, each of which has all later ones, headers and data, as its own data.

    The data begins with a stored block that quotes the next header; what follows that header is its own rest. So each
    byte of the kernel counts *count* times, and every reader that trusts the directory gets correct members.
    """
    content, data, body, places = bytes(kernel), zeros(kernel), b"", []
    for number in reversed(range(count)):
        name = b"%05d" % number
        fields = (0, 8, 0, 33, zlib.crc32(content), len(data), len(content), len(name), 0)
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, *fields) + name
        body = header + data
        places.append((fields, name, len(body)))
        content = header + content
        data = struct.pack("<BHH", 0, len(header), len(header) ^ 0xFFFF) + body
    records = [
        struct.pack("<4s6H3L2H", b"PK\1\2", 788, 20, *fields)
        + struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, len(body) - size)
        + name
        for fields, name, size in reversed(places)
    ]
    central = b"".join(records)
    return body + central + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(central), len(body), 0)


OVERLAPPING = (
    # Two members whose data is the same megabyte of zeros, and so on: the simplest form of the overlap.
    Raw(name=b"a", content=b"", size=15 * MIB, data=zeros(15 * MIB), crc=zlib.crc32(bytes(15 * MIB))),
    *(Raw(name=b"a", content=b"", size=15 * MIB, data=b"", offset=0) for _ in range(600)),
)


@pytest.mark.parametrize(
    ("raws", "says"),
    [
        ([Raw(name=b"%d" % n, content=b"", size=0xFFFFF000, data=zeros(4095 * MIB)) for n in range(3)], "bomb"),
        ([Raw(name=b"%d" % n, content=b"", size=15 * MIB, data=zeros(15 * MIB)) for n in range(700)], "bomb"),
        (OVERLAPPING, "in the archive more than once"),
    ],
    ids=["12 GB in three members", "10 GB in many members", "members that share bytes"],
)
def test_archives(raws: Sequence[Raw], says: str, command: str, tmp_path: Path) -> None:
    refused(command, archive(*raws), tmp_path, says)


def test_members_that_quote_the_next(command: str, tmp_path: Path) -> None:
    content = quoted(60, 15 * MIB)
    with zipfile.ZipFile(io.BytesIO(content)) as readable:
        assert sum(info.file_size for info in readable.infolist()) >= 900 * MIB
        assert readable.read("00058").endswith(bytes(15 * MIB))
    refused(command, content, tmp_path, "another member at the same time")


def test_members_that_share_one_long_header(command: str, tmp_path: Path) -> None:
    extra = struct.pack("<2H", 0x9999, 65_000) + bytes(65_000)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 1, len(extra)) + b"a" + extra
    fields = (788, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, FILE, 0)
    count = 60_000
    central = (struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + b"a") * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(central), len(local), 0)
    refused(command, local + central + end, tmp_path, "more than once")


def test_names_of_two_thousand_directories(command: str, tmp_path: Path) -> None:
    raws = [Raw(name=b"a/" * 2000 + b"%d" % n, content=b"", method=0) for n in range(800)]
    wheel = tmp_path / NAME
    wheel.write_bytes(archive(*raws))
    assert cost(command, wheel, tmp_path / "out").answer.code == 1


def test_sixty_thousand_members(command: str, tmp_path: Path) -> None:
    wheel = bomb_wheel(tmp_path, {f"bomb/{n % 997}/{n}.txt": [b"x"] for n in range(60_000)})
    assert cost(command, wheel, tmp_path / "out").answer.code == 0


def test_what_is_just_not_refused(command: str, tmp_path: Path) -> None:
    wheel = bomb_wheel(tmp_path, {f"bomb/{n}.bin": [Repeated(bytes(MIB), 15)] for n in range(40)})
    assert wheel.stat().st_size < MIB
    assert cost(command, wheel, tmp_path / "out").answer.code == 0


# --- texts


TEXTS: Mapping[str, tuple[str, Part]] = {
    "headers": ("METADATA", Repeated(b"a:\n", 5 * MIB)),
    "one folded header": ("METADATA", Repeated(b" \n", 7 * MIB)),
    "one long line": ("METADATA", Repeated(b"X", 15 * MIB)),
    "tags": ("WHEEL", Repeated(b"Tag: py3-none-any\n", 800_000)),
    "too large": ("METADATA", Repeated(b"x", 17 * MIB)),
    "enormous": ("METADATA", Repeated(bytes(MIB), 900)),
    "lines of RECORD": ("RECORD", Repeated(b"a,,\n", 3 * MIB)),
    "lines without a path": ("RECORD", Repeated(b",,\n", 4 * MIB)),
    "blank lines": ("RECORD", Repeated(b"\n", 15 * MIB)),
    "one field": ("RECORD", Repeated(b'""', 7 * MIB)),
    "an open quote": ("RECORD", b'"' + bytes(15 * MIB)),
}


@pytest.mark.parametrize("what", TEXTS)
def test_texts(what: str, tmp_path: Path) -> None:
    file, content = TEXTS[what]
    good = b"Metadata-Version: 2.1\nName: bomb\nVersion: 1.0\nX: y\n"
    if file == "RECORD":
        text = content if isinstance(content, bytes) else b"".join(content.pieces())
        wheel = bomb_wheel(tmp_path, {}, record=text)
    else:
        wheel = bomb_wheel(tmp_path, {f"bomb-1.0.dist-info/{file}": [good, content]}, noise=2 * MIB)
    found = cost("show", wheel, tmp_path / "out")
    # Nothing is wrong with a long body.
    assert found.answer.code == (0 if what == "one long line" else 1)
    assert errors(found) <= {"NL102", "NL103", "NL104", "NL106"}
    assert len(found.answer.stdout) < 40 * MIB


# --- ELF files


def symbol(name: int) -> bytes:
    return struct.pack("<IBBHQQ", name, 0x10, 0, 0, 0, 0)


ENDLESS = struct.pack("<5I", 1, 1, 0, 0, 1)
PLAIN: Sequence[tuple[int, int]] = ((DT_STRSZ, 6), (DT_SYMENT, 24))
NAMES = b"\0abcd\0"
ELF_FILES: Mapping[str, list[Part]] = {
    "symbols": elf_bomb(
        {
            DT_STRTAB: b"\0" + bytes(range(1, 255)) * (16 * 4096),
            DT_SYMTAB: Repeated(b"".join(symbol(16 * MIB - n) for n in range(1000)), 12_000),
            DT_HASH: struct.pack("<II", 1, 12_000_000),
        },
        numbers=[(DT_STRSZ, 254 * 16 * 4096), (DT_SYMENT, 24)],
        noise=MIB,
    ),
    "needs": elf_bomb(
        {DT_STRTAB: NAMES}, numbers=PLAIN, more=Repeated(struct.pack("<QQ", DT_NEEDED, 1), 20_000_000), noise=MIB
    ),
    "directories": elf_bomb(
        {DT_STRTAB: Repeated(b":", 240 * MIB)}, numbers=[(DT_STRSZ, 240 * MIB + 8), (DT_RUNPATH, 0)], noise=MIB
    ),
    "strings": elf_bomb(
        {DT_STRTAB: Repeated(b"a", 300 * MIB)}, numbers=[(DT_STRSZ, 300 * MIB), (DT_SONAME, 0)], noise=MIB
    ),
    "overlapping names": elf_bomb(
        {DT_STRTAB: Repeated(b"a", 200 * MIB)},
        numbers=[(DT_STRSZ, 200 * MIB + 8), (DT_RPATH, 0), *((DT_NEEDED, n) for n in range(50))],
        noise=MIB,
    ),
    "buckets": elf_bomb(
        {
            DT_STRTAB: NAMES,
            DT_SYMTAB: symbol(0),
            DT_GNU_HASH: struct.pack("<4I", 80 * MIB, 1, 0, 0),
            DT_INIT: Repeated(bytes(4), 80 * MIB),
        },
        numbers=PLAIN,
        noise=MIB,
    ),
    "a chain and segments": elf_bomb(
        {
            DT_STRTAB: NAMES,
            DT_SYMTAB: Repeated(symbol(1), 900_000),
            DT_GNU_HASH: ENDLESS,
            DT_INIT: Repeated(bytes(4), 4 * MIB),
        },
        numbers=PLAIN,
        loads=60_000,
        noise=MIB,
    ),
    "a long chain": elf_bomb(
        {
            DT_STRTAB: NAMES,
            DT_SYMTAB: Repeated(symbol(1), 900_000),
            DT_GNU_HASH: ENDLESS,
            DT_INIT: Repeated(bytes(4), 4 * MIB),
        },
        numbers=PLAIN,
        loads=4000,
        noise=MIB,
    ),
}


@pytest.mark.parametrize("what", ELF_FILES)
def test_elf_files(what: str, tmp_path: Path) -> None:
    noise = 2 * MIB
    wheel = bomb_wheel(tmp_path, {"bomb/data.so": ELF_FILES[what], "bomb/_ext.abi3.so": [b"\x7fELF"]}, noise=noise)
    assert wheel.stat().st_size < 8 * MIB
    found = cost("show", wheel, tmp_path / "out")
    assert found.answer.code == 0
    assert "bomb/data.so" in {f["where"] for f in found.answer.findings if f["code"] == "NL105"}
    assert found.answer.document["wheels"][0]["tag"] is None


@pytest.mark.long
def test_symbols_in_many_files(tmp_path: Path) -> None:
    count = 900_000
    table = {
        DT_STRTAB: b"\0" + b"".join(b"%08d\0" % n for n in range(count)),
        DT_SYMTAB: b"".join(symbol(1 + 9 * n) for n in range(count)),
        DT_HASH: struct.pack("<II", 1, count),
    }
    parts = elf_bomb(table, numbers=[(DT_STRSZ, 9 * count + 1), (DT_SYMENT, 24)])
    wheel = bomb_wheel(tmp_path, {f"bomb/{n}.so": parts for n in range(12)})
    found = costly("show", wheel, limits={resource.RLIMIT_AS: 4096 * MIB})
    assert (found.answer.code, errors(found)) == (1, {"NL103"})
    assert found.peak < 2048 * MIB
