"""The requirement on a provider that a consumer gets. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from nativelib.errors import PlanError
from nativelib.facts.elf import Libc
from nativelib.facts.release import SYSTEMS
from nativelib.findings import Code
from nativelib.plan.markers import may_hold

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.facts.elf import Symbol
    from nativelib.facts.manifest import Manifest
    from nativelib.facts.provider import Provider

MARKER = 'sys_platform == "linux"'
"""The marker of every wheel of a release: lockers read one wheel's metadata for all of them."""

_ANDROID_TOO = f'{MARKER} or sys_platform == "android"'

_LINUX = {**SYSTEMS["linux"], "extra": ""}
"""Environment markers that an installation of a wheel for Linux has if no extra of it is asked for (PEP 508)."""

PINS = ("auto", "exact", "minimum", "compatible")
"""Words that ``--pin`` understands; anything else is a specifier."""


def marker_for(libc: Libc, marker: str = MARKER) -> str:
    """Return *marker*, or in place of the usual one that which Android's Python is meant by, too (PEP 738)."""
    return _ANDROID_TOO if libc is Libc.BIONIC and marker == MARKER else marker


def public(version: str) -> str:
    """Return the public part of *version*: an index never serves a local one to ``==`` of another (PEP 440)."""
    return Version(version).public


def expand(compatible: str, version: str) -> SpecifierSet:
    """Return the specifier that a provider of *version* declares with *compatible*, ``{version}`` filled in.

    Raises ``packaging.specifiers.InvalidSpecifier``.
    """
    return SpecifierSet(compatible.replace("{version}", public(version)))


def lower_bound(manifest: Manifest, used: Mapping[str, Collection[Symbol]]) -> str:
    """Return the first release with the same sonames and all symbols *used* of them.

    Without history it is the manifest's own.
    """
    if not manifest.history:
        return public(manifest.version)
    firsts = [_first(manifest.exports.get(soname, {}), used[soname]) for soname in used]
    return public(str(max(filter(None, firsts), default=Version(manifest.version))))


def _first(known: Mapping[Symbol, str], wanted: Collection[Symbol]) -> Version | None:
    """Return the first release that had a library with all symbols *wanted*; of none, the first with the library."""
    return max(_firsts(known, wanted), default=None) or min(map(Version, known.values()), default=None)


def _firsts(known: Mapping[Symbol, str], wanted: Collection[Symbol]) -> list[Version]:
    """Return the first release of each of *wanted*; the loader binds one without version to any version of the name."""
    by_name: dict[str, Version] = {}
    for symbol, first in known.items():
        by_name[symbol.name] = min(Version(first), by_name.get(symbol.name, Version(first)))
    exact = (Version(known[symbol]) for symbol in wanted if symbol.version and symbol in known)
    return [*exact, *(by_name[s.name] for s in wanted if not s.version and s.name in by_name)]


def specifier(provider: Provider, used: Mapping[str, Collection[Symbol]], *, pin: str = "auto") -> SpecifierSet:
    """Return the version specifier for a consumer that takes the symbols *used* (by the provider's soname).

    *pin* is one of :data:`PINS` or a specifier; a specifier that the user wrote behind the provider's name wins over
    all. Raises PlanError for a pin that is neither, and for a specifier that excludes the provider itself: the proof
    holds for no version that it accepts.
    """
    found = _specifier(provider, used, pin)
    if not found.contains(public(provider.version), prereleases=True):
        raise PlanError.of(
            Code.REQUIREMENT_CLASH,
            provider.origin,
            f"{provider.label} is what the wheel was checked with, and {found} excludes it.",
            "Give the release that is wanted, or another --pin.",
        )
    return found


