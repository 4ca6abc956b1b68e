"""What ``nativelib show`` prints for people."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from nativelib.findings import listing
from nativelib.plan.audit import reasons, uses
from nativelib.plan.needs import Answer, by_requester
from nativelib.plan.retag import deserved
from nativelib.plan.vendored import is_graft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.cli.terminal import Terminal
    from nativelib.pipeline.inspect import WheelReport
    from nativelib.plan.audit import Use, Why
    from nativelib.plan.tree import Row

STYLES = {
    Answer.WHEEL: "blue",
    Answer.PROVIDED: "green",
    Answer.POLICY: "dim",
    Answer.EXCLUDED: "magenta",
    Answer.GRAFT: "yellow",
    Answer.MISSING: "bold red",
    Answer.PYTHON: "dim",
}


def print_report(found: WheelReport, terminal: Terminal, *, verbose: bool, tree: bool) -> None:
    """Print what is known about one wheel: the tags, why not better ones, and where its libraries come from."""
    wheel = found.wheel
    if wheel is None:
        return
    terminal.line((wheel.filename, "bold"))
    terminal.table(_head(found))
    if tree:
        terminal.line(("  tree", "bold"))
        print_tree(found.tree(), terminal)
    elif verbose:
        _print_files(found, terminal)
    elif found.needs:
        terminal.line(("  libraries", "bold"))
        terminal.table([*_libraries(uses(found.needs))], indent=4)
    if verbose and found.opened:
        terminal.line(("  opened at run time", "bold"))
        rows = [
            (library.answer.value if library.answer else "?", library.name, f"in {listing(library.files)}")
            for library in found.opened
        ]
        terminal.table([[(cell, "") for cell in row] for row in rows], indent=4)


def _head(found: WheelReport) -> list[list[tuple[str, str]]]:
    wheel, verdict = found.wheel, found.verdict
    if wheel is None:
        return []
    rows = [[("has", ""), (", ".join(wheel.name.platforms), "")]]
    if verdict is not None:
        policy = verdict.policy
        best = f"{verdict.tag} ({', '.join(other_names(found))})" if other_names(found) else verdict.tag
        kept = [tag for tag in wheel.name.platforms if policy is not None and deserved(tag, policy)]
        promised = [tag for tag in wheel.name.platforms if not tag.startswith("linux_")]
        good = len(kept) == len(promised) and policy is not None
        rows.append([("deserves", ""), (best, "bold green" if good else "bold red" if promised else "bold yellow")])
        rows += [[("why not", ""), (_why(why), "")] for why in reasons(verdict.obstacles)]
    if found.architecture is not None:
        count = len(wheel.elf)
        files = f"{count} ELF file{'' if count == 1 else 's'} for {found.architecture} and {found.libc}"
        rows.append([("holds", ""), (files, "")])
    return rows


def other_names(found: WheelReport) -> list[str]:
    """Return the aliases of the tag that the wheel deserves."""
    policy = found.verdict.policy if found.verdict is not None else None
    return [f"{name}_{policy.architecture}" for name in policy.aliases] if policy is not None else []


def _why(why: Why) -> str:
    newest, oldest = why.policies[0], why.policies[-1]
    return f"{newest if newest == oldest else f'{oldest} to {newest}'}: {why}"


def _libraries(found: Sequence[Use]) -> list[list[tuple[str, str]]]:
    """Return a row for each library; the system's share one."""
    rows = []
    for use in found:
        if use.answer is not Answer.POLICY:
            files = f"for {of_files([_short(name) for name in use.files])}"
            where = "; ".join(filter(None, [_from(use), files]))
            rows.append([(use.answer.value, STYLES[use.answer]), (use.soname, ""), (where, "")])
    system = sorted({use.soname for use in found if use.answer is Answer.POLICY})
    if system:
        names = ", ".join(system)
        rows.append([(Answer.POLICY.value, STYLES[Answer.POLICY]), ("the system's", "dim"), (names, "dim")])
    return rows


def _from(use: Use) -> str:
    match use.answer:
        case Answer.WHEEL if use.source and posixpath.basename(use.source) == use.soname:
            return f"in {posixpath.dirname(use.source) or 'the root of the wheel'}"
        case Answer.MISSING:
            return "not found"
        case Answer.PYTHON:
            return "the interpreter has it"
        case Answer.EXCLUDED:
            return "left to the system"
        case Answer.PROVIDED:
            return f"by {use.source}"
        case _:
            return use.source or ""


def _short(name: str) -> str:
    """Return *name* without its directory where that says nothing: of copies, and of files outside the wheel."""
    return posixpath.basename(name) if is_graft(name) or name.startswith("/") else name


def of_files(names: Sequence[str]) -> str:
    """Return how many files *names* are, and the first of them."""
    return names[0] if len(names) == 1 else f"{len(names)} files: {listing(names)}"


def _print_files(found: WheelReport, terminal: Terminal) -> None:
    """Print every file with its run path and all that it needs."""
    wheel = found.wheel
    needs = by_requester(found.needs)
    for name in dict.fromkeys((*(wheel.elf if wheel is not None else ()), *needs)):
        terminal.line((f"  {name}", "bold"))
        facts = wheel.elf.get(name) if wheel is not None else None
        rows = [[("run path", ""), (":".join(facts.run_path), ""), ("", "")]] if facts and facts.run_path else []
        for need in needs.get(name, ()):
            source = need.provider.label if need.provider is not None else need.source or ""
            rows.append([(need.answer.value, STYLES[need.answer]), (need.soname, ""), (source, "")])
        terminal.table(rows, indent=4)


def print_tree(rows: Sequence[Row], terminal: Terminal) -> None:
    """Print the rows of a wheel's tree; neighbouring libraries of the system share a line."""
    for row, guide in guided(_joined(rows)):
        if row.answer is None:
            more = f" and {len(row.alike)} more that need the same" if row.alike else ""
            terminal.line((f"    {row.name}", "bold"), (more, ""))
            continue
        where = f"  {row.source}" if row.source and posixpath.basename(row.source) != row.name else ""
        again = "  (see above)" if row.again else ""
        style = STYLES[row.answer]
        terminal.line((f"    {guide}", "dim"), (f"{row.answer.value} ", style), (row.name, ""), (where + again, "dim"))


def guided(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Return each of *rows* with the lines in front of it that lead from parents to children; roots have none."""
    out: list[tuple[Row, str]] = []
    more: set[int] = set()  # depths at which a sibling follows
    for row in reversed(rows):
        stems = "".join("│  " if depth in more else "   " for depth in range(1, row.depth))
        out.append((row, stems + ("├─ " if row.depth in more else "└─ ") if row.depth else ""))
        more = {depth for depth in more if depth < row.depth} | {row.depth}
    return out[::-1]


def _joined(rows: Sequence[Row]) -> list[Row]:
    joined: list[Row] = []
    for row in rows:
        last = joined[-1] if joined else None
        if last is not None and row.answer is Answer.POLICY and (last.answer, last.depth) == (row.answer, row.depth):
            joined[-1] = replace(last, name=f"{last.name}, {row.name}")
        else:
            joined.append(row)
    return joined
