"""The command under limits, with what it cost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.projects import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a command said, and what it took."""

    answer: Answer
    peak: int
    """Most memory that was resident, in bytes."""
    cpu: float
    """Seconds of processor time."""


def costly(
    *arguments: str | Path,
    limits: Mapping[int, int],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Cost:
    """Run ``nativelib ... --json`` under *limits*: resource (as of :mod:`resource`) to number.

    Raise ``RuntimeError`` if it shows a traceback.
    """
    argv = [sys.executable, "-m", "nativelib", *map(str, arguments), "--json"]

    def limit() -> None:
        for what, number in limits.items():
            resource.setrlimit(what, (number, number))

    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # Not run(): the cost of this very child is what wait4 tells, and getrusage only that of all children.
        process = subprocess.Popen(argv, stdout=out, stderr=err, preexec_fn=limit, env=environ, cwd=cwd)  # noqa: PLW1509
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        answer = Answer(code=process.returncode, stdout=out.read().decode(), stderr=err.read().decode(errors="replace"))
    if "Traceback" in answer.stderr:
        raise RuntimeError(answer.stderr[-5000:])
    return Cost(answer=answer, peak=usage.ru_maxrss << 10, cpu=usage.ru_utime + usage.ru_stime)
