"""``nativelib show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nativelib.cli.common import Formatter, add_output_options, add_provider_options, add_skip_option
from nativelib.pipeline.inspect import InspectRequest, inspect_wheels
from nativelib.plan.needs import by_requester

if TYPE_CHECKING:
    import argparse

    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.inspect import WheelReport

_DESCRIPTION = """\
Audit wheels: the platform tag that each has and deserves, why not a better one, and who
needs which library and where it comes from. Nothing is written.
"""

_EPILOG = """\
examples:
  nativelib show dist/numpy_like-1.0-cp311-cp311-linux_x86_64.whl
  nativelib show --provided-by openblas-lib wheelhouse/*.whl
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "show", help="audit wheels", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=Formatter
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="wheels to look at")
    group = parser.add_argument_group("where libraries come from")
    add_provider_options(group)
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="count libraries whose soname or path matches as the system's",
    )
    add_skip_option(group)
    group.add_argument(
        "--ldpaths", metavar="DIRS", help="directories, joined by colons, that replace the system's search path"
    )
    group.add_argument(
        "--disable-isa-ext-check",
        action="store_true",
        help="accept instructions beyond the baseline (x86-64-v2 and up)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    request = InspectRequest(
        wheels=tuple(args.wheels),
        provided_by=tuple(args.provided_by),
        excludes=tuple(args.exclude),
        skips=tuple(args.skip),
        python=args.python,
        ldpaths=args.ldpaths,
        ignore_isa=args.disable_isa_ext_check,
        environ=terminal.environ,
    )
    with terminal.progress() as report:
        reports = inspect_wheels(request, report=report)
    for found in reports:
        _print(found, terminal)
        terminal.findings(found.findings)
    terminal.document({"schema": 1, "wheels": [to_json(found) for found in reports]})
    return 1 if any(found.failed for found in reports) else 0


def _print(found: WheelReport, terminal: Terminal) -> None:
    wheel, verdict = found.wheel, found.verdict
    if wheel is None:
        return
    terminal.result(wheel.filename, style="bold")
    terminal.result(f"  has       {', '.join(wheel.name.platforms)}")
    if verdict is None:
        return
    terminal.result(f"  deserves  {verdict.tag}")
    if verdict.obstacles:
        nearest = verdict.obstacles[0].policy
        for obstacle in [o for o in verdict.obstacles if o.policy == nearest][:5]:
            terminal.result(f"  not {nearest}, because {obstacle.member or 'it'} {obstacle.detail}")
    for member, needs in by_requester(found.needs).items():
        terminal.result(f"  {member}")
        for need in needs:
            source = need.provider.label if need.provider is not None else need.source or ""
            terminal.result(f"    {need.answer.value:<9} {need.soname}{f'  {source}' if source else ''}")


def to_json(found: WheelReport) -> dict[str, Any]:
    """Return the JSON object of one wheel (schema 1)."""
    wheel, verdict = found.wheel, found.verdict
    needs = by_requester(found.needs)
    within = set(wheel.elf) if wheel is not None else set()
    external = {
        need.soname: need.source
        for need in found.needs
        if need.answer.value in {"graft", "missing", "excluded"} and need.requester in within
    }
    elf = [
        {
            "path": member,
            "soname": facts.soname,
            "rpath": list(facts.rpath),
            "runpath": list(facts.runpath),
            "needed": [
                {
                    "soname": need.soname,
                    "answer": need.answer.value,
                    "source": need.provider.name if need.provider is not None else need.source,
                }
                for need in needs.get(member, ())
            ],
        }
        for member, facts in (wheel.elf.items() if wheel is not None else ())
    ]
    return {
        "file": str(found.file.absolute()),
        "name": wheel.name.normalized if wheel is not None else None,
        "version": wheel.name.version if wheel is not None else None,
        "pure": wheel is not None and not wheel.elf and not wheel.unread,
        "libc": found.libc,
        "architecture": found.architecture,
        "tag": verdict.tag if verdict is not None else "any" if wheel is not None and not wheel.unread else None,
        "versioned_symbols": {name: sorted(v) for name, v in sorted(verdict.versioned_symbols.items())}
        if verdict
        else {},
        "external": dict(sorted(external.items())),
        "elf": elf,
        "findings": [finding.to_json() for finding in found.findings],
    }
