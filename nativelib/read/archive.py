"""The wheel as an archive: the only reader of zip files. Nothing is unpacked before its directory has been checked."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple, Self

from packaging.utils import InvalidWheelFilename

from nativelib.errors import ReadError
from nativelib.facts import zipformat as z
from nativelib.facts.order import member_order
from nativelib.facts.wheel import WheelName
from nativelib.findings import Code, Finding, error, shortened
from nativelib.read.archive_directory import (
    TAIL,
    End,
    RawEntry,
    directory_problems,
    local_problem,
    parse_directory,
    parse_end,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_INPUT = 256 << 10
_MAX_DIRECTORY = 64 << 20
# Most local headers fit with their name and extra fields; the rest costs a second read.
_HEADER_GUESS = 512


class _LocalHeader(NamedTuple):
    """What the reader keeps of a local header."""

    size: int
    """Bytes, with name and extra fields."""
    normal: bool
    """Whether nativelib would write the same."""


class WheelArchive:
    """A wheel file, opened for reading; a context manager.

    Opening it checks the file name and the whole directory: safe, unambiguous names, known methods, no encryption, no
    links, no member that shares bytes with another or is described in two ways, no decompression bomb. Several threads
    may read different members at the same time.
    """

    def __init__(self, path: Path) -> None:
        """Open the wheel *path*.

        Raises :class:`ReadError`: ``NOT_FOUND`` if there is no such file or it cannot be read, ``NOT_A_WHEEL`` if it is
        no zip file, is damaged or is not named like a wheel (PEP 427), ``UNSAFE_MEMBER`` with all unsafe members.
        """
        self.path = path
        self._file = _open_file(path)
        try:
            self.name = _parse_name(path)
            self._file_size = os.fstat(self._file).st_size
            self._end = self._read_end()
            self._directory = self._pread(self._end.size, self._end.offset)
            raw, headers = self._checked_entries()
        except OSError as failure:
            os.close(self._file)
            raise _unreadable(path, failure) from None
        except BaseException:
            os.close(self._file)
            raise
        self._has_directories = any(entry.directory for entry in raw)
        self._headers = {entry.entry.name: header for entry, header in zip(raw, headers, strict=True)}
        self.entries: tuple[z.Entry, ...] = tuple(entry.entry for entry in raw if not entry.directory)
        """Files in the order of the directory; directory entries are left out."""

    def __enter__(self) -> Self:
        """Return the archive itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        os.close(self._file)

    def stream(self, entry: z.Entry) -> Iterator[bytes]:
        """Yield the content of *entry* in pieces of at most about 1 MiB.

        Raises :class:`ReadError` (``NOT_A_WHEEL``), at the latest with the last piece, unless size and CRC are right.
        """
        start = entry.header_offset + self._headers[entry.name].size
        return z.content(self._pieces(start, entry.compressed_size), entry)

    def read(self, entry: z.Entry) -> bytes:
        """Return the whole content of *entry*; the caller has looked at its size. Errors as :meth:`stream`."""
        return b"".join(self.stream(entry))

    def entry(self, name: str) -> z.Entry | None:
        """Return the entry called *name*, or ``None``."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def sha256(self) -> str:
        """Return the SHA-256 of the file, as hex."""
        digest = hashlib.sha256()
        for piece in self._pieces(0, self._file_size):
            digest.update(piece)
        return digest.hexdigest()

    def is_normal(self, dist_info: str) -> bool:
        """Return whether writing the members again, in the right order, would give this very file."""
        names = [entry.name for entry in self.entries]
        if self._has_directories or tuple(names) != member_order(names, dist_info):
            return False
        at = 0
        for entry in self.entries:
            header = self._headers[entry.name]
            if entry.header_offset != at or not header.normal:
                return False
            at += header.size + entry.compressed_size
        return (
            at == self._end.offset
            and self._directory == b"".join(z.central_header(entry) for entry in self.entries)
            and self._end.raw == z.end_records(len(names), self._end.size, self._end.offset)
        )

    def _pread(self, size: int, offset: int) -> bytes:
        """Return *size* bytes at *offset*, fewer at the end of the file. Has no position, so threads can share it."""
        data = os.pread(self._file, size, offset)
        while data and len(data) < size and (more := os.pread(self._file, size - len(data), offset + len(data))):
            data += more
        return data

    def _pieces(self, start: int, size: int) -> Iterator[bytes]:
        """Yield *size* bytes of the file from *start* on."""
        end = start + size
        while start < end:
            try:
                piece = self._pread(min(_INPUT, end - start), start)
            except OSError as failure:
                raise _unreadable(self.path, failure) from None
            if not piece:
                raise z.damaged(str(self.path), "It became shorter while it was read.")
            yield piece
            start += len(piece)

    def _read_end(self) -> End:
        """Return the end records."""
        size = min(self._file_size, TAIL)
        end = parse_end(self._pread(size, self._file_size - size), self._file_size, str(self.path))
        if end.size > _MAX_DIRECTORY:
            raise z.damaged(str(self.path), f"Its central directory has {end.size} bytes; nothing real needs that.")
        return end

    def _checked_entries(self) -> tuple[tuple[RawEntry, ...], list[_LocalHeader]]:
        """Return the records of the directory and their local headers; refuse all that is unsafe at once."""
        problems: list[Finding] = []
        raw = parse_directory(self._directory, self._end.count, str(self.path), problems)
        problems.extend(directory_problems(raw, self._file_size))
        headers = self._local_headers(raw, problems)
        problems.extend(self._layout_problems(raw, headers))
        if problems:
            raise ReadError(shortened(problems))
        return raw, headers

    def _local_headers(self, raw: Sequence[RawEntry], problems: list[Finding]) -> list[_LocalHeader]:
        """Return what to know of each entry's local header; add those that contradict the directory to *problems*."""
        headers: list[_LocalHeader] = []
        for entry in raw:
            offset = entry.entry.header_offset
            if offset + z.LOCAL.size > self._end.offset:
                problem, header = "is said to lie behind the end of the data", b""
            else:
                header = self._pread(_HEADER_GUESS, offset)
                problem, length = local_problem(entry, header)
                if length > len(header):
                    header = self._pread(length, offset)
                    problem, length = local_problem(entry, header)
                header = header[:length]
            if problem:
                problems.append(error(Code.UNSAFE_MEMBER, entry.entry.name, f"It {problem}."))
            # Not the bytes: all members may share one header of 128 KiB, until that is noticed. And a name that is
            # refused may be one that no header can have.
            headers.append(_LocalHeader(len(header), not problems and header == z.local_header(entry.entry)))
        return headers

    def _layout_problems(self, raw: Sequence[RawEntry], headers: Sequence[_LocalHeader]) -> Iterator[Finding]:
        """Yield members that share bytes with others, or that only a reader of local headers would see."""
        spans = sorted(
            (entry.entry.header_offset, header.size + entry.entry.compressed_size, entry.entry.name)
            for entry, header in zip(raw, headers, strict=True)
        )
        end = 0
        for offset, size, name in [*spans, (self._end.offset, 0, "")]:
            if offset < end:
                yield error(
                    Code.UNSAFE_MEMBER, name or str(self.path), "Bytes of it belong to another member at the same time."
                )
            elif offset > end and self._hides_member(end, offset):
                message = f"Between byte {end} and {offset} there is a member that its directory does not list."
                yield error(Code.UNSAFE_MEMBER, str(self.path), message)
            end = max(end, offset + size)

    def _hides_member(self, start: int, end: int) -> bool:
        """Return whether a local header begins in the unused bytes from *start* to *end*."""
        before = b""
        for piece in self._pieces(start, end - start):
            window = before + piece
            if z.LOCAL_MAGIC in window:
                return True
            before = window[-3:]
        return False


