"""Members -> a wheel file: raw copies of what did not change, and new members, deflated on all cores.

The same entries give the same bytes, whatever the clock, the umask, the locale and the number of cores. The form is
that of :mod:`nativelib.facts.zipformat`: no extra fields but Zip64's, no data descriptors, no directory entries.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final

from nativelib.errors import WriteError
from nativelib.facts import zipformat as z
from nativelib.facts.progress import silent
from nativelib.findings import Code, error
from nativelib.write.archive_deflate import Begin, Block, End, NewMember, Promised, RawCopy, content_pieces, deflater
from nativelib.write.archive_source import Source, extract_member, read_member
from nativelib.write.stage import StagedFile, removed_on_failure, staged_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from nativelib.facts.progress import Report
    from nativelib.facts.wheel import Member
    from nativelib.write.archive_deflate import Entry, Step

__all__ = [
    "NewMember",
    "Promised",
    "RawCopy",
    "StagedFile",
    "WheelDigest",
    "epoch_date_time",
    "extract_member",
    "read_member",
    "staged_file",
    "write_wheel",
]

EPOCH: Final[z.DateTime] = (1980, 1, 1, 0, 0, 0)
"""The first moment that zip can express."""
_LAST: Final[z.DateTime] = (2107, 12, 31, 23, 59, 58)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelDigest:
    """What was written."""

    sha256: str
    """SHA-256 of the archive, as hex."""
    size: int
    """Bytes of the archive."""
    members: tuple[Member, ...]
    """Members as they stand in the new archive, in order."""


def write_wheel(
    target: Path,
    entries: Sequence[Entry],
    *,
    source: Path | None,
    level: int = 6,
    last: Callable[[tuple[Member, ...]], NewMember] | None = None,
    limit: int = z.LIMIT,
    report: Report = silent,
) -> WheelDigest:
    """Write *entries*, in their order, as an archive to the file *target*, and return what it holds.

    ``source`` is the wheel that raw copies come from. ``last`` makes the last member, RECORD, from the members before
    it. ``level`` is deflate's, 0 to 9; what deflate cannot make smaller is stored. ``limit`` is the size in bytes from
    which Zip64 is used. Raises :class:`WriteError` (``WRITE_FAILED``) for entries that no archive may have and when the
    disk refuses, :class:`ReadError` when the source has changed; then there is no target.
    """
    _check(entries, level=level, needs_source=source is None)
    with ExitStack() as stack:
        opened = stack.enter_context(Source(source)) if source else None
        steps = stack.enter_context(deflater(level))
        with removed_on_failure(target) as file:
            output = _Output(file, opened, limit, report)
            output.take(steps(entries))
            if last:
                final = last(tuple(output.members))
                _check([*(NewMember(member.name, b"") for member in output.members), final], level=level)
                output.take(steps([final]))
            output.finish()
        return _digest(target, tuple(output.members))


def epoch_date_time(environ: Mapping[str, str]) -> z.DateTime:
    """Return the time stamp of new members: 1980-01-01, or SOURCE_DATE_EPOCH of *environ* when that is set.

    The variable is a number of seconds since 1970 in UTC (reproducible-builds.org); what zip cannot express becomes the
    nearest moment between 1980 and 2107 that it can. Raises :class:`WriteError` if it is no such number.
    """
    value = environ.get("SOURCE_DATE_EPOCH", "")
    if not value:
        return EPOCH
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        message = f"It is {value!r}, which is not a whole number of seconds since 1970."
        raise WriteError.of(
            Code.WRITE_FAILED, "SOURCE_DATE_EPOCH", message, "Unset it, or use `git log -1 --pretty=%ct`."
        )
    first, last = (int(datetime(*moment, tzinfo=UTC).timestamp()) for moment in (EPOCH, _LAST))
    moment = datetime.fromtimestamp(min(max(int(value), first), last), UTC)
    return moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second // 2 * 2


def _check(entries: Sequence[Entry], *, level: int, needs_source: bool = False) -> None:
    """Refuse entries that no archive may have; all of them at once."""
    problems: list[tuple[str, str]] = []
    seen: set[str] = set()
    for entry in entries:
        name = _name(entry)
        if name in seen:
            problems.append((name, "would be written twice"))
        seen.add(name)
        problem = z.name_problem(name) or ("is a directory" if name.endswith("/") else "")
        if problem:
            problems.append((name, problem))
        if isinstance(entry, NewMember) and not (EPOCH <= entry.date_time <= _LAST and 0 <= entry.mode <= 0o777):
            problems.append((name, "has permissions or a date that zip cannot express"))
        if needs_source and isinstance(entry, RawCopy):
            problems.append((name, "would be copied, but there is no wheel to copy from"))
    if not 0 <= level <= 9:
        problems.append(("level", "is not from 0 to 9"))
    if problems:
        raise WriteError(error(Code.WRITE_FAILED, name, f"It {problem}.") for name, problem in problems)


def _name(entry: Entry) -> str:
    return entry.name or entry.member.name if isinstance(entry, RawCopy) else entry.name


def _digest(target: Path, members: tuple[Member, ...]) -> WheelDigest:
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return WheelDigest(sha256=digest.hexdigest(), size=file.tell(), members=members)


class _Output:
    """The archive while it is written."""

    def __init__(self, file: BinaryIO, source: Source | None, limit: int, report: Report) -> None:
        self._file = file
        self._source = source
        self._limit = limit
        self._report = report
        self._entries: list[z.Entry] = []
        self.members: list[Member] = []

    def take(self, steps: Iterable[Step]) -> None:
        """Do *steps*."""
        start = done = 0
        begun: Begin | None = None
        for step in steps:
            match step:
                case RawCopy():
                    self._copy(step)
                case Begin():
                    begun, done = step, 0
                    start = self._file.tell()
                    self._file.write(self._header(_entry(step.entry, size=step.size, offset=start)))
                case Block():
                    if begun is not None:
                        self._report(f"compressing {begun.entry.name}", done, begun.size)
                    self._file.write(step.data.result())
                    done += z.PIECE
                case End():
                    self._end(step, start)

    def finish(self) -> None:
        """Write the central directory and its end."""
        offset = self._file.tell()
        directory = b"".join(z.central_header(entry, self._limit) for entry in self._entries)
        self._file.write(directory + z.end_records(len(self._entries), len(directory), offset, self._limit))

    def _header(self, entry: z.Entry) -> bytes:
        return z.local_header(entry, self._limit)

    def _copy(self, step: RawCopy) -> None:
        """Copy a member of the source under a fresh header."""
        old = step.member
        entry = z.Entry(
            name=_name(step),
            size=old.size,
            compressed_size=old.compressed_size,
            crc=old.crc,
            method=old.method,
            mode=old.mode,
            date_time=old.date_time,
            header_offset=self._file.tell(),
        )
        self._file.write(self._header(entry))
        if self._source is not None:
            self._file.writelines(self._source.raw(old))
        self._add(entry, old.sha256)

    def _end(self, step: End, start: int) -> None:
        """Complete the member whose header begins at *start*: its sizes and CRC are known only now."""
        end = self._file.tell()
        entry = _entry(step.entry, size=step.size, offset=start)
        data = start + len(self._header(entry))
        if end - data < step.size:
            entry = _entry(step.entry, size=step.size, offset=start, compressed_size=end - data, crc=step.crc)
        else:
            self._file.seek(data)
            self._store(step)
            self._file.truncate()
            end = self._file.tell()
            entry = _entry(step.entry, size=step.size, offset=start, crc=step.crc, method=z.STORED)
        self._file.seek(start)
        self._file.write(self._header(entry))
        self._file.seek(end)
        self._add(entry, step.sha256)

    def _store(self, step: End) -> None:
        """Write the content as it is; it is read a second time, so it is compared."""
        digest = hashlib.sha256()
        for piece in content_pieces(step.entry, step.size):
            digest.update(piece)
            self._file.write(piece)
        if digest.hexdigest() != step.sha256:
            raise WriteError.of(Code.WRITE_FAILED, str(step.entry.content), "It changed while it was read.")

    def _add(self, entry: z.Entry, sha256: str) -> None:
        self._entries.append(entry)
        self.members.append(entry.member(sha256))


def _entry(
    new: NewMember,
    *,
    size: int,
    offset: int,
    compressed_size: int | None = None,
    crc: int = 0,
    method: int = z.DEFLATED,
) -> z.Entry:
    return z.Entry(
        name=new.name,
        size=size,
        compressed_size=size if compressed_size is None else compressed_size,
        crc=crc,
        method=method,
        mode=new.mode,
        date_time=(*new.date_time[:5], new.date_time[5] // 2 * 2),
        header_offset=offset,
    )
