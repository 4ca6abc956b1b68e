"""The wheel that members are copied from.

Its directory was checked when its facts were read. The file may have changed since, so each member is compared with
those facts again.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, Self

from nativelib.errors import ReadError
from nativelib.facts import zipformat as z
from nativelib.findings import Code, error
from nativelib.write.stage import removed_on_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nativelib.facts.wheel import Member

_PIECE: Final = 1 << 20


class Source:
    """A wheel file, opened to copy members from; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open *path*. Raises :class:`ReadError` (``NOT_FOUND``) if that is not possible."""
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as failure:
            raise self._unreadable(failure) from None

    def __enter__(self) -> Self:
        """Return the source itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._file)

    def raw(self, member: Member) -> Iterator[bytes]:
        """Yield the compressed bytes of *member* in pieces.

        Raises :class:`ReadError` (``NOT_A_WHEEL``) if the member is not where it was.
        """
        name = member.name.encode()
        header = self._pread(z.LOCAL.size + len(name), member.header_offset)
        if not header.startswith(z.LOCAL_MAGIC) or header[z.LOCAL.size :] != name:
            raise self._changed(member)
        *_, name_length, extra_length = z.LOCAL.unpack_from(header)
        if name_length != len(name):
            raise self._changed(member)
        at = member.header_offset + z.LOCAL.size + name_length + extra_length
        end = at + member.compressed_size
        while at < end:
            piece = self._pread(min(_PIECE, end - at), at)
            if not piece:
                raise self._changed(member)
            yield piece
            at += len(piece)

    def content(self, member: Member) -> Iterator[bytes]:
        """Yield the content of *member* in pieces.

        Raises :class:`ReadError` (``NOT_A_WHEEL``), at the latest at the end, unless size, CRC and SHA-256 are right.
        """
        digest = hashlib.sha256()
        for piece in z.content(self.raw(member), member):
            digest.update(piece)
            yield piece
        if digest.hexdigest() != member.sha256:
            raise self._changed(member)

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._file, size, offset)
        except OSError as failure:
            raise self._unreadable(failure) from None

    def _changed(self, member: Member) -> ReadError:
        return z.damaged(member.name, f"It is not what it was when {self._path} was read: the file has changed.")

    def _unreadable(self, failure: OSError) -> ReadError:
        message = f"It cannot be read: {failure.strerror or failure}."
        return ReadError([error(Code.NOT_FOUND, str(self._path), message)])


def read_member(source: Path, member: Member) -> bytes:
    """Return the content of *member* of the wheel file *source*. Raises :class:`ReadError` if it is not as it was."""
    with Source(source) as opened:
        return b"".join(opened.content(member))


def extract_member(source: Path, member: Member, target: Path) -> None:
    """Write the content of *member* of the wheel file *source* to the file *target*.

    Raises :class:`ReadError` if the member is not as it was, :class:`WriteError` (``WRITE_FAILED``) if the target
    cannot be written; then there is no target.
    """
    with Source(source) as opened, removed_on_failure(target) as file:
        file.writelines(opened.content(member))
