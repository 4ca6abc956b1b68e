"""What all wheels of a release are to require, and the plan that writes it into one of them. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from nativelib.errors import PlanError
from nativelib.facts.metadata import edit_requires, parse_metadata, with_requires_version
from nativelib.facts.release import SYSTEMS
from nativelib.findings import Code, Finding, error
from nativelib.plan.dist_info import NOTE, parse_note
from nativelib.plan.markers import implies, may_hold, narrowed
from nativelib.plan.release import all_requires, canonical_texts, wheels_named
from nativelib.plan.requirement import contradictory, parsed
from nativelib.plan.values import Plan, Summary, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from packaging.markers import Marker

    from nativelib.facts.release import DistFile
    from nativelib.facts.wheel import WheelFacts
    from nativelib.plan.release import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every wheel of a release is to require."""

    requires: tuple[str, ...]
    """Texts of :func:`~nativelib.plan.release.canonical_texts`, in order."""
    written: frozenset[str]
    """Those that a repair wrote into one of the wheels."""
    texts: Mapping[str, str]
    """For each value that a file has, and for each of ``requires``, that text."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One requirement, and the wheels that have it."""

    requirement: Requirement
    wheels: tuple[DistFile, ...]


def written_by_repair(wheel: DistFile) -> tuple[str, ...]:
    """Return the ``Requires-Dist`` values of *wheel* that a repair wrote, by the note that it left."""
    noted = {value for value in parse_note(wheel.texts.get(NOTE)).get("requires", []) if isinstance(value, str)}
    return tuple(value for value in wheel.metadata.requires if value in noted)


def common_requires(release: Release) -> Common:
    """Return what all wheels of *release* are to require: everything that one of them does.

    What repairs wrote is joined, and counts for Linux as a whole. What the project itself requires on some systems only
    gets a marker for these. Raises PlanError: ``REQUIREMENT_CLASH`` where no version satisfies what two repairs wrote,
    ``RELEASE_DIFFERS`` where no marker for a system tells the wheels apart, ``BAD_METADATA`` for no requirement at all.
    """
    texts = canonical_texts(all_requires(release))
    having: dict[str, list[DistFile]] = {}
    for wheel in release.wheels:
        for value in dict.fromkeys(texts[value] for value in wheel.metadata.requires):
            having.setdefault(value, []).append(wheel)
    written = {texts[value] for wheel in release.wheels for value in written_by_repair(wheel)}
    lines = _lines(having)
    problems: list[Finding] = []
    ours = _joined([line for text, line in sorted(lines.items()) if text in written], release, problems)
    theirs = [line for text, line in sorted(lines.items()) if text not in written]
    mine = [_placed(line, release, problems, linux=True) for line in ours]
    rest = [_placed(line, release, problems, linux=False) for line in theirs]
    if problems:
        raise PlanError(problems)
    texts = canonical_texts([*all_requires(release), *mine, *rest])
    return Common(
        requires=tuple(sorted({texts[text] for text in (*mine, *rest)})),
        written=frozenset(texts[text] for text in mine),
        texts=texts,
    )


def _lines(having: Mapping[str, Sequence[DistFile]]) -> dict[str, _Line]:
    """Return a line for each text. Raises PlanError for those that are no requirements."""
    lines: dict[str, _Line] = {}
    problems: list[Finding] = []
    for text, wheels in having.items():
        found = parsed(text)
        if found is None:
            message = f"{text!r} is no requirement (PEP 508), and installers do not understand it."
            problems.append(error(Code.BAD_METADATA, wheels[0].path, message, "Correct it in the project."))
        else:
            lines[text] = _Line(found, tuple(wheels))
    if problems:
        raise PlanError(problems)
    return lines


def _joined(lines: Sequence[_Line], release: Release, problems: list[Finding]) -> list[_Line]:
    """Return what repairs wrote with one line for each distribution and marker.

    Where one marker implies another, and they ask for the same, the wider one stays.
    """
    out: list[_Line] = []
    for line in lines:
        for index, other in enumerate(out):
            if not _alike(line.requirement, other.requirement):
                continue
            narrow = implies(line.requirement.marker, other.requirement.marker)
            wide = implies(other.requirement.marker, line.requirement.marker)
            if (narrow or wide) and contradictory(line.requirement.specifier, other.requirement.specifier):
                problems.append(_clash(line, other, release))
                break
            equal = line.requirement.specifier == other.requirement.specifier
            if (narrow and wide) or ((narrow or wide) and equal):
                marker = other.requirement.marker if narrow else line.requirement.marker
                out[index] = _both(line, other, marker)
                break
        else:
            out.append(line)
    return out


def _alike(one: Requirement, other: Requirement) -> bool:
    return (one.name, one.extras, one.url) == (other.name, other.extras, other.url)


def _both(one: _Line, other: _Line, marker: Marker | None) -> _Line:
    joined = Requirement(str(one.requirement))
    joined.marker = marker
    joined.specifier = intersected(one.requirement.specifier, other.requirement.specifier)
    return _Line(joined, tuple(dict.fromkeys((*other.wheels, *one.wheels))))


