"""Deflate streams in pieces: libdeflate's whole streams, joined to one that every reader understands."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import deflate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nativelib.write.archive import NewMember, write_wheel
from nativelib.write.archive_join import deflate_piece
from tests.support.tools import require

MIB = 1 << 20


@cache
def machine_code() -> bytes:
    """Some megabytes of an ELF file that every compiler brings: the compiler."""
    found = subprocess.run([require("gcc"), "-print-prog-name=cc1"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip()).read_bytes()[: 6 * MIB]


_PARTS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda size, seed: random.Random(seed).randbytes(size), st.integers(0, 40_000), st.integers(0, 99)),
    st.builds(bytes, st.integers(0, 90_000)),
    st.builds(lambda unit, count: unit * count, st.binary(min_size=1, max_size=40), st.integers(0, 3_000)),
    st.builds(
        lambda letters, size, seed: bytes(random.Random(seed).choices(letters, k=size)),
        st.binary(min_size=1, max_size=30),
        st.integers(0, 30_000),
        st.integers(0, 99),
    ),
    st.builds(lambda start, size: machine_code()[start : start + size], st.integers(0, MIB), st.integers(0, 90_000)),
)


def inflated(stream: bytes) -> bytes:
    """The content of one whole raw deflate stream."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    content = engine.decompress(stream)
    assert engine.eof
    assert not engine.unused_data
    return content


def joined(pieces: list[bytes], level: int) -> bytes:
    last = len(pieces) - 1
    return b"".join(deflate_piece(memoryview(p), level, final=i == last) for i, p in enumerate(pieces))


def is_libdeflates(piece: bytes | bytearray, data: bytes, level: int) -> bool:
    """Whether *piece* is libdeflate's stream of *data*, reopened, and not what zlib made instead."""
    whole = deflate.deflate_compress(data, level)
    return len(piece) in {len(whole) + 4, len(whole) + 5} and piece[: len(whole) // 2] == whole[: len(whole) // 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_PARTS, max_size=3).map(b"".join), min_size=1, max_size=4), st.integers(0, 9))
def test_pieces_are_one_stream(pieces: list[bytes], level: int) -> None:
    assert inflated(joined(pieces, level)) == b"".join(pieces)


def test_each_piece_of_an_elf_file_is_libdeflates() -> None:
    data = machine_code()
    pieces = [data[start : start + MIB] for start in range(0, len(data), MIB)]
    for piece in pieces:
        assert is_libdeflates(deflate_piece(memoryview(piece), 6, final=False), piece, 6)
    assert inflated(joined(pieces, 6)) == data


@pytest.mark.parametrize("level", [1, 3, 6])
def test_a_level_gives_less_than_zlibs_of_the_same_number(level: int) -> None:
    pieces = [machine_code()[start : start + MIB] for start in range(MIB, 4 * MIB, MIB)]
    assert len(joined(pieces, level)) < len(zlib.compress(b"".join(pieces), level, -zlib.MAX_WBITS))


def test_streams_that_end_at_any_bit_are_reopened() -> None:
    data = machine_code()[MIB : 2 * MIB]
    ends = set()
    for size in range(500_000, 500_400, 16):
        piece = deflate_piece(memoryview(data)[:size], 6, final=False)
        assert is_libdeflates(piece, data[:size], 6)
        assert inflated(bytes(piece) + b"\3\0") == data[:size]
        ends.add(len(piece) - len(deflate.deflate_compress(data[:size], 6)))
    assert ends == {4, 5}


def test_short_headers_are_found() -> None:
    data = bytes(random.Random(1).choices(b"ab", k=MIB))
    assert is_libdeflates(deflate_piece(memoryview(data), 6, final=False), data, 6)


@pytest.mark.parametrize(
    "data", [b"", b"x", bytes(MIB), random.Random(2).randbytes(MIB)], ids=["empty", "one", "zeros", "random"]
)
def test_what_cannot_be_reopened_is_zlibs(data: bytes) -> None:
    piece = deflate_piece(memoryview(data), 6, final=False)
    engine = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    assert piece == engine.compress(data) + engine.flush(zlib.Z_SYNC_FLUSH)


def test_unzip_reads_members_of_many_pieces(tmp_path: Path) -> None:
    code, noise = machine_code()[: 3 * MIB], random.Random(3).randbytes(700_000)
    contents = [b"", code, code + noise + bytes(2 * MIB) + code[::-1], noise, code[: MIB + 1], code[:MIB]]
    out = tmp_path / "x.whl"
    digest = write_wheel(out, [NewMember(str(i), content) for i, content in enumerate(contents)], source=None)
    subprocess.run([require("unzip"), "-tqq", str(out)], check=True, capture_output=True)
    assert [member.crc for member in digest.members] == [zlib.crc32(content) for content in contents]


_WRITE = """
import os, re, sys
from pathlib import Path
from nativelib.write.archive import NewMember, write_wheel
os.cpu_count = lambda: 2
write_wheel(Path(sys.argv[2]), [NewMember("a", Path(sys.argv[1]))], source=None)
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_member(tmp_path: Path) -> None:
    unit = machine_code()[: 4 * MIB]
    peaks = []
    for count in (2, 12):
        source = tmp_path / str(count)
        source.write_bytes(unit * count)
        argv = [sys.executable, "-c", _WRITE, str(source), str(tmp_path / "x.whl")]
        root = str(Path(__file__).parent.parent)
        done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=root)
        peaks.append(int(done.stdout) << 10)
    less, more = peaks
    assert more < less + 8 * MIB
    assert more < 80 * MIB
