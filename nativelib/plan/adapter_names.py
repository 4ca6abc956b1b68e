"""The names of an adapter, and the functions that they lead to. Pure."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nativelib.findings import Code, error
from nativelib.plan.graft import plain_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.facts.adapter import AdapterRule, AskedAdapter
    from nativelib.facts.elf import ElfFacts
    from nativelib.facts.wheel import WheelFacts
    from nativelib.findings import Finding

# Linkers export these from every library, some only if asked.
_LINKER = frozenset({"_init", "_fini", "__bss_start", "_edata", "_end"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterNames:
    """What an adapter exports."""

    forwards: tuple[tuple[str, str], ...]
    """Pairs of a name and of the target's, sorted."""
    findings: tuple[Finding, ...]
    """Errors: every name that cannot be forwarded."""


def adapter_names(asked: AskedAdapter, target: ElfFacts, beside: Sequence[tuple[str, ElfFacts]]) -> AdapterNames:
    """Return the names that are *asked* for, with the function of *target* that each leads to.

    *beside* are soname and facts of libraries that are loaded together with the target.
    """
    rule = asked.rule
    findings: list[Finding] = []
    exported = frozenset(symbol.name for symbol in target.exports)
    wanted = {*rule.symbols, *asked.names, *rule.rename}
    for wheel in asked.consumers:
        wanted |= _imports(wheel, asked, findings)
    pairs = {name: leads_to(name, rule, exported) for name in sorted(wanted)}
    lacking = [name for name, function in pairs.items() if function is None]
    if lacking:
        message = f"{target.soname} exports nothing for {', '.join(lacking)}."
        remedy = "Correct prefix and suffix, say what is meant with rename, or forward to a release that has them."
        findings.append(error(Code.ADAPTER_NAMES, asked.key, message, remedy, tuple(lacking)))
    forwards = {name: function for name, function in pairs.items() if function is not None}
    if rule.every:
        fit = exported - target.data - _several_versions(target) - _LINKER
        forwards = {f"{rule.prefix}{name}{rule.suffix}": name for name in fit} | forwards
    findings += _unfit(asked, forwards, target, beside)
    if not forwards and not findings:
        findings.append(error(Code.BAD_ADAPTER, asked.key, "It would have no names.", "Name symbols, or a consumer."))
    return AdapterNames(forwards=tuple(sorted(forwards.items())), findings=tuple(findings))


def leads_to(name: str, rule: AdapterRule, exported: Collection[str]) -> str | None:
    """Return which of the *exported* names the consumers' *name* stands for, or ``None``.

    What ``rename`` says; else the name without prefix and suffix, where it has them; else the same with ``_`` behind,
    which compilers of Fortran add and some suffixes replace (``dgesv_64`` for ``dgesv_``).
    """
    if name in rule.rename:
        found = rule.rename[name]
        return found if found in exported else None
    bare = name.removeprefix(rule.prefix).removesuffix(rule.suffix)
    return next((candidate for candidate in (bare, f"{bare}_") if candidate in exported), None)


def _unfit(
    asked: AskedAdapter, forwards: Mapping[str, str], target: ElfFacts, beside: Sequence[tuple[str, ElfFacts]]
) -> list[Finding]:
    """Return an error for each kind of name that the loader, or the machine, would not lead where it should."""
    functions, several = set(forwards.values()), _several_versions(target)
    reasons = {
        "are variables, and an adapter forwards functions only": functions & target.data,
        "have several versions, between which an adapter does not choose": functions & several,
        "would be found in the adapter itself; such names need none": functions & forwards.keys(),
    }
    for soname, facts in beside:
        also = functions.intersection(symbol.name for symbol in facts.exports)
        reasons[f"are exported by {soname} as well, so that the loader would choose between the two"] = also
    out = []
    for reason, found in reasons.items():
        names = tuple(sorted(name for name, function in forwards.items() if function in found))
        if names:
            message = f"{len(names)} names cannot be forwarded to {target.soname}: {', '.join(names)}. They {reason}."
            remedy = "Leave these names out, or make a library wheel of the target alone."
            out.append(error(Code.ADAPTER_NAMES, asked.key, message, remedy, names))
    return out


def _several_versions(target: ElfFacts) -> frozenset[str]:
    """Return the names that *target* exports in more than one version; an adapter asks for none."""
    if not target.version_definitions:
        return frozenset()
    return frozenset(name for name, count in Counter(s.name for s in target.exports).items() if count > 1)


def _imports(wheel: WheelFacts, asked: AskedAdapter, findings: list[Finding]) -> set[str]:
    """Return what the files of *wheel* take from the library with the adapter's soname, or from a copy of it."""
    rule, where = asked.rule, f"{asked.key}.from"
    copies = {_name(name, facts): facts for name, facts in wheel.elf.items() if _is_copy(name, facts, rule.soname)}
    known = {rule.soname, *copies}
    owned = frozenset(symbol.name for facts in copies.values() for symbol in facts.exports)
    users = [facts for name, facts in wheel.elf.items() if known.intersection(facts.needed)]
    names: set[str] = set()
    versioned: set[str] = set()
    for taken in (wanted for facts in users for wanted in facts.imports):
        if taken.version:
            versioned |= {str(taken.symbol)} if taken.library in known else set()
        elif taken.name in owned if copies else _has_affixes(taken.name, rule):
            names.add(taken.name)
    if versioned:
        listed = tuple(sorted(versioned))
        message = f"{wheel.filename} asks for versions: {', '.join(listed)}. An adapter has none."
        remedy = "Use the library itself as provider."
        findings.append(error(Code.ADAPTER_NAMES, where, message, remedy, listed))
    elif not names:
        reason = f"takes nothing from {rule.soname}" if users else f"does not need {rule.soname}"
        findings.append(error(Code.BAD_ADAPTER, where, f"{wheel.filename} {reason}.", "Name another wheel."))
    return names


def _name(member: str, facts: ElfFacts) -> str:
    return facts.soname or posixpath.basename(member)


def _is_copy(member: str, facts: ElfFacts, soname: str) -> bool:
    """Return whether *member* is the library *soname*, perhaps with the hash in its name that a graft gives it."""
    name = _name(member, facts)
    return facts.dynamic and soname in (name, plain_name(name), facts.version_base)


def _has_affixes(name: str, rule: AdapterRule) -> bool:
    """Return whether *name* is one of the adapter's by its look: all that is known without a copy of the library."""
    return bool(rule.prefix + rule.suffix) and name.startswith(rule.prefix) and name.endswith(rule.suffix)
