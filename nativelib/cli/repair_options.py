"""The options of ``nativelib repair``, by group."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from packaging.version import InvalidVersion, Version

from nativelib.cli.common import add_search_options, add_skip_option, include, key_value, level
from nativelib.plan.requirement import MARKER


def build_tag(text: str) -> str:
    """Return the build tag *text*: a digit, and then letters, digits, dots and underscores (PEP 427)."""
    if not re.fullmatch(r"\d[\w.]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no build tag: it begins with a digit, as in 1nl")
    return text


def local_version(text: str) -> str:
    """Return the local version label *text* in its normal form (PEP 440)."""
    try:
        return str(Version(f"0+{text}").local)
    except InvalidVersion:
        message = f"{text!r} is no local version: letters and digits, in parts joined by dots, as in shared.1"
        raise argparse.ArgumentTypeError(message) from None


def add_provider_details(group: argparse._ArgumentGroup) -> None:
    """Add the options that say how providers are taken."""
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


def add_library_options(group: argparse._ArgumentGroup) -> None:
    """Add the options about libraries that no provider has."""
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


def add_tag_options(group: argparse._ArgumentGroup) -> None:
    """Add the options about the result's name and bytes."""
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
    group.add_argument(
        "--build-tag",
        type=build_tag,
        metavar="TAG",
        help="give an un-vendored published wheel this build tag, in place of a local version (+nl.1a2b3c4d)",
    )
    group.add_argument(
        "--local-version",
        type=local_version,
        metavar="LABEL",
        help="give it this local version, so that all wheels of a release have the same (2.4.6+LABEL)",
    )
    group.add_argument("--keep-version", action="store_true", help="let it keep its version and file name")
    group.add_argument("--strict", action="store_true", help="make warnings errors")
    group.add_argument(
        "-z",
        "--zip-compression-level",
        type=level,
        metavar="N",
        help="deflate level of what is new or changed, 0 to 9 (default: 6)",
    )
