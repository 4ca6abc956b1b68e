"""The proof for all files of a wheel, and what providers declare that symbols do not show. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from nativelib.findings import Code, Finding, error, warning
from nativelib.plan.abi import abi_findings, copy_findings
from nativelib.plan.needs import Answer, by_requester
from nativelib.plan.symbols import prove, scope_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.facts.elf import ElfFacts, Symbol
    from nativelib.facts.provider import Provider
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.symbols import Evidence, Proof, Scope

# Templates, type information and guards of the C++ standard library: every C++ library exports its own equal copies.
_COPIED = re.compile(r"_Z(T[ISVT]|G[VR]|Z)?N?K?(S[tsaiod]|9__gnu_cxx)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What all files together take from each provider."""

    used: Mapping[str, Mapping[str, frozenset[Symbol]]]
    """Provider to the provider's soname to symbols."""
    findings: tuple[Finding, ...]


def prove_all(
    members: Mapping[str, ElfFacts],
    outside: Mapping[str, ElfFacts],
    needs: Sequence[Need],
    evidence: Evidence,
    options: RepairOptions,
) -> Proofs:
    """Return the proof for every file that needs a provided library: symbols used, and a finding for each defect."""
    findings: list[Finding] = []
    used: dict[str, dict[str, set[Symbol]]] = {}
    groups = by_requester(needs)
    files = {**outside, **members}
    for requester, group in groups.items():
        owners = {need.soname: need for need in group if need.answer is Answer.PROVIDED}
        if not owners:
            continue
        scope = scope_of(requester, groups, files, evidence)
        proof = prove(files[requester], scope)
        findings += _findings(requester, proof, scope, owners)
        for soname, symbols in proof.used.items():
            need = owners[soname]
            if need.provider is not None and need.library is not None:
                used.setdefault(need.provider.name, {}).setdefault(need.library.soname, set()).update(symbols)
    frozen = {name: {soname: frozenset(s) for soname, s in group.items()} for name, group in used.items()}
    providers = {need.provider.name: need.provider for need in needs if need.provider is not None}
    findings += abi_findings(tuple(providers.values()), frozen, options)
    findings += copy_findings(needs, files, options)
    findings += collision_findings(tuple(providers.values()))
    return Proofs(used=frozen, findings=tuple(findings))


def _findings(requester: str, proof: Proof, scope: Scope, owners: Mapping[str, Need]) -> list[Finding]:
    out: list[Finding] = []
    for soname, symbols in sorted(proof.missing.items()):
        need = owners[soname]
        label = need.provider.label if need.provider else soname
        library = need.library.soname if need.library else soname
        names = tuple(sorted(str(symbol) for symbol in symbols))
        out.append(
            error(
                Code.MISSING_SYMBOL,
                requester,
                f"{label} cannot stand in for {soname}: its {library} does not export {', '.join(names)}.",
                f"Use a release of {need.provider.name if need.provider else soname} that has them.",
                names,
            )
        )
    if proof.homeless:
        names = tuple(sorted(str(symbol) for symbol in proof.homeless))
        wanted = ", ".join(f"{soname} ({need.provider.label})" for soname, need in owners.items() if need.provider)
        if proof.complete:
            out.append(
                error(
                    Code.MISSING_SYMBOL,
                    requester,
                    f"Nothing that it loads exports {', '.join(names)}; libraries provided to it: {wanted}.",
                    "Use a release of the provider that has them, or name the provider of the rest.",
                    names,
                )
            )
        elif not scope.references:
            out.append(
                warning(
                    Code.UNPROVEN,
                    requester,
                    f"It is unproven: {', '.join(names)} could not be placed, "
                    "because not every library that it loads is at hand.",
                    "Run the repair where those libraries are, or pass --ldpaths.",
                    names,
                )
            )
    return out


def collision_findings(providers: Sequence[Provider]) -> list[Finding]:
    """Return a warning for each pair of providers whose libraries export the same names."""
    out: list[Finding] = []
    for one, other in combinations(sorted(providers, key=lambda p: p.name), 2):
        if _needs(one, other) or _needs(other, one):
            continue  # made for each other: they are in one scope whoever opens them, and share on purpose
        names = sorted(str(s) for s in _exports(one) & _exports(other) if not _COPIED.match(s.name))
        if names:
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            out.append(
                warning(
                    Code.EXPORT_COLLISION,
                    f"{one.name}, {other.name}",
                    f"{one.label} and {other.label} both export {len(names)} names ({shown}).",
                    "Harmless as long as nobody opens either with RTLD_GLOBAL; nativelib's code never does.",
                )
            )
    return out


def _needs(one: Provider, other: Provider) -> bool:
    offered = {library.soname for library in other.libraries}
    return any(not offered.isdisjoint(library.facts.needed) for library in one.every)


def _exports(provider: Provider) -> frozenset[Symbol]:
    return frozenset().union(*(library.facts.exports for library in provider.libraries))