def _open_file(path: Path) -> int:
    """Return a descriptor of the regular file *path*."""
    try:
        # Not blocking: opening a pipe that is called a wheel must not wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        mode = os.fstat(file).st_mode
    except ValueError:
        raise ReadError.of(Code.NOT_FOUND, repr(str(path)), "There can be no such file.") from None
    except OSError as failure:
        raise _unreadable(path, failure) from None
    if not stat.S_ISREG(mode):
        os.close(file)
        kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
        raise ReadError.of(Code.NOT_A_WHEEL, str(path), f"It is {kind}, not a wheel.")
    return file


def _unreadable(path: Path, failure: OSError) -> ReadError:
    """Return the error for a file that the system will not give us."""
    if isinstance(failure, FileNotFoundError | NotADirectoryError):
        return ReadError([error(Code.NOT_FOUND, str(path), "There is no such file.")])
    return ReadError([error(Code.NOT_FOUND, str(path), f"It cannot be read: {failure.strerror or failure}.")])


def _parse_name(path: Path) -> WheelName:
    """Return the parts of the file name."""
    try:
        return WheelName.parse(path.name)
    except InvalidWheelFilename as failure:
        remedy = "A wheel is called NAME-VERSION-PYTHON-ABI-PLATFORM.whl."
        raise ReadError.of(Code.NOT_A_WHEEL, str(path), f"It is not named like a wheel: {failure}.", remedy) from None
