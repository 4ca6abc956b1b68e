"""A source distribution -> :class:`~nativelib.facts.release.DistFile`: the only reader of tar files."""

from __future__ import annotations

import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Final

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from nativelib.errors import ReadError
from nativelib.facts.metadata import parse_metadata
from nativelib.facts.release import DistFile
from nativelib.findings import Code
from nativelib.read.wheel import same_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO, BinaryIO

PYPROJECT: Final = "pyproject.toml"
_PKG_INFO: Final = "PKG-INFO"
_WANTED: Final = (_PKG_INFO, PYPROJECT)
_MAX_TEXT: Final = 16 << 20
_MAX_ALL: Final = 1 << 30
_MAX_MEMBERS: Final = 100_000
_BROKEN: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, OverflowError, RuntimeError, ValueError),  # RuntimeError: encrypted, or of an unknown method
)


class _Refused(Exception):  # noqa: N818 - it is no error of the program, and ends in a finding
    """The archive asks for more than any real one does; the text says of what."""


def is_sdist(path: Path) -> bool:
    """Return whether the file name is that of a source distribution (PEP 625; ``.zip`` was allowed before)."""
    return path.name.endswith((".tar.gz", ".zip"))


def read_sdist(path: Path) -> DistFile:
    """Return what PKG-INFO and pyproject.toml of the source distribution *path* say. Nothing is unpacked to disk.

    Raises :class:`ReadError`: ``NOT_FOUND``, ``BAD_SDIST`` for what is damaged, is named wrongly or has no PKG-INFO,
    ``UNSAFE_MEMBER`` for what would take more memory or time than any real one, and ``BAD_METADATA``.
    """
    try:
        with path.open("rb") as file:
            texts = dict(_from_zip(file) if path.suffix == ".zip" else _from_tar(file))
    except OSError as cause:
        if isinstance(cause, gzip.BadGzipFile):
            raise _broken(path, cause) from None
        text = "There is no such file." if isinstance(cause, FileNotFoundError) else f"It cannot be read: {cause}."
        raise ReadError.of(Code.NOT_FOUND, str(path), text) from None
    except _Refused as cause:
        raise ReadError.of(Code.UNSAFE_MEMBER, str(path), f"It has {cause}; nothing real needs that.") from None
    except _BROKEN as cause:
        raise _broken(path, cause) from None
    if _PKG_INFO not in texts:
        text = f"It has no {_PKG_INFO} in its one directory, so nothing says what it requires."
        raise ReadError.of(Code.BAD_SDIST, str(path), text, "Build it with a build backend of PEP 517.")
    return _checked(path, texts)


def _broken(path: Path, cause: Exception) -> ReadError:
    return ReadError.of(Code.BAD_SDIST, str(path), f"It is no sound archive: {cause}.", "Build or download it again.")


def _checked(path: Path, texts: dict[str, bytes]) -> DistFile:
    """Return the facts, if the file name and PKG-INFO speak of the same release."""
    try:
        name, version = parse_sdist_filename(path.name)
    except InvalidSdistFilename as cause:
        remedy = "A source distribution is called NAME-VERSION.tar.gz."
        raise ReadError.of(Code.BAD_SDIST, str(path), f"It is not named like one: {cause}.", remedy) from None
    try:
        metadata = parse_metadata(texts.pop(_PKG_INFO).decode(), _PKG_INFO)
    except UnicodeDecodeError as cause:
        raise ReadError.of(Code.BAD_METADATA, _PKG_INFO, f"It is not UTF-8: {cause.reason}.") from None
    if canonicalize_name(metadata.name) != name or not same_version(metadata.version, str(version)):
        text = f"It says {metadata.name} {metadata.version}, but the file name says {name} {version}."
        raise ReadError.of(Code.BAD_METADATA, _PKG_INFO, text, "Give the file its original name.")
    return DistFile(path=os.path.abspath(path), metadata=metadata, texts=texts)  # noqa: PTH100 - links stay as named


class _Bounded:
    """A decompressed stream for tarfile, which would read whatever size a header says at once."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size > _MAX_TEXT:
            raise _Refused(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        if position < self._stream.tell():  # a negative size; tarfile would read the same members for ever
            raise tarfile.ReadError("a member ends before it begins")
        if position > _MAX_ALL:
            raise _Refused(f"more than {_MAX_ALL} bytes")
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


def _from_tar(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    with gzip.GzipFile(fileobj=file) as stream, tarfile.open(fileobj=_Bounded(stream), mode="r:") as archive:  # type: ignore[call-overload]  # it has all that is used
        left = set(_WANTED)
        for number, member in enumerate(archive):
            if number > _MAX_MEMBERS:
                raise _Refused(f"more than {_MAX_MEMBERS} members")
            name = _wanted(member.name)
            if name in left and member.isreg():
                left.discard(name)
                if (content := archive.extractfile(member)) is not None:
                    with closing(content):
                        yield name, _limited(content, member.size)
            if not left:
                return


def _from_zip(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if name := _wanted(info.filename):
                with archive.open(info) as content:
                    yield name, _limited(content, info.file_size)


def _wanted(member: str) -> str:
    """Return which of the wanted files *member* is: they stand in the archive's one top directory (PEP 625)."""
    parts = member.removeprefix("./").split("/")
    return parts[1] if len(parts) == 2 and parts[1] in _WANTED else ""


def _limited(content: IO[bytes], size: int) -> bytes:
    if size > _MAX_TEXT:
        raise _Refused(f"metadata of {size} bytes")
    return content.read(size)
