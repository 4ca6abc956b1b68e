"""Mutations that keep an archive whole, so that they reach what stands behind the checksums."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from tests.support.wheels import record_digest

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


def mutate_member(data: bytes, change: Callable[[bytes, int], bytes], source: random.Random) -> bytes | None:
    """Return the wheel *data* with one member that *change* was called for, or ``None`` if it is not whole.

    *change* takes bytes and the size that it must not exceed. All digests are right again, unless RECORD was chosen.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        name = source.choice(list(members))
        members[name] = bytes(change(members[name], len(members[name]) + 64))
        if not name.endswith("/RECORD"):
            members = {path: _record(members, path) if path.endswith("/RECORD") else c for path, c in members.items()}
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", source.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for path, content in members.items():
                archive.writestr(zipfile.ZipInfo(path), content)
        return out.getvalue()
    # This is every way in which the standard library says that an archive is broken.
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, IndexError, RuntimeError, ValueError,
            OSError, NotImplementedError):  # fmt: skip
        return None


def _record(members: dict[str, bytes], record: str) -> bytes:
    rows = (f'"{path}",sha256={record_digest(content)},{len(content)}\n' for path, content in members.items())
    return "".join(row for row in rows if not row.startswith(f'"{record}"')).encode() + f'"{record}",,\n'.encode()
