"""Projects of library wheels, and the command that builds and repairs, run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a developer may have set and what would change the result.
_UNWANTED = ("LD_LIBRARY_PATH", "SOURCE_DATE_EPOCH", "PKG_CONFIG_PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command of nativelib said."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    @property
    def findings(self) -> list[dict[str, Any]]:
        """All findings, of all wheels."""
        parts = (self.document, *self.document.get("wheels", ()))
        return [finding for part in parts for finding in part.get("findings", ())]

    def errors(self) -> dict[str, str]:
        """Return message and remedy of each error by its place."""
        wrong = [finding for finding in self.findings if finding["severity"] == "error"]
        return {finding["where"]: f"{finding['code']} {finding['message']} {finding['remedy']}" for finding in wrong}


def nativelib(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Answer:
    """Run ``nativelib ... --json`` in a process of its own, with the environment variables *env* in addition.

    Raise ``RuntimeError`` if it shows a traceback.
    """
    foreign = ("NATIVELIB_", "AUDITWHEEL_")
    base = {k: v for k, v in os.environ.items() if k not in _UNWANTED and not k.startswith(foreign)}
    argv = [sys.executable, "-m", "nativelib", *map(str, arguments), "--json"]
    done = subprocess.run(argv, cwd=cwd, env={**base, **(env or {})}, capture_output=True, text=True, check=False)
    if "Traceback" in done.stderr:
        raise RuntimeError(done.stderr)
    return Answer(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def project(
    directory: Path, name: str, tool: str, *, version: str | None = "1.0", extra: str = "", build_system: str = ""
) -> Path:
    """Write the project *name* with a licence and the lines *tool* in ``[tool.nativelib]``; return its directory.

    *extra* are further lines of ``[project]``.
    """
    said = 'dynamic = ["version"]' if version is None else f'version = "{version}"'
    table = f'[project]\nname = "{name}"\n{said}\nlicense = "MIT"\nlicense-files = ["LICENSE"]\n{extra}\n'
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "LICENSE").write_text("Permission is hereby granted.\n")
    (directory / "pyproject.toml").write_text(f"{build_system}\n{table}[tool.nativelib]\n{tool}\n")
    return directory


def built(source: Path, *options: str | Path, into: Path) -> Path:
    """Build the project in *source* and return the wheel in *into*; raise ``RuntimeError`` if it fails."""
    return Path(_done(nativelib("build", source, "-w", into, *options))["wheel"])


def repaired(wheel: Path, *options: str | Path, into: Path) -> Path:
    """Repair *wheel* and return the result in *into*; raise ``RuntimeError`` if it fails."""
    return Path(_done(nativelib("repair", wheel, "-w", into, *options))["wheels"][0]["output"])


def _done(answer: Answer) -> dict[str, Any]:
    if answer.code:
        raise RuntimeError(answer.stdout + answer.stderr)
    return answer.document
