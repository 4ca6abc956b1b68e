"""C library and architecture of a wheel, by evidence: from the wheel, never from the host. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.elf import MACHINES, Libc
from nativelib.facts.tags import PlatformTag, libc_of_extension
from nativelib.findings import Code, Finding, listed, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts, WheelName


def libc_of(
    files: Mapping[str, ElfFacts], platforms: Sequence[str] = (), providers: Sequence[Provider] = ()
) -> Libc | None:
    """Return the C library of a wheel.

    Evidence in this order: DT_NEEDED and version needs of its files, its platform tags, the EXT_SUFFIX in file names,
    its providers; ``None`` without any, which is to be taken for glibc with the lowest policy. Raises PlanError for
    files of both.
    """
    seen = {facts.libc: name for name, facts in files.items() if facts.libc is not None}
    if len(seen) > 1:
        raise PlanError.of(
            Code.MIXED_MACHINES,
            seen[Libc.MUSL],
            f"This file is linked with musl, and {seen[Libc.GLIBC]} with glibc: one wheel cannot be for both.",
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
    tagged = next((arch for tag in name.platforms for arch in MACHINES if tag.endswith(f"_{arch}")), None)
    if tagged in found:
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
        raise PlanError.of(
            Code.WRONG_ARCHITECTURE,
            found[machine],
            f"No platform tag exists for this machine ({machine}).",
            "Nothing can be done.",
        )
    return machine


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
            f"Give the provider's wheel for {'musllinux' if libc is Libc.MUSL else 'manylinux'}.",
        )
