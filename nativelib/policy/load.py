"""The packaged policy data, expanded into values. The only I/O of this room: each file is read once."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nativelib.facts.elf import MACHINES, Libc
from nativelib.facts.tags import PlatformTag
from nativelib.policy.values import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES = {Libc.GLIBC: "manylinux.json", Libc.MUSL: "musllinux.json", Libc.BIONIC: "android.json"}

# The names that the ABI supplements and glibc's shlib-versions give the loader.
_GLIBC_LOADERS = {
    "x86_64": "ld-linux-x86-64.so.2",
    "i686": "ld-linux.so.2",
    "aarch64": "ld-linux-aarch64.so.1",
    "armv7l": "ld-linux-armhf.so.3",
    "ppc64le": "ld64.so.2",
    "ppc64": "ld64.so.1",
    "s390x": "ld64.so.1",
    "riscv64": "ld-linux-riscv64-lp64d.so.1",
    "loongarch64": "ld-linux-loongarch-lp64d.so.1",
}
# What glibc installs beside libc itself; its NEWS for 2.34 lists what became part of libc.so.6.
_GLIBC_PARTS = frozenset(
    {
        *("libc.so.6", "libm.so.6", "libmvec.so.1", "libdl.so.2", "librt.so.1", "libpthread.so.0", "libutil.so.1"),
        *("libresolv.so.2", "libanl.so.1", "libBrokenLocale.so.1"),
    }
)
# Alpine calls the library after its own architecture names, musl the loader after musl's.
_ALPINE_NAMES = {"i686": "x86", "armv7l": "armv7"}
_MUSL_NAMES = {"i686": "i386", "armv7l": "armhf", "ppc64le": "powerpc64le"}


def is_loader(soname: str) -> bool:
    """Return whether *soname* is the dynamic loader itself, which every process has."""
    return soname.startswith(("ld-linux", "ld64.so.", "ld.so.", "ld-musl-"))


@cache
def libc_libraries(libc: Libc, architecture: str) -> frozenset[str]:
    """Return the sonames of *libc* itself and its loader, of which no process can have a copy beside the system's."""
    if libc is Libc.MUSL:
        return _libc_names(libc, architecture) | {"libc.so"}
    if libc is Libc.BIONIC:
        return frozenset({"libc.so", "libdl.so", "libm.so"})
    return _GLIBC_PARTS | {_GLIBC_LOADERS[architecture]}


@cache
def is_libc(soname: str) -> bool:
    """Return whether *soname* is a part of some C library on some architecture, or a loader."""
    return is_loader(soname) or any(soname in libc_libraries(libc, name) for libc in Libc for name in MACHINES)


@cache
def policies_for(libc: Libc, architecture: str) -> tuple[Policy, ...]:
    """Return the policies of *architecture*, oldest first; empty if there is none."""
    return tuple(policy for policy in _policies(libc) if policy.architecture == architecture)


@cache
def policy_libraries(libc: Libc, architecture: str, own: Policy | None = None) -> frozenset[str]:
    """Return the sonames that some policy, or the user's *own*, allows from the system, the loader included."""
    policies = policies_for(libc, architecture) if own is None else (own,)
    names = {name for policy in policies for name in policy.libraries}
    if libc is Libc.GLIBC and architecture in _GLIBC_LOADERS:
        names.add(_GLIBC_LOADERS[architecture])
    return frozenset(names)


def platform_tags(policy: Policy) -> tuple[str, ...]:
    """Return the tag of *policy* and its aliases, sorted: all of them belong into a file name."""
    return tuple(sorted({policy.tag, *(f"{alias}_{policy.machine}" for alias in policy.aliases)}))


@cache
def all_tags() -> tuple[str, ...]:
    """Return every platform tag that has a policy, aliases included, sorted."""
    return tuple(sorted(tag for libc in _FILES for policy in _policies(libc) for tag in platform_tags(policy)))


def lookup(tag: str) -> Policy | None:
    """Return the policy of the platform tag *tag*, whichever way it is spelled, or ``None``.

    Every API level of Android has a tag, and the data has those that brought libraries: the others have what the last
    one before them has.
    """
    value = PlatformTag.parse(tag)
    if value.libc is None:
        return None
    if value.libc is Libc.BIONIC:
        older = [p for p in policies_for(value.libc, value.policy_architecture) if p.version <= value.version]
        return replace(older[-1], name=f"android_{value.version[0]}", version=value.version) if older else None
    found = (p for p in policies_for(value.libc, value.architecture) if p.version == value.version)
    return next(found, None)


def data_source(libc: Libc) -> str:
    """Return where the figures come from: name and version."""
    return str(_document(libc)["source"])


@cache
def _document(libc: Libc) -> dict[str, Any]:
    text = resources.files(__package__).joinpath("data", _FILES[libc]).read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@cache
def _policies(libc: Libc) -> tuple[Policy, ...]:
    return tuple(_expand(_document(libc), libc))


def _expand(document: dict[str, Any], libc: Libc) -> Iterator[Policy]:
    """Yield one policy for each entry and architecture. An entry says only what it adds to the older ones."""
    prefixes = document["prefixes"].split()
    libraries: set[str] = set()
    versions: dict[str, dict[str, frozenset[str]]] = {}
    forbidden: dict[str, frozenset[str]] = {}
    for entry in document["policies"]:
        architectures = entry["architectures"].split()
        libraries.update(entry.get("libraries", "").split())
        for soname, names in entry.get("forbids", {}).items():
            forbidden[soname] = forbidden.get(soname, frozenset()) | frozenset(names.split())
        for soname, names in entry.get("permits", {}).items():
            forbidden[soname] -= frozenset(names.split())
        for prefix, groups in entry.get("versions", {}).items():
            for group, added in groups.items():
                for architecture in architectures if group == "all" else group.split():
                    known = versions.setdefault(architecture, {})
                    known[prefix] = known.get(prefix, frozenset()) | frozenset(added.split())
        family = PlatformTag.parse(f"{entry['name']}_any")
        for architecture in architectures:
            known = versions.get(architecture, {})
            yield Policy(
                name=entry["name"],
                aliases=tuple(entry.get("aliases", "").split()),
                libc=libc,
                version=family.version,
                architecture=architecture,
                libraries=frozenset(libraries) | _libc_names(libc, architecture),
                symbol_versions=MappingProxyType({prefix: known.get(prefix, frozenset()) for prefix in prefixes}),
                forbidden=MappingProxyType({soname: names for soname, names in forbidden.items() if names}),
            )


def _libc_names(libc: Libc, architecture: str) -> frozenset[str]:
    """Return the names under which musl is needed: what musl-gcc writes is the data's ``libc.so``."""
    if libc is not Libc.MUSL:
        return frozenset()
    alpine = _ALPINE_NAMES.get(architecture, architecture)
    musl = _MUSL_NAMES.get(architecture, architecture)
    return frozenset({f"libc.musl-{alpine}.so.1", f"ld-musl-{musl}.so.1"})
