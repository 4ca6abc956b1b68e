"""The command under limits, with what it cost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
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


def costly(*arguments: str | Path, limits: Mapping[int, int], env: Mapping[str, str] | None = None) -> Cost:
    """Run ``nativelib ... --json`` under *limits*: resource (as of :mod:`resource`) to number.

    Raise ``RuntimeError`` if it shows a traceback.
    """
    argv = [sys.executable, "-m", "nativelib", *map(str, arguments), "--json"]

    def limit() -> None:
        for what, number in limits.items():
            resource.setrlimit(what, (number, number))

    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
    with (
        subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            preexec_fn=limit,  # noqa: PLW1509
        ) as process,
        ThreadPoolExecutor() as pool,
    ):
        said = [pool.submit(stream.read) for stream in (process.stdout, process.stderr) if stream is not None]
        # getrusage would tell the most of all children that there ever were; wait4 tells of this one.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout, stderr = (text.result() for text in said)
    if "Traceback" in stderr:
        raise RuntimeError(stderr[-5000:])
    answer = Answer(code=process.returncode, stdout=stdout, stderr=stderr)
    return Cost(answer=answer, peak=usage.ru_maxrss << 10, cpu=usage.ru_utime + usage.ru_stime)
