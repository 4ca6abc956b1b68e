"""``nativelib metadata``: ``check`` and ``sync``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nativelib.cli.common import Formatter, add_output_options, directory
from nativelib.cli.metadata_text import print_report, to_json
from nativelib.errors import NativelibError
from nativelib.pipeline.release import ReleaseRequest, check_release, sync_release

if TYPE_CHECKING:
    import argparse

    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.release import ReleaseReport

_DESCRIPTION = """\
All wheels of a release and its sdist should require the same, with markers where they
differ by platform: lockers read the metadata of one of them for all.
"""

_EPILOG = """\
examples:
  nativelib metadata check dist/*
  nativelib metadata check dist/* --find-links wheels/
  nativelib metadata sync wheelhouse/*.whl dist/numx-1.0.tar.gz -w release/
"""

_CHECK = """\
Compare what the files of one release say of their dependencies, and say what pip, uv,
poetry and PyPI make of it. With wheels of providers at hand: whether each Linux wheel has
one for its architecture and C library. Nothing is written.
"""

_CHECK_EPILOG = """\
examples:
  nativelib metadata check dist/*
  nativelib metadata check dist/* --find-links wheels/
  nativelib metadata check dist/* --provided-by wheels/openblas_lib-0.3.29-py3-none-manylinux_2_17_x86_64.whl
"""

_SYNC = """\
Write all wheels of one release with the same dependencies: what repairs wrote into some of
them, and what the project requires on some systems, with markers. Wheels that need no
change are copied as they are. The sdist is only read; what the project has to declare for
it is printed.
"""

_SYNC_EPILOG = """\
examples:
  nativelib metadata sync wheelhouse/*.whl dist/numx-1.0.tar.gz -w release/
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser, and those of its two parts."""
    parser = commands.add_parser(
        "metadata",
        help="compare the metadata of a release's files, and make it the same",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Formatter,
    )
    parts = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = parts.add_parser(
        "check",
        help="compare the metadata of a release's files",
        description=_CHECK,
        epilog=_CHECK_EPILOG,
        formatter_class=Formatter,
    )
    _add_arguments(check)
    check.set_defaults(run=run_check)
    sync = parts.add_parser(
        "sync",
        help="write the wheels of a release with the same dependencies",
        description=_SYNC,
        epilog=_SYNC_EPILOG,
        formatter_class=Formatter,
    )
    sync.add_argument(
        "-w",
        "--wheel-dir",
        type=directory,
        default=Path("wheelhouse"),
        metavar="DIR",
        help="where the wheels go; made if needed (default: %(default)s)",
    )
    _add_arguments(sync)
    sync.set_defaults(run=run_sync)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="DIST", help="all wheels of one release, of any system, and its sdist"
    )
    group = parser.add_argument_group("providers")
    group.add_argument(
        "--provided-by",
        action="append",
        default=[],
        type=Path,
        metavar="WHEEL",
        help="wheel of a provider: the release's Linux wheels must have one for their machine; may be repeated",
    )
    group.add_argument(
        "--find-links",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="directory with wheels of providers, among others; may be repeated",
    )
    add_output_options(parser)


def _request(args: argparse.Namespace, terminal: Terminal) -> ReleaseRequest:
    return ReleaseRequest(
        files=tuple(args.files),
        provided_by=tuple(args.provided_by),
        find_links=tuple(args.find_links),
        wheel_dir=getattr(args, "wheel_dir", Path()),
        environ=terminal.environ,
    )


def run_check(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out ``check`` and return its exit code."""
    try:
        return _print(check_release(_request(args, terminal)), terminal)
    except NativelibError as problem:
        return _fail(problem, terminal)


def run_sync(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out ``sync`` and return its exit code."""
    try:
        with terminal.progress() as report:
            reports = sync_release(_request(args, terminal), report=report)
    except NativelibError as problem:
        return _fail(problem, terminal)
    return _print(reports, terminal)


def _print(reports: tuple[ReleaseReport, ...], terminal: Terminal) -> int:
    for item in reports:
        print_report(item, terminal)
        terminal.findings(item.findings)
    terminal.document(to_json(reports))
    return int(any(item.failed for item in reports))


def _fail(problem: NativelibError, terminal: Terminal) -> int:
    terminal.findings(problem.findings)
    terminal.document(to_json((), problem.findings))
    return problem.exit_code
