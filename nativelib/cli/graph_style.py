"""How the nodes of a dependency graph look and what they say, in every format.

Colours are near those of Okabe and Ito, "Color Universal Design" (2008), which people with any colour vision tell
apart, darkened where letters stand on them. Nobody has to rely on them: each kind has a letter and most a border.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from nativelib.cli.text import printable
from nativelib.plan.graph import Kind

if TYPE_CHECKING:
    from nativelib.plan.graph import Graph, Node

_MOST_LINES = 4
"""Names that one node shows."""


class Style(NamedTuple):
    """The looks of one kind of node."""

    letter: str
    """Mark of the kind, for those who do not see the colour."""
    colour: str
    """Of the mark, the border and the lines that lead to the node."""
    fill: str
    """Colour of the box."""
    noun: str
    """What one of them is called."""
    nouns: str
    """What several are called."""
    legend: str
    """What the legend says."""
    ink: str = "#ffffff"
    """Colour of the letter."""
    dashes: str = ""
    """Border as an SVG ``stroke-dasharray``; empty for a solid one."""
    border: float = 1.2
    """Width of the border."""


STYLES: dict[Kind, Style] = {
    Kind.WHEEL: Style("W", "#1f2937", "#1f2937", "wheel", "wheels", "the wheel"),
    Kind.EXTENSION: Style("E", "#0072b2", "#e9f3fa", "extension", "extensions", "extension modules of the wheel"),
    Kind.PROGRAM: Style("P", "#56b4e9", "#eef8fe", "program", "programs", "programs of the wheel", ink="#10212b"),
    Kind.LIBRARY: Style("L", "#00775a", "#e6f4ef", "library", "libraries", "libraries of the wheel"),
    Kind.VENDORED: Style(
        "V", "#a36b00", "#fdf4e1", "vendored copy", "vendored copies", "copies that a repair put into the wheel"
    ),
    Kind.PROVIDED: Style(
        "D", "#a0447c", "#f9ecf4", "provided library", "provided libraries", "from another distribution"
    ),
    Kind.GRAFT: Style(
        "G", "#756c00", "#fcf9d6", "library to copy in", "libraries to copy in", "repair would copy it in", dashes="6 3"
    ),
    Kind.MISSING: Style(
        "M", "#c23b00", "#fdece4", "missing library", "missing libraries", "not found", dashes="3 2", border=2.4
    ),
    Kind.EXCLUDED: Style(
        "X", "#5b6472", "#f1f2f4", "excluded library", "excluded libraries", "excluded by the user", dashes="1 3"
    ),
    Kind.PYTHON: Style(
        "I", "#5b6472", "#ffffff", "libpython", "libpythons", "libpython: the interpreter brings it", dashes="6 3"
    ),
    Kind.SYSTEM: Style(
        "S", "#8b929c", "#f7f8f9", "system library", "system libraries", "the system's by the policy", ink="#10151c"
    ),
}
"""The style of each kind, in the order of the legend."""


def legend(graph: Graph) -> tuple[Style, ...]:
    """Return the styles of the kinds that *graph* has, apart from the wheel."""
    there = {node.kind for node in graph.nodes} - {Kind.WHEEL}
    return tuple(style for kind, style in STYLES.items() if kind in there)


def label(node: Node) -> tuple[str, ...]:
    """Return the lines that stand in a node; the first is its title."""
    if node.kind is Kind.WHEEL:
        distribution, version = printable(node.names[0]).split("-")[:2]
        return (f"{distribution} {version}", f"deserves {node.detail}" if node.detail else "pure Python")
    names = [printable(_short(node.kind, name)) for name in node.names]
    if node.detail and node.kind is Kind.SYSTEM:
        return (node.detail, *_listed(names))
    if len(names) > 1:
        heading = f"{len(names)} {STYLES[node.kind].nouns}"
        return (heading, *([printable(node.detail)] if node.detail else []), *_listed(names))
    if node.kind is Kind.GRAFT:
        return (names[0], printable(posixpath.dirname(node.names[0])))
    if node.kind is Kind.MISSING:
        return (names[0], "not found")
    return (names[0], printable(node.detail)) if node.detail else (names[0],)


def description(node: Node) -> str:
    """Return the whole truth about a node, a line for each name."""
    style = STYLES[node.kind]
    heading = style.noun if len(node.names) == 1 else f"{len(node.names)} {style.nouns}"
    detail = f" ({printable(node.detail)})" if node.detail else ""
    return "\n".join([f"{heading}{detail}:", *map(printable, node.names)])


def _listed(names: list[str]) -> list[str]:
    if len(names) <= _MOST_LINES:
        return names
    shown = names[: _MOST_LINES - 1]
    return [*shown, f"and {len(names) - len(shown)} more"]


def _short(kind: Kind, name: str) -> str:
    """Return *name* as people call it: extensions by their path without the interpreter's suffix, others by file."""
    directory, file = posixpath.split(name)
    if kind is Kind.EXTENSION:
        return posixpath.join(directory, file.partition(".")[0] or file)
    return file or name
