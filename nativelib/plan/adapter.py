"""Adapters: what each of their names leads to, and whether it may. Pure.

Source of the rule for names: the published wheels of NumPy and SciPy, whose OpenBLAS has a prefix and a suffix around
the names of BLAS (``scipy_cblas_dgemm64_``, ``scipy_dgesv_64_``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.errors import PlanError
from nativelib.facts.adapter import ARCHITECTURES
from nativelib.facts.elf import ElfFacts, Import, Symbol
from nativelib.facts.spec import SonameRule
from nativelib.findings import Code, error
from nativelib.plan.abi import openblas_abi, takes_64_bits
from nativelib.plan.adapter_names import adapter_names
from nativelib.plan.graft import unique_soname
from nativelib.plan.needs import Answer, Need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.facts.adapter import AskedAdapter
    from nativelib.facts.elf import Libc, Machine
    from nativelib.facts.prefix import PrefixFacts, PrefixLibrary
    from nativelib.facts.provider import ProvidedLibrary, Provider
    from nativelib.facts.spec import Spec
    from nativelib.findings import Finding

# A library with matrix products or factorisations passes dimensions as integers, of one width or the other.
_BLAS = re.compile(r"(^|_)[sdcz](gemm|getrf)_?(64_?)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAdapter:
    """One adapter of the wheel to be."""

    soname: str
    """``DT_SONAME`` and file name in the wheel."""
    original_soname: str
    """The name that consumers were linked with."""
    forwards: tuple[tuple[str, str], ...]
    """Pairs of a name and of the target's, sorted."""
    facts: ElfFacts
    """What the written file will be."""
    need: Need | None = None
    """Of a target in another library wheel."""
    blas_int: str | None = None
    """Bits of the integers of its functions, if it has functions of BLAS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The library that has the functions."""

    soname: str
    """As it is in the finished wheels."""
    facts: ElfFacts
    label: str
    """The wheel that it is in, for messages."""
    blas_int: str | None
    """Bits of its integers, as its wheel declares them."""
    beside: tuple[tuple[str, ElfFacts], ...] = ()
    """Soname and facts of the libraries that are loaded together with it."""
    provider: Provider | None = None
    library: ProvidedLibrary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterGround:
    """The wheel that adapters are for, and what their targets are taken from."""

    label: str
    """Name of the distribution."""
    spec: Spec
    prefix: PrefixFacts
    providers: Sequence[Provider]
    libc: Libc

    def soname(self, original: str) -> str:
        """Return the soname in the wheel of a library that is called *original*."""
        keep = self.spec.soname is SonameRule.KEEP
        return original if keep else unique_soname(original, self.spec.import_name)

    @property
    def own(self) -> dict[str, PrefixLibrary]:
        """The libraries of the wheel by their sonames there."""
        return {self.soname(library.soname): library for library in self.prefix.libraries}


def plan_adapters(asked: Sequence[AskedAdapter], ground: AdapterGround) -> tuple[PlannedAdapter, ...]:
    """Return the adapters that are *asked* for. Raises PlanError with every reason at once."""
    findings: list[Finding] = []
    planned = [adapter for item in asked if (adapter := _planned(item, ground, findings)) is not None]
    if findings:
        raise PlanError(findings)
    return tuple(planned)


def _planned(asked: AskedAdapter, ground: AdapterGround, findings: list[Finding]) -> PlannedAdapter | None:
    rule = asked.rule
    target = _target(asked, ground, findings)
    if target is None:
        return None
    names = adapter_names(asked, target.facts, target.beside)
    findings += [*names.findings, *_abi_findings(asked, target, ground), *_name_findings(asked, target, ground)]
    findings += _shown_width(asked, names.forwards)
    if names.findings:
        return None
    soname = ground.soname(rule.soname)
    outward = (f"$ORIGIN/../../{target.provider.import_name}/lib",) if target.provider is not None else ()
    facts = predicted_facts(
        target.facts.machine,
        soname=soname,
        needed=(target.soname,),
        forwards=names.forwards,
        run_path=("$ORIGIN", *outward),
        run_path_tag=ground.libc.run_path_tag,
    )
    return PlannedAdapter(
        soname=soname,
        original_soname=rule.soname,
        forwards=names.forwards,
        facts=facts,
        need=_need(soname, target),
        blas_int=rule.blas_int,
    )


def predicted_facts(
    machine: Machine,
    *,
    soname: str,
    needed: tuple[str, ...],
    forwards: Sequence[tuple[str, str]],
    run_path: tuple[str, ...],
    run_path_tag: str,
) -> ElfFacts:
    """Return the facts that an adapter with these properties has; size and digest are left open."""
    return ElfFacts(
        machine=machine,
        e_type=3,
        e_flags=0,
        dynamic=True,
        interpreter=None,
        soname=soname,
        needed=needed,
        rpath=run_path if run_path_tag == "rpath" else (),
        runpath=run_path if run_path_tag == "runpath" else (),
        version_needs=(),
        version_definitions=(),
        version_base=None,
        imports=frozenset(Import(target) for _, target in forwards),
        exports=frozenset(Symbol(name) for name, _ in forwards),
        build_id=None,
        isa_needed=frozenset(),
        relr=False,
        sections=True,
        load_end=0,
        size=0,
        sha256="",
    )


