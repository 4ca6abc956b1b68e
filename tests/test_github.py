"""Findings in a GitHub Actions run become annotations, and names in wheels do not become commands."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nativelib.cli.github import annotation, harmless
from nativelib.findings import Code, error, note, warning
from tests.support.wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path


def said(wheel: Path, **variables: str) -> str:
    """Return what a repair of *wheel* prints beside its result."""
    argv = [sys.executable, "-m", "nativelib", "repair", "--dry-run", str(wheel)]
    environment = {**{k: v for k, v in os.environ.items() if k != "GITHUB_ACTIONS"}, **variables}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False).stderr


def test_an_annotation_follows_the_finding_where_it_runs(tmp_path: Path) -> None:
    wheel = tmp_path / "no.whl"
    plain, run = said(wheel), said(wheel, GITHUB_ACTIONS="true")
    assert "::" not in plain
    [line] = [line for line in run.splitlines() if line.startswith("::")]
    assert line == f"::error title=nativelib NL101::{wheel}: There is no such file."
    assert run.replace(f"{line}\n", "") == plain


@pytest.mark.parametrize(("make", "command"), [(error, "error"), (warning, "warning"), (note, "notice")])
def test_severities_and_escapes(make: object, command: str) -> None:
    finding = make(Code.NOT_FOUND, "a", "100 %\nof: it", "Do.")  # type: ignore[operator]
    assert annotation(finding, "a") == f"::{command} title=nativelib NL101::a: 100 %25%0Aof: it%0ADo."


@pytest.mark.parametrize("line", ["::add-mask::x", "  ::stop-commands::x", "x ##[error]y", "##[group]z"])
def test_a_line_that_looks_like_a_command_is_none(line: str) -> None:
    found = harmless(line)
    assert not found.lstrip().startswith("::")
    assert "##[" not in found


def test_what_a_wheel_is_called_is_no_command(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x-1-py3-none-any.whl", {"::error::y.so": b"\x7fELF", "##[error]z.so": b"\x7fELF"})
    lines = [line for line in said(wheel, GITHUB_ACTIONS="true").splitlines() if "z.so" in line or "y.so" in line]
    assert lines
    for line in lines:
        assert line.startswith(("warning ", "error ", "::warning title=nativelib ", "::error title=nativelib "))
        assert "##[" not in line
