"""Processes of a trial: started with an environment of their own, and ended whole when their time is over."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from nativelib.errors import ReadError
from nativelib.facts.trial import Ended
from nativelib.findings import Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event

_TAIL = 64 * 1024

# What an installer needs to find an index and to trust it; nothing that leads to the environment of the build.
_KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR")
# These would lead pip elsewhere than into the environment.
_DROPPED = ("PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET", "PIP_USER")
_KEPT_BEGINNINGS = ("PIP_", "http", "https", "HTTP", "HTTPS", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY")


def run(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    directory: Path,
    timeout: float | None = None,
    stop: Event | None = None,
) -> Ended:
    """Run *command* in *directory* with the variables *environ* and no others, and return how it ended.

    After *timeout* seconds, or once *stop* is set, it is killed, with all that it started. Raises ReadError
    (``TOOL_FAILED``) if it cannot be started.
    """
    begin = time.monotonic()
    # A file takes any amount of output, and a grandchild that outlives the child does not keep us waiting for its end.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as problem:
            text = f"It cannot be started: {problem.strerror or problem}."
            raise ReadError.of(Code.TOOL_FAILED, command[0], text) from problem
        try:
            status = _wait(process, begin + timeout if timeout is not None else math.inf, stop)
        finally:
            _end(process)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _TAIL))
        text = output.read().decode("utf-8", "replace")
    return Ended(status=status, output=text, seconds=time.monotonic() - begin)


def _wait(process: subprocess.Popen[bytes], deadline: float, stop: Event | None) -> int | None:
    """Return the status of *process*, or ``None`` if it was not to be waited for."""
    while time.monotonic() < deadline and not (stop is not None and stop.is_set()):
        try:
            return process.wait(min(0.5, max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            continue
    return None


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of *environ* an installer needs."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)}
    return {name: value for name, value in kept.items() if name not in _DROPPED}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and whatever it left behind in its session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
