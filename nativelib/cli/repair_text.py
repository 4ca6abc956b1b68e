"""What ``nativelib repair`` prints of a wheel, for people and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nativelib.cli.text import describe
from nativelib.facts.package import purl_label
from nativelib.plan.serial import plan_to_json

if TYPE_CHECKING:
    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.repair import RepairResult
    from nativelib.plan.values import Grafted


def print_result(result: RepairResult, terminal: Terminal, *, plan_wanted: bool) -> None:
    """Print what became of one wheel, and with *plan_wanted* every action."""
    plan = result.plan
    if plan is None:
        terminal.say(f"{result.input}: nothing was written")
        return
    summary = plan.summary
    terminal.result(str(result.output or f"{plan.output} (not written)"), style="bold")
    rows = [("tags", ", ".join(summary.tags))]
    rows += [("requires", value) for value in summary.requires]
    rows += [("provided", f"{item.soname} by {item.provider}, needed as {item.written}") for item in summary.provided]
    rows += [("grafted", _describe_graft(item)) for item in summary.grafted]
    rows += [("removed", member) for member in summary.removed]
    rows += [("hook", member) for member in summary.hooks]
    if plan_wanted:
        rows += [(action.kind, describe(action)) for action in plan.actions]
    for key, value in rows:
        terminal.result(f"  {key:<9} {value}")


def _describe_graft(item: Grafted) -> str:
    owner = f" ({purl_label(item.package)})" if item.package else ""
    return f"{item.source}{owner} as {item.path}"


def to_json(result: RepairResult, *, plan_wanted: bool = False) -> dict[str, Any]:
    """Return the JSON object of one wheel (schema 1)."""
    summary = result.plan.summary if result.plan is not None else None
    out: dict[str, Any] = {
        "input": str(result.input.absolute()),
        "output": str(result.output) if result.output is not None else None,
        "tags": list(summary.tags) if summary else [],
        "requires": list(summary.requires) if summary else [],
        "provided": [
            {"soname": item.soname, "provider": item.provider, "as": item.written} for item in summary.provided
        ]
        if summary
        else [],
        "grafted": [
            {"soname": item.soname, "path": item.path, "from": item.source, "package": item.package}
            for item in summary.grafted
        ]
        if summary
        else [],
        "removed": list(summary.removed) if summary else [],
        "hooks": list(summary.hooks) if summary else [],
        "findings": [finding.to_json() for finding in result.findings],
    }
    if result.receipt is not None:
        out["receipt"] = asdict(result.receipt)
    if plan_wanted and result.plan is not None:
        out["plan"] = plan_to_json(result.plan)
    return out
