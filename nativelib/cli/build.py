"""``nativelib build``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nativelib.cli.common import Formatter, add_output_options, add_provider_options, directory, level
from nativelib.cli.text import describe, save_text
from nativelib.errors import NativelibError
from nativelib.findings import Severity
from nativelib.pipeline.build import BuildRequest, build_library_wheel
from nativelib.plan.options import RepairOptions
from nativelib.plan.serial import plan_to_json
from nativelib.write.stage import write_failed

if TYPE_CHECKING:
    import argparse

    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.build import BuildResult

_DESCRIPTION = """\
Build a library wheel from the [tool.nativelib] table of DIR/pyproject.toml: shared
libraries under sonames of their own, preloaded when the package is imported, with
headers, pkg-config and CMake files for those who build against them.
"""

_EPILOG = """\
examples:
  nativelib build                                    in the directory of the pyproject.toml
  nativelib build openblas --prefix /opt/openblas    libraries from another prefix
  nativelib build --since openblas_lib-0.3.28-py3-none-manylinux_2_28_x86_64.whl
  nativelib build --provided-by dist/openmp_lib-12.2.0-py3-none-manylinux_2_34_x86_64.whl
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "build", help="build a library wheel", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=Formatter
    )
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="directory of the pyproject.toml (default: this one)",
    )
    parser.add_argument(
        "-w",
        "--wheel-dir",
        type=directory,
        default=Path("dist"),
        metavar="DIR",
        help="where the wheel goes; made if needed (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    parser.add_argument("--plan-out", type=Path, metavar="FILE", help="save the plan as JSON")
    source = parser.add_argument_group("what goes in")
    source.add_argument(
        "--prefix", type=Path, metavar="P", help="installed tree with the libraries; wins over what the spec says"
    )
    add_provider_options(source)
    source.add_argument(
        "--since",
        type=Path,
        metavar="WHEEL",
        help="wheel or nativelib.json of an earlier release, whose symbol history is carried on",
    )
    source.add_argument(
        "--ldpaths", metavar="DIRS", help="directories, joined by colons, that replace the system's search path"
    )
    source.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave libraries to the system whose soname or path matches, as drivers are",
    )
    source.add_argument("--no-graft", action="store_true", help="refuse libraries that the spec does not name")
    result = parser.add_argument_group("tags and bytes")
    result.add_argument("--plat", default="auto", metavar="TAG", help="platform tag that the result must deserve")
    result.add_argument("--strict", action="store_true", help="make warnings errors")
    result.add_argument(
        "-z", "--zip-compression-level", type=level, default=6, metavar="N", help="deflate level, 0 to 9 (default: 6)"
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    request = BuildRequest(
        directory=args.directory,
        prefix=args.prefix,
        provided_by=tuple(args.provided_by),
        since=args.since,
        wheel_dir=args.wheel_dir,
        python=args.python,
        ldpaths=args.ldpaths,
        environ=terminal.environ,
        dry_run=args.dry_run,
        options=RepairOptions(
            excludes=tuple(args.exclude),
            graft=not args.no_graft,
            plat=args.plat,
            strict=args.strict,
            level=args.zip_compression_level,
        ),
    )
    try:
        with terminal.progress() as report:
            result = build_library_wheel(request, report=report)
    except NativelibError as problem:
        return _failed(problem, terminal)
    except OSError as problem:  # no directory for temporary files, for example
        return _failed(write_failed(str(problem.filename or args.directory), problem), terminal)
    findings = list(result.findings)
    if args.plan_out is not None:
        try:
            save_text(args.plan_out, json.dumps(plan_to_json(result.plan), indent=2) + "\n")
        except NativelibError as problem:  # the wheel is written, and that must be said
            findings += problem.findings
    terminal.findings(findings)
    _print(result, terminal, plan_wanted=args.dry_run)
    terminal.document(to_json(replace(result, findings=tuple(findings)), plan_wanted=args.dry_run))
    return 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0


def _failed(problem: NativelibError, terminal: Terminal) -> int:
    terminal.findings(problem.findings)
    terminal.document(failure_json(problem))
    return problem.exit_code


def _print(result: BuildResult, terminal: Terminal, *, plan_wanted: bool) -> None:
    terminal.result(str(result.wheel or f"{result.plan.output} (not written)"), style="bold")
    rows = [("library", f"{soname} (was {old})" if old != soname else soname) for _, soname, old in result.libraries]
    rows += [("private", member) for member in result.private]
    rows += [("requires", value) for value in result.plan.summary.requires]
    rows += [("tags", ", ".join(result.plan.summary.tags))]
    if plan_wanted:
        rows += [(action.kind, describe(action)) for action in result.plan.actions]
    for key, value in rows:
        terminal.result(f"  {key:<9} {value}")


def to_json(result: BuildResult, *, plan_wanted: bool = False) -> dict[str, Any]:
    """Return the JSON document of the command (schema 1)."""
    out: dict[str, Any] = {
        "schema": 1,
        "wheel": str(result.wheel) if result.wheel is not None else None,
        "tags": list(result.plan.summary.tags),
        "libraries": [
            {"file": file, "soname": soname, "original_soname": old} for file, soname, old in result.libraries
        ],
        "private": list(result.private),
        "requires": list(result.plan.summary.requires),
        "findings": [finding.to_json() for finding in result.findings],
    }
    if result.receipt is not None:
        out["receipt"] = asdict(result.receipt)
    if plan_wanted:
        out["plan"] = plan_to_json(result.plan)
    return out


def failure_json(problem: NativelibError) -> dict[str, Any]:
    """Return the JSON document of a build that failed."""
    findings = [finding.to_json() for finding in problem.findings]
    empty: dict[str, Any] = {key: [] for key in ("tags", "libraries", "private", "requires")}
    return {"schema": 1, "wheel": None, **empty, "findings": findings}
