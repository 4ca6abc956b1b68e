"""RECORD: which files a wheel has, with digest and size (PEP 376, PEP 427). No I/O."""

from __future__ import annotations

import base64
import binascii
import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.findings import Code, Finding, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

RECORD_NAMES = ("RECORD", "RECORD.jws", "RECORD.p7s")
"""Files of the ``.dist-info`` directory that RECORD does not hash: itself and its signatures (PEP 427)."""

ALGORITHMS = frozenset({"sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s"})
"""Hash algorithms that RECORD may use: sha256 or better; not md5, sha1, sha224 (PEP 427)."""

_COLUMNS = 3
_MAX_LINES = 250_000  # more than an archive may have members
_MAX_PROBLEMS = 100
# Not str.splitlines(): that also splits at form feeds and U+2028, which a path may contain.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_NEEDS_QUOTES = re.compile(r'[",\r\n]|^ | $')


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEntry:
    """One line of RECORD."""

    path: str
    """Path in the archive, with ``/``."""
    digest: str = ""
    """``sha256=`` and the digest in unpadded URL-safe base64; empty for RECORD itself."""
    size: int | None = None
    """Bytes, or ``None`` where the line leaves it out."""

    @property
    def algorithm(self) -> str:
        """The name of the hash algorithm as ``hashlib`` knows it; empty without a digest."""
        return self.digest.partition("=")[0] if self.digest else ""


def digest_of_hex(digest: str, algorithm: str = "sha256") -> str:
    """Return the RECORD form of the hex *digest* (PEP 427: URL-safe base64 without padding)."""
    return f"{algorithm}={base64.urlsafe_b64encode(bytes.fromhex(digest)).rstrip(b'=').decode('ascii')}"


def hex_of_digest(digest: str) -> str:
    """Return the hex digest that *digest*, in the RECORD form, stands for.

    Raises :class:`ReadError` (``BAD_RECORD``) if it is not ``algorithm=base64``.
    """
    _, found, value = digest.partition("=")
    try:
        if not found or not value.isascii() or set("+/") & set(value):
            raise ValueError
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True).hex()
    except (ValueError, binascii.Error):
        message = f"{digest!r} is not a digest of the form sha256=<base64>."
        raise ReadError.of(Code.BAD_RECORD, "RECORD", message) from None


def parse_record(text: str) -> tuple[RecordEntry, ...]:
    """Return the lines of *text*, in order; blank lines are skipped.

    Raises :class:`ReadError` (``BAD_RECORD``) with one finding for each line that is not path, digest, size, up to a
    hundred, or for more lines than any archive has members.
    """
    entries: list[RecordEntry] = []
    problems: list[Finding] = []
    rows = csv.reader((line[0] for line in _LINE.finditer(text)), strict=True)
    try:
        for row in rows:
            if rows.line_num > _MAX_LINES:
                problems.append(error(Code.BAD_RECORD, "RECORD", f"It has more than {_MAX_LINES} lines."))
            if len(problems) > _MAX_PROBLEMS or rows.line_num > _MAX_LINES:
                break
            if not row:
                continue
            problem = _row_problem(row)
            if problem:
                problems.append(error(Code.BAD_RECORD, "RECORD", f"Line {rows.line_num} {problem}."))
            else:
                size = int(row[2]) if row[2] else None
                entries.append(RecordEntry(path=row[0], digest=row[1], size=size))
    except csv.Error as failure:
        problems.append(error(Code.BAD_RECORD, "RECORD", f"Line {rows.line_num} is not valid CSV: {failure}."))
    if problems:
        raise ReadError(problems)
    return tuple(entries)


def _row_problem(row: list[str]) -> str:
    """Return what is wrong with the columns of one line, or an empty string."""
    if len(row) != _COLUMNS:
        return f"has {len(row)} columns instead of path, digest and size"
    path, digest, size = row
    if not path:
        return "has no path"
    if digest and not all(digest.partition("=")):
        return f"has {digest!r} where a digest such as sha256=... belongs"
    # Twenty digits are more than any file has; int() itself refuses very long numbers with an exception of its own.
    if size and not (size.isascii() and size.isdigit() and len(size) <= 20):
        return f"has {size!r} where the size in bytes belongs"
    return ""


def format_record(entries: Iterable[RecordEntry]) -> str:
    """Return the text of RECORD for *entries*, in their order, each line with its line feed."""
    return "".join(
        f"{_quoted(entry.path)},{_quoted(entry.digest)},{'' if entry.size is None else entry.size}\n"
        for entry in entries
    )


def _quoted(column: str) -> str:
    """Return *column* as CSV has it: in quotes where it must be, with quotes inside doubled (RFC 4180)."""
    return '"' + column.replace('"', '""') + '"' if _NEEDS_QUOTES.search(column) else column


def record_problems(
    entries: Iterable[RecordEntry], found: Mapping[str, tuple[str, int]], dist_info: str
) -> Iterator[Finding]:
    """Yield every way in which RECORD and the archive disagree.

    ``found`` has, for each member, its digest in RECORD's form with the algorithm that RECORD uses, and its size.
    RECORD itself and its signatures need no digest and need not be listed (PEP 427); a size may be left out.
    """
    exempt = {f"{dist_info}/{name}" for name in RECORD_NAMES}
    listed: dict[str, RecordEntry] = {}
    for entry in entries:
        if listed.setdefault(entry.path, entry) != entry:
            yield error(Code.BAD_RECORD, entry.path, "RECORD lists it twice, and differently.")
        elif entry.path not in found:
            yield error(Code.BAD_RECORD, entry.path, "RECORD lists it, but it is not in the wheel.")
    for path, (digest, size) in found.items():
        problem = "" if path in exempt else _disagreement(listed.get(path), digest, size)
        if problem:
            yield error(Code.BAD_RECORD, path, problem)


def _disagreement(entry: RecordEntry | None, digest: str, size: int) -> str:
    """Return how the line of RECORD and the member differ, or an empty string."""
    if entry is None:
        return "It is in the wheel, but RECORD does not list it."
    if not entry.digest:
        return "RECORD has no digest for it."
    if entry.algorithm not in ALGORITHMS:
        return f"RECORD has a digest of the kind {entry.algorithm!r} for it; sha256 or better is needed."
    if entry.size not in (None, size):
        return f"It has {size} bytes, but RECORD says {entry.size}."
    # Some tools leave the padding of base64 in, though PEP 427 forbids it.
    if entry.digest.rstrip("=") != digest:
        return f"Its digest is {digest}, but RECORD says {entry.digest}."
    return ""
