"""What happened when wheels were installed and run: checks, what a process said of itself, verdicts. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """One thing that is tried."""

    INSTALL = "install"
    """The wheels install into an empty environment, with what they require."""
    IMPORT = "import"
    """Every extension module imports, in a plain installation."""
    SYMBOLS = "symbols"
    """Every ELF file opens with all its symbols bound at once."""
    SPLIT = "split"
    """Every distribution lies in a directory of its own, as run paths do not expect."""
    PROVIDER_FIRST = "provider-first"
    """The same, with the providers loaded before the consumer."""
    RUN_PATHS = "run-paths"
    """Run paths that lead out of the wheel are removed, so that the hook is on its own."""
    POISONED = "poisoned"
    """LD_LIBRARY_PATH leads to wrong libraries of the provided names."""
    TOGETHER = "together"
    """All wheels in one process, in the order of the call."""
    REVERSED = "reversed"
    """The same, in the reverse order."""
    FORK = "fork"
    """Compute, fork, and compute in the child."""
    COMMAND = "command"
    """The user's own command, mostly tests."""


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    LEFT_OUT = "left out"
    """It was not asked for, makes no sense here, or could not be tried; the detail says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One import, or one file that was opened."""

    what: str
    """Module, or path."""
    error: str | None = None
    """What was raised, or how the process died."""
    cause: str = ""
    """The first exception in the chain that led to it, where packages wrap the loader's words in their own."""

    @property
    def words(self) -> str:
        """The error, with the first one of the chain where that says something else."""
        error = self.error or ""
        return error if not self.cause or self.cause in error else f"{error} (at first: {self.cause})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a probe wrote down."""

    before: frozenset[str] = frozenset()
    """Libraries that were mapped before anything was imported: the interpreter's own."""
    after: frozenset[str] | None = None
    """Libraries that were mapped in the end; ``None`` if the process did not get there."""
    threads: int = 0
    """Threads in the end."""
    steps: tuple[Step, ...] = ()
    unfinished: str | None = None
    """The step in which the process ended."""


def parse_seen(text: str) -> Seen:
    """Return what a probe wrote, one JSON object a line; a last line may be cut off where the process died."""
    steps: list[Step] = []
    seen: dict[str, Any] = {}
    begun: str | None = None
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            break
        if "begin" in event:
            begun = event["begin"]
        elif "end" in event:
            begun = None
            steps.append(Step(what=event["end"], error=event.get("error"), cause=event.get("cause") or ""))
        else:
            seen[event["mapped"]] = frozenset(event["files"])
            seen["threads"] = event["threads"]
    return Seen(
        before=seen.get("before", frozenset()),
        after=seen.get("after"),
        threads=seen.get("threads", 0),
        steps=tuple(steps),
        unfinished=begun,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that ran, and how it ended."""

    status: int | None
    """As ``subprocess`` has it, negative for a signal; ``None`` if it was ended because its time was over."""
    output: str = ""
    """The end of what it printed, both streams."""
    seconds: float = 0.0

    @property
    def words(self) -> str:
        """How it ended."""
        if self.status is None:
            return f"did not end within {self.seconds:.0f} s"
        return f"was ended by signal {-self.status}" if self.status < 0 else f"ended with exit code {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One probe, with what it saw."""

    ended: Ended
    seen: Seen = field(default_factory=Seen)
    again: str = ""
    """The command that runs it again, if its files are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A library that a process had mapped."""

    path: str
    shown: str
    """The path for messages: of what is installed, below site-packages, wherever a layout has that."""
    names: frozenset[str]
    """Names that it goes by: file name, ``DT_SONAME``, the base of its version definitions."""
    owner: str | None
    """Normalised name of the distribution that installed it; ``None`` for the machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A library that must come from a provider."""

    soname: str
    """Its ``DT_SONAME`` there."""
    names: frozenset[str]
    """Every name that a copy of it may go by."""
    provider: str
    """Normalised name of the distribution."""
    path: str
    """Where it is installed, links resolved."""
    singleton: bool = False
    """Whether the provider takes another copy that is in the process already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of the report."""

    wheel: str | None
    """Normalised name; ``None`` for a check of all wheels at once."""
    check: Check
    result: Result
    detail: str
    seconds: float = 0.0
    output: str = ""
    """The end of what was printed, of the user's command."""
