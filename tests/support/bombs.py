"""Wheels and ELF files that are small until somebody reads them."""

from __future__ import annotations

import hashlib
import random
import struct
import zipfile
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NAME = "bomb-1.0-py3-none-linux_x86_64.whl"
_DIST_INFO = "bomb-1.0.dist-info"
_PIECE = 1 << 20


@dataclass(frozen=True)
class Repeated:
    """*unit*, so many *times*; made in pieces, for it may be larger than the memory."""

    unit: bytes
    times: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the content."""
        count = max(1, _PIECE // len(self.unit))
        for done in range(0, self.times, count):
            yield self.unit * min(count, self.times - done)

    def __len__(self) -> int:
        """Return the number of bytes."""
        return len(self.unit) * self.times


Part = bytes | Repeated


def bomb_wheel(
    directory: Path, files: Mapping[str, Sequence[Part]], *, noise: int = 0, name: str = NAME, record: bytes = b""
) -> Path:
    """Write a wheel with *files*, each made of parts, and a correct RECORD unless *record* is another one.

    *noise* bytes that nothing makes smaller keep the wheel as a whole below the ratio of a bomb.
    """
    metadata = b"Metadata-Version: 2.1\nName: bomb\nVersion: 1.0\n"
    tag = name.removesuffix(".whl").split("-", 2)[2]
    wheel = f"Wheel-Version: 1.0\nGenerator: tests (1)\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    members: dict[str, Sequence[Part]] = {f"{_DIST_INFO}/METADATA": [metadata], f"{_DIST_INFO}/WHEEL": [wheel], **files}
    if noise:
        members["bomb/noise.bin"] = [random.Random(1).randbytes(noise)]
    directory.mkdir(parents=True, exist_ok=True)
    path, rows = directory / name, []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for member, parts in members.items():
            digest, size = hashlib.sha256(), 0
            info = zipfile.ZipInfo(member)
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=sum(map(len, parts)) > 1 << 31) as file:
                for part in parts:
                    for piece in [part] if isinstance(part, bytes) else part.pieces():
                        digest.update(piece)
                        size += len(piece)
                        file.write(piece)
            rows.append(f"{member},sha256={urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()},{size}\n")
        rows.append(f"{_DIST_INFO}/RECORD,,\n")
        archive.writestr(f"{_DIST_INFO}/RECORD", record or "".join(rows))
    return path


def elf_bomb(
    tables: Mapping[int, Part],
    *,
    numbers: Sequence[tuple[int, int]] = (),
    more: Part = b"",
    loads: int = 1,
    noise: int = 0,
) -> list[Part]:
    """Return the parts of a shared library for x86-64 whose dynamic table names *tables*.

    *tables* maps tags to what they point to, in this order in the file; *numbers* are further entries, *more* follows
    them, before the table ends. In front of the ``PT_LOAD`` segment are empty ones, *loads* with it. *noise* bytes at
    the end cannot be made smaller.
    """
    header_size = 64 + 56 * (loads + 1)
    at, places = header_size, {}
    for tag, content in tables.items():
        at += -at % 16
        places[tag] = at
        at += len(content)
    at += -at % 16
    entries = [*numbers, *places.items()]
    table = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    table_size = len(table) + len(more) + 16
    size = at + table_size + noise
    ident = b"\x7fELF\2\1\1" + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, loads + 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 4096)
    empty = Repeated(struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, 0, 0, 4096), loads - 1)
    dynamic = struct.pack("<IIQQQQQQ", 2, 6, at, at, at, table_size, table_size, 8)
    parts: list[Part] = [head, dynamic, empty, load]
    done = header_size
    for content in tables.values():
        parts += [bytes(-done % 16), content]
        done += -done % 16 + len(content)
    return [*parts, bytes(-done % 16), table, more, bytes(16), random.Random(2).randbytes(noise)]