def intersected(one: SpecifierSet, other: SpecifierSet) -> SpecifierSet:
    """Return the specifier of the versions that both accept, without bounds that another bound implies."""
    clauses = [*SpecifierSet(f"{one},{other}".strip(","))]
    lower = max((Version(c.version) for c in clauses if c.operator == ">="), default=None)
    upper = min((Version(c.version) for c in clauses if c.operator == "<"), default=None)
    kept = [
        str(clause)
        for clause in clauses
        if not (clause.operator == ">=" and Version(clause.version) != lower)
        and not (clause.operator == "<" and Version(clause.version) != upper)
    ]
    return SpecifierSet(",".join(sorted(kept)))


def _clash(one: _Line, other: _Line, release: Release) -> Finding:
    text = (
        f"{other.wheels[0].label} requires {str(other.requirement)!r}, and {one.wheels[0].label} "
        f"{str(one.requirement)!r}: no version satisfies both, and all wheels of a release require the same."
    )
    remedy = "Repair all wheels with one release of the provider, or with the same --pin."
    return error(Code.REQUIREMENT_CLASH, release.label, text, remedy)


def _placed(line: _Line, release: Release, problems: list[Finding], *, linux: bool) -> str:
    """Return the requirement as all wheels can have it: with a marker where it would count for wheels without it.

    With *linux* it comes from a repair and is meant for Linux as a whole, whichever of the wheels have it.
    """
    found = line.requirement
    lack = [wheel for wheel in release.wheels if wheel not in line.wheels and may_apply(found.marker, wheel)]
    systems: frozenset[str] = frozenset().union(*(wheel.systems for wheel in line.wheels))
    known = bool(systems) and "any" not in systems and all(wheel.systems for wheel in line.wheels)
    if linux:
        lack = [wheel for wheel in lack if not (wheel.systems and wheel.systems <= systems)]
    if not lack:
        return str(found)
    if not known or (not linux and any(not wheel.systems or wheel.systems & {*systems, "any"} for wheel in lack)):
        text = f"{str(found)!r} is in {wheels_named(line.wheels)} and not in {wheels_named(lack)}"
        remedy = "Declare it in the project with a marker that says where it is needed, or in none of the wheels."
        problems.append(
            error(Code.RELEASE_DIFFERS, release.label, f"{text}, and no marker for a system tells them apart.", remedy)
        )
        return str(found)
    found = Requirement(str(found))
    found.marker = narrowed(found.marker, systems)
    return str(found)


def may_apply(marker: Marker | None, wheel: DistFile) -> bool:
    """Return whether a requirement with *marker* may count anywhere where *wheel* can be installed."""
    return any(may_hold(marker, surroundings) for surroundings in _surroundings(wheel))


def _surroundings(wheel: DistFile) -> Iterator[dict[str, str]]:
    """Yield what is known of the environments that *wheel* is for."""
    machines = {tag.architecture for tag in wheel.linux}
    known = {"platform_machine": machines.pop()} if len(machines) == 1 else {}
    name = wheel.wheel
    exact = re.fullmatch(r"cp(3)(\d+)", name.pythons[0]) if name and len(name.pythons) == len(name.abis) == 1 else None
    if name and exact and name.abis[0].startswith(name.pythons[0]):
        known["python_version"] = f"{exact[1]}.{exact[2]}"
    for system in wheel.systems - {"any"}:
        yield {**SYSTEMS[system], **known}
    if not wheel.systems or "any" in wheel.systems:
        yield known


def changes(requires: Sequence[str], common: Common) -> tuple[list[str], list[str]] | None:
    """Return what goes from the values *requires* and what is added so that they are *common*; ``None`` if nothing."""
    remove = [value for value in requires if common.texts.get(value, value) not in common.requires]
    there = {common.texts.get(value, value) for value in requires}
    add = [text for text in common.requires if text not in there]
    return (remove, add) if remove or add else None


def plan_wheel(facts: WheelFacts, common: Common) -> Plan:
    """Return the plan that gives the wheel *facts* the requirements *common*.

    A note of an earlier repair follows METADATA, so that a later one still knows its own requirements.
    """
    remove, add = changes(parse_metadata(facts.metadata).requires, common) or ([], [])
    text = with_requires_version(edit_requires(facts.metadata, remove=remove, add=add))
    actions = [Write(member=f"{facts.dist_info}/METADATA", text=text)]
    raw = facts.texts.get(f"{facts.dist_info}/{NOTE}")
    noted = [value for value in parse_note(raw).get("requires", []) if isinstance(value, str)]
    mine = [value for value in noted if value not in remove] + [value for value in add if value in common.written]
    if raw is not None and mine != noted:
        document = {**json.loads(raw), "requires": mine}
        actions.append(Write(member=f"{facts.dist_info}/{NOTE}", text=json.dumps(document, indent=1) + "\n"))
    return Plan(
        source=facts.path,
        source_sha256=facts.sha256,
        output=facts.filename,
        dist_info=facts.dist_info,
        actions=tuple(actions),
        summary=Summary(tags=facts.name.platforms, requires=tuple(v for v in common.requires if v in common.written)),
    )
