"""The dependency graph as an SVG picture: one file without fonts, scripts or links, the same bytes every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from nativelib.cli.graph_style import STYLES, description, label, legend
from nativelib.cli.graph_text import FONTS, fitted, text_width
from nativelib.cli.text import printable
from nativelib.plan.graph import C_LIBRARY, Kind
from nativelib.plan.graph_layout import Box, lay_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nativelib.cli.graph_style import Style
    from nativelib.plan.graph import Edge, Graph, Node
    from nativelib.plan.graph_layout import Layout, Line

_MARGIN = 24
_TITLE, _SMALL = 12, 10.5
_LINE = 14
_ROW = 28
_PAD = 8
_BADGE = 16
_WIDEST = 260
"""Room for text in a box."""
_MOST_WHEELS = 5
"""Wheels that the heading names."""
_INK, _FAINT, _FAINT_ON_DARK = "#10151c", "#4b5563", "#d7dce3"
_HELD = "#9aa1ab"
_COMMON = "#c0c5cd"
"""Colour of lines to the C library: nearly everything needs it, so they tell least."""
_LAST = {Kind.SYSTEM, Kind.PROVIDED, Kind.EXCLUDED, Kind.MISSING, Kind.PYTHON}
"""What lies outside needs nothing itself and stands on the right."""
_CSS = f"""
text {{ font-family: {FONTS}; fill: {_INK}; }}
.line {{ fill: none; stroke-width: 1.2; }}
.line:hover {{ stroke-width: 3; }}
""".strip()


class _Drawn(NamedTuple):
    """The text of a node, fitted, and the box that it asks for."""

    lines: tuple[str, ...]
    width: float
    height: float


def to_svg(graph: Graph) -> str:
    """Return the picture as an XML document. Raises PlanError if the graph is too large for one."""
    drawn = [_drawn(node) for node in graph.nodes]
    last = [number for number, node in enumerate(graph.nodes) if node.kind in _LAST]
    layout = lay_out([(item.width, item.height) for item in drawn], graph.edges, last)
    heading = _heading(graph)
    # Bold letters are up to a fifth wider.
    width = max(layout.width, *(1.2 * text_width(line, 15) for line in heading), _legend_width(graph)) + 2 * _MARGIN
    top = _MARGIN + 20 * len(heading) + 14
    entries = _legend_places(legend(graph), width - 2 * _MARGIN)
    bottom = top + layout.height + 34
    height = bottom + _ROW * (max((row for _, row, _ in entries), default=0) + 1) + _MARGIN - 10

    size = {"width": _number(width), "height": _number(height)}
    view = f"0 0 {size['width']} {size['height']}"
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size, "viewBox": view})
    _add(root, "title", text=f"Libraries of {', '.join(heading[:-1])}")
    _add(root, "style", text=_CSS)
    _add(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    for number, line in enumerate(heading):
        bold = number < len(heading) - 1
        _text(root, line, _MARGIN, _MARGIN + 14 + 20 * number, 15 if bold else 12, bold=bold)
    picture = _add(root, "g", {"id": "graph", "transform": f"translate({_MARGIN} {_number(top)})"})
    _draw_lines(picture, graph, layout)
    for number, (node, item, box) in enumerate(zip(graph.nodes, drawn, layout.boxes, strict=True)):
        _draw_node(picture, number, node, item, box)
    key = _add(root, "g", {"id": "legend", "transform": f"translate({_MARGIN} {_number(bottom)})"})
    _draw_legend(key, entries)
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _drawn(node: Node) -> _Drawn:
    title, *rest = label(node)
    lines = (fitted(title, _TITLE, _WIDEST), *(fitted(line, _SMALL, _WIDEST) for line in rest))
    widths = [text_width(lines[0], _TITLE), *(text_width(line, _SMALL) for line in lines[1:])]
    return _Drawn(lines, _left(node) + max(widths) + _PAD, len(lines) * _LINE + 2 * _PAD - 4)


def _left(node: Node) -> int:
    """Return where the text begins in the box of *node*."""
    return _PAD + (4 if node.kind is Kind.WHEEL else _BADGE + 6)


def _heading(graph: Graph) -> list[str]:
    wheels = [node for node in graph.nodes if node.kind is Kind.WHEEL]
    inside = sum(len(node.names) for node in graph.nodes if node.wheel is not None) - len(wheels)
    files = "1 ELF file" if inside == 1 else f"{inside} ELF files"
    explained = f"{files}, and where the libraries come from. An arrow leads from a file to what it needs."
    more = [f"and {len(wheels) - _MOST_WHEELS} more"] if len(wheels) > _MOST_WHEELS else []
    names = [fitted(printable(node.names[0]), 15, 900) for node in wheels[:_MOST_WHEELS]]
    return [*names, *more, explained]


def _draw_lines(parent: ET.Element, graph: Graph, layout: Layout) -> None:
    """Draw edges target by target, those of the system first: what matters lies on top."""
    for number in sorted(range(len(graph.edges)), key=lambda n: _importance(graph, graph.edges[n])):
        edge, line = graph.edges[number], layout.lines[number]
        user, used = graph.nodes[edge.user], graph.nodes[edge.used]
        holds = user.kind is Kind.WHEEL
        colour = _HELD if holds else _COMMON if used.detail == C_LIBRARY else STYLES[used.kind].colour
        attributes = {"class": "line", "d": _path(line), "stroke": colour}
        attributes |= {"data-from": f"n{edge.user}", "data-to": f"n{edge.used}"}
        if holds:
            attributes["stroke-dasharray"] = "2 3"
        path = _add(parent, "path", attributes)
        _add(path, "title", text=f"{label(user)[0]} {'holds' if holds else 'needs'} {label(used)[0]}")
        if not holds:
            _draw_head(parent, line, colour)


def _importance(graph: Graph, edge: Edge) -> tuple[int, ...]:
    user, used = graph.nodes[edge.user], graph.nodes[edge.used]
    kind = -list(Kind).index(used.kind)
    return (user.kind is not Kind.WHEEL, used.detail != C_LIBRARY, kind, edge.used, edge.user)


def _path(line: Line) -> str:
    (x, y), *rest = line.points
    parts = [f"M{_number(x)} {_number(y)}"]
    for next_x, next_y in rest:
        if abs(next_y - y) < 0.05:
            parts.append(f"H{_number(next_x)}")
        else:
            middle = (x + next_x) / 2
            bend = (middle, y, middle, next_y, next_x, next_y)
            parts.append(f"C{' '.join(map(_number, bend))}")
        x, y = next_x, next_y
    return "".join(parts)


def _draw_head(parent: ET.Element, line: Line, colour: str) -> None:
    """Draw the head of an arrow: at the end of the line, or at its beginning if it is read from right to left."""
    (x, y), back = (line.points[0], 7) if line.flipped else (line.points[-1], -7)
    corners = f"M{_number(x)} {_number(y)}l{back} -3.5v7z"
    _add(parent, "path", {"d": corners, "fill": colour})


def _draw_node(parent: ET.Element, number: int, node: Node, item: _Drawn, box: Box) -> None:
    style = STYLES[node.kind]
    group = _add(parent, "g", {"id": f"n{number}", "class": f"node {node.kind.value}"})
    _add(group, "title", text=description(node))
    wheel = node.kind is Kind.WHEEL
    _draw_border(group, style, box, 14 if wheel else 4)
    if not wheel:
        _draw_badge(group, style, box.x + _PAD, box.y + _PAD - 2)
    left, baseline = box.x + _left(node), box.y + _PAD + 8
    title, *rest = item.lines
    _text(group, title, left, baseline + 0.5, _TITLE, style.ink if wheel else _INK)
    for number_of_line, line in enumerate(rest, 1):
        _text(group, line, left, baseline + number_of_line * _LINE, _SMALL, _FAINT_ON_DARK if wheel else _FAINT)


def _draw_badge(parent: ET.Element, style: Style, x: float, y: float) -> None:
    square = {"x": _number(x), "y": _number(y), "width": f"{_BADGE}", "height": f"{_BADGE}", "rx": "3"}
    _add(parent, "rect", {**square, "fill": style.colour})
    letter = _text(parent, style.letter, x + _BADGE / 2, y + 12, 11, style.ink, bold=True)
    letter.set("text-anchor", "middle")


def _legend_entry_width(style: Style) -> float:
    return _BADGE + 6 + text_width(style.legend, 11) + 22


def _legend_width(graph: Graph) -> float:
    return max((_legend_entry_width(style) for style in legend(graph)), default=0)


def _legend_places(styles: Sequence[Style], room: float) -> list[tuple[float, int, Style]]:
    """Return where each entry goes: its left edge, and its row."""
    out: list[tuple[float, int, Style]] = []
    x, row = 0.0, 0
    for style in styles:
        width = _legend_entry_width(style)
        if x and x + width > room:
            x, row = 0.0, row + 1
        out.append((x, row, style))
        x += width
    return out


def _draw_legend(parent: ET.Element, entries: Sequence[tuple[float, int, Style]]) -> None:
    for x, row, style in entries:
        _draw_border(parent, style, Box(x - 3, _ROW * row - 3, _BADGE + 6, _BADGE + 6))
        _draw_badge(parent, style, x, _ROW * row)
        _text(parent, style.legend, x + _BADGE + 8, _ROW * row + 12, 11)


def _draw_border(parent: ET.Element, style: Style, box: Box, radius: int = 4) -> None:
    border = {key: _number(value) for key, value in box._asdict().items()}
    border |= {"rx": f"{radius}", "fill": style.fill, "stroke": style.colour, "stroke-width": _number(style.border)}
    if style.dashes:
        border["stroke-dasharray"] = style.dashes
    _add(parent, "rect", border)


def _add(parent: ET.Element, tag: str, attributes: dict[str, str] | None = None, text: str | None = None) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes or {})
    element.text = text
    return element


def _text(
    parent: ET.Element, text: str, x: float, y: float, size: float, colour: str = "", *, bold: bool = False
) -> ET.Element:
    attributes = {"x": _number(x), "y": _number(y), "font-size": _number(size)}
    # A rule of the style sheet would win over the attribute "fill".
    style = [f"fill: {colour}"] if colour else []
    style += ["font-weight: bold"] if bold else []
    if style:
        attributes["style"] = "; ".join(style)
    return _add(parent, "text", attributes, text)


def _number(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")  # + 0.0 makes of -0.0 what people expect