def _specifier(provider: Provider, used: Mapping[str, Collection[Symbol]], pin: str) -> SpecifierSet:
    if provider.pin is not None and str(provider.pin):
        return provider.pin
    version = public(provider.version)
    if pin == "exact":
        return SpecifierSet(f"=={version}")
    if pin == "compatible":
        # PEP 440 wants two numbers: 1 becomes 1.0, and 2!1rc1 becomes 2!1.0rc1.
        long = version if len(Version(version).release) > 1 else re.sub(r"^((\d+!)?\d+)", r"\1.0", version)
        return SpecifierSet(f"~={long}")
    if pin not in PINS:
        try:
            return SpecifierSet(pin)
        except InvalidSpecifier as cause:
            raise PlanError.of(
                Code.REQUIREMENT_CLASH, "--pin", f"{pin!r} is neither a specifier nor one of {', '.join(PINS)}."
            ) from cause
    manifest = provider.manifest
    lower = Specifier(f">={lower_bound(manifest, used) if manifest else version}")
    if pin == "minimum":
        return SpecifierSet(str(lower))
    if manifest is not None and manifest.compatible:
        return _inherit(lower, expand(manifest.compatible, manifest.version))
    if manifest is not None and manifest.history:
        return SpecifierSet(str(lower))
    return SpecifierSet(f"=={version}")


def _inherit(lower: Specifier, declared: SpecifierSet) -> SpecifierSet:
    if any(clause.operator in {"==", "===", "~="} for clause in declared):
        return declared
    upper = [str(clause) for clause in declared if clause.operator in {"<", "<=", "!="}]
    return SpecifierSet(",".join([str(lower), *sorted(upper)]))


def minimum(specifiers: SpecifierSet) -> tuple[int, ...]:
    """Return the release segment of the lowest version that *specifiers* accept, or ``()``.

    It is for a comparison at run time.
    """
    lowest = [
        Version(c.version.removesuffix(".*")).release for c in specifiers if c.operator in {">=", "==", "~=", "==="}
    ]
    return max(lowest, default=())


def requirement(name: str, specifiers: SpecifierSet, marker: str = MARKER) -> str:
    """Return the ``Requires-Dist`` value (PEP 508). Raises PlanError if *marker* is none."""
    text = f"{canonicalize_name(name)}{specifiers}"
    try:
        return str(Requirement(f"{text}; {marker}" if marker else text))
    except InvalidRequirement as cause:
        text = f"{marker!r} is not an environment marker."
        remedy = f"Write one such as {MARKER!r}, or an empty one for none."
        raise PlanError.of(Code.REQUIREMENT_CLASH, "--marker", text, remedy) from cause


def parsed(value: str) -> Requirement | None:
    """Return the requirement *value* with a normalised name, or ``None`` if it is none (PEP 508)."""
    try:
        found = Requirement(value)
    except (InvalidRequirement, RecursionError):  # packaging descends into parentheses
        return None
    found.name = canonicalize_name(found.name)
    return found


def required_name(value: str) -> str:
    """Return the normalised name of the distribution that *value* requires; of what is no requirement, nothing."""
    found = parsed(value)
    return found.name if found is not None else ""


def merge(
    existing: Sequence[str], earlier: Collection[str], name: str, specifiers: SpecifierSet, marker: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (remove, add): what changes in the ``Requires-Dist`` values *existing* so that *name* is required.

    *earlier* are values that an earlier repair wrote: they are replaced. The author's own are kept; what they do not
    imply is added. Raises PlanError where no version can satisfy both.
    """
    wanted = requirement(name, specifiers, marker)
    remove: list[str] = []
    for value in existing:
        present = parsed(value)
        if present is None or present.name != canonicalize_name(name):
            continue
        if value in earlier:
            if value != wanted:
                remove.append(value)
        elif may_hold(present.marker, _LINUX) and contradictory(present.specifier, specifiers):
            raise PlanError.of(
                Code.REQUIREMENT_CLASH,
                "METADATA",
                f"The wheel requires {value!r}, and what it uses asks for {wanted!r}: no version satisfies both.",
                "Change the dependency in the project, or pass --pin.",
            )
    add = () if wanted in existing else (wanted,)
    return tuple(remove), add


def contradictory(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Return whether no version satisfies both: tried on every version that a clause names and its neighbours."""
    versions: set[Version] = {Version("0")}
    for clause in (*one, *other):
        try:
            base = Version(clause.version.removesuffix(".*")).public
        except InvalidVersion:  # "===" compares texts
            continue
        versions.update(Version(text) for text in (base, f"{base}.0.1", f"{base}.post1", f"{base}.dev0"))
    high = max(versions)
    versions.add(Version(f"{high.epoch}!{high.release[0] + 1}"))
    both = SpecifierSet(f"{one},{other}".strip(","))
    return not any(both.contains(version, prereleases=True) for version in versions)
