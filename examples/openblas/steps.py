"""Run the commands of the demo so that a reader sees them: each in a line with its time and, on failure, its words."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WIDTH = 100
"""Columns of the terminal that everything is laid out for."""
NO_BREAK = "\N{NO-BREAK SPACE}"

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


def say(text: str = "", *, end: str = "\n") -> None:
    """Print a line at once, so that progress is seen as it happens."""
    print(text, end=end, flush=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs commands in the demo's directory."""

    directory: Path
    """Absolute path of the working directory."""
    log: Path
    """The file that takes every command in full, so that it can be repeated by hand in `directory`."""
    python: str = sys.executable
    """The interpreter that has nativelib installed."""
    findings: list[dict[str, Any]] = field(default_factory=list)
    """What nativelib found, of all commands, in order."""

    def run(
        self,
        command: Sequence[str],
        *,
        show: str | None = None,
        extra: Mapping[str, str] | None = None,
        may_fail: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` with the environment variables of `extra` and return what it printed.

        `show` is the command as a reader sees it; the default is the command with short paths. Raise `DemoError` with
        the command's output when it fails and `may_fail` is not set.
        """
        variables = [f"{name}={shlex.quote(value)}" for name, value in (extra or {}).items()]
        with self.log.open("a", encoding="utf-8") as log:
            print(*variables, shlex.join(command), file=log)
        lines = textwrap.wrap(
            show or " ".join([*variables, *map(self._short, command)]),
            width=WIDTH - len("123.4 s "),
            initial_indent="  $ ",
            subsequent_indent=" " * 8,
            break_long_words=False,
            break_on_hyphens=False,
        )
        text = "\n".join([*lines[:-1], lines[-1].ljust(WIDTH - len("123.4 s "))])
        say(text.replace(NO_BREAK, " "), end="")
        started = time.perf_counter()
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env={**clean_environment(), **(extra or {})},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as problem:
            say()
            raise DemoError(f"{command[0]} cannot be run: {problem}") from problem
        say(f" {time.perf_counter() - started:5.1f} s")
        if done.returncode and not may_fail:
            words = (done.stdout + done.stderr).strip()[-4000:]
            raise DemoError(f"the command ended with exit code {done.returncode}:\n{words}")
        return done

    def nativelib(self, *arguments: str) -> dict[str, Any]:
        """Run ``nativelib ... --json`` and return its JSON object; raise `DemoError` with its findings if it fails.

        A kind of warning is shown once, however many files and commands it concerns.
        """
        # An option stays on the line of its value.
        short = "".join(f"{self._short(word)}{NO_BREAK if word.startswith('-') else ' '}" for word in arguments)
        done = self.run(
            [self.python, "-m", "nativelib", *arguments, "--json"], show=f"nativelib {short}", may_fail=True
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except json.JSONDecodeError as problem:
            raise DemoError(f"nativelib printed no JSON:\n{done.stdout}{done.stderr}") from problem
        findings = [found for part in (answer, *answer.get("wheels", ())) for found in part.get("findings", ())]
        known = {finding["code"] for finding in self.findings}
        self.findings.extend(findings)
        self._tell(finding for finding in findings if finding["severity"] != "note" and finding["code"] not in known)
        if done.returncode:
            errors = [finding for finding in findings if finding["severity"] == "error"]
            words = [f"{each['where']}: {each['message']} {each['remedy']}" for each in errors]
            raise DemoError("\n".join([f"nativelib {arguments[0]} ended with exit code {done.returncode}", *words]))
        return answer

    def _tell(self, findings: Iterable[Mapping[str, Any]]) -> None:
        found = list(findings)
        times = Counter(finding["code"] for finding in found)
        for finding in {finding["code"]: finding for finding in reversed(found)}.values():
            more = f" ({times[finding['code']]} times)" if times[finding["code"]] > 1 else ""
            text = f"{finding['severity']} {finding['code']}: {finding['message']}{more}"
            say(textwrap.fill(text, width=WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8))

    def _short(self, word: str) -> str:
        """Return a word of a command as it is shown: a wheel by its distribution, a long path by its end."""
        parts = [Path(part.removeprefix(f"{self.directory}{os.sep}")) for part in word.split(os.pathsep)]
        if word.endswith(".whl"):
            return f"{parts[0].name.split('-')[0]}*.whl"
        return os.pathsep.join(f".../{part.name}" if len(part.parts) > 2 else str(part) for part in parts)
