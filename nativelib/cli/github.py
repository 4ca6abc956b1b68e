"""Findings as annotations of a GitHub Actions run.

The runner turns lines of the form ``::error title=...::message`` into annotations, whichever stream they are printed
on ("Workflow commands for GitHub Actions", GitHub Docs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nativelib.findings import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nativelib.findings import Finding

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def wanted(environ: Mapping[str, str]) -> bool:
    """Return whether the process runs in GitHub Actions, which sets this variable for every step."""
    return environ.get("GITHUB_ACTIONS") == "true"


def annotation(finding: Finding, where: str) -> str:
    """Return the line that makes an annotation of *finding*; *where* is the place that people are told."""
    text = f"{where}: {finding.message}" + (f"\n{finding.remedy}" if finding.remedy else "")
    text = text.replace("##[", "##\\[")
    title = f"nativelib {finding.code.value}"
    return f"::{_COMMANDS[finding.severity]} title={_property(title)}::{_data(text)}"


def harmless(line: str) -> str:
    """Return a *line* of output so that the runner takes it for no command: names in wheels may look like one."""
    quoted = line.replace("##[", "##\\[")
    return quoted.replace("::", ":\\:", 1) if quoted.lstrip().startswith("::") else quoted


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
