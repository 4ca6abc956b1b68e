"""Which packages of a consumer get a hook, and what it loads. Pure."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from nativelib.facts.elf import Libc
from nativelib.facts.provider import ProviderKind
from nativelib.facts.wheel import Scheme, place_of
from nativelib.findings import Code, Finding, error, note, warning
from nativelib.plan import include
from nativelib.plan.foreign import chain, closure, foreign_findings
from nativelib.plan.graft import depend_first
from nativelib.plan.hook import HOOK, around_block, decode, hooked_package, package_texts, with_import
from nativelib.plan.moves import Companion, goes_first
from nativelib.plan.needs import Answer, by_requester, reachable
from nativelib.plan.requirement import minimum, requirement, specifier
from nativelib.plan.values import HOOK_BEGIN, HOOK_END, Generate, Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from packaging.specifiers import SpecifierSet

    from nativelib.facts.elf import Symbol
    from nativelib.facts.provider import Provider
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.moves import Move
    from nativelib.plan.needs import Need
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.values import Action

TEMPLATE_BLOCK = "consumer/hook.py.j2"
TEMPLATE_FILE = "consumer/distributor_init.py.j2"
TEMPLATE_LOADER = "consumer/loader.py.j2"
TEMPLATE_SCRIPT = "consumer/script.py.j2"


def packages(given: RepairInput, options: RepairOptions) -> dict[str | None, tuple[Need, ...]]:
    """Return ``__init__.py`` members to the needs that must be loaded before the ELF files below them.

    Those are provided libraries, and ones of the system that have a hint. ``None`` holds extensions without a
    regular package. Where anchors are opened, every outermost package is there, perhaps without needs.
    """
    groups = by_requester(given.needs)
    texts = package_texts(given.wheel)
    out: dict[str | None, list[Need]] = {}
    for member, facts in given.wheel.elf.items():
        first = [need for need in reachable(member, groups) if goes_first(need, options)]
        init = hooked_package(member, texts) if first else None
        if first and (init is not None or facts.python_extension):
            out.setdefault(init, []).extend(first)
    if include.anchors(given, options):
        opened = [need for start in include.files(given) for need in reachable(start, groups)]
        for init in include.outermost_packages(given.wheel):
            out.setdefault(init, []).extend(need for need in opened if goes_first(need, options))
    return {init: tuple({(n.requester, n.soname): n for n in group}.values()) for init, group in out.items()}


def hook_members(given: RepairInput, options: RepairOptions) -> list[str]:
    """Return the members that load providers."""
    return sorted(posixpath.join(posixpath.dirname(init), f"{HOOK}.py") for init in packages(given, options) if init)


def plan_hooks(
    given: RepairInput,
    used: Mapping[str, Mapping[str, frozenset[Symbol]]],
    moves: Sequence[Move],
    options: RepairOptions,
) -> tuple[list[Action], list[Finding]]:
    """Return the actions that make libraries load before those who need them, and what the user should know.

    *used* are the symbols taken from each provider, *moves* the files that get a companion in front.
    """
    wheel = given.wheel
    actions: list[Action] = []
    groups = by_requester(given.needs)
    for init, first in sorted(packages(given, options).items(), key=lambda item: item[0] or ""):
        if init is None:
            continue
        member = posixpath.join(posixpath.dirname(init), f"{HOOK}.py")
        values = hook_values(first, used, options, given.offered)
        values["anchors"] = include.anchor_values(given, options, init)
        actions.append(_hook_action(wheel, member, values))
        edited = with_import(wheel.texts[init], init)
        if edited is not None:
            actions.append(Write(member=init, text=decode(edited)))
    for move in {move.companion: move for move in moves}.values():
        behind = [other.old for other in moves if other.companion == move.companion]
        ahead = [need for old in behind for need in reachable(old, groups) if goes_first(need, options)]
        actions.append(_companion(wheel, move, hook_values(ahead, used, options, given.offered)))
    actions += include.anchor_actions(given, options)
    findings = [*_without_package(given, moves, options), *include.unreached(given, options)]
    findings += foreign_findings(given.needs, given.offered, given.evidence.policy, options)
    if given.libc is Libc.MUSL:
        findings += _foreign_on_musl(given.needs, options)
    return actions, findings


def hook_values(
    first: Sequence[Need],
    used: Mapping[str, Mapping[str, frozenset[Symbol]]],
    options: RepairOptions,
    offered: Sequence[Provider],
) -> dict[str, Any]:
    """Return what the template of a strict hook gets for the needs that go *first*; *offered* are all providers."""
    hinted = sorted({need.soname for need in first if need.answer is not Answer.PROVIDED})
    return {
        "begin": HOOK_BEGIN,
        "end": HOOK_END,
        "strict": bool(first),
        "providers": provider_values(first, used, options, offered),
        "hints": [[soname, options.system_hints[soname]] for soname in hinted],
    }


def _companion(wheel: WheelFacts, move: Move, values: dict[str, Any]) -> Generate:
    directory, file = posixpath.split(move.new)
    if move.kind is Companion.SCRIPT:
        values = {
            "name": wheel.name.normalized,
            "directory": directory,
            "file": file,
            "providers": values["providers"],
        }
        return Generate(member=move.companion, template=TEMPLATE_SCRIPT, values=values, mode=0o755)
    stem = file.partition(".")[0]
    hidden = ".".join([*filter(None, place_of(move.new).directory.split("/")), stem])
    place = {"stem": stem, "hidden": hidden, "package": move.package}
    return Generate(member=move.companion, template=TEMPLATE_LOADER, values={**values, **place})


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
    provided: Sequence[Need],
    used: Mapping[str, Mapping[str, frozenset[Symbol]]],
    options: RepairOptions,
    offered: Sequence[Provider],
) -> list[dict[str, Any]]:
    """Return what the hook's template gets for each provider, in the order in which they are to be loaded."""
    out: list[dict[str, Any]] = []
    for link in chain(provided, offered):
        # --pin is about what the consumer itself requires; others are named in messages only.
        pin = options.pin if link.provider.name in used else "auto"
        wanted = specifier(link.provider, used.get(link.provider.name, {}), pin=pin)
        out.append(provider_value(link.provider, wanted, link.sonames))
    return out


