"""``nativelib repair``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from nativelib.cli.common import (
    Formatter,
    add_output_options,
    add_provider_options,
    directory,
    level,
)
from nativelib.cli.repair_options import add_library_options, add_provider_details, add_tag_options
from nativelib.cli.repair_text import print_result, to_json
from nativelib.cli.text import save_text
from nativelib.errors import NativelibError, PlanError
from nativelib.findings import Code
from nativelib.pipeline.consumer import RepairRequest
from nativelib.pipeline.repair import RepairResult, repair_wheels
from nativelib.plan.options import Include, RepairOptions
from nativelib.plan.serial import plan_to_json
from nativelib.read.policy_file import read_policies

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nativelib.cli.terminal import Terminal
    from nativelib.findings import Finding

_DESCRIPTION = """\
Repair wheels: take the libraries that providers have from them, copy in what no provider
and no platform policy has, and write correct wheels under the best platform tag.

The input is never changed; the output appears whole or not at all; the same input gives
the same bytes, and repairing the result again changes nothing.
"""

_EPILOG = """\
examples:
  nativelib repair --provided-by openblas-lib dist/numpy_like-1.0-cp311-cp311-linux_x86_64.whl
  nativelib repair --provided-by dist/openmp_lib-12.2.0-py3-none-manylinux_2_34_x86_64.whl dist/*.whl
  nativelib repair --provided-by openblas-lib --dry-run dist/numpy_like-*.whl
  nativelib repair --exclude 'libcuda.so.*' --plat manylinux_2_28_x86_64 dist/*.whl
  nativelib repair --include libzbar.so.0 dist/scanner-1.0-py3-none-any.whl
  nativelib repair --provided-by scipy-openblas64 numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl

environment:
  NATIVELIB_PLAT, NATIVELIB_ZIP_COMPRESSION_LEVEL   defaults of --plat and -z (the AUDITWHEEL_ names count too)
  NATIVELIB_LD_LIBRARY_PATH, LD_LIBRARY_PATH        directories that are searched for libraries
  SOURCE_DATE_EPOCH                                 date of changed members, instead of 1980-01-01
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "repair", help="repair consumer wheels", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=Formatter
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="wheels to repair")
    parser.add_argument(
        "-w",
        "--wheel-dir",
        type=directory,
        default=Path("wheelhouse"),
        metavar="DIR",
        help="where results go; made if needed (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=argparse.SUPPRESS,  # the main parser has it as well
        help="print every action, as --dry-run does",
    )
    parser.add_argument(
        "--plan-out", type=Path, metavar="FILE", help="save the plan as JSON; of several wheels, a list of plans"
    )
    providers = parser.add_argument_group("providers")
    add_provider_options(providers)
    add_provider_details(providers)
    add_library_options(parser.add_argument_group("other libraries"))
    add_tag_options(parser.add_argument_group("tags and bytes"))
    add_output_options(parser)
    parser.set_defaults(run=run)


def request_of(args: argparse.Namespace, terminal: Terminal) -> RepairRequest:
    """Return what the parsed arguments ask for; environment variables fill in what was not said."""
    env = terminal.environ
    plat = args.plat or env.get("NATIVELIB_PLAT") or env.get("AUDITWHEEL_PLAT") or "auto"
    options = RepairOptions(
        excludes=tuple(args.exclude),
        includes=tuple(Include(glob=glob, path=place) for glob, place in dict.fromkeys(args.include)),
        skips=tuple(args.skip),
        replace=frozenset(args.replace),
        allow_pure=args.allow_pure_python_wheel,
        plat=plat,
        policies=read_policies(args.policy) if args.policy is not None else (),
        only_plat=args.only_plat,
        update_tags=not args.no_update_tags,
        lib_sdir=args.lib_sdir,
        strip=args.strip,
        pin=args.pin,
        marker=args.marker,
        run_path=not args.no_run_path,
        graft=not args.no_graft,
        rename=not args.no_rename,
        require_abi=dict(args.require_abi),
        loader_modules=args.loader_modules,
        relocate_data=args.relocate_data,
        system_hints=dict(args.system_hint),
        ignore_isa=args.disable_isa_ext_check,
        build_tag=args.build_tag or "",
        local_version=args.local_version or "",
        keep_version=args.keep_version,
        strict=args.strict,
        level=_level(args.zip_compression_level, env),
    )
    return RepairRequest(
        wheels=tuple(args.wheels),
        provided_by=tuple(args.provided_by),
        import_providers=frozenset(str(canonicalize_name(name)) for name in args.import_provider),
        options=options,
        wheel_dir=args.wheel_dir,
        python=args.python,
        ldpaths=args.ldpaths,
        ldpaths_first=args.ldpaths_first,
        environ=env,
        dry_run=args.dry_run,
    )


def _level(chosen: int | None, env: Mapping[str, str]) -> int:
    for name in ("NATIVELIB_ZIP_COMPRESSION_LEVEL", "AUDITWHEEL_ZIP_COMPRESSION_LEVEL"):
        if chosen is None and env.get(name):
            try:
                chosen = level(env[name])
            except argparse.ArgumentTypeError as cause:
                raise PlanError.of(Code.BAD_SPEC, name, str(cause)) from cause
    return 6 if chosen is None else chosen


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    try:
        request = request_of(args, terminal)
    except NativelibError as problem:
        results = tuple(RepairResult(input=wheel, findings=problem.findings) for wheel in args.wheels)
    else:
        with terminal.progress() as report:
            results = repair_wheels(request, report=report)
    problems: tuple[Finding, ...] = ()
    if args.plan_out is not None:
        try:
            _save_plans(args.plan_out, results)
        except NativelibError as problem:  # the wheels are written, and that must be said
            problems = problem.findings
            terminal.findings(problems)
    for result in results:
        terminal.findings(result.findings, of=result.input.name if len(results) > 1 else "")
        print_result(result, terminal, plan_wanted=args.dry_run or args.verbose)
    document: dict[str, Any] = {
        "schema": 1,
        "wheels": [to_json(result, plan_wanted=args.dry_run) for result in results],
    }
    if problems:
        document["findings"] = [finding.to_json() for finding in problems]
    terminal.document(document)
    return 1 if problems or any(result.failed for result in results) else 0


def _save_plans(path: Path, results: Sequence[RepairResult]) -> None:
    plans = [plan_to_json(result.plan) for result in results if result.plan is not None]
    if plans:
        save_text(path, json.dumps(plans[0] if len(plans) == 1 else plans, indent=2) + "\n")
