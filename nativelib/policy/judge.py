"""The judge: which platform tag a set of ELF files deserves, and why not an older one. No I/O of its own.

Sources: PEP 513, 571, 599 and 600 (what a manylinux tag promises), PEP 656 (musllinux), PEP 738 (Android), gABI and
the symbol versioning chapter of the LSB (version needs). Where nothing below says otherwise, the rules are
auditwheel's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from nativelib.facts.elf import Libc
from nativelib.facts.tags import ANDROID_ABIS
from nativelib.policy.load import all_tags, is_libc, is_loader, lookup, platform_tags, policies_for, policy_libraries
from nativelib.policy.values import Obstacle, ObstacleKind, Policy, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nativelib.facts.elf import ElfFacts, Import

__all__ = [
    "Obstacle",
    "ObstacleKind",
    "Policy",
    "Verdict",
    "all_tags",
    "is_libc",
    "is_loader",
    "judge",
    "lookup",
    "obstacles_to",
    "platform_tags",
    "policies_for",
    "policy_libraries",
]

_PYFPE = frozenset({"PyFPE_jbuf", "PyFPE_dummy", "PyFPE_counter"})
_UCS2_PREFIX = "PyUnicodeUCS2_"
# Android's x86_64 has SSE4.2 and POPCNT, that is x86-64-v2, as its baseline (NDK guides, "Android ABIs").
_ISA_BASELINE = {libc: frozenset({"x86-64-baseline"}) for libc in Libc} | {
    Libc.BIONIC: frozenset({"x86-64-baseline", "x86-64-v2"})
}
_RELR_VERSION = "GLIBC_ABI_DT_RELR"
_RELR_SINCE = {Libc.GLIBC: "glibc 2.36", Libc.MUSL: "musl 1.2.4", Libc.BIONIC: "Android API level 30"}

# e_flags of ELF for the ARM architecture (aaelf32): EABI version 5, and arguments in floating-point registers.
_ARM_EABI_MASK = 0xFF000000
_ARM_EABI_VERSION_5 = 0x05000000
_ARM_HARD_FLOAT = 0x00000400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demand:
    """What one file asks of the system, gathered once and held against every policy."""

    member: str
    machine: str
    libraries: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    users: Mapping[tuple[str, str], list[str]]
    strong: Mapping[str, frozenset[str]]
    isa: tuple[str, ...]
    relr: bool
    pyfpe: tuple[str, ...]
    ucs2: tuple[str, ...]
    api_level: int | None


def judge(
    files: Mapping[str, ElfFacts],
    external: Mapping[str, frozenset[str]],
    *,
    libc: Libc,
    architecture: str,
    ignore_isa: bool = False,
    narrow: bool = False,
    vouched: Policy | None = None,
) -> Verdict:
    """Return the best platform tag that *files* deserve together.

    *files* are the ELF files by member name, as they will be in the wheel, grafts included. *external* has for each
    member the ``DT_NEEDED`` names that are to come from the system. Version needs are judged for these, for the
    libraries that any policy allows, even if the wheel has a file of that name, and for the loader.
    *ignore_isa* passes files that need more than the baseline instruction set, *narrow* those that need a narrow
    Unicode build of Python 2.

    The oldest policy that every file meets is the best. musl has no symbol versions, so that files cannot show that
    they work with an older musl: the newest policy is the oldest that counts, unless *vouched*, an older one, is what
    the user or an existing tag stands for. Android's API level is what *vouched* says, else what all files say that
    they were built for.

    Files of another architecture or C library are not judged; if none is left to judge, no policy is met.
    """
    judged = _judged(files, libc, architecture)
    demands = _demands(judged, external, policies_for(libc, architecture), libc, architecture)
    if vouched is not None and (vouched.libc, vouched.architecture) != (libc, architecture):
        vouched = None
    if libc is Libc.BIONIC:
        vouched = vouched or _built_for(demands, architecture)
    unmet: list[tuple[Obstacle, ...]] = []
    reached: Policy | None = None
    for policy in _candidates(libc, architecture, vouched):
        obstacles = (*_unvouched(policy, vouched), *_obstacles(policy, demands, ignore_isa=ignore_isa, narrow=narrow))
        if not obstacles:
            reached = policy
            break
        unmet.append(obstacles)
    return Verdict(
        policy=reached,
        tag=reached.tag if reached else f"linux_{architecture}",
        obstacles=tuple(obstacle for obstacles in reversed(unmet) for obstacle in obstacles),
        versioned_symbols=_versioned_symbols(demands),
        ignored=tuple(sorted(files.keys() - judged.keys())),
    )


def obstacles_to(
    policy: Policy,
    files: Mapping[str, ElfFacts],
    external: Mapping[str, frozenset[str]],
    *,
    ignore_isa: bool = False,
) -> tuple[Obstacle, ...]:
    """Return why *files* do not meet *policy*; empty if they do.

    Parameters as for :func:`judge`, but whoever names an older musl policy here vouches for it.
    """
    judged = _judged(files, policy.libc, policy.architecture)
    demands = _demands(judged, external, (policy,), policy.libc, policy.architecture)
    return tuple(_obstacles(policy, demands, ignore_isa=ignore_isa))


def _judged(files: Mapping[str, ElfFacts], libc: Libc, architecture: str) -> dict[str, ElfFacts]:
    return {name: facts for name, facts in files.items() if facts.architecture == architecture and facts.suits(libc)}


def _built_for(demands: tuple[_Demand, ...], architecture: str) -> Policy | None:
    """Return the policy of the API level that the files were built for; ``None`` unless all of them say it."""
    levels = [demand.api_level for demand in demands]
    known = [level for level in levels if level is not None]
    if not known or len(known) < len(levels):
        return None
    return lookup(f"android_{max(known)}_{ANDROID_ABIS.get(architecture, architecture)}")


def _candidates(libc: Libc, architecture: str, vouched: Policy | None) -> tuple[Policy, ...]:
    """Return the policies to try, oldest first. Of Android's, only what is vouched for and what is newer counts."""
    known = policies_for(libc, architecture)
    if libc is not Libc.BIONIC or vouched is None:
        return known
    return (vouched, *(policy for policy in known if policy.version > vouched.version))


