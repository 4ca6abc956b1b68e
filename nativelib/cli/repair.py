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
    add_search_options,
    add_skip_option,
    directory,
    include,
    key_value,
    level,
)
from nativelib.cli.repair_text import print_result, to_json
from nativelib.cli.text import save_text
from nativelib.errors import NativelibError, PlanError
from nativelib.findings import Code
from nativelib.pipeline.consumer import RepairRequest
from nativelib.pipeline.repair import RepairResult, repair_wheels
from nativelib.plan.options import Include, RepairOptions
from nativelib.plan.requirement import MARKER
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
    _add_provider_details(providers)
    _add_library_options(parser.add_argument_group("other libraries"))
    _add_tag_options(parser.add_argument_group("tags and bytes"))
    add_output_options(parser)
    parser.set_defaults(run=run)


def _add_provider_details(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--import-provider",
        action="append",
        default=[],
        metavar="NAME",
        help="import this foreign provider's package instead of opening its libraries (for packages such as torch)",
    )
    group.add_argument(
        "--loader-modules",
        action="store_true",
        help="put a module that loads the libraries in front of extensions that no regular package holds",
    )
    group.add_argument(
        "--replace",
        action="append",
        default=[],
        metavar="SONAME",
        help="let the provider's library replace the wheel's own file of that soname",
    )
    group.add_argument(
        "--pin",
        default="auto",
        metavar="HOW",
        help="version in the requirement: auto, exact, minimum, compatible, or a specifier (default: %(default)s)",
    )
    group.add_argument(
        "--marker", default=MARKER, metavar="M", help="environment marker of the requirement (default: %(default)s)"
    )
    group.add_argument(
        "--require-abi",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="refuse a provider that declares something else, as in blas-int=32",
    )
    group.add_argument(
        "--no-run-path", action="store_true", help="add no run path to the provider's libraries, as the hook loads them"
    )


def _add_library_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave libraries to the system whose soname or path matches, as drivers are",
    )
    add_skip_option(group)
    group.add_argument(
        "--include",
        action="append",
        default=[],
        type=include,
        metavar="GLOB[=PATH]",
        help="copy in libraries that code opens at run time by these names, from the search path or from PATH",
    )
    group.add_argument(
        "--system-hint",
        action="append",
        default=[],
        type=key_value,
        metavar="SONAME=TEXT",
        help="say TEXT when the system lacks this library that is left to it: what to install",
    )
    group.add_argument(
        "--relocate-data",
        action="store_true",
        help="move libraries that install into the environment's prefix to where grafts go, if a need crosses",
    )
    group.add_argument("--no-graft", action="store_true", help="refuse what would have to be copied into the wheel")
    group.add_argument("--no-rename", action="store_true", help="let copied libraries keep their names")
    add_search_options(group)
    group.add_argument(
        "-L",
        "--lib-sdir",
        default=".libs",
        metavar="SUFFIX",
        help="suffix of the directory for copied libraries (default: %(default)s)",
    )
    group.add_argument("--strip", action="store_true", help="strip symbols from copied and edited files")


def _add_tag_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--plat",
        metavar="TAG",
        help="platform tag that the result must deserve, or auto for the best one (default: auto)",
    )
    group.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="JSON file with a policy of your own, for systems that you know; --plat then names it",
    )
    group.add_argument("--only-plat", action="store_true", help="do not add a better tag than --plat")
    group.add_argument("--no-update-tags", action="store_true", help="keep the tags that the wheel has")
    group.add_argument(
        "--allow-pure-python-wheel",
        action="store_true",
        help="changes nothing: wheels without ELF files are always passed through",
    )
    group.add_argument(
        "--disable-isa-ext-check",
        action="store_true",
        help="accept instructions beyond the baseline (x86-64-v2 and up)",
    )
    group.add_argument("--strict", action="store_true", help="make warnings errors")
    group.add_argument(
        "-z",
        "--zip-compression-level",
        type=level,
        metavar="N",
        help="deflate level of what is new or changed, 0 to 9 (default: 6)",
    )


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
