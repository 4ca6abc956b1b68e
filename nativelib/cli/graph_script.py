"""The dependency graph in the languages of Graphviz and Mermaid, for documents that draw it themselves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nativelib.cli.graph_style import STYLES, description, label
from nativelib.plan.graph import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nativelib.plan.graph import Graph, Node

# Shapes tell kinds apart where colours do not.
_DOT_SHAPES = {
    Kind.WHEEL: "tab",
    Kind.EXTENSION: "box",
    Kind.PROGRAM: "cds",
    Kind.LIBRARY: "component",
    Kind.VENDORED: "box3d",
    Kind.PROVIDED: "folder",
    Kind.GRAFT: "note",
    Kind.MISSING: "octagon",
    Kind.EXCLUDED: "parallelogram",
    Kind.PYTHON: "hexagon",
    Kind.SYSTEM: "ellipse",
}
_MERMAID_SHAPES = {
    Kind.WHEEL: ("([", "])"),
    Kind.EXTENSION: ("[", "]"),
    Kind.PROGRAM: ("[[", "]]"),
    Kind.LIBRARY: ("(", ")"),
    Kind.VENDORED: ("[(", ")]"),
    Kind.PROVIDED: ("{{", "}}"),
    Kind.GRAFT: ("[/", "/]"),
    Kind.MISSING: (">", "]"),
    Kind.EXCLUDED: ("[\\", "\\]"),
    Kind.PYTHON: ("[/", "\\]"),
    Kind.SYSTEM: ("[", "]"),
}


def to_dot(graph: Graph) -> str:
    """Return *graph* in the DOT language (https://graphviz.org/doc/info/lang.html), a cluster for each wheel."""
    lines = [
        "digraph nativelib {",
        '  graph [rankdir=LR, fontname="Arial"];',
        '  node [fontname="Arial", fontsize=11];',
    ]
    for wheel, title in _wheels(graph):
        lines += [f"  subgraph cluster_{wheel} {{", f"    label={_quoted(title)};", '    color="#8b929c";']
        lines += [f"    {_dot_node(number, node)}" for number, node in _of(graph, wheel)]
        lines.append("  }")
    lines += [f"  {_dot_node(number, node)}" for number, node in _of(graph, None)]
    for user, used in graph.edges:
        looks = "style=dotted, arrowhead=none" if _holds(graph, user) else f'color="{_colour(graph, used)}"'
        lines.append(f"  n{user} -> n{used} [{looks}];")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_node(number: int, node: Node) -> str:
    style = STYLES[node.kind]
    ink = style.ink if node.kind is Kind.WHEEL else "#10151c"
    looks = "filled,dashed" if style.dashes else "filled"
    return (
        f"n{number} [label={_quoted(chr(10).join(label(node)))}, tooltip={_quoted(description(node))}, "
        f'shape={_DOT_SHAPES[node.kind]}, style="{looks}", fillcolor="{style.fill}", color="{style.colour}", '
        f'fontcolor="{ink}", penwidth={style.border}];'
    )


def _quoted(text: str) -> str:
    """Return *text* as a quoted string of DOT, where backslashes and entities mean something."""
    escaped = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def to_mermaid(graph: Graph) -> str:
    """Return *graph* as a flowchart (https://mermaid.js.org/syntax/flowchart.html), a subgraph for each wheel."""
    lines = ["flowchart LR"]
    for wheel, title in _wheels(graph):
        lines.append(f'  subgraph w{wheel}["{_entities(title)}"]')
        lines += [f"    {_mermaid_node(number, node)}" for number, node in _of(graph, wheel)]
        lines.append("  end")
    lines += [f"  {_mermaid_node(number, node)}" for number, node in _of(graph, None)]
    lines += [f"  n{user} {'-.-' if _holds(graph, user) else '-->'} n{used}" for user, used in graph.edges]
    for kind in sorted({node.kind for node in graph.nodes}):
        style = STYLES[kind]
        ink = style.ink if kind is Kind.WHEEL else "#10151c"
        looks = f"fill:{style.fill},stroke:{style.colour},color:{ink},stroke-width:{style.border}px"
        dashes = f",stroke-dasharray:{style.dashes}" if style.dashes else ""
        lines.append(f"  classDef {kind.value} {looks}{dashes}")
    return "\n".join(lines) + "\n"


def _mermaid_node(number: int, node: Node) -> str:
    opening, closing = _MERMAID_SHAPES[node.kind]
    return f'n{number}{opening}"{"<br/>".join(map(_entities, label(node)))}"{closing}:::{node.kind.value}'


def _entities(text: str) -> str:
    """Return *text* with Mermaid's entities for all but plain signs: quotes and marks of Markdown mean something."""
    return re.sub(r"[^A-Za-z0-9 ./_+,-]", lambda found: f"#{ord(found.group())};", text)


def _wheels(graph: Graph) -> Iterator[tuple[int, str]]:
    for node in graph.nodes:
        if node.kind is Kind.WHEEL and node.wheel is not None:
            yield node.wheel, label(node)[0]


def _of(graph: Graph, wheel: int | None) -> list[tuple[int, Node]]:
    return [(number, node) for number, node in enumerate(graph.nodes) if node.wheel == wheel]


def _holds(graph: Graph, user: int) -> bool:
    return graph.nodes[user].kind is Kind.WHEEL


def _colour(graph: Graph, used: int) -> str:
    return STYLES[graph.nodes[used].kind].colour
