"""Plans as JSON and back. Pure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from nativelib.errors import PlanError
from nativelib.facts.elf import ElfEdit, Machine
from nativelib.findings import Code, Finding, Severity
from nativelib.plan.values import (
    SCHEMA,
    Adapt,
    Assemble,
    Describe,
    Drop,
    Generate,
    Graft,
    Grafted,
    Move,
    Patch,
    Plan,
    Provided,
    Summary,
    Write,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.plan.values import Action

_KINDS: dict[str, Any] = {
    "patch": Patch,
    "generate": Generate,
    "write": Write,
    "graft": Graft,
    "assemble": Assemble,
    "adapt": Adapt,
    "describe": Describe,
    "drop": Drop,
    "move": Move,
}


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """Return the JSON object of *plan*; :func:`plan_from_json` reads it."""
    out = _plain(plan)
    return {"schema": out.pop("schema"), **out}


def action_to_json(action: Action) -> dict[str, Any]:
    """Return the JSON object of one action."""
    out: dict[str, Any] = _plain(action)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, Finding):
        return value.to_json()
    if isinstance(value, Machine):
        return value._asdict()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def plan_from_json(document: Mapping[str, Any]) -> Plan:
    """Return the plan that *document* describes.

    Raises PlanError for another schema, and for anything that is missing or not known.
    """
    if document.get("schema") != SCHEMA:
        text = f"It is a plan of schema {document.get('schema')!r}; this nativelib understands {SCHEMA}."
        raise PlanError.of(Code.BAD_SPEC, "plan", text, "Plan again with this nativelib.")
    try:
        rest = dict(document)
        summary = dict(rest.pop("summary"))
        return Plan(
            actions=tuple(_action(item) for item in rest.pop("actions")),
            findings=tuple(_finding(item) for item in rest.pop("findings")),
            summary=Summary(
                provided=tuple(Provided(**item) for item in summary.pop("provided")),
                grafted=tuple(Grafted(**item) for item in summary.pop("grafted")),
                **{key: tuple(value) for key, value in summary.items()},
            ),
            **rest,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise PlanError.of(Code.BAD_SPEC, "plan", f"It is not a plan: {type(cause).__name__}: {cause}.") from cause


def _action(item: Mapping[str, Any]) -> Action:
    values = dict(item)
    kind = _KINDS[values["kind"]]
    if values.get("edit") is not None:
        values["edit"] = _edit(values["edit"])
    if "machine" in values:
        values["machine"] = Machine(**values["machine"])
    for key in ("needed", "run_path"):
        if key in values:
            values[key] = tuple(values[key])
    if "forwards" in values:
        values["forwards"] = tuple((name, target) for name, target in values["forwards"])
    action: Action = kind(**values)
    return action


def _edit(item: Mapping[str, Any]) -> ElfEdit:
    values = dict(item)
    values["replace_needed"] = tuple((old, new) for old, new in values["replace_needed"])
    values["remove_needed"] = tuple(values["remove_needed"])
    values["run_path"] = None if values["run_path"] is None else tuple(values["run_path"])
    return ElfEdit(**values)


def _finding(item: Mapping[str, Any]) -> Finding:
    values = {**item, "code": Code(item["code"]), "severity": Severity(item["severity"])}
    values["symbols"] = tuple(item.get("symbols", ()))
    return Finding(**values)
