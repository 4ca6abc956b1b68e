"""Aligned columns that stay readable on a narrow terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LEAST_ROOM = 30


def layout(
    rows: Sequence[Sequence[tuple[str, str]]], *, indent: int, width: int | None
) -> Iterator[list[tuple[str, str]]]:
    """Yield the lines of a table, each as pieces of (text, style), from *rows* of as many such cells each.

    All columns but the last are as wide as their widest cell. The last one is wrapped where a *width* is given, and
    goes below the others where too little room is left beside them.
    """
    widths = [max(len(text) for text, _ in column) for column in list(zip(*rows, strict=True))[:-1]]
    begin = indent + sum(widths) + 2 * len(widths)
    below = width is not None and width - begin < _LEAST_ROOM
    if below:
        begin = indent + 4
    for row in rows:
        last, style = row[-1]
        line = [(" " * indent, "")]
        for (text, own), size in zip(row, widths, strict=False):
            line += [(text, own), (" " * (size - len(text) + 2), "")]
        wrapped = _wrapped(last, None if width is None else max(width - begin, _LEAST_ROOM))
        if not below:
            line.append((wrapped.pop(0), style))
        while len(line) > 1 and not line[-1][0].strip():
            line.pop()
        yield line
        yield from ([(" " * begin, ""), (text, style)] for text in wrapped if text)


def _wrapped(text: str, room: int | None) -> list[str]:
    if room is None or len(text) <= room:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