def _need(soname: str, target: Target) -> Need | None:
    if target.provider is None or target.library is None:
        return None
    return Need(
        requester=soname,
        soname=target.soname,
        answer=Answer.PROVIDED,
        source=target.library.file,
        provider=target.provider,
        library=target.library,
    )


def _target(asked: AskedAdapter, ground: AdapterGround, findings: list[Finding]) -> Target | None:
    """Return the library that the rule names: one of this wheel before one of another."""
    wanted = asked.rule.target
    offers = [(provider, library) for provider in ground.providers if (library := provider.find(wanted)) is not None]
    found = _own_target(wanted, ground) or (_provided_target(*offers[0], ground) if len(offers) == 1 else None)
    if found is None:
        known = [item.soname for item in ground.prefix.libraries]
        known += [library.original_soname for provider in ground.providers for library in provider.libraries]
        several = f" Several have it: {', '.join(provider.label for provider, _ in offers)}." if offers else ""
        message = f"{wanted!r} is no one library of this wheel or of its library wheels in provided-by.{several}"
        remedy = f"The libraries are {', '.join(known)}."
        findings.append(error(Code.BAD_ADAPTER, f"{asked.key}.target", message, remedy))
    elif found.facts.architecture not in ARCHITECTURES:
        message = f"No adapter can be made for {found.facts.architecture}, the machine of {wanted}."
        remedy = f"The known architectures are {', '.join(ARCHITECTURES)}."
        findings.append(error(Code.WRONG_ARCHITECTURE, asked.key, message, remedy))
        return None
    return found


def _own_target(wanted: str, ground: AdapterGround) -> Target | None:
    own = ground.own
    soname = next((soname for soname, library in own.items() if wanted in (soname, library.soname)), None)
    if soname is None:
        return None
    return Target(
        soname=soname,
        facts=own[soname].elf,
        label=ground.label,
        blas_int=ground.spec.abi.get("blas-int"),
        beside=tuple((name, library.elf) for name, library in own.items() if name != soname),
    )


def _provided_target(provider: Provider, library: ProvidedLibrary, ground: AdapterGround) -> Target:
    others = [(other.soname, other.facts) for other in provider.every if other.soname != library.soname]
    return Target(
        soname=library.soname,
        facts=library.facts,
        label=provider.label,
        blas_int=provider.manifest.abi.get("blas-int") if provider.manifest is not None else None,
        beside=(*((soname, item.elf) for soname, item in ground.own.items()), *others),
        provider=provider,
        library=library,
    )


def _name_findings(asked: AskedAdapter, target: Target, ground: AdapterGround) -> list[Finding]:
    """Return an error if the adapter's soname is that of a library already."""
    taken = {library.soname for library in ground.prefix.libraries}
    if target.provider is not None:
        taken |= {name for library in target.provider.libraries for name in library.names}
    if asked.rule.soname not in taken:
        return []
    message = f"A library has the soname {asked.rule.soname!r} already, so that consumers cannot mean the adapter."
    return [error(Code.DUPLICATE_SONAME, f"{asked.key}.soname", message)]


def _abi_findings(asked: AskedAdapter, target: Target, ground: AdapterGround) -> list[Finding]:
    """Return an error for each side that does not declare the width of its integers, and for sides that differ.

    Symbols do not show it: a library with the other width loads, and computes nonsense.
    """
    rule = asked.rule
    out: list[Finding] = []
    if rule.blas_int is None and not any(_BLAS.search(symbol.name) for symbol in target.facts.exports):
        return out
    where = f"{asked.key}.blas-int"
    if rule.blas_int is None:
        message = f"It is not said whether consumers of {rule.soname} pass integers of 32 or of 64 bits."
        out.append(error(Code.ADAPTER_ABI, where, message, 'Write blas-int = "32" (LP64) or "64" (ILP64).'))
    if target.blas_int is None:
        message = f"{target.label} does not declare whether integers of {target.soname} have 32 or 64 bits."
        remedy = 'Write blas-int = "32" or "64" into [tool.nativelib.abi] of that library wheel.'
        out.append(error(Code.ADAPTER_ABI, where, message, remedy))
    widths = {ground.label: ground.spec.abi.get("blas-int"), f"{target.label} ({target.soname})": target.blas_int}
    if target.provider is None:
        del widths[ground.label]
    widths[f"the configuration of {target.soname}"] = openblas_abi(target.facts).get("blas-int")
    for label, width in widths.items():
        if None not in (width, rule.blas_int) and width != rule.blas_int:
            message = f"Consumers pass integers of {rule.blas_int} bits, and {label} says {width}."
            out.append(error(Code.ADAPTER_ABI, where, message, "Forward to a library that is built that way."))
    return out


def _shown_width(asked: AskedAdapter, forwards: Sequence[tuple[str, str]]) -> list[Finding]:
    """Return an error if 32 bits are declared, and the consumers' names say 64."""
    names = [name for name, _ in forwards if takes_64_bits(name)]
    if asked.rule.blas_int != "32" or not names:
        return []
    message = f"{names[0]} takes 64-bit integers by its name, and the adapter declares 32."
    return [error(Code.ADAPTER_ABI, f"{asked.key}.blas-int", message, 'Write blas-int = "64".')]
