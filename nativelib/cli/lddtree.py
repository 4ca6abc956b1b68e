"""``nativelib lddtree``."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nativelib.cli.common import Formatter, add_output_options
from nativelib.cli.show_text import guided
from nativelib.errors import NativelibError
from nativelib.pipeline.lddtree import TreeRequest, file_tree
from nativelib.plan.needs import Answer
from nativelib.plan.tree import tree_to_json

if TYPE_CHECKING:
    import argparse

    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.lddtree import FileTree

_DESCRIPTION = """\
Draw the tree of what one ELF file needs: a library, a program or an extension module, of
any machine and C library. It is read, not run. A library that is not found is a warning,
and the exit code is 0 all the same.
"""

_EPILOG = """\
examples:
  nativelib lddtree /usr/bin/python3
  nativelib lddtree --ldpaths /opt/cross/aarch64/lib build/_core.cpython-311-aarch64-linux-gnu.so
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "lddtree",
        help="draw the tree of one ELF file",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Formatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="ELF file to look at")
    parser.add_argument(
        "--ldpaths", metavar="DIRS", help="directories, joined by colons, that replace the system's search path"
    )
    add_output_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Carry out the command and return its exit code."""
    try:
        tree = file_tree(TreeRequest(file=args.file, ldpaths=args.ldpaths, environ=terminal.environ))
    except NativelibError as problem:
        terminal.findings(problem.findings)
        terminal.document({**to_json(args.file, None), "findings": [finding.to_json() for finding in problem.findings]})
        return problem.exit_code
    _print(tree, terminal)
    terminal.findings(tree.findings)
    terminal.document(to_json(args.file, tree))
    return 0


def _print(tree: FileTree, terminal: Terminal) -> None:
    facts = tree.facts
    terminal.line((tree.file, "bold"))
    rows = [("for", " and ".join(filter(None, (facts.architecture, tree.libc))))]
    rows += [("loader", facts.interpreter)] if facts.interpreter else []
    rows += [("soname", facts.soname)] if facts.soname else []
    kind = "runpath" if facts.runpath else "rpath"
    rows += [(kind, f"{entry}{'' if entry in tree.used else '  (not used)'}") for entry in facts.run_path]
    terminal.table([[(name, ""), (text, "")] for name, text in rows])
    for row, guide in guided(tree.rows):
        if row.answer is None:
            continue
        again = "  (see above)" if row.again else ""
        match row.answer:
            case Answer.MISSING:
                where, style = "not found", "bold red"
            case Answer.PYTHON:
                where, style = row.source or "the interpreter has it", "dim"
            case _:
                where, style = row.source or "", "" if posixpath.basename(row.source or "") == row.name else "blue"
        terminal.line((f"  {guide}", "dim"), (row.name, ""), ("  ", ""), (where, style), (again, "dim"))


def to_json(file: Path, tree: FileTree | None) -> dict[str, Any]:
    """Return the JSON document (schema 1); *tree* is ``None`` if *file* could not be read."""
    facts = tree.facts if tree is not None else None
    return {
        "schema": 1,
        "file": str(file.absolute()),
        "architecture": facts.architecture if facts is not None else None,
        "libc": tree.libc.value if tree is not None and tree.libc is not None else None,
        "interpreter": facts.interpreter if facts is not None else None,
        "soname": facts.soname if facts is not None else None,
        "rpath": list(facts.rpath) if facts is not None else [],
        "runpath": list(facts.runpath) if facts is not None else [],
        "used": list(tree.used) if tree is not None else [],
        "searched": list(tree.outside.searched) if tree is not None else [],
        "tree": [_found(row) for row in tree_to_json(tree.rows)] if tree is not None else [],
        "findings": [finding.to_json() for finding in tree.findings] if tree is not None else [],
    }


def _found(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the tree in the words of this command, which copies nothing."""
    return {"depth": row["depth"], "name": row["name"], "path": row["source"], "again": row["again"]}
