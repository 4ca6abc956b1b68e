"""A wheel file -> :class:`~nativelib.facts.wheel.WheelFacts`."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from nativelib.errors import ReadError
from nativelib.facts.manifest import MANIFEST
from nativelib.facts.metadata import parse_metadata, parse_wheel_text
from nativelib.facts.progress import silent
from nativelib.facts.record import ALGORITHMS, digest_of_hex, parse_record, record_problems
from nativelib.facts.wheel import WheelFacts, companion_of, skipped_members
from nativelib.findings import Code, Severity, error, listed, note, shortened
from nativelib.read.archive import WheelArchive
from nativelib.read.contents import read_contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nativelib.facts.progress import Report
    from nativelib.facts.record import RecordEntry
    from nativelib.facts.wheel import WheelName
    from nativelib.facts.zipformat import Entry
    from nativelib.findings import Finding

_MAX_TEXT: Final = 1 << 20
_MAX_REQUIRED_TEXT: Final = 16 << 20
_MAX_ALL_TEXT: Final = 48 << 20
_REQUIRED: Final = ("METADATA", "WHEEL", "RECORD")


def read_wheel(
    path: Path,
    *,
    check_record: bool = True,
    hints: bool = False,
    skip: Sequence[str] = (),
    report: Report = silent,
) -> WheelFacts:
    """Return what is known about the wheel file *path*.

    Every member is unpacked once, checked against its CRC and hashed. With ``check_record``, RECORD must list every
    member with its digest and size, and nothing else (PEP 376, PEP 427). With ``hints``, the facts have the libraries
    that code opens at run time. Members that match a glob of ``skip`` are not read as ELF files. ``report`` is told how
    much is read. Raises :class:`ReadError` with all problems of one kind at once: ``NOT_FOUND``, ``NOT_A_WHEEL`` (also
    for damaged members), ``UNSAFE_MEMBER``, ``BAD_RECORD``, or ``BAD_METADATA`` where METADATA or WHEEL is missing,
    wrong, or does not fit the file name. A broken ELF member is no error, but a warning in the facts: perhaps nothing
    needs it.
    """
    with WheelArchive(path) as archive:
        dist_info = _find_dist_info(archive.entries, archive.name, str(path))
        _check_sizes(archive.entries, dist_info)
        record = _read_record(archive, dist_info) if check_record else ()
        data_dir = f"{dist_info.removesuffix('.dist-info')}.data"
        companions = frozenset(companion_of(entry.name, data_dir) for entry in archive.entries)
        skipped = skipped_members((entry.name for entry in archive.entries), skip, dist_info)
        contents, sha256 = read_contents(
            archive,
            wanted=lambda entry: _is_text(entry, dist_info) or (entry.size <= _MAX_TEXT and entry.name in companions),
            algorithms={line.path: line.algorithm for line in record},
            hints=hints,
            unread=frozenset(skipped),
            report=report,
        )
        normal = archive.is_normal(dist_info)
        entries, name = archive.entries, archive.name
    by_name = {entry.name: content for entry, content in zip(entries, contents, strict=True)}
    _raise_for(finding for content in contents for finding in content.findings if finding.severity is Severity.ERROR)
    if check_record:
        found = {entry.name: (by_name[entry.name].digest, entry.size) for entry in entries}
        _raise_for(record_problems(record, found, dist_info))
    texts = {name: content.text for name, content in by_name.items() if content.text is not None}
    metadata, wheel = (_required_text(texts, f"{dist_info}/{file}") for file in ("METADATA", "WHEEL"))
    _check_metadata(metadata, wheel, name, dist_info)
    return WheelFacts(
        path=os.path.abspath(path),  # noqa: PTH100 - Path.resolve() would follow links, and the file name counts
        sha256=sha256,
        name=name,
        members=tuple(entry.member(by_name[entry.name].sha256) for entry in entries),
        normal=normal,
        dist_info=dist_info,
        metadata=metadata,
        wheel=wheel,
        elf={entry.name: facts for entry in entries if (facts := by_name[entry.name].elf) is not None},
        texts={
            entry.name: texts[entry.name]
            for entry in entries
            if entry.name in texts and entry.size <= _limit(entry, dist_info)
        },
        opened=tuple(opened for content in contents for opened in content.opened),
        skipped=skipped,
        findings=(*(finding for content in contents for finding in content.findings), *_skip_note(skipped, name)),
    )


def read_dist_info(path: Path, wanted: Sequence[str] = ()) -> tuple[WheelName, dict[str, bytes]]:
    """Return the name of the wheel *path*, and METADATA and WHEEL and those of the files *wanted* that stand by them.

    Nothing else is unpacked: the wheel may be for any system. What is read must be as RECORD says. Raises
    :class:`ReadError` as :func:`read_wheel` does.
    """
    with WheelArchive(path) as archive:
        dist_info = _find_dist_info(archive.entries, archive.name, str(path))
        _check_sizes(archive.entries, dist_info)
        record = _read_record(archive, dist_info)
        entries = [archive.entry(f"{dist_info}/{name}") for name in dict.fromkeys(("METADATA", "WHEEL", *wanted))]
        texts = {entry.name: archive.read(entry) for entry in entries if entry is not None}
        name = archive.name
    algorithms = {line.path: line.algorithm for line in record if line.algorithm in ALGORITHMS}
    found = {member: (_digest(text, algorithms.get(member, "sha256")), len(text)) for member, text in texts.items()}
    _raise_for(record_problems([line for line in record if line.path in found], found, dist_info))
    metadata, wheel = (_required_text(texts, f"{dist_info}/{file}") for file in ("METADATA", "WHEEL"))
    _check_metadata(metadata, wheel, name, dist_info)
    return name, {member.rpartition("/")[2]: text for member, text in texts.items()}


def _digest(data: bytes, algorithm: str) -> str:
    """Return the digest of *data* in RECORD's form."""
    return digest_of_hex(hashlib.new(algorithm, data).hexdigest(), algorithm)


