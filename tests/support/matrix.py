"""The table of what was run and what is refused: tests record rows, ``docs/support.md`` shows them.

``python -m tests.support.matrix --write docs/support.md`` puts what the tests recorded between the two marks of the
file. Rows that this time no test recorded stay as they are; ``--fresh`` drops them. A row is named by its section and
its first cell, so neither may hold what changes from run to run.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
BEGIN = "<!-- matrix: begin; written by python -m tests.support.matrix, do not edit -->"
END = "<!-- matrix: end -->"
SECTIONS = ("Shapes", "Build systems", "Providers", "Machines")
"""Sections that come first, in this order; further ones follow by name."""

Rows = dict[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of `record` in the sources of the tests."""

    where: str
    section: re.Pattern[str]
    row: re.Pattern[str]


def record(section: str, row: str, what_was_run: str, result: str) -> None:
    """Say that a test has shown *result* (``works``, ``refused: NL301``, ...) for *row* by doing *what_was_run*.

    Call it after the last check. The line goes to the file ``NATIVELIB_MATRIX``, else to ``build/matrix/<pid>.jsonl``.
    """
    chosen = os.environ.get("NATIVELIB_MATRIX")
    path = Path(chosen) if chosen else ROOT / "build" / "matrix" / f"{os.getpid()}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"section": section, "row": row, "run": what_was_run, "result": result})
    # One write in append mode: processes of one test run may share the file.
    with path.open("a", encoding="utf-8") as out:
        out.write(f"{line}\n")


def recorded(files: Iterable[Path]) -> Rows:
    """Return the rows in *files*; what was written last counts."""
    rows: Rows = {}
    for file in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name)):
        for line in file.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            rows[_cell(found["section"]), _cell(found["row"])] = (_cell(found["run"]), _cell(found["result"]))
    return rows


def written(document: str) -> Rows:
    """Return the rows that *document* has between the marks."""
    rows: Rows = {}
    section = ""
    for line in _between(document).splitlines():
        if line.startswith("### "):
            section = line[4:]
        elif line.startswith("| ") and not line.startswith(("| what |", "| ---")):
            row, run, result = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:4])
            rows[section, row] = (run, result)
    return rows


def rendered(document: str, rows: Mapping[tuple[str, str], tuple[str, str]]) -> str:
    """Return *document* with *rows* between the marks, which are put at its end if it has none."""
    order = {name: place for place, name in enumerate(SECTIONS)}
    lines: list[str] = []
    for section in sorted({section for section, _ in rows}, key=lambda name: (order.get(name, len(order)), name)):
        lines += [f"### {section}", "", "| what | what was run | result |", "| --- | --- | --- |"]
        own = sorted(((row, cells) for (where, row), cells in rows.items() if where == section), key=_natural)
        lines += [*(f"| {row} | {run} | {result} |" for row, (run, result) in own), ""]
    table = "\n".join([BEGIN, "", *lines, END])
    if BEGIN not in document:
        return f"{document.rstrip()}\n\n{table}\n"
    before, _, rest = document.partition(BEGIN)
    return before + table + rest.partition(END)[2]


def calls(files: Iterable[Path]) -> list[Call]:
    """Return every call of `record` in *files*, with patterns for what its section and its row can be.

    A text stands for itself, the parts of an f-string that are filled in and every other expression for anything.
    """
    found = []
    for file in sorted(files):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node.func) == "record" and len(node.args) == 4:
                section, row = (re.compile(_pattern(argument)) for argument in node.args[:2])
                found.append(Call(where=f"{file.name}:{node.lineno}", section=section, row=row))
    return found


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _pattern(argument: ast.expr) -> str:
    if isinstance(argument, ast.Constant):
        return re.escape(_cell(str(argument.value)))
    if isinstance(argument, ast.JoinedStr):
        return "".join(_pattern(part) for part in argument.values)
    return ".*"


def _natural(item: tuple[str, object]) -> list[tuple[int, str]]:
    """Return a key that sorts 3.9 before 3.10."""
    parts = re.findall(r"\d+|\D+", item[0])
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _cell(text: str) -> str:
    """Return *text* as a cell of a Markdown table."""
    return " ".join(text.replace("\\|", "|").replace("|", "\\|").split())


def _between(document: str) -> str:
    return document.partition(BEGIN)[2].partition(END)[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.matrix", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, required=True, metavar="FILE", help="the Markdown file with the table")
    parser.add_argument("--fresh", action="store_true", help="drop rows that no test recorded this time")
    parser.add_argument("records", type=Path, nargs="*", help="files of records (default: $NATIVELIB_MATRIX, else all)")
    options = parser.parse_args(arguments)
    chosen = os.environ.get("NATIVELIB_MATRIX")
    files = options.records or ([Path(chosen)] if chosen else list((ROOT / "build" / "matrix").glob("*.jsonl")))
    target: Path = options.write
    old = target.read_text(encoding="utf-8") if target.exists() else "# Support\n"
    rows = {**({} if options.fresh else written(old)), **recorded(files)}
    target.write_text(rendered(old, rows), encoding="utf-8")
    print(f"{target}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
