"""``nativelib verify``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nativelib.cli.common import Formatter, add_output_options, add_provider_options, add_skip_option
from nativelib.facts.trial import Check, Result
from nativelib.pipeline.verify import VerifyRequest, verify_wheels

if TYPE_CHECKING:
    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.verify import VerifyResult

_DESCRIPTION = """\
Install wheels into throw-away environments, run them, and prove what no look at the files
can: every extension module imports and every symbol is there; and each library of a
provider is the one that the process really uses, one copy of it, whatever is imported
first, however the installation is laid out, and whatever the machine has under that name.
"""

_EPILOG = """\
examples:
  nativelib verify --provided-by openblas-lib wheelhouse/numpy_like-1.0-*.whl
  nativelib verify --provided-by wheels/openmp_lib-12.2.0-*.whl wheelhouse/*.whl
  nativelib verify --find-links wheels --no-index wheelhouse/*.whl
  nativelib verify wheelhouse/scipy-*.whl --requirement pytest --command 'python -m pytest --pyargs scipy.linalg'
  nativelib verify wheelhouse/counter-*.whl --fork --fork-snippet 'import counter; counter.value()'
"""

_STYLES = {Result.OK: "green", Result.FAILED: "bold red", Result.LEFT_OUT: "dim"}
_OPTIONAL = [check.value for check in Check if check not in {Check.INSTALL, Check.IMPORT, Check.COMMAND}]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "verify",
        help="install wheels, run them, and look at what is loaded",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Formatter,
    )
    parser.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="wheels to verify, in this order")
    group = parser.add_argument_group("what is installed")
    add_provider_options(group)
    group.add_argument(
        "--requirement", action="append", default=[], metavar="REQ", help="install this as well; may be repeated"
    )
    group.add_argument("--index-url", metavar="URL", help="index for what the wheels require, as pip takes it")
    group.add_argument(
        "--find-links", action="append", default=[], metavar="DIR", help="take requirements from here, too, as pip does"
    )
    group.add_argument("--no-index", action="store_true", help="ask no index")
    group.add_argument("--keep", type=Path, metavar="DIR", help="leave environments and scripts in this new directory")
    _add_check_options(parser.add_argument_group("what is tried"))
    add_output_options(parser)
    parser.set_defaults(run=run)


def _add_check_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--command",
        type=_words,
        metavar="'PROGRAM ...'",
        help="run this in the end, in an empty directory; its exit code counts",
    )
    group.add_argument(
        "--fork",
        action=argparse.BooleanOptionalAction,
        help="compute, fork, and compute in the child (default: where an OpenMP or BLAS runtime is loaded)",
    )
    group.add_argument(
        "--fork-snippet",
        action="append",
        type=_code,
        default=[],
        metavar="CODE",
        help="Python code that computes, for --fork (default: a matrix product, if numpy is installed)",
    )
    group.add_argument(
        "--fork-timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="when a forked child counts as hanging (default: 30)",
    )
    group.add_argument(
        "--timeout",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="when any other process does, --command apart (default: 300)",
    )
    group.add_argument(
        "--without",
        action="append",
        default=[],
        choices=_OPTIONAL,
        metavar="CHECK",
        help=f"leave out one of {', '.join(_OPTIONAL)}; may be repeated",
    )
    add_skip_option(group)


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as cause:
        raise argparse.ArgumentTypeError(f"{text!r} is no command line: {cause}") from cause
    if not words:
        raise argparse.ArgumentTypeError("the command is empty")
    return words


def _code(text: str) -> str:
    try:
        compile(text, "--fork-snippet", "exec")
    except (SyntaxError, ValueError) as cause:
        raise argparse.ArgumentTypeError(f"{text!r} is not Python: {cause}") from cause
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    with terminal.progress() as report:
        result = verify_wheels(request_of(args, terminal), report=report)
    _print(result, terminal)
    terminal.document(to_json(result))
    return 1 if result.failed else 0


def request_of(args: argparse.Namespace, terminal: Terminal) -> VerifyRequest:
    """Return what the parsed arguments ask for."""
    pip = [word for links in args.find_links for word in ("--find-links", _absolute(links))]
    pip += ["--index-url", args.index_url] if args.index_url else []
    pip += ["--no-index"] if args.no_index else []
    return VerifyRequest(
        wheels=tuple(args.wheels),
        provided_by=tuple(args.provided_by),
        python=args.python,
        requirements=tuple(map(_absolute, args.requirement)),
        pip_options=tuple(pip),
        skips=tuple(args.skip),
        without=frozenset(map(Check, args.without)),
        command=args.command,
        fork=args.fork,
        fork_snippets=tuple(args.fork_snippet),
        fork_timeout=args.fork_timeout,
        timeout=args.timeout,
        keep=args.keep,
        environ=terminal.environ,
    )


def _absolute(text: str) -> str:
    """Return the whole path if *text* is one that exists, because pip runs elsewhere; addresses and names stay."""
    return str(Path(text).absolute()) if Path(text).exists() and "/" in text else text


def _print(result: VerifyResult, terminal: Terminal) -> None:
    versions = {wheel.name: f"{wheel.name} {wheel.version}" for wheel in result.wheels if wheel.name is not None}
    terminal.table(
        [
            [
                (versions.get(verdict.wheel or "", "all wheels"), ""),
                (verdict.check.value, "bold"),
                (verdict.result.value, _STYLES[verdict.result]),
                (f"{verdict.detail} ({verdict.seconds:.1f} s)" if verdict.seconds else verdict.detail, ""),
            ]
            for verdict in result.verdicts
        ],
        indent=0,
    )
    terminal.findings(result.findings)
    for wheel in result.wheels:
        terminal.findings(wheel.findings, of=wheel.file.name if len(result.wheels) > 1 else "")


def to_json(result: VerifyResult) -> dict[str, Any]:
    """Return the JSON object (schema 1)."""
    return {
        "schema": 1,
        "python": result.python,
        "wheels": [
            {
                "input": str(wheel.file.absolute()),
                "name": wheel.name,
                "version": wheel.version,
                "provided": [{"soname": soname, "provider": provider} for soname, provider in wheel.provided],
                "findings": [finding.to_json() for finding in wheel.findings],
            }
            for wheel in result.wheels
        ],
        "checks": [
            {
                "wheel": verdict.wheel,
                "check": verdict.check.value,
                "result": verdict.result.value,
                "detail": verdict.detail,
                "seconds": round(verdict.seconds, 3),
                "output": verdict.output,
            }
            for verdict in result.verdicts
        ],
        "findings": [finding.to_json() for finding in result.findings],
    }
