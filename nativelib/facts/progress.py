"""How those who read and write say what they are doing."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Takes what is being done, in a few words, and how much of it is done; without a total that is not known."""

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        """Take note."""


def silent(what: str, done: int = 0, total: int = 0) -> None:
    """Tell nobody."""
