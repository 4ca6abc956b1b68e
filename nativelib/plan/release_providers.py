"""Whether there is a wheel of each provider for every Linux wheel of a release. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from nativelib.errors import PlanError
from nativelib.facts.tags import Family
from nativelib.findings import Code, error, listing, note, warning
from nativelib.plan.release_sync import may_apply
from nativelib.plan.requirement import parsed, required_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from packaging.requirements import Requirement

    from nativelib.facts.release import DistFile, ProviderWheel
    from nativelib.facts.tags import PlatformTag
    from nativelib.facts.wheel import WheelName
    from nativelib.findings import Finding
    from nativelib.plan.release import Release


def check_named(providers: Sequence[ProviderWheel], required: Collection[str]) -> None:
    """Raise PlanError (``UNUSED_PROVIDER``) if a provider that was named is none of the distributions *required*."""
    named = {provider.wheel.normalized: provider.path for provider in providers if provider.counts}
    problems = [
        error(
            Code.UNUSED_PROVIDER,
            path,
            f"No file of the release requires {name}.",
            "Leave it out, or repair the wheels with it first.",
        )
        for name, path in sorted(named.items())
        if name not in required
    ]
    if problems:
        raise PlanError(problems)


def provider_findings(
    release: Release, requires: Collection[str], written: Collection[str], providers: Sequence[ProviderWheel]
) -> list[Finding]:
    """Return what is wrong with the wheels of providers that the Linux wheels of *release* will be installed with.

    *requires* is what all its wheels require. Looked at are those requirements that a repair has *written* and those
    on providers that were named or are library wheels. A Linux wheel without a provider wheel for its architecture and
    C library is an error, one whose oldest tag is older than the provider's a warning.
    """
    counted = {required_name(value) for value in written}
    counted |= {provider.wheel.normalized for provider in providers if provider.counts}
    out: list[Finding] = []
    for wanted in map(parsed, sorted(requires)):
        if wanted is None or wanted.name not in counted:
            continue
        known = [provider for provider in providers if provider.wheel.normalized == wanted.name]
        if known:
            for wheel in release.wheels:
                out += _findings(wanted, wheel, known)
        elif any(wheel.linux for wheel in release.wheels):
            text = f"Whether there is a wheel of {wanted.name} for each Linux wheel was not looked at."
            remedy = "Give its wheels: --provided-by WHEEL, or --find-links DIR."
            out.append(note(Code.NO_PROVIDER_WHEEL, release.label, text, remedy))
    return out


def _findings(wanted: Requirement, wheel: DistFile, known: Sequence[ProviderWheel]) -> Iterator[Finding]:
    if wheel.wheel is None or not wheel.linux or not may_apply(wanted.marker, wheel):
        return
    own = wheel.linux[0]
    fitting = [provider for provider in known if _serves(provider, own, wheel.wheel)]
    accepted = [provider for provider in fitting if _accepted(provider, wanted)]
    if not accepted:
        libc = f" with {own.libc}" if own.libc is not None else ""
        found = [_described(provider) for provider in fitting or known]
        machine = f"{own.architecture}{libc}"
        text = (
            f"It requires {str(wanted)!r}, and {wanted.name} has no such wheel for {machine}, only "
            f"{listing(found, 6)}. So nobody can install it."
        )
        remedy = f"Publish a wheel of {wanted.name} for {machine}, or leave this wheel out of the release."
        yield error(Code.NO_PROVIDER_WHEEL, wheel.path, text, remedy)
        return
    if all(_newer(provider, own) for provider in accepted):
        text = (
            f"Its oldest tag is {own.text}, and the oldest of {wanted.name} is {accepted[0].platforms[0].text}: "
            "on a system between the two, installers find the one and not the other."
        )
        remedy = "Build the library wheel on an older system, or accept it."
        yield warning(Code.PROVIDER_NEWER_TAG, wheel.path, text, remedy)


def _serves(provider: ProviderWheel, own: PlatformTag, consumer: WheelName) -> bool:
    """Return whether *provider* is for the architecture and C library of *own*, and for the Pythons of *consumer*."""
    return any(_fits(tag, own) for tag in provider.platforms) and _for_python(provider.wheel, consumer)


def _fits(tag: PlatformTag, own: PlatformTag) -> bool:
    if tag.family is Family.ANY:
        return True
    libcs = {tag.libc, own.libc} - {None}  # linux_* names none
    return tag.policy_architecture == own.policy_architecture and len(libcs) < 2


def _for_python(provider: WheelName, consumer: WheelName) -> bool:
    """Return whether Pythons of the tag of *consumer* can use *provider* (PEP 425; abi3 counts upwards)."""
    if any(re.fullmatch(r"py3\d*", python) for python in provider.pythons):
        return True
    if "abi3" in provider.abis:
        return min(map(_minor, provider.pythons)) <= min(map(_minor, consumer.pythons))
    return not set(provider.pythons).isdisjoint(consumer.pythons)


def _minor(python: str) -> int:
    match = re.fullmatch(r"cp3(\d+)", python)
    return int(match[1]) if match else 0


def _accepted(provider: ProviderWheel, wanted: Requirement) -> bool:
    return wanted.specifier.contains(Version(provider.wheel.version), prereleases=True)


def _newer(provider: ProviderWheel, own: PlatformTag) -> bool:
    versioned = [tag for tag in provider.platforms if tag.architecture == own.architecture and tag.libc is own.libc]
    return bool(versioned) and versioned[0].newer_than(own)


def _described(provider: ProviderWheel) -> str:
    return f"{provider.wheel.version} for {', '.join(provider.wheel.platforms)}"
