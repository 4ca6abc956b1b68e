"""C library and architecture of a wheel, by evidence: from the wheel, never from the host. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.elf import MACHINES, Libc
from nativelib.facts.tags import Family, PlatformTag, libc_of_extension
from nativelib.findings import Code, Finding, listed, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts, WheelName
    from nativelib.plan.options import RepairOptions
    from nativelib.policy.values import Policy

_FAMILIES = {Libc.GLIBC: "manylinux", Libc.MUSL: "musllinux", Libc.BIONIC: "Android"}


def libc_of(
    files: Mapping[str, ElfFacts], platforms: Sequence[str] = (), providers: Sequence[Provider] = ()
) -> Libc | None:
    """Return the C library of a wheel.

    Evidence in this order: DT_NEEDED and version needs of its files, its platform tags, the EXT_SUFFIX in file names,
    its providers; ``None`` without any, which is to be taken for glibc with the lowest policy. What could be musl's or
    Android's, by the name ``libc.so`` alone, is what another file or the tag says. Raises PlanError for files of two.
    """
    seen = {facts.libc: name for name, facts in files.items() if facts.libc is not None}
    android = Libc.BIONIC in seen or any(PlatformTag.parse(tag).family is Family.ANDROID for tag in platforms)
    if android and seen and all(facts.suits(Libc.BIONIC) for facts in files.values()):
        return Libc.BIONIC
    if len(seen) > 1:
        (first, one), (second, other) = sorted(seen.items(), reverse=True)[:2]
        raise PlanError.of(
            Code.MIXED_MACHINES,
            one,
            f"This file is linked with {first}, and {other} with {second}: one wheel cannot be for both.",
            "Build all of the wheel for one C library.",
        )
    if seen:
        return next(iter(seen))
    for tag in platforms:
        promised = PlatformTag.parse(tag).libc
        if promised is not None:
            return promised
    for name in files:
        named = libc_of_extension(name)
        if named is not None:
            return named
    return next((provider.libc for provider in providers if provider.libc is not None), None)


def architecture_of(files: Mapping[str, ElfFacts], name: WheelName) -> str:
    """Return the architecture of a wheel with ELF *files*, as platform tags name it.

    Raises PlanError (``NL205``) if the file name says another one than every file, ``NL210`` for a mixture without a
    hint.
    """
    found = {facts.architecture: member for member, facts in files.items()}
    known = (PlatformTag.parse(tag).policy_architecture for tag in name.platforms)
    tagged = next((architecture for architecture in known if architecture in MACHINES), None)
    if tagged in found or (tagged is not None and not found):
        return tagged or ""
    if tagged is not None:
        machine, member = next(iter(found.items()))
        raise PlanError.of(
            Code.WRONG_ARCHITECTURE,
            member,
            f"This file is for {machine}, and the wheel's name says {tagged}.",
            "Rename the wheel, build it for the right machine, or leave data for other machines unread (--skip).",
        )
    return architecture_of_files(files, where=str(name))


def architecture_of_files(files: Mapping[str, ElfFacts], *, where: str = "libraries") -> str:
    """Return the one architecture of *files*; Python extensions decide where other files differ. Raises PlanError."""
    found = {facts.architecture: member for member, facts in files.items()}
    extensions = {facts.architecture for facts in files.values() if facts.python_extension} or set(found)
    if len(extensions) > 1:
        listing = ", ".join(f"{found[machine]} ({machine})" for machine in sorted(extensions))
        raise PlanError.of(Code.MIXED_MACHINES, where, f"There are ELF files for several machines: {listing}.")
    machine = extensions.pop()
    if machine not in MACHINES:
        number, bits, little = files[found[machine]].machine
        kind = f"e_machine {number}, {bits} bits, {'little' if little else 'big'}-endian"
        raise PlanError.of(
            Code.WRONG_ARCHITECTURE,
            found[machine],
            f"No manylinux, musllinux or Android tag exists for its machine (in the ELF header: {kind}).",
            "Leave the wheel as it is: it can be installed under its linux tag.",
        )
    return machine


def likely_platform(files: Mapping[str, ElfFacts], platforms: Sequence[str] = ()) -> tuple[str, Libc]:
    """Return architecture and C library of most of *files*, for a report about a wheel that is wrong in this respect.

    *files* must not be empty.
    """
    machines = Counter(facts.architecture for facts in files.values())
    # Machines that have policies first: of the others there is little to say.
    architecture = max(sorted(machines), key=lambda name: (name in MACHINES, machines[name]))
    seen = Counter(facts.libc for facts in files.values() if facts.libc is not None)
    promised = (PlatformTag.parse(tag).libc for tag in platforms)
    libc = max(sorted(seen), key=lambda name: seen[name]) if seen else next(filter(None, promised), Libc.GLIBC)
    return architecture, libc


def own_policy(options: RepairOptions, libc: Libc, architecture: str) -> Policy | None:
    """Return the user's policy that ``--plat`` names, for the wheel's machine; ``None`` if no policy was given.

    Raises PlanError if it is another's, or if ``--plat`` names none: a file that counts for nothing is a mistake.
    """
    if not options.policies:
        return None
    name = options.policies[0].name
    named = [p for p in options.policies if options.plat in (name, f"{name}_{p.machine}")]
    if not named:
        text = f"The file defines {name}, and --plat names {options.plat}: the file would not count."
        raise PlanError.of(Code.BAD_POLICY, "--policy", text, f"Add --plat {name}.")
    fitting = [policy for policy in named if policy.architecture == architecture]
    if not fitting:
        machines = ", ".join(policy.architecture for policy in named)
        text = f"{name} is for {machines}, and the wheel is for {architecture}."
        raise PlanError.of(Code.WRONG_ARCHITECTURE, "--policy", text)
    if fitting[0].libc is not libc:
        text = f"{name} is for {fitting[0].libc}, and the wheel is linked with {libc}."
        raise PlanError.of(Code.WRONG_LIBC, "--policy", text)
    return fitting[0]


def foreign_note(wheel: WheelFacts, members: Sequence[str], architecture: str) -> list[Finding]:
    """Return the note that *members* are for another machine than the wheel: data to it, which no loader opens."""
    if not members:
        return []
    machines = ", ".join(sorted({wheel.elf[name].architecture for name in members}))
    message = f"{listed(members)} for {machines} in a wheel for {architecture}: counted as data, and left as it is."
    return [note(Code.MIXED_MACHINES, wheel.filename, message)]


def check_provider(provider: Provider, architecture: str, libc: Libc | None) -> None:
    """Raise PlanError if *provider* is for another machine (``NL205``) or C library (``NL206``) than the consumer."""
    others = sorted(set(provider.machines()) - {architecture})
    if others:
        raise PlanError.of(
            Code.WRONG_ARCHITECTURE,
            provider.origin,
            f"{provider.label} is for {', '.join(others)}, and the wheel is for {architecture}.",
            f"Give the provider's wheel for {architecture}.",
        )
    theirs = provider.libc
    if theirs is not None and libc is not None and theirs is not libc:
        raise PlanError.of(
            Code.WRONG_LIBC,
            provider.origin,
            f"{provider.label} is linked with {theirs}, and the wheel with {libc}.",
            f"Give the provider's wheel for {_FAMILIES[libc]}.",
        )
