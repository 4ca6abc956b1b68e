"""Changes below ``.dist-info``: METADATA, WHEEL, the SBOM, and the note of what a repair did. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nativelib.facts.metadata import edit_requires, edit_wheel_text, parse_metadata, parse_wheel_text
from nativelib.findings import Code, Finding, note
from nativelib.plan.hook import decode
from nativelib.plan.needs import Answer
from nativelib.plan.requirement import merge, required_name, requirement, specifier
from nativelib.plan.sbom import component, extend_sbom, without_grafts
from nativelib.plan.values import Write
from nativelib.plan.vendored import is_graft

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nativelib.facts.elf import Symbol
    from nativelib.facts.wheel import WheelFacts, WheelName
    from nativelib.plan.inputs import RepairInput
    from nativelib.plan.options import RepairOptions
    from nativelib.plan.retag import Tagging
    from nativelib.plan.values import Action, Grafted, Provided

NOTE = "nativelib-repair.json"
"""File in ``.dist-info`` of a repaired consumer: a later repair tells its own requirements from the author's by it."""

SBOM = "sboms/nativelib.cdx.json"
"""CycloneDX document of the libraries that nativelib put into the wheel (PEP 770)."""

PEER_SBOM = "sboms/auditwheel.cdx.json"
"""The same of the libraries that auditwheel put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requires:
    """Requirements on providers."""

    values: tuple[str, ...]
    """Whole values that the result has for providers, unchanged ones too."""
    written: tuple[str, ...]
    """Those that nativelib wrote, now or earlier."""
    remove: tuple[str, ...]
    add: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def earlier_note(wheel: WheelFacts) -> dict[str, list[Any]]:
    """Return the lists that an earlier repair of *wheel* noted."""
    return parse_note(wheel.texts.get(f"{wheel.dist_info}/{NOTE}"))


def parse_note(raw: bytes | None) -> dict[str, list[Any]]:
    """Return the lists of the note *raw* of a repair; what is not of the form that it writes is passed over."""
    try:
        found = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        found = {}
    if not isinstance(found, dict):
        return {}
    return {key: list(filter(_is_noted, value)) for key, value in found.items() if isinstance(value, list)}


def _is_noted(item: object) -> bool:
    return isinstance(item, str) or (isinstance(item, dict) and all(isinstance(value, str) for value in item.values()))


def earlier_providers(wheel: WheelFacts) -> dict[str, str]:
    """Return the sonames that an earlier repair left to providers, with the names of these."""
    noted = [item for item in earlier_note(wheel).get("provided", []) if isinstance(item, dict)]
    return {str(item["as"]): str(item["provider"]) for item in noted if {"as", "provider"} <= item.keys()}


def replaced_providers(given: RepairInput) -> frozenset[str]:
    """Return the providers of an earlier repair whose libraries others provide now, all of them that are needed."""
    earlier = earlier_providers(given.wheel)
    asked = [(earlier[need.soname], need.answer) for need in given.needs if need.soname in earlier]
    left = {name for name, answer in asked if answer is not Answer.PROVIDED}
    return frozenset({name for name, _ in asked} - left - {provider.name for provider in given.providers})


def plan_requires(
    given: RepairInput, used: Mapping[str, Mapping[str, frozenset[Symbol]]], options: RepairOptions
) -> Requires:
    """Return the requirements of the wheel on its providers, given the symbols *used* of each."""
    wheel = given.wheel
    metadata = parse_metadata(wheel.metadata)
    earlier = {value for value in earlier_note(wheel).get("requires", []) if isinstance(value, str)}
    values: list[str] = []
    replaced = replaced_providers(given)
    remove = [value for value in sorted(earlier) if required_name(value) in replaced]
    add: list[str] = []
    for provider in given.providers:
        wanted = specifier(provider, used.get(provider.name, {}), pin=options.pin)
        gone, new = merge(metadata.requires, earlier, provider.name, wanted, options.marker)
        values.append(requirement(provider.name, wanted, options.marker))
        remove += gone
        add += new
    findings: list[Finding] = []
    declared = tuple(field.lower() for field in metadata.dynamic)
    if add and metadata.metadata_version not in {"1.0", "1.1", "1.2", "2.0", "2.1"} and "requires-dist" not in declared:
        findings.append(
            note(
                Code.STATIC_DEPENDENCIES,
                f"{wheel.dist_info}/METADATA",
                "The wheel gets a dependency that its sdist does not declare as dynamic (PEP 643).",
                'List "dependencies" under dynamic in the project, or declare the requirement there.',
            )
        )
    written = tuple(value for value in values if value in add or value in earlier)
    return Requires(
        values=tuple(values), written=written, remove=tuple(remove), add=tuple(add), findings=tuple(findings)
    )


def plan_dist_info(
    given: RepairInput,
    tagging: Tagging,
    requires: Requires,
    provided: Sequence[Provided],
    grafted: Sequence[Grafted],
    removed: Collection[str],
    included: Mapping[str, str] = MappingProxyType({}),
    *,
    name: WheelName,
) -> list[Action]:
    """Return the actions below ``.dist-info``; files that would not change get none.

    *removed* are members left out; *included* maps names by which code opens libraries to the members; *name* is that
    of the result.
    """
    wheel = given.wheel
    texts = {
        "METADATA": edit_requires(wheel.metadata, remove=requires.remove, add=requires.add),
        "WHEEL": _wheel_text(given, tagging, name),
        NOTE: _note_text(given, requires, provided, grafted, removed, included),
        SBOM: _sbom_text(given, grafted, removed, name),
        PEER_SBOM: _auditwheel_sbom_text(wheel, removed),
    }
    actions: list[Action] = []
    for file, text in texts.items():
        member = f"{wheel.dist_info}/{file}"
        present = wheel.texts.get(member)
        if text is not None and (present is None or decode(present) != text):
            actions.append(Write(member=member, text=text))
    return actions


def _wheel_text(given: RepairInput, tagging: Tagging, name: WheelName) -> str:
    wheel = given.wheel
    parsed = parse_wheel_text(wheel.wheel)
    tags = wheel.name.with_platforms(tagging.platforms).tags
    first = not parsed.generator.startswith("nativelib ")
    return edit_wheel_text(
        wheel.wheel,
        generator=given.generator if first else None,
        root_is_purelib=False if parsed.root_is_purelib else None,
        tags=tags if set(tags) != set(parsed.tags) else None,
        build=name.build if name.build != wheel.name.build else None,
    )


def _note_text(
    given: RepairInput,
    requires: Requires,
    provided: Sequence[Provided],
    grafted: Sequence[Grafted],
    removed: Collection[str],
    included: Mapping[str, str],
) -> str | None:
    earlier = earlier_note(given.wheel)
    known = {item["as"]: item for item in earlier.get("provided", []) if isinstance(item, dict) and "as" in item}
    replaced = replaced_providers(given)
    known = {name: item for name, item in known.items() if item.get("provider") not in replaced}
    for item in provided:
        known.setdefault(item.written, {"soname": item.soname, "provider": item.provider, "as": item.written})
    copies = {item["path"]: item for item in earlier.get("grafted", []) if isinstance(item, dict) and "path" in item}
    for graft in grafted:
        copies[graft.path] = {"soname": graft.soname, "path": graft.path}
    copies = {path: item for path, item in copies.items() if path not in removed}
    if not known and not copies:
        return None
    document: dict[str, Any] = {
        "schema": 1,
        "requires": list(requires.written),
        "provided": [known[key] for key in sorted(known)],
        "grafted": [copies[key] for key in sorted(copies)],
    }
    if included:
        document["included"] = [{"name": name, "path": included[name]} for name in sorted(included)]
    return json.dumps(document, indent=1) + "\n"


def _sbom_text(given: RepairInput, grafted: Sequence[Grafted], removed: Collection[str], name: WheelName) -> str | None:
    wheel = given.wheel
    raw = wheel.texts.get(f"{wheel.dist_info}/{SBOM}")
    if not grafted and not (raw and removed):
        return None
    components = [
        component(
            item.soname,
            given.outside.files[item.source].sha256,
            item.path,
            package=given.owners.packages.get(item.source),
        )
        for item in grafted
    ]
    present = decode(raw) if raw else None
    return extend_sbom(present, name.normalized, name.version, components, removed=removed)


def _auditwheel_sbom_text(wheel: WheelFacts, removed: Collection[str]) -> str | None:
    raw = wheel.texts.get(f"{wheel.dist_info}/{PEER_SBOM}")
    grafts = [member for member in removed if is_graft(member)]
    if raw is None or not grafts:
        return None
    left = (name for name in wheel.elf if is_graft(name) and name not in removed)
    return without_grafts(decode(raw), grafts, last=next(left, None) is None)
