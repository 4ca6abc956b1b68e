"""Findings: what nativelib has to say about an input, as values with stable codes.

A finding never carries behaviour. Its code is API: users silence, count and search for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Severity(StrEnum):
    """How bad it is. An error keeps a wheel from being written."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Code(StrEnum):
    """Stable codes.

    The hundreds digit is the room that speaks: 1 reading, 2 needs, 3 proof, 4 metadata, 5 hook, 6 policy, 7 spec,
    8 verification.
    """

    NOT_FOUND = "NL101"
    NOT_A_WHEEL = "NL102"
    UNSAFE_MEMBER = "NL103"
    BAD_RECORD = "NL104"
    BAD_ELF = "NL105"
    BAD_METADATA = "NL106"
    NOT_A_PROVIDER = "NL107"
    WRITE_FAILED = "NL108"
    TOOL_FAILED = "NL109"
    PURE_WHEEL = "NL110"
    LIBRARY_WHEEL = "NL111"
    SKIPPED_MEMBER = "NL112"
    UNUSED_SKIP = "NL113"
    PACKAGES_UNREADABLE = "NL114"

    MISSING_LIBRARY = "NL201"
    UNUSED_PROVIDER = "NL202"
    UNUSED_EXCLUDE = "NL203"
    AMBIGUOUS_PROVIDER = "NL204"
    WRONG_ARCHITECTURE = "NL205"
    WRONG_LIBC = "NL206"
    RUN_PATH_DROPPED = "NL207"
    CROSS_SCHEME = "NL208"
    GRAFT_REFUSED = "NL209"
    MIXED_MACHINES = "NL210"
    UNUSED_INCLUDE = "NL211"
    NAME_KEPT = "NL212"
    OPENED_AT_RUN_TIME = "NL213"
    RUN_PATH_LEAK = "NL214"
    VENDORED_LEFT = "NL215"
    LICENCE_LEFT = "NL216"
    GRAPH_TOO_LARGE = "NL220"

    MISSING_SYMBOL = "NL301"
    UNPROVEN = "NL302"
    ABI_CLASH = "NL303"
    ABI_UNKNOWN = "NL304"
    EXPORT_COLLISION = "NL305"

    REQUIREMENT_CLASH = "NL401"
    PROVIDER_NEWER_TAG = "NL402"
    STATIC_DEPENDENCIES = "NL403"
    NOT_ONE_RELEASE = "NL404"
    LOCAL_VERSIONS = "NL405"
    RELEASE_DIFFERS = "NL406"
    SDIST_DIFFERS = "NL407"
    NO_PROVIDER_WHEEL = "NL408"
    BAD_SDIST = "NL409"

    HOOK_REFUSED = "NL501"
    NO_HOOK_POSSIBLE = "NL502"
    MUSL_FOREIGN = "NL503"

    POLICY_NOT_MET = "NL601"
    NO_POLICY = "NL602"
    BAD_POLICY = "NL603"
    POLICY_MET = "NL604"
    BEYOND_TAG = "NL610"

    BAD_SPEC = "NL701"
    NO_LIBRARY = "NL702"
    DUPLICATE_SONAME = "NL703"
    NO_LICENCE = "NL704"
    ESCAPING_LINK = "NL705"
    NOT_RELOCATABLE = "NL706"
    SKIPPED_FILE = "NL707"
    BUILD_SCRIPT_FAILED = "NL708"
    BAD_ADAPTER = "NL709"
    ADAPTER_NAMES = "NL710"
    ADAPTER_ABI = "NL711"
    ADAPTER_CHECK = "NL712"

    NOT_INSTALLABLE = "NL801"
    IMPORT_FAILED = "NL802"
    UNDEFINED_SYMBOL = "NL803"
    OTHER_COPY = "NL804"
    SECOND_COPY = "NL805"
    COMMAND_FAILED = "NL806"
    FORK_FAILED = "NL807"
    NOT_OPENED = "NL808"
    NOT_TRIED = "NL809"

    INTERNAL = "NL901"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the user should know."""

    code: Code
    """Stable code."""
    severity: Severity
    """Error, warning or note."""
    where: str
    """The file, member or key that it is about."""
    message: str
    """One or more sentences, without the remedy."""
    remedy: str = ""
    """What the user can do about it; may be empty."""
    symbols: tuple[str, ...] = ()
    """For missing or unproven symbols: every one, as ``name@version`` or ``name``."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of the documented schema."""
        out: dict[str, Any] = {
            "code": self.code.value,
            "severity": self.severity.value,
            "where": self.where,
            "message": self.message,
            "remedy": self.remedy,
        }
        if self.symbols:
            out["symbols"] = list(self.symbols)
        return out


def listing(names: Sequence[str], most: int = 2) -> str:
    """Return the first *most* of *names*, and how many more there are."""
    more = len(names) - most
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:most])} and {more} more"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return how many *names* there are, in words for a message, with the first *most* of them."""
    return f"{len(names)} {'file' if len(names) == 1 else 'files'} ({listing(names, most)})"


def shortened(findings: Iterable[Finding], most: int = 200) -> tuple[Finding, ...]:
    """Return *findings*; of a hundred thousand the first *most*, the last of which says that there are more."""
    found = tuple(findings)
    if len(found) <= most:
        return found
    last = found[most - 1]
    return (*found[: most - 1], replace(last, message=f"{last.message} There are {len(found) - most} more like these."))


def error(code: Code, where: str, message: str, remedy: str = "", symbols: tuple[str, ...] = ()) -> Finding:
    """Return a finding of severity error."""
    return Finding(code=code, severity=Severity.ERROR, where=where, message=message, remedy=remedy, symbols=symbols)


def warning(code: Code, where: str, message: str, remedy: str = "", symbols: tuple[str, ...] = ()) -> Finding:
    """Return a finding of severity warning."""
    return Finding(code=code, severity=Severity.WARNING, where=where, message=message, remedy=remedy, symbols=symbols)


def note(code: Code, where: str, message: str, remedy: str = "") -> Finding:
    """Return a finding of severity note."""
    return Finding(code=code, severity=Severity.NOTE, where=where, message=message, remedy=remedy)