def _unvouched(policy: Policy, vouched: Policy | None) -> tuple[Obstacle, ...]:
    """Return the obstacle of a policy for which no file can be evidence."""
    if policy.libc is Libc.GLIBC:
        return ()
    if policy.libc is Libc.BIONIC:
        if vouched is not None:
            return ()
        detail = "does not say for which API level of Android it was built"
    else:
        newest = policies_for(policy.libc, policy.architecture)[-1]
        if policy.version >= (vouched or newest).version:
            return ()
        version = ".".join(map(str, policy.version))
        detail = f"has nothing that shows that musl {version} suffices, because musl has no symbol versions"
    return (Obstacle(policy=policy.name, member="", kind=ObstacleKind.UNVERSIONED, detail=detail),)


def _versioned_symbols(demands: tuple[_Demand, ...]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for demand in demands:
        for library, version in demand.versions:
            if not is_loader(library):
                found[library].add(version)
    return MappingProxyType({library: frozenset(found[library]) for library in sorted(found)})


def _demands(
    files: Mapping[str, ElfFacts],
    external: Mapping[str, frozenset[str]],
    policies: tuple[Policy, ...],
    libc: Libc,
    architecture: str,
) -> tuple[_Demand, ...]:
    system = policy_libraries(libc, architecture)
    suspects: dict[str, frozenset[str]] = {}
    for policy in policies:
        for soname, names in policy.forbidden.items():
            suspects[soname] = suspects.get(soname, frozenset()) | names
    return tuple(
        _demand(name, files[name], external.get(name, frozenset()), libc, system, suspects) for name in sorted(files)
    )


def _demand(
    member: str,
    facts: ElfFacts,
    external: frozenset[str],
    libc: Libc,
    system: frozenset[str],
    suspects: Mapping[str, frozenset[str]],
) -> _Demand:
    from_system = external | system
    users: dict[tuple[str, str], list[str]] = defaultdict(list)
    strong: dict[str, set[str]] = defaultdict(set)
    odd: set[str] = set()
    at_risk = suspects.keys() & set(facts.needed)
    for symbol in facts.imports:
        if symbol.version:
            users[symbol.library, symbol.version].append(symbol.name)
        if symbol.name.startswith("Py") and (symbol.name in _PYFPE or symbol.name.startswith(_UCS2_PREFIX)):
            odd.add(symbol.name)
        for soname in at_risk:
            if symbol.name in suspects[soname] and _may_bind(symbol, soname):
                strong[soname].add(symbol.name)
    versions = {(need.library, need.version) for need in facts.version_needs}
    return _Demand(
        member=member,
        machine=_machine_fault(facts, libc),
        libraries=tuple(sorted(name for name in external if not is_loader(name))),
        versions=tuple(sorted(need for need in versions if need[0] in from_system or is_loader(need[0]))),
        users=users,
        strong={soname: frozenset(names) for soname, names in strong.items()},
        isa=tuple(sorted(facts.isa_needed - _ISA_BASELINE[libc])),
        relr=facts.relr and all(version != _RELR_VERSION for _, version in versions),
        pyfpe=tuple(sorted(odd & _PYFPE)),
        ucs2=tuple(sorted(odd - _PYFPE)),
        api_level=facts.android_api,
    )


def _may_bind(symbol: Import, soname: str) -> bool:
    """Return whether *symbol* must be found and *soname* is where it may be found. A weak one may stay undefined."""
    return not symbol.weak and symbol.library in ("", soname)


def _machine_fault(facts: ElfFacts, libc: Libc) -> str:
    if facts.architecture != "armv7l":
        return ""
    if facts.e_flags & _ARM_EABI_MASK != _ARM_EABI_VERSION_5:
        return "is not for version 5 of the ARM EABI"
    # Android's armeabi-v7a passes them in integer registers (NDK guides, "Android ABIs").
    if libc is not Libc.BIONIC and not facts.e_flags & _ARM_HARD_FLOAT:
        return "does not pass arguments in floating-point registers (hard-float)"
    return ""


def _obstacles(
    policy: Policy, demands: tuple[_Demand, ...], *, ignore_isa: bool, narrow: bool = False
) -> Iterator[Obstacle]:
    if not demands:
        detail = f"has no file for {policy.libc} on {policy.architecture}"
        yield Obstacle(policy=policy.name, member="", kind=ObstacleKind.MACHINE, detail=detail)
    for demand in demands:
        for kind, detail, symbols in (
            *_version_faults(policy, demand),
            *_library_faults(policy, demand),
            *_other_faults(policy, demand, ignore_isa=ignore_isa, narrow=narrow),
        ):
            yield Obstacle(policy=policy.name, member=demand.member, kind=kind, detail=detail, symbols=symbols)


_Fault = tuple[ObstacleKind, str, tuple[str, ...]]


def _version_faults(policy: Policy, demand: _Demand) -> Iterator[_Fault]:
    """Yield the version needs that *policy* does not meet.

    Weak needs count like others: the loader lets them pass, but what the file does without them nobody has tried.
    """
    for library, version in demand.versions:
        if policy.allows_version(version):
            continue
        if version == _RELR_VERSION:
            yield ObstacleKind.RELR, "has DT_RELR relocations, which need glibc 2.36", ()
            continue
        names = tuple(sorted(demand.users.get((library, version), ())))
        yield ObstacleKind.VERSION, f"needs {version} of {library}{_some(names)}", names


def _library_faults(policy: Policy, demand: _Demand) -> Iterator[_Fault]:
    for name in demand.libraries:
        if not policy.allows_library(name):
            yield ObstacleKind.LIBRARY, f"needs {name}, which not every system of this policy has", ()
    for soname in sorted(policy.forbidden.keys() & demand.strong.keys()):
        if names := tuple(sorted(policy.forbidden[soname] & demand.strong[soname])):
            yield ObstacleKind.FORBIDDEN, f"needs symbols that not every {soname} exports{_some(names)}", names


def _other_faults(policy: Policy, demand: _Demand, *, ignore_isa: bool, narrow: bool) -> Iterator[_Fault]:
    if demand.machine:
        yield ObstacleKind.MACHINE, demand.machine, ()
    if demand.isa and not ignore_isa:
        yield ObstacleKind.ISA, f"needs the instruction set {demand.isa[-1]}", ()
    if demand.relr and not policy.relr:
        yield ObstacleKind.RELR, f"has DT_RELR relocations, which need {_RELR_SINCE[policy.libc]}", ()
    if demand.api_level is not None and (demand.api_level,) > policy.version:
        yield ObstacleKind.API_LEVEL, f"was built for Android API level {demand.api_level}", ()
    if demand.pyfpe:
        yield ObstacleKind.PYFPE, f"needs a Python built with fpectl{_some(demand.pyfpe)}", demand.pyfpe
    if demand.ucs2 and not narrow:
        yield ObstacleKind.UCS2, f"needs a narrow Unicode build of Python 2{_some(demand.ucs2)}", demand.ucs2


def _some(names: tuple[str, ...], limit: int = 3) -> str:
    """Return the first *names* in brackets, or nothing."""
    if not names:
        return ""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f" ({', '.join(names[:limit])}{more})"
