"""METADATA and WHEEL: reading their headers, and edits that leave every other byte alone. No I/O.

Both are e-mail headers, followed in METADATA by a body (core metadata specification, PEP 566, PEP 643; PEP 427 for
WHEEL). Writing them through an e-mail library would refold and reorder them, so edits work on the lines themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.errors import PlanError, ReadError
from nativelib.findings import Code, Finding, error

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# What the e-mail parser of the standard library takes for a line, for a header and for its continuation.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_HEADER = re.compile(r"([!-9;-~]+):")
_ENDING = re.compile(r"(?:\r\n|\r|\n)\Z")
_MAX_LINES = 100_000  # of headers; real files have some hundred, and Description may stand among them
_FOLD = re.compile(r"(?:\r\n|\r|\n)(?=[ \t])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The fields of METADATA that nativelib looks at."""

    name: str
    """Distribution name as the author writes it."""
    version: str
    """Version as it is written."""
    metadata_version: str
    """Version of the metadata format."""
    requires: tuple[str, ...] = ()
    """Values of ``Requires-Dist``, unfolded, in order."""
    dynamic: tuple[str, ...] = ()
    """Values of ``Dynamic`` (PEP 643), in order."""
    extras: tuple[str, ...] = ()
    """Values of ``Provides-Extra``, in order."""
    requires_python: str = ""
    """Value of ``Requires-Python``, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelText:
    """The fields of WHEEL."""

    generator: str = ""
    """What built the wheel; may be empty."""
    root_is_purelib: bool
    """Whether the root of the archive goes to ``purelib``."""
    tags: tuple[str, ...]
    """Expanded tags, one for each line."""
    build: str = ""
    """Build tag, or empty."""


@dataclass(frozen=True, slots=True)
class _Header:
    """One header with the lines that it stands on."""

    key: str
    """Its name in lower case."""
    lines: tuple[str, ...]
    """Line and continuation lines, with their endings."""

    @property
    def value(self) -> str:
        """The value without surrounding blanks; of a fold only the line break goes (RFC 5322, 2.2.3)."""
        return _FOLD.sub("", "".join(self.lines).partition(":")[2]).strip(" \t\r\n")


def _split(text: str) -> tuple[list[_Header], str]:
    """Return the headers of *text* and the rest: the blank line, if there is one, and the body.

    Raises :class:`ReadError` (``BAD_METADATA``) for headers on more lines than any file has.
    """
    found: list[tuple[str, list[str]]] = []
    end = 0
    for number, match in enumerate(_LINE.finditer(text)):
        line = match[0]
        header = _HEADER.match(line)
        if header:
            found.append((header[1].lower(), [line]))
        elif line[0] in " \t" and found:
            found[-1][1].append(line)
        else:
            break
        end = match.end()
        if number == _MAX_LINES:
            raise ReadError.of(Code.BAD_METADATA, "METADATA", f"Its headers have more than {_MAX_LINES} lines.")
    return [_Header(key, tuple(lines)) for key, lines in found], text[end:]


def _values(headers: Sequence[_Header], key: str) -> tuple[str, ...]:
    return tuple(header.value for header in headers if header.key == key.lower())


def _one(headers: Sequence[_Header], key: str, file: str, problems: list[Finding]) -> str:
    """Return the value of the required field *key*; add a finding if there is not exactly one."""
    values = _values(headers, key)
    if len(values) == 1 and values[0]:
        return values[0]
    number = "more than one" if len(values) > 1 else "an empty" if values else "no"
    problems.append(error(Code.BAD_METADATA, file, f"{file} has {number} field {key}."))
    return ""


def parse_metadata(text: str, file: str = "METADATA") -> Metadata:
    """Return the fields of METADATA, or of the *file* of the same form that a source distribution has (PKG-INFO).

    Raises :class:`ReadError` (``BAD_METADATA``), with all problems at once, unless Metadata-Version, Name and Version
    are there exactly once (core metadata specification).
    """
    headers, _ = _split(text)
    problems: list[Finding] = []
    metadata_version, name, version = (
        _one(headers, key, file, problems) for key in ("Metadata-Version", "Name", "Version")
    )
    if problems:
        raise ReadError(problems)
    return Metadata(
        name=name,
        version=version,
        metadata_version=metadata_version,
        requires=_values(headers, "Requires-Dist"),
        dynamic=_values(headers, "Dynamic"),
        extras=_values(headers, "Provides-Extra"),
        requires_python=next(iter(_values(headers, "Requires-Python")), ""),
    )


def parse_wheel_text(text: str) -> WheelText:
    """Return the fields of WHEEL.

    Raises :class:`ReadError` (``BAD_METADATA``), with all problems at once, for a format that is not 1.x, and unless
    Root-Is-Purelib and at least one Tag are there (PEP 427).
    """
    headers, _ = _split(text)
    problems: list[Finding] = []
    wheel_version = _one(headers, "Wheel-Version", "WHEEL", problems)
    if wheel_version and wheel_version.partition(".")[0] != "1":
        message = f"WHEEL says Wheel-Version {wheel_version}, but only 1.x is known."
        problems.append(error(Code.BAD_METADATA, "WHEEL", message))
    # Published wheels say it twice, true and False (scipy-openblas64 0.3.27.44.6); installers take the first.
    first = [header for header in headers if header.key == "root-is-purelib"][:1]
    purelib = _one(first, "Root-Is-Purelib", "WHEEL", problems)
    if purelib and purelib.lower() not in ("true", "false"):
        message = f"WHEEL says Root-Is-Purelib {purelib!r}, which is neither true nor false."
        problems.append(error(Code.BAD_METADATA, "WHEEL", message))
    tags = _values(headers, "Tag")
    if not all(tags) or not tags:
        problems.append(error(Code.BAD_METADATA, "WHEEL", "WHEEL has no field Tag, or an empty one."))
    if problems:
        raise ReadError(problems)
    return WheelText(
        generator=next(iter(_values(headers, "Generator")), ""),
        root_is_purelib=purelib.lower() == "true",
        tags=tags,
        build=next(iter(_values(headers, "Build")), ""),
    )


def edit_requires(text: str, *, remove: Collection[str], add: Sequence[str]) -> str:
    """Return METADATA *text* with other ``Requires-Dist`` fields and not one other byte changed.

    ``remove`` are values as :func:`parse_metadata` gives them; one that is not there is no error. ``add`` goes, in its
    order, behind the last Requires-Dist, else before the first Provides-Extra, else at the end of the headers; what is
    there already is neither removed nor added. The same edit twice changes nothing the second time. Raises
    :class:`PlanError` (``BAD_METADATA``) for an added value that is not one line.
    """
    _refuse_lines("METADATA", add)
    headers, rest = _split(text)
    places = [i for i, header in enumerate(headers) if header.key == "requires-dist"]
    extras = [i for i, header in enumerate(headers) if header.key == "provides-extra"]
    place = places[-1] + 1 if places else extras[0] if extras else len(headers)
    there = {headers[i].value for i in places}
    new = [value for value in dict.fromkeys(add) if value not in there]
    gone = set(remove).difference(add)
    kept = [
        [h for h in part if h.key != "requires-dist" or h.value not in gone]
        for part in (headers[:place], headers[place:])
    ]
    return _insert(text, kept[0], [f"Requires-Dist: {value}" for value in new], kept[1], rest)


def with_requires_version(text: str) -> str:
    """Return METADATA *text* with a Metadata-Version that has ``Requires-Dist`` in today's form: 2.1 in place of 1.x.

    Its requirements are those of PEP 508 since 2.1 (PEP 566). A later version stays as it is.
    """
    return _replace(text, "Metadata-Version", ("2.1",)) if parse_metadata(text).metadata_version[:2] == "1." else text


def edit_version(text: str, version: str) -> str:
    """Return METADATA *text* with another ``Version`` and not one other byte changed."""
    _refuse_lines("METADATA", [version])
    return _replace(text, "Version", (version,))


def edit_wheel_text(
    text: str,
    *,
    generator: str | None,
    root_is_purelib: bool | None,
    tags: Sequence[str] | None,
    build: str | None = None,
) -> str:
    """Return WHEEL *text* with other values and not one other byte changed; ``None`` leaves a field alone.

    New tags stand, in their order, where the first one stood. A field that is missing is added at the end of the
    headers. Raises :class:`PlanError` (``BAD_METADATA``) for a value that is not one line.
    """
    wanted: list[tuple[str, tuple[str, ...]]] = []
    if generator is not None:
        wanted.append(("Generator", (generator,)))
    if root_is_purelib is not None:
        wanted.append(("Root-Is-Purelib", ("true" if root_is_purelib else "false",)))
    if tags is not None:
        wanted.append(("Tag", tuple(tags)))
    if build is not None:
        wanted.append(("Build", (build,)))
    for key, values in wanted:
        _refuse_lines("WHEEL", values)
        text = _replace(text, key, values)
    return text


def _replace(text: str, key: str, values: tuple[str, ...]) -> str:
    """Return *text* with the fields *key* replaced by *values*, where the first of them stood."""
    headers, rest = _split(text)
    places = [i for i, header in enumerate(headers) if header.key == key.lower()]
    old = tuple(headers[i].value for i in places)
    if old == values or (key == "Root-Is-Purelib" and tuple(value.lower() for value in old) == values):
        return text
    place = places[0] if places else len(headers)
    after = [header for header in headers[place:] if header.key != key.lower()]
    return _insert(text, headers[:place], [f"{key}: {value}" for value in values], after, rest)


def _insert(text: str, before: Sequence[_Header], new: Sequence[str], after: Sequence[_Header], rest: str) -> str:
    """Return *before*, the *new* lines, *after* and *rest* as one text with the line endings of *text*.

    A last header that had no line ending gets one when something follows it, and the new last line then has none.
    """
    first = _LINE.match(text)
    ending = _ENDING.search(first[0]) if first else None
    newline = ending[0] if ending else "\n"
    parts = ["".join(header.lines) for header in before] + list(new) + ["".join(header.lines) for header in after]
    parts = [part if _ENDING.search(part) else part + newline for part in parts]
    if parts and text and not rest and not _ENDING.search(text):
        parts[-1] = _ENDING.sub("", parts[-1])
    return "".join(parts) + rest


def _refuse_lines(file: str, values: Sequence[str]) -> None:
    """Refuse values that would break out of their header line."""
    bad = [value for value in values if not value.strip() or value != value.strip() or "\r" in value or "\n" in value]
    if bad:
        message = (
            f"{', '.join(map(repr, bad))} cannot be the value of a header: it must be one line without outer blanks."
        )
        raise PlanError.of(Code.BAD_METADATA, file, message)