def _skip_note(skipped: Sequence[str], name: WheelName) -> Iterator[Finding]:
    """Yield the note that says what was not read, if anything was not."""
    if skipped:
        message = f"--skip leaves {listed(skipped)} as they are, and none of it was read as an ELF file."
        yield note(Code.SKIPPED_MEMBER, str(name), message)


def _raise_for(findings: Iterable[Finding]) -> None:
    """Raise all *findings* as one error, if there are any."""
    problems = shortened(findings)
    if problems:
        raise ReadError(problems)


def _find_dist_info(entries: Sequence[Entry], name: WheelName, where: str) -> str:
    """Return the one ``.dist-info`` directory, which must be that of the file name."""
    tops = dict.fromkeys(entry.name.partition("/")[0] for entry in entries if "/" in entry.name)
    found = [top for top in tops if top.endswith(".dist-info")]
    if not found:
        raise ReadError.of(Code.NOT_A_WHEEL, where, "It has no .dist-info directory.")
    if len(found) > 1:
        raise ReadError.of(Code.BAD_RECORD, where, f"It has several .dist-info directories: {', '.join(found)}.")
    distribution, _, version = found[0].removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(distribution) != name.normalized or not same_version(version, name.version):
        message = f"Its directory {found[0]} does not fit the file name, {name.distribution} {name.version}."
        raise ReadError.of(Code.BAD_RECORD, where, message, "Give the file its original name.")
    return found[0]


def same_version(one: str, other: str) -> bool:
    """Return whether two versions are the same (PEP 440); what is no version is compared as text."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _is_text(entry: Entry, dist_info: str) -> bool:
    """Return whether plans may want the content of *entry*: small metadata, and modules that can hold the hook."""
    if entry.name in (f"{dist_info}/METADATA", f"{dist_info}/WHEEL"):
        return True
    known = entry.name.rpartition("/")[2] in ("__init__.py", "_distributor_init.py")
    return entry.size <= _limit(entry, dist_info) and (known or entry.name.startswith(f"{dist_info}/"))


def _limit(entry: Entry, dist_info: str) -> int:
    # A manifest names every function of its libraries: OpenBLAS with an adapter over all of it has 30,000.
    return _MAX_REQUIRED_TEXT if entry.name == f"{dist_info}/{MANIFEST}" else _MAX_TEXT


def _check_sizes(entries: Sequence[Entry], dist_info: str) -> None:
    """Refuse metadata that is too large to be held in memory; the sizes are enforced while unpacking."""
    required = [f"{dist_info}/{name}" for name in _REQUIRED]
    problems = [
        error(Code.UNSAFE_MEMBER, entry.name, f"It has {entry.size} bytes; more than {_MAX_REQUIRED_TEXT} are refused.")
        for entry in entries
        if entry.name in required and entry.size > _MAX_REQUIRED_TEXT
    ]
    total = sum(entry.size for entry in entries if _is_text(entry, dist_info))
    if total > _MAX_ALL_TEXT and not problems:
        message = f"Its metadata and __init__.py files have {total} bytes; more than {_MAX_ALL_TEXT} are refused."
        problems.append(error(Code.UNSAFE_MEMBER, dist_info, message))
    _raise_for(problems)


def _read_record(archive: WheelArchive, dist_info: str) -> tuple[RecordEntry, ...]:
    """Return the lines of RECORD, which must be there."""
    name = f"{dist_info}/RECORD"
    entry = archive.entry(name)
    if entry is None:
        raise ReadError.of(Code.BAD_RECORD, name, "It is missing, so nothing says what the files of the wheel must be.")
    return parse_record(_decode(archive.read(entry), name, Code.BAD_RECORD))


def _decode(data: bytes, where: str, code: Code) -> str:
    """Return *data* as text; the metadata of a wheel is UTF-8 (PEP 427, PEP 566)."""
    try:
        return data.decode()
    except UnicodeDecodeError as failure:
        raise ReadError.of(code, where, f"It is not UTF-8: {failure.reason} at byte {failure.start}.") from None


def _required_text(texts: Mapping[str, bytes], name: str) -> str:
    """Return the text of a member that every wheel has."""
    if name not in texts:
        raise ReadError.of(Code.BAD_METADATA, name, "It is missing.")
    return _decode(texts[name], name, Code.BAD_METADATA)


def _check_metadata(metadata: str, wheel: str, name: WheelName, dist_info: str) -> None:
    """Refuse METADATA and WHEEL that cannot be parsed or that speak of another distribution than the file name."""
    problems: list[Finding] = []
    try:
        parse_wheel_text(wheel)
    except ReadError as failure:
        problems.extend(failure.findings)
    try:
        fields = parse_metadata(metadata)
    except ReadError as failure:
        problems.extend(failure.findings)
    else:
        if canonicalize_name(fields.name) != name.normalized or not same_version(fields.version, name.version):
            message = (
                f"It says {fields.name} {fields.version}, but the file name says {name.distribution} {name.version}."
            )
            problems.append(
                error(Code.BAD_METADATA, f"{dist_info}/METADATA", message, "Give the file its original name.")
            )
    _raise_for(problems)
