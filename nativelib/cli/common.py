"""Options that several commands have."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help with the examples laid out as they were written."""

    def __init__(self, prog: str) -> None:
        """Leave room for long options."""
        super().__init__(prog, max_help_position=34)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` and ``--quiet``."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print a JSON document on standard output, on failure too")
    group.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def add_provider_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--provided-by`` and what goes with it."""
    group.add_argument(
        "--provided-by",
        action="append",
        default=[],
        metavar="X",
        help="take libraries from X: a wheel file, an installed distribution ('openblas-lib>=0.3,<0.4' sets the "
        "requirement), or a directory with an unpacked wheel; SONAME=X for that library alone; may be repeated",
    )
    group.add_argument(
        "--python", metavar="EXE", help="interpreter whose installed distributions count (default: the running one)"
    )


def add_search_options(group: argparse._ArgumentGroup) -> None:
    """Add ``--ldpaths`` and ``--ldpaths-first``."""
    group.add_argument(
        "--ldpaths", metavar="DIRS", help="directories, joined by colons, that replace the system's search path"
    )
    group.add_argument(
        "--ldpaths-first", metavar="DIRS", help="directories that are searched before everything, run paths included"
    )


def include(text: str) -> tuple[str, str | None]:
    """Parse ``GLOB[=PATH]`` for argparse."""
    glob, separator, place = text.partition("=")
    if not glob or "/" in glob or (separator and not place):
        raise argparse.ArgumentTypeError(f"{text!r} is not GLOB or GLOB=PATH, where GLOB is the name of a file")
    return glob, str(Path(place).absolute()) if place else None


def add_skip_option(group: argparse._ArgumentGroup) -> None:
    """Add ``--skip``."""
    group.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="GLOB",
        help="leave files of the wheel unread and untouched whose path in it matches, as for firmware; may be repeated",
    )


def key_value(text: str) -> tuple[str, str]:
    """Parse ``KEY=VALUE`` for argparse."""
    key, separator, value = text.partition("=")
    if not separator or not re.fullmatch(r"[\w.+-]+", key):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def level(text: str) -> int:
    """Parse a deflate level for argparse."""
    if text not in {str(number) for number in range(10)}:
        raise argparse.ArgumentTypeError(f"{text!r} is not a compression level from 0 to 9")
    return int(text)


def directory(text: str) -> Path:
    """Parse a directory for argparse; it need not exist."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a directory")
    return path
