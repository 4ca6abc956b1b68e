"""Which packages of a consumer get a hook, and what it loads. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from nativelib.facts.elf import Libc
from nativelib.facts.provider import ProviderKind
from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code, Finding, error, note, warning
from nativelib.plan.graft import depend_first
from nativelib.plan.hook import HOOK, around_block, decode, hooked_package, with_import
from nativelib.plan.needs import Answer, by_requester, reachable
from nativelib.plan.requirement import minimum, requirement, specifier
from nativelib.plan.values import HOOK_BEGIN, HOOK_END, Generate, Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.specifiers import SpecifierSet

    from nativelib.facts.elf import Symbol
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Action

TEMPLATE_BLOCK = "consumer/hook.py.j2"
TEMPLATE_FILE = "consumer/distributor_init.py.j2"


def packages(wheel: WheelFacts, needs: Sequence[Need]) -> dict[str | None, tuple[Need, ...]]:
    """Return ``__init__.py`` members to the provided needs of all ELF files below them.

    ``None`` holds those without a package.
    """
    groups = by_requester(needs)
    texts = dict(wheel.texts)
    out: dict[str | None, list[Need]] = {}
    for member, facts in wheel.elf.items():
        provided = [need for need in reachable(member, groups) if need.answer is Answer.PROVIDED]
        if not provided:
            continue
        init = hooked_package(member, texts)
        if init is not None or facts.python_extension:
            out.setdefault(init, []).extend(provided)
    return {init: tuple({(n.requester, n.soname): n for n in group}.values()) for init, group in out.items()}


def hook_members(wheel: WheelFacts, needs: Sequence[Need]) -> list[str]:
    """Return the members that load providers."""
    return sorted(posixpath.join(posixpath.dirname(init), f"{HOOK}.py") for init in packages(wheel, needs) if init)


def plan_hooks(
    wheel: WheelFacts,
    needs: Sequence[Need],
    used: Mapping[str, Mapping[str, frozenset[Symbol]]],
    options: RepairOptions,
    *,
    libc: Libc,
) -> tuple[list[Action], list[Finding]]:
    """Return the actions that make each package load its providers first, and what the user should know."""
    actions: list[Action] = []
    findings: list[Finding] = []
    for init, provided in sorted(packages(wheel, needs).items(), key=lambda item: item[0] or ""):
        if init is None:
            findings += _without_package(wheel, needs, options)
            continue
        member = posixpath.join(posixpath.dirname(init), f"{HOOK}.py")
        values = {
            "begin": HOOK_BEGIN,
            "end": HOOK_END,
            "strict": True,
            "providers": provider_values(provided, used, options),
        }
        actions.append(_hook_action(wheel, member, values))
        edited = with_import(wheel.texts[init], init)
        if edited is not None:
            actions.append(Write(member=init, text=decode(edited)))
    if libc is Libc.MUSL:
        findings += _foreign_on_musl(needs, options)
    return actions, findings


def _hook_action(wheel: WheelFacts, member: str, values: dict[str, Any]) -> Generate:
    present = wheel.texts.get(member)
    if present is None:
        return Generate(member=member, template=TEMPLATE_FILE, values=values)
    splice = around_block(present, member)
    return Generate(
        member=member,
        template=TEMPLATE_BLOCK,
        values=values,
        before=splice.before,
        after=splice.after,
        newline=splice.newline,
    )


def provider_values(
    provided: Sequence[Need], used: Mapping[str, Mapping[str, frozenset[Symbol]]], options: RepairOptions
) -> list[dict[str, Any]]:
    """Return what the hook's template gets for each provider, in order of name."""
    grouped: dict[str, list[Need]] = {}
    for need in provided:
        if need.provider is not None:
            grouped.setdefault(need.provider.name, []).append(need)
    out: list[dict[str, Any]] = []
    for name, group in sorted(grouped.items()):
        provider = group[0].provider
        if provider is None:
            continue
        wanted = specifier(provider, used.get(name, {}), pin=options.pin)
        sonames = sorted({need.library.soname for need in group if need.library is not None})
        out.append(provider_value(provider, wanted, sonames))
    return out


def provider_value(provider: Provider, wanted: SpecifierSet, sonames: Sequence[str]) -> dict[str, Any]:
    """Return one provider for the hook's template."""
    files: list[dict[str, str]] = []
    if provider.kind is ProviderKind.FOREIGN:
        by_soname = {library.soname: library for library in provider.every}
        order = depend_first([(library.file, library.facts) for library in provider.every])
        closure = _closure(provider, sonames)
        files = [
            {"soname": soname, "path": by_soname[soname].file}
            for soname in order
            if soname in closure and soname in by_soname
        ]
    return {
        "kind": provider.kind.value,
        "name": provider.name,
        "import_name": provider.import_name,
        "requirement": requirement(provider.name, wanted, ""),
        "minimum": list(minimum(wanted)) if provider.kind is ProviderKind.OWN else [],
        "sonames": list(sonames),
        "files": files,
    }


def _closure(provider: Provider, sonames: Sequence[str]) -> frozenset[str]:
    by_soname = {library.soname: library for library in provider.every}
    out: set[str] = set()
    queue = list(sonames)
    while queue:
        soname = queue.pop()
        if soname not in out and soname in by_soname:
            out.add(soname)
            queue.extend(by_soname[soname].facts.needed)
    return frozenset(out)


def _without_package(wheel: WheelFacts, needs: Sequence[Need], options: RepairOptions) -> list[Finding]:
    groups = by_requester(needs)
    texts = dict(wheel.texts)
    out: list[Finding] = []
    for member, facts in sorted(wheel.elf.items()):
        provided = any(need.answer is Answer.PROVIDED for need in reachable(member, groups))
        homeless = facts.python_extension and hooked_package(member, texts) is None
        if not provided or not homeless or place_of(member).scheme is not Scheme.SITE:
            continue
        text = "No regular package holds this extension, so nothing can be imported before it"
        if options.run_path:
            remedy = "Install it and the library wheel into the same directory, or move it into a package."
            out.append(note(Code.NO_HOOK_POSSIBLE, member, f"{text}; it finds its libraries by run path only.", remedy))
        else:
            remedy = "Allow the run path, or move it into a package."
            out.append(
                error(Code.NO_HOOK_POSSIBLE, member, f"{text}, and --no-run-path takes the run path away.", remedy)
            )
    return out


def _foreign_on_musl(needs: Sequence[Need], options: RepairOptions) -> list[Finding]:
    foreign = {n.provider.name: n.provider for n in needs if n.provider and n.provider.kind is not ProviderKind.OWN}
    out: list[Finding] = []
    for provider in foreign.values():
        text = (
            "On musl a library that was opened by path does not serve others, "
            f"so {provider.label} is found by run path only."
        )
        if options.run_path:
            remedy = "Install both into the same directory, or use a library wheel built by nativelib."
            out.append(warning(Code.MUSL_FOREIGN, provider.origin, text, remedy))
        else:
            out.append(error(Code.MUSL_FOREIGN, provider.origin, text, "Do not pass --no-run-path."))
    return out
