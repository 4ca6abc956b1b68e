"""What a command prints: results on stdout, everything else on stderr; colour and progress on a terminal only."""

from __future__ import annotations

import json as json_format
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nativelib.cli import github
from nativelib.cli.progress import shown
from nativelib.cli.table import layout
from nativelib.cli.text import printable
from nativelib.facts.progress import silent
from nativelib.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console

    from nativelib.facts.progress import Report
    from nativelib.findings import Finding

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


class Terminal:
    """The two streams of one run of a command.

    Names come from wheels that anybody made: what would steer the terminal, or begin a line of its own, is escaped.
    """

    def __init__(self, *, json: bool, quiet: bool, environ: Mapping[str, str]) -> None:
        """*json* replaces what people read on stdout; *quiet* leaves errors only."""
        self.json = json
        self.quiet = quiet
        self.environ = environ
        self._annotated = github.wanted(environ)
        self._consoles: dict[str, Console] = {}

    def _console(self, stream: str) -> Console:
        if stream not in self._consoles:
            from rich.console import Console

            self._consoles[stream] = Console(
                file=getattr(sys, stream), highlight=False, soft_wrap=True, emoji=False, markup=False
            )
        return self._consoles[stream]

    def result(self, text: str = "", style: str | None = None) -> None:
        """Print a line of the result."""
        if not self.json and not self.quiet:
            self._console("stdout").print(printable(text), style=style)

    def line(self, *pieces: tuple[str, str]) -> None:
        """Print a line of the result that consists of (text, style)."""
        if not self.json and not self.quiet:
            from rich.text import Text

            self._console("stdout").print(Text.assemble(*((printable(text), style) for text, style in pieces)))

    def table(self, rows: Sequence[Sequence[tuple[str, str]]], *, indent: int = 2) -> None:
        """Print *rows* of cells (text, style) of the result in columns; what is no terminal gets whole lines."""
        if rows and not self.json and not self.quiet:
            console = self._console("stdout")
            # Before it is laid out: an escape is wider than what it stands for.
            rows = [[(printable(text), style) for text, style in row] for row in rows]
            for pieces in layout(rows, indent=indent, width=console.width if console.is_terminal else None):
                self.line(*pieces)

    def say(self, text: str) -> None:
        """Print a line that is not part of the result."""
        if not self.quiet:
            self._console("stderr").print(printable(text))

    def document(self, value: Mapping[str, Any]) -> None:
        """Print the JSON document of the command."""
        if self.json:
            sys.stdout.write(json_format.dumps(value, indent=2) + "\n")

    def findings(self, findings: Iterable[Finding], of: str = "") -> None:
        """Print findings, errors first and each once; *of* names the wheel, where there are several."""
        order = [Severity.ERROR, Severity.WARNING, Severity.NOTE]
        for finding in sorted(dict.fromkeys(findings), key=lambda item: order.index(item.severity)):
            if self.quiet and finding.severity is not Severity.ERROR:
                continue
            console = self._console("stderr")
            console.print(f"{finding.severity.value} {finding.code.value}", style=_STYLE[finding.severity], end=" ")
            prefix = f"{of}: " if of and finding.where not in of else ""
            where = self._paragraph(f"{prefix}{finding.where}")
            console.print(f"{where}: {self._paragraph(finding.message)}")
            if finding.remedy:
                console.print(f"      {self._paragraph(finding.remedy)}", style="dim")
            if self._annotated:
                console.print(printable(github.annotation(finding, where)))

    def failure(self, findings: Iterable[Finding]) -> None:
        """Print the findings of a command that could not run, in JSON as well."""
        findings = tuple(findings)
        self.findings(findings)
        self.document({"schema": 1, "findings": [finding.to_json() for finding in findings]})

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Show on a terminal what is being done, if it takes a while; elsewhere nothing."""
        if self.json or self.quiet or not sys.stderr.isatty():
            yield silent
            return
        with shown(lambda: self._console("stderr")) as report:
            yield report

    def _paragraph(self, text: str) -> str:
        """Return *text* with its lines, as of a compiler, indented so that none looks like a finding."""
        lines = [printable(line.expandtabs()) for line in text.split("\n")]
        return "\n      ".join(map(github.harmless, lines) if self._annotated else lines)
