"""``nativelib show``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nativelib.cli.common import (
    Formatter,
    add_output_options,
    add_provider_options,
    add_search_options,
    add_skip_option,
)
from nativelib.cli.graph import graph_file, save_graph
from nativelib.cli.show_text import other_names, print_report
from nativelib.errors import NativelibError
from nativelib.pipeline.inspect import InspectRequest, WheelReport, inspect_wheels
from nativelib.plan.audit import reasons
from nativelib.plan.needs import by_requester
from nativelib.plan.tree import tree_to_json
from nativelib.read.policy_file import read_policies

if TYPE_CHECKING:
    from nativelib.cli.terminal import Terminal
    from nativelib.findings import Finding

_DESCRIPTION = """\
Audit wheels: the platform tag that each has and deserves, why not a better one, and who
needs which library and where it comes from; run paths that lead out of the installation,
and libraries that code opens at run time. Nothing is written. A wheel without ELF files
is no failure.
"""

_EPILOG = """\
examples:
  nativelib show dist/numpy_like-1.0-cp311-cp311-linux_x86_64.whl
  nativelib show --provided-by openblas-lib wheelhouse/*.whl
  nativelib show --tree dist/numpy_like-1.0-cp311-cp311-linux_x86_64.whl
  nativelib show --graph scipy.svg scipy-1.17.1-*.whl
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
    add_search_options(group)
    group.add_argument(
        "--disable-isa-ext-check",
        action="store_true",
        help="accept instructions beyond the baseline (x86-64-v2 and up)",
    )
    group.add_argument(
        "--policy", type=Path, metavar="FILE", help="say whether the policy of your own in this JSON file is met"
    )
    group.add_argument(
        "--allow-pure-python-wheel",
        action="store_true",
        help="accepted for those who come from auditwheel: a wheel without ELF files is no failure anyway",
    )
    group = parser.add_argument_group("what is shown")
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=argparse.SUPPRESS,  # the main parser has it as well
        help="list every ELF file with all that it needs",
    )
    group.add_argument("--tree", action="store_true", help="draw who needs what as a tree")
    group.add_argument(
        "--graph",
        type=graph_file,
        metavar="FILE",
        help="save the dependency graph of all the wheels as a picture (.svg), for Graphviz (.dot, .gv) or for Mermaid "
        "(.mmd, .mermaid)",
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    problems: tuple[Finding, ...] = ()
    try:
        request = request_of(args, terminal)
    except NativelibError as problem:
        reports = tuple(WheelReport(file=wheel, findings=problem.findings) for wheel in args.wheels)
    else:
        with terminal.progress() as report:
            reports = inspect_wheels(request, report=report)
            problems = save_graph(args.graph, reports) if args.graph is not None else ()
        if args.graph is not None and not problems:
            terminal.say(f"saved {args.graph}")
    terminal.findings(problems)
    for found in reports:
        print_report(found, terminal, verbose=args.verbose, tree=args.tree)
        terminal.findings(found.findings, of=found.file.name if len(reports) > 1 else "")
    document: dict[str, Any] = {"schema": 1, "wheels": [to_json(found, tree=args.tree) for found in reports]}
    if problems:
        document["findings"] = [finding.to_json() for finding in problems]
    terminal.document(document)
    return 1 if problems or any(found.failed for found in reports) else 0


def request_of(args: argparse.Namespace, terminal: Terminal) -> InspectRequest:
    """Return what the parsed arguments ask for. Raises NativelibError for a policy that cannot be used."""
    return InspectRequest(
        wheels=tuple(args.wheels),
        provided_by=tuple(args.provided_by),
        excludes=tuple(args.exclude),
        skips=tuple(args.skip),
        python=args.python,
        ldpaths=args.ldpaths,
        ldpaths_first=args.ldpaths_first,
        ignore_isa=args.disable_isa_ext_check,
        policies=read_policies(args.policy) if args.policy is not None else (),
        environ=terminal.environ,
    )


def to_json(found: WheelReport, *, tree: bool = False) -> dict[str, Any]:
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
    pure = wheel is not None and not wheel.elf and not wheel.unread
    out: dict[str, Any] = {
        "file": str(found.file.absolute()),
        "name": wheel.name.normalized if wheel is not None else None,
        "version": wheel.name.version if wheel is not None else None,
        "pure": pure,
        "libc": found.libc,
        "architecture": found.architecture,
        "tag": verdict.tag if verdict is not None else "any" if pure else None,
        "aliases": other_names(found),
        "platforms": list(wheel.name.platforms) if wheel is not None else [],
        "why": [
            {
                "policies": list(why.policies),
                "path": why.member or None,
                "reason": why.reason,
                "symbols": list(why.symbols),
                "files": list(why.files),
            }
            for why in reasons(verdict.obstacles if verdict is not None else ())
        ],
        "versioned_symbols": {name: sorted(v) for name, v in sorted(verdict.versioned_symbols.items())}
        if verdict
        else {},
        "external": dict(sorted(external.items())),
        "elf": elf,
        "opened": [
            {
                "name": library.name,
                "how": library.how.value,
                "purpose": library.purpose,
                "where": list(library.files),
                "answer": library.answer.value if library.answer is not None else None,
                "source": library.source,
            }
            for library in found.opened
        ],
        "leaks": [{"path": leak.member, "entry": leak.entry, "kind": leak.kind} for leak in found.leaks],
        "findings": [finding.to_json() for finding in found.findings],
    }
    if tree:
        out["tree"] = tree_to_json(found.tree())
    return out