def provider_value(provider: Provider, wanted: SpecifierSet, sonames: Sequence[str]) -> dict[str, Any]:
    """Return one provider for the hook's template."""
    files: list[dict[str, str]] = []
    needed = [library for library in provider.libraries if library.soname in sonames]
    if provider.kind is ProviderKind.FOREIGN:
        by_soname = {library.soname: library for library in closure(provider, sonames)}
        order = depend_first([(library.soname, library.facts) for library in by_soname.values()])
        files = [{"soname": soname, "path": by_soname[soname].file} for soname in order]
    return {
        "kind": provider.kind.value,
        "name": provider.name,
        "import_name": next((lib.package for lib in needed if lib.package), provider.import_name),
        "requirement": requirement(provider.name, wanted, ""),
        "minimum": list(minimum(wanted)) if provider.kind is ProviderKind.OWN else [],
        "sonames": list(sonames),
        "files": files,
    }


def _without_package(given: RepairInput, moves: Sequence[Move], options: RepairOptions) -> list[Finding]:
    """Return a finding for each extension that nothing can load libraries for before it is loaded itself."""
    groups = by_requester(given.needs)
    texts = package_texts(given.wheel)
    behind = {move.old for move in moves}
    out: list[Finding] = []
    for member, facts in sorted(given.wheel.elf.items()):
        found = reachable(member, groups)
        libraries = [need.library for need in found if need.library is not None]
        hinted = sorted({need.soname for need in found if need.library is None and goes_first(need, options)})
        if not (libraries or hinted) or member in behind or place_of(member).scheme is not Scheme.SITE:
            continue
        if hooked_package(member, texts) is not None:
            continue
        if hinted:
            message = f"No regular package holds this file, so nothing says the hint for {', '.join(hinted)}."
            out.append(note(Code.NO_HOOK_POSSIBLE, member, message, "Repair with --loader-modules."))
        if not libraries or not facts.python_extension:
            continue
        text = "No regular package holds this extension, so nothing can be imported before it"
        if options.run_path and all(library.scheme is Scheme.SITE for library in libraries):
            remedy = "Install it and the library wheel into the same directory, or repair with --loader-modules."
            message = f"{text}; it finds its libraries by run path only."
            out.append(note(Code.NO_HOOK_POSSIBLE, member, message, remedy))
        else:
            message = f"{text}, and no run path leads to its libraries."
            out.append(error(Code.NO_HOOK_POSSIBLE, member, message, "Repair with --loader-modules."))
    return out


def _foreign_on_musl(needs: Sequence[Need], options: RepairOptions) -> list[Finding]:
    used = [n for n in needs if n.provider is not None and n.provider.kind is not ProviderKind.OWN]
    apart = {n.provider.name for n in used if n.provider and n.library and n.library.scheme is not Scheme.SITE}
    out: list[Finding] = []
    for provider in {n.provider.name: n.provider for n in used if n.provider is not None}.values():
        text = (
            "On musl a library that was opened by path does not serve others, "
            f"so {provider.label} is found by run path only."
        )
        better = "use a library wheel built by nativelib"
        if provider.name in apart:
            text = f"{text} No run path leads to a library that is not in a package."
            out.append(error(Code.MUSL_FOREIGN, provider.origin, text, f"{better.capitalize()}."))
        elif options.run_path:
            remedy = f"Install both into the same directory, or {better}."
            out.append(warning(Code.MUSL_FOREIGN, provider.origin, text, remedy))
        else:
            out.append(error(Code.MUSL_FOREIGN, provider.origin, text, "Do not pass --no-run-path."))
    return out
