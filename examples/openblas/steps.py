"""Run the commands of the demo so that a reader sees them: each with its line, its time and, on failure, its words."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# What a user may have set and what would change what is built, found or measured.
UNWANTED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "CFLAGS", "LDFLAGS", "CPATH", "LIBRARY_PATH")
UNWANTED_PREFIXES = ("NATIVELIB_", "OMP_", "GOMP_", "OPENBLAS_")


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what steers compilers, loaders and thread pools."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in UNWANTED and not name.startswith(UNWANTED_PREFIXES)
    }


def say(text: str = "") -> None:
    """Print a line at once, so that progress is seen as it happens."""
    print(text, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs commands in the demo's directory. Paths below it are given and shown relative to it."""

    directory: Path
    """Absolute path of the working directory."""
    python: str = sys.executable
    """The interpreter that has nativelib installed."""

    def run(
        self, command: Sequence[str], *, extra: Mapping[str, str] | None = None, may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` with the environment variables of `extra` and return what it printed.

        Raise `DemoError` with its output when it fails and `may_fail` is not set.
        """
        shown = [f"{name}={self._short(value)}" for name, value in (extra or {}).items()]
        say("    $ " + " ".join([*shown, *(shlex.quote(self._short(word)) for word in command)]))
        environment = {**clean_environment(), **(extra or {})}
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False
            )
        except OSError as problem:
            raise DemoError(f"{command[0]} cannot be run: {problem}") from problem
        seconds = time.perf_counter() - started
        if seconds > 1:
            say(f"      {seconds:.1f} s")
        if done.returncode and not may_fail:
            words = (done.stdout + done.stderr).strip()[-4000:]
            raise DemoError(f"the command ended with exit code {done.returncode}:\n{words}")
        return done

    def nativelib(self, *arguments: str) -> dict[str, Any]:
        """Run ``nativelib ... --json`` and return its JSON object; raise `DemoError` with its findings if it fails."""
        done = self.run([self.python, "-m", "nativelib", *arguments, "--json"], may_fail=True)
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except json.JSONDecodeError as problem:
            raise DemoError(f"nativelib printed no JSON:\n{done.stdout}{done.stderr}") from problem
        findings = [finding for part in (answer, *answer.get("wheels", ())) for finding in part.get("findings", ())]
        for finding in findings:
            severity, where = finding["severity"], self._short(finding["where"])
            if severity != "note":
                say(f"      {severity} {finding['code']} {where}: {finding['message']}")
        if done.returncode:
            remedies = "\n".join(finding["remedy"] for finding in findings if finding["severity"] == "error")
            raise DemoError(f"nativelib {arguments[0]} ended with exit code {done.returncode}. {remedies}")
        return answer

    def _short(self, word: str) -> str:
        if word == self.python:
            return "python"
        return word.replace(f"{self.directory}{os.sep}", "")
