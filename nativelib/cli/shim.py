"""``nativelib shim``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from nativelib.cli.common import Formatter, add_output_options, add_provider_options
from nativelib.cli.text import save_text
from nativelib.errors import NativelibError, ReadError
from nativelib.findings import Code
from nativelib.pipeline.shim import ShimRequest, make_shim
from nativelib.plan.options import RepairOptions
from nativelib.plan.shim import with_block

if TYPE_CHECKING:
    import argparse

    from nativelib.cli.terminal import Terminal

_DESCRIPTION = """\
Print a _distributor_init.py for a source tree. It loads the libraries of the providers
where those are installed, and does nothing where they are not, because the build has then
used the system's. 'nativelib repair' replaces it by the strict form in wheels.
"""

_EPILOG = """\
examples:
  nativelib shim --provided-by openblas-lib -o src/numpy_like/_distributor_init.py
  nativelib shim --provided-by openblas-lib --for dist/numpy_like-1.0-cp311-cp311-linux_x86_64.whl
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "shim",
        help="print a hook for a source tree",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Formatter,
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write it to FILE, or into the block that FILE has"
    )
    parser.add_argument(
        "--for", dest="for_wheel", type=Path, metavar="WHEEL", help="name what this consumer wheel needs, and no more"
    )
    group = parser.add_argument_group("providers")
    add_provider_options(group)
    group.add_argument(
        "--import-provider",
        action="append",
        default=[],
        metavar="NAME",
        help="import this foreign provider's package instead of opening its libraries",
    )
    group.add_argument(
        "--pin",
        default="auto",
        metavar="HOW",
        help="version that the messages name: auto, exact, minimum, compatible, or a specifier (default: %(default)s)",
    )
    group.add_argument(
        "--ldpaths", metavar="DIRS", help="directories, joined by colons, that replace the system's search path"
    )
    add_output_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    if not args.provided_by:
        args.parser.error("--provided-by is needed: it says whose libraries the hook loads")
    try:
        return _write(args, terminal)
    except NativelibError as problem:
        findings = [finding.to_json() for finding in problem.findings]
        terminal.findings(problem.findings)
        terminal.document({"schema": 1, "output": None, "text": None, "findings": findings})
        return problem.exit_code


def _write(args: argparse.Namespace, terminal: Terminal) -> int:
    text = make_shim(
        ShimRequest(
            provided_by=tuple(args.provided_by),
            for_wheel=args.for_wheel,
            import_providers=frozenset(str(canonicalize_name(name)) for name in args.import_provider),
            options=RepairOptions(pin=args.pin),
            python=args.python,
            ldpaths=args.ldpaths,
            environ=terminal.environ,
        )
    )
    output = str(args.output.absolute()) if args.output is not None else None
    if args.output is not None:
        save_text(args.output, _merged(args.output, text))
        terminal.result(output or "")
    elif not args.json:
        sys.stdout.write(text)
    terminal.document({"schema": 1, "output": output, "text": text, "findings": []})
    return 0


def _merged(path: Path, text: str) -> str:
    """Return what *path* is to hold: *text*, or what is there already with a new block."""
    try:
        present = path.read_bytes()
    except FileNotFoundError:
        return text
    except OSError as cause:
        raise ReadError.of(Code.NOT_FOUND, str(path), f"It cannot be read: {cause.strerror}.") from cause
    return with_block(present, text, str(path))
