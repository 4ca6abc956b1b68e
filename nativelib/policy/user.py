"""A user's own policy, from a JSON document: what one's own systems have, beside or instead of a known policy. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.facts.elf import MACHINES, Libc
from nativelib.facts.table import Table
from nativelib.facts.tags import Family, PlatformTag
from nativelib.findings import Code
from nativelib.policy.load import libc_libraries, lookup
from nativelib.policy.values import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.findings import Finding

_KEYS = ("name", "extends", "libc", "tag", "architectures", "libraries", "without", "versions", "forbids", "permits")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_WORD = re.compile(r"[^\s/]+")
_EVERY = "all"
# Android's tags stand for API levels, of which a document cannot make further ones.
_LIBCS = (Libc.GLIBC, Libc.MUSL)

_Names = frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What a document says about the policy that it begins with."""

    name: str
    platform: str
    libraries: _Names
    without: _Names
    versions: Mapping[str, Mapping[str, _Names]]
    """Architecture, or ``all``, -> prefix -> further versions."""
    forbids: Mapping[str, _Names]
    permits: Mapping[str, _Names]

    def of(self, start: Policy) -> Policy:
        """Return *start* with the change."""
        added = [self.versions.get(key, {}) for key in (_EVERY, start.architecture)]
        prefixes = {*start.symbol_versions, *(prefix for more in added for prefix in more)}
        versions = {
            prefix: start.symbol_versions.get(prefix, _Names()).union(*(more.get(prefix, ()) for more in added))
            for prefix in prefixes
        }
        forbidden = {
            soname: (start.forbidden.get(soname, _Names()) | self.forbids.get(soname, _Names()))
            - self.permits.get(soname, _Names())
            for soname in {*start.forbidden, *self.forbids}
        }
        known = lookup(f"{self.platform}_{start.machine}")
        return replace(
            start,
            name=self.name,
            platform=known.name if known is not None else self.platform,
            aliases=known.aliases if known is not None else (),
            libraries=(start.libraries | self.libraries | libc_libraries(start.libc, start.architecture))
            - self.without,
            symbol_versions=MappingProxyType(versions),
            forbidden=MappingProxyType({soname: names for soname, names in forbidden.items() if names}),
        )


def parse_policies(text: str, where: str) -> tuple[Policy, ...]:
    """Return the policy that the JSON *text* describes, once for each architecture.

    Raises ReadError (``NL603``) with everything that is wrong with it, in the file that findings call *where*.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ReadError.of(Code.BAD_POLICY, where, f"It is not JSON: {problem}.") from problem
    if not isinstance(document, dict):
        raise ReadError.of(Code.BAD_POLICY, where, "It must be an object with the keys of a policy.")
    findings: list[Finding] = []
    table = Table(document, "", findings)
    table.refuse_others(_KEYS)
    starts = _starts(table)
    change = _change(table, starts)
    if findings:
        raise ReadError(replace(item, code=Code.BAD_POLICY, where=f"{where}: {item.where}") for item in findings)
    return tuple(change.of(start) for start in starts)


def _starts(table: Table) -> tuple[Policy, ...]:
    """Return what the policy begins with, for each of its architectures: a known one, or one that names nothing."""
    base = table.text("extends", _known)
    chosen = table.choice("libc", _LIBCS)
    libc = Libc(chosen) if chosen else Libc.GLIBC
    if base is not None:
        promised = PlatformTag.parse(f"{base}_any").libc or libc
        if chosen is not None and promised is not libc:
            table.fail("libc", f"{base} is for {promised}, not for {libc}.", "Leave it out.")
        possible = {policy.architecture: policy for policy in _called(base)}
    else:
        possible = {architecture: _nothing(libc, architecture) for architecture in MACHINES}

    def architecture(text: str) -> str:
        if text in possible:
            return text
        raise ValueError(f"{text!r} is not one of {', '.join(sorted(possible))}.")

    wanted = table.texts("architectures", architecture) or tuple(possible)
    return tuple(possible[name] for name in dict.fromkeys(wanted))


def _called(name: str) -> tuple[Policy, ...]:
    """Return the known policies whose name or alias is *name*, for every architecture."""
    found = (lookup(f"{name}_{architecture}") for architecture in MACHINES)
    return tuple(policy for policy in found if policy is not None and policy.libc in _LIBCS)


def _nothing(libc: Libc, architecture: str) -> Policy:
    """Return a policy that names no library, and under which no symbol version is judged."""
    return Policy(
        name="",
        aliases=(),
        libc=libc,
        version=(0, 0),
        architecture=architecture,
        libraries=_Names(),
        symbol_versions=MappingProxyType({}),
        forbidden=MappingProxyType({}),
    )


def _change(table: Table, starts: tuple[Policy, ...]) -> _Change:
    if "name" not in table:
        table.fail("name", "A policy needs a name, so that --plat can say it.")
    libc = starts[0].libc if starts else Libc.GLIBC

    def platform(text: str) -> str:
        tag = PlatformTag.parse(f"{text}_any")
        if tag.family is Family.LINUX or tag.libc is libc:
            return text
        raise ValueError(f"{text!r} is neither 'linux' nor the name of a platform tag for {libc}.")

    change = _Change(
        name=table.text("name", _new_name) or "",
        platform=table.text("tag", platform) or "linux",
        libraries=_Names(table.texts("libraries", _word)),
        without=_Names(table.texts("without", _word)),
        versions=_versions(table, starts),
        forbids=_symbols(table, "forbids"),
        permits=_symbols(table, "permits"),
    )
    for soname in sorted(change.libraries & change.without):
        table.fail("without", f"{soname} stands under libraries, too.")
    parts = _Names().union(*(libc_libraries(start.libc, start.architecture) for start in starts))
    for soname in sorted(change.without & parts):
        table.fail("without", f"{soname} is a part of {libc}: a copy cannot take the place of the system's.")
    return change


def _versions(table: Table, starts: tuple[Policy, ...]) -> dict[str, dict[str, _Names]]:
    """Return group -> prefix -> versions, where a group is an architecture or ``all``."""
    groups = {_EVERY, *(start.architecture for start in starts)}
    out: dict[str, dict[str, _Names]] = {}
    prefixes = table.table("versions")
    for prefix in prefixes.names() if prefixes is not None else ():
        inner = prefixes.table(prefix) if prefixes is not None else None
        for group in inner.names() if inner is not None else ():
            if inner is not None and group not in groups:
                inner.fail(group, f"It must be {_EVERY!r} or an architecture of this policy.")
            elif inner is not None:
                out.setdefault(group, {})[prefix] = _Names(inner.texts(group, _word))
    return out


def _symbols(table: Table, key: str) -> dict[str, _Names]:
    """Return soname -> symbols."""
    inner = table.table(key)
    return {soname: _Names(inner.texts(soname, _word)) for soname in inner.names()} if inner is not None else {}


def _new_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} must be made of small letters, digits and single underscores.")
    if text == "auto" or PlatformTag.parse(f"{text}_any").family is not Family.FOREIGN:
        raise ValueError(f"{text!r} is the name of a platform tag already; choose one of your own.")
    return text


def _known(text: str) -> str:
    if _called(text):
        return text
    raise ValueError(f"{text!r} is not a policy that nativelib knows, such as 'manylinux_2_28' or 'musllinux_1_2'.")


def _word(text: str) -> str:
    if _WORD.fullmatch(text):
        return text
    raise ValueError(f"{text!r} must be a name without blanks and slashes.")
