"""New members, compressed on all cores in bounded memory."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from nativelib.errors import WriteError
from nativelib.facts import zipformat as z
from nativelib.findings import Code, error
from nativelib.write.archive_join import deflate_piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from nativelib.facts.wheel import Member

_MAX_THREADS: Final = 16


@dataclass(frozen=True, slots=True)
class RawCopy:
    """A member of the source whose compressed bytes are copied as they are."""

    member: Member
    """The member as it was read."""
    name: str | None = None
    """Its new name, where that changes."""


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member with new content."""

    name: str
    """Path in the archive, with ``/``."""
    content: bytes | Path
    """The content, or a file that has it."""
    mode: int = 0o644
    """Permission bits."""
    date_time: z.DateTime = (1980, 1, 1, 0, 0, 0)
    """Time stamp; zip keeps even seconds only."""


@dataclass(frozen=True, slots=True)
class Promised:
    """A new member that is still being made."""

    name: str
    """Path in the archive."""
    made: Future[NewMember]
    """It is waited for when its turn comes; what making it raises, writing it raises."""


Entry: TypeAlias = RawCopy | NewMember | Promised


@dataclass(frozen=True, slots=True)
class Begin:
    """A new member of *size* bytes begins."""

    entry: NewMember
    size: int


@dataclass(frozen=True, slots=True)
class Block:
    """The next part of its deflate stream, as soon as it is ready."""

    data: Future[bytes | bytearray]


@dataclass(frozen=True, slots=True)
class End:
    """The new member is complete; its checksums are those of the uncompressed content."""

    entry: NewMember
    size: int
    crc: int
    sha256: str


Step: TypeAlias = RawCopy | Begin | Block | End


@contextmanager
def deflater(level: int) -> Iterator[Callable[[Iterable[Entry]], Iterator[Step]]]:
    """Give a function that turns entries into the steps of writing them, while threads deflate what comes next.

    A long content is cut into pieces that are deflated apart and joined to one stream: the result depends on the
    content and the *level*, not on the number of threads.
    """
    threads = min(os.cpu_count() or 1, _MAX_THREADS)
    executor = ThreadPoolExecutor(threads)

    def submit(data: memoryview, *, final: bool) -> Future[bytes | bytearray]:
        return executor.submit(deflate_piece, data, level, final=final)

    def ahead(entries: Iterable[Entry]) -> Iterator[Step]:
        queue: deque[Step] = deque()
        blocks = 0
        for step in _steps(entries, submit):
            queue.append(step)
            blocks += isinstance(step, Block)
            while blocks > 2 * threads:
                blocks -= isinstance(queue[0], Block)
                yield queue.popleft()
        yield from queue

    try:
        yield ahead
    finally:
        executor.shutdown(cancel_futures=True)


def _steps(entries: Iterable[Entry], submit: Callable[..., Future[bytes | bytearray]]) -> Iterator[Step]:
    for entry in entries:
        if isinstance(entry, RawCopy):
            yield entry
            continue
        if isinstance(entry, Promised):
            entry = entry.made.result()
        begun = Begin(entry, content_size(entry))
        yield begun
        sha256, crc, done = hashlib.sha256(), 0, 0
        for piece in content_pieces(entry, begun.size):
            done += len(piece)
            yield Block(submit(piece, final=done == begun.size))
            sha256.update(piece)
            crc = zlib.crc32(piece, crc)
        yield End(entry, begun.size, crc, sha256.hexdigest())


def content_size(entry: NewMember) -> int:
    """Return the size of the content of *entry* in bytes. Raises :class:`WriteError` if the file cannot be read."""
    if isinstance(entry.content, bytes):
        return len(entry.content)
    try:
        return entry.content.stat().st_size
    except OSError as failure:
        raise _unreadable(entry.content, failure.strerror or str(failure)) from None


def content_pieces(entry: NewMember, size: int) -> Iterator[memoryview]:
    """Yield the *size* bytes of the content of *entry* in pieces of 1 MiB; of an empty content one empty piece.

    Raises :class:`WriteError` if a file cannot be read or has another size by now.
    """
    if isinstance(entry.content, bytes):
        view = memoryview(entry.content)
        yield from (view[start : start + z.PIECE] for start in range(0, size or 1, z.PIECE))
        return
    try:
        with entry.content.open("rb", buffering=0) as file:
            left = size
            while left or not size:
                piece = file.read(min(z.PIECE, left))
                left -= len(piece)
                if not piece and size:
                    raise _unreadable(entry.content, "it became shorter meanwhile")
                yield memoryview(piece)
                if not left:
                    break
            if file.read(1):
                raise _unreadable(entry.content, "it became longer meanwhile")
    except OSError as failure:
        raise _unreadable(entry.content, failure.strerror or str(failure)) from None


def _unreadable(path: Path, reason: str) -> WriteError:
    return WriteError([error(Code.WRITE_FAILED, str(path), f"It cannot be read: {reason}.")])
