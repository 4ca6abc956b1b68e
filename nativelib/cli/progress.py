"""A line on the terminal that says what is being done, once that takes longer than a moment."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING

from nativelib.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from nativelib.facts.progress import Report

DELAY = 1.0
"""Seconds that pass before the line appears: what is quicker needs none."""


@contextmanager
def shown(console: Callable[[], Console]) -> Iterator[Report]:
    """Give a function that is told what is being done; the line is gone when the block ends."""
    line = _Line(console)
    # The one who reports may be waiting for a long while, so that another thread has to look at the clock.
    timer = Timer(DELAY, line.show)
    timer.daemon = True
    timer.start()
    try:
        yield line.report
    finally:
        timer.cancel()
        line.close()


class _Line:
    def __init__(self, console: Callable[[], Console]) -> None:
        self._console = console
        self._lock = Lock()
        self._closed = False
        self._latest = ("", 0, 0)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def report(self, what: str, done: int = 0, total: int = 0) -> None:
        """Take note, and show it if the line is there."""
        self._latest = (what, done, total)
        if self._progress is not None:
            self._update(self._progress)

    def show(self) -> None:
        """Let the line appear."""
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        with self._lock:
            if self._closed:
                return
            text = TextColumn(
                "{task.description}", markup=False, table_column=Column(overflow="ellipsis", no_wrap=True)
            )
            columns = (SpinnerColumn(), text, BarColumn(20), TaskProgressColumn(), TimeElapsedColumn())
            progress = Progress(*columns, console=self._console(), transient=True)
            self._task = progress.add_task("", total=None)
            progress.start()
            self._progress = progress
            self._update(progress)

    def close(self) -> None:
        """Remove the line, and let none appear any more."""
        with self._lock:
            self._closed = True
            if self._progress is not None:
                self._progress.stop()

    def _update(self, progress: Progress) -> None:
        if self._task is not None:
            what, done, total = self._latest
            progress.update(self._task, description=printable(what), completed=done, total=total or None)
